"""Blocks behind the modules of any network."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from vidcost.bench.call import name_inside
from vidcost.bench.user.reference import of_user_code

Factory = Callable[[int], nn.Module]


def with_blocks(
    model: nn.Module, inputs: Sequence[Tensor], blocks: Mapping[str, Factory]
) -> nn.Module:
    """``model`` with a block behind each of the modules that ``blocks`` names, made in place.

    The channels are axis 1 of what the module returns, found by one pass on ``inputs``. The module
    and its block become a Sequential in its place, so that code that reaches into the module by
    name no longer finds it.
    Raises: ValueError if there is no such module, or it does not return one tensor; UserCodeError.
    """
    channels: dict[str, int] = {}
    hooks = []
    names = {name_inside(model, name): name for name, _ in model.named_modules()}
    for position in blocks:
        if not position or position not in names:
            deep = position.count(".")
            near = ", ".join(name for name in names if name and name.count(".") == deep)
            raise ValueError(f"no module {position!r} to put a block behind: choose from {near}")
        module = model.get_submodule(names[position])
        hooks.append(module.register_forward_hook(_note(position, channels)))
    try:
        with of_user_code(), torch.no_grad():
            model(*inputs)
    finally:
        for hook in hooks:
            hook.remove()
    for position, factory in blocks.items():
        if position not in channels:
            raise ValueError(f"{position} returns no feature map in this network: choose another")
        parent, _, name = names[position].rpartition(".")
        owner = model.get_submodule(parent)
        put = OrderedDict(itself=owner.get_submodule(name), block=factory(channels[position]))
        setattr(owner, name, nn.Sequential(put))
    return model


def _note(position: str, channels: dict[str, int]) -> Callable[[nn.Module, Any, Any], None]:
    def note(_: nn.Module, __: Any, output: Any) -> None:
        if isinstance(output, Tensor) and output.dim() > 2:
            channels[position] = output.shape[1]

    return note

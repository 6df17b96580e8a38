"""Networks that a user wrote: built from a reference, with blocks behind their modules."""

import copy
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from typing import Any

import torch
from torch import Tensor, nn

from vidcost.bench.call import name_inside, positional
from vidcost.bench.user.inputs import given
from vidcost.bench.user.reference import UserCodeError, load, of_user_code

Factory = Callable[[int], nn.Module]
"""Makes a block for so many channels."""

Called = tuple[nn.Module, tuple[Tensor, ...]]
"""A network and its inputs by position."""


def called(
    reference: str,
    inputs: Sequence[str],
    blocks: Mapping[str, Factory] | None = None,
    *,
    seed: int = 0,
) -> Called:
    """The network with random weights and inputs from ``seed``.

    It is the referenced object, or what that returns when it is called. ``blocks`` go behind
    modules of the network by their names.
    Raises: ValueError if there is no such object, module or input, or the object makes no network;
            UserCodeError.
    """
    found = load(reference)
    # after the file was run, which may have drawn numbers of its own
    torch.manual_seed(seed)
    network = _network(reference, found)
    if network is found and blocks:
        # others use the object too
        network = copy.deepcopy(network)
    return _with_blocks(*positional(network, given(inputs, seed=seed)), blocks or {})


def called_on_meta(
    reference: str, inputs: Sequence[str], blocks: Mapping[str, Factory] | None = None
) -> Called:
    """The same on the meta device.

    Raises: as :func:`called`.
    """
    # outside the meta device: others use what a module makes when it is loaded
    found = load(reference)
    try:
        with torch.device("meta"):
            network = _network(reference, found)
    except UserCodeError:
        # code that reads values while it is built needs some
        network = _network(reference, found)
    if network is found:
        network = copy.deepcopy(network)
    model, values = positional(network.to("meta"), given(inputs))
    with torch.device("meta"):
        return _with_blocks(model, tuple(value.to("meta") for value in values), blocks or {})


def _network(reference: str, found: Any) -> nn.Module:
    if isinstance(found, nn.Module):
        return found
    kind = type(found).__name__
    if not callable(found):
        raise ValueError(f"{reference} is no network and makes none: it is a {kind}")
    with of_user_code():
        network = found()
    if not isinstance(network, nn.Module):
        kind = type(network).__name__
        raise UserCodeError(f"{reference} returned no nn.Module but a {kind}")
    return network


def _with_blocks(
    model: nn.Module, inputs: tuple[Tensor, ...], blocks: Mapping[str, Factory]
) -> Called:
    """``model`` with a block behind each of the modules that ``blocks`` names, made in place.

    The channels are axis 1 of what the module returns, found by one pass on ``inputs``. A
    Sequential of the module and its block takes the module's place, so code that reaches into the
    module by name no longer finds it.
    """
    names = {name_inside(model, name): name for name, _ in model.named_modules()}
    outputs: dict[str, Any] = {}
    with ExitStack() as hooks:
        for position in blocks:
            if not position or position not in names:
                deep = position.count(".")
                near = ", ".join(name for name in names if name and name.count(".") == deep)
                raise ValueError(
                    f"no module {position!r} to put a block behind: choose from {near}"
                )

            def note(_: nn.Module, __: Any, output: Any, position: str = position) -> None:
                outputs[position] = output

            module = model.get_submodule(names[position])
            hooks.callback(module.register_forward_hook(note).remove)
        if blocks:
            with of_user_code(), torch.no_grad():
                model(*inputs)
    for position, factory in blocks.items():
        output = outputs.get(position)
        if not isinstance(output, Tensor) or output.dim() < 3:
            raise ValueError(f"{position} returns no feature map in this network: choose another")
        parent, _, name = names[position].rpartition(".")
        owner = model.get_submodule(parent)
        put = OrderedDict(itself=owner.get_submodule(name), block=factory(output.shape[1]))
        setattr(owner, name, nn.Sequential(put))
    return model, inputs

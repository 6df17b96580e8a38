"""The memory traffic of a forward pass, if every operator goes to memory for itself."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

_WRITES_NOTHING = ("aten.empty", "aten.new_empty")


@dataclass(frozen=True)
class Traffic:
    """Elements that the operators of a pass read and write: of weights, and of all else.

    Weights are parameters and buffers. Only the rest grows with the batch.
    """

    weights: int
    activations: int

    def bytes(self, *, batch: int, element: int) -> int:
        """What ``batch`` times as many inputs move, at ``element`` bytes an element."""
        return element * (self.weights + batch * self.activations)


def traffic(model: nn.Module, *inputs: Tensor) -> Traffic:
    """Run ``model`` on ``inputs``, on the meta device, in evaluation mode, and add up its traffic.

    Every operator reads each operand and writes each result once. That is what eager mode does but
    for caches, which save some, and for what a kernel reads twice or keeps in a workspace. A view
    moves nothing.
    """
    mode = _Counting([*model.parameters(), *model.buffers()])
    with torch.no_grad(), mode:
        model.eval()(*inputs)
    return Traffic(mode.weights, mode.activations)


class _Counting(TorchDispatchMode):  # type: ignore[no-untyped-call]
    def __init__(self, weights: list[Tensor]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        # by identity of the storage: a weight is seen through views
        self._held = {weight.untyped_storage()._cdata for weight in weights}
        self.weights = 0
        self.activations = 0

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        # True, torch's default, imports its whole compiler (a second) to keep it off this mode
        return False

    def __torch_dispatch__(
        self,
        func: Callable[..., Any],
        types: Any,
        args: Any = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        read = [x for x in tree_leaves((args, kwargs)) if isinstance(x, Tensor)]
        written = [x for x in tree_leaves(result) if isinstance(x, Tensor)]
        if str(func).startswith(_WRITES_NOTHING) or _is_view(func, read, written):
            return result
        for tensor in (*read, *written):
            self._add(tensor)
        return result

    def _add(self, tensor: Tensor) -> None:
        storage = tensor.untyped_storage()
        # what is expanded lies in memory once
        elements = min(tensor.numel(), storage.nbytes() // tensor.element_size())
        if storage._cdata in self._held:
            self.weights += elements
        else:
            self.activations += elements


def _is_view(func: Any, read: list[Tensor], written: list[Tensor]) -> bool:
    if func._schema.is_mutable or not written:
        return False
    storages = {tensor.untyped_storage()._cdata for tensor in read}
    return all(tensor.untyped_storage()._cdata in storages for tensor in written)

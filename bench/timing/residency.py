"""Which memory is held at once while a program runs on shapes alone."""

from __future__ import annotations

import weakref
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


class Residency(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Adds up the storages that operators make and that are alive; ``peak_bytes`` is their most.

    A storage lives until its last tensor is gone, and autograd keeps what it saved for the backward
    pass: both are as on a device that computes. What an operator allocates and frees inside itself
    (a convolution's workspace, a block of an allocator that is larger than asked for) is not seen.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.alive_bytes = 0
        self.peak_bytes = 0
        self._known: weakref.WeakSet[torch.UntypedStorage] = weakref.WeakSet()

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        # True, torch's default, imports its whole compiler (a second) to keep it off this mode
        return False

    def ignore(self, *tensors: Tensor) -> None:
        """Leave out tensors that are there already, and what views them."""
        self._known.update(tensor.untyped_storage() for tensor in tensors)

    def hold(self, *tensors: Tensor) -> None:
        """Count tensors that are there already for as long as they live."""
        for tensor in tensors:
            self._add(tensor)

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        for leaf in tree_leaves(result):
            if isinstance(leaf, Tensor):
                self._add(leaf)
        return result

    def _add(self, tensor: Tensor) -> None:
        storage = tensor.untyped_storage()
        if storage in self._known:
            return
        self._known.add(storage)
        self.alive_bytes += storage.nbytes()
        self.peak_bytes = max(self.peak_bytes, self.alive_bytes)
        weakref.finalize(storage, self._free, storage.nbytes())

    def _free(self, amount: int) -> None:
        self.alive_bytes -= amount

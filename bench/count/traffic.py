"""The memory traffic of a forward pass, if every operator goes to memory for itself."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


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
    mode = _Counting()
    with torch.no_grad(), mode:
        model.eval()(*inputs)
    # by the storage: a weight is seen through views
    weights = {w.untyped_storage()._cdata for w in (*model.parameters(), *model.buffers())}
    moved = {True: 0, False: 0}
    for storage, elements in mode.moved:
        moved[storage._cdata in weights] += elements
    return Traffic(weights=moved[True], activations=moved[False])


class _Counting(TorchDispatchMode):  # type: ignore[no-untyped-call]
    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.moved: list[tuple[torch.UntypedStorage, int]] = []

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        # True, torch's default, imports its whole compiler (a second) to keep it off this mode
        return False

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        read = [x for x in tree_leaves((args, kwargs)) if isinstance(x, Tensor)]
        written = [x for x in tree_leaves(result) if isinstance(x, Tensor)]
        storages = {tensor.untyped_storage()._cdata for tensor in read}
        is_view = not func._schema.is_mutable and all(
            tensor.untyped_storage()._cdata in storages for tensor in written
        )
        is_empty = func._overloadpacket.__name__.startswith(("empty", "new_empty"))
        if not is_view and not is_empty:
            for tensor in (*read, *written):
                storage = tensor.untyped_storage()
                # what is expanded lies in memory once
                elements = min(tensor.numel(), storage.nbytes() // tensor.element_size())
                self.moved.append((storage, elements))
        return result

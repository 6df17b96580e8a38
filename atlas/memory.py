"""The most memory of activations that a forward pass needs, predicted from shapes alone."""

import weakref
from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn, no_grad
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


def peak_bytes(model: nn.Module, *inputs: Tensor) -> int:
    """The most bytes of activations and inputs that one forward pass has alive at once.

    Storages of the model are left out; a view adds nothing. On the meta device nothing is filled.
    """
    alive = _Alive(model, inputs)
    with no_grad(), alive:
        model.eval()(*inputs)
    return alive.peak


class _Alive(TorchDispatchMode):  # type: ignore[no-untyped-call]
    def __init__(self, model: nn.Module, inputs: Sequence[Tensor]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.now = self.peak = 0
        own = (*model.parameters(), *model.buffers())
        self._known = {each.untyped_storage()._cdata for each in own}
        for each in inputs:
            self._born(each)

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **kwargs or {})
        for each in tree_leaves(result):
            if isinstance(each, Tensor):
                self._born(each)
        return result

    def _born(self, tensor: Tensor) -> None:
        storage = tensor.untyped_storage()
        key, size = storage._cdata, storage.nbytes()
        if key in self._known:
            return
        self._known.add(key)
        self.now += size
        self.peak = max(self.peak, self.now)
        weakref.finalize(storage, self._died, key, size)

    def _died(self, key: int, size: int) -> None:
        self._known.discard(key)
        self.now -= size

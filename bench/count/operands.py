"""What is known about the tensors of a pass: which depend on an input, which are to be summed."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor, UntypedStorage
from torch.multiprocessing.reductions import StorageWeakRef

Shape = tuple[int, ...]

_SHAPE_ONLY = frozenset(
    "empty_like zeros_like ones_like full_like rand_like randn_like randint_like new_empty "
    "new_empty_strided new_zeros new_ones new_full".split()
)
"""Operators that take the shape of a tensor, but none of its values."""


def _weak(storage: UntypedStorage) -> StorageWeakRef:
    return StorageWeakRef(storage)  # type: ignore[no-untyped-call]


@dataclass
class Multiplication:
    """A multiplication element by element, which is a product once it is summed.

    ``source`` is the forward operation that autograd records, in training.
    """

    module: str
    kind: str
    amount: int
    operands: tuple[Shape, Shape]
    output: Shape
    is_square: bool = False
    source: Any = None

    def is_contracted(self, dims: Sequence[int]) -> bool:
        """Whether a sum over ``dims``, or all, goes over a dimension that both operands have."""
        rank = len(self.output)
        left, right = ((1,) * (rank - len(shape)) + shape for shape in self.operands)
        return any(left[dim] == right[dim] for dim in dims or range(rank))


class Operands:
    """Follows tensors by their storages, which views share.

    Inputs vary, and so does what is computed from a tensor that varies. All else is constant:
    parameters, buffers, masks and positions, and what is computed from these alone.
    """

    def __init__(self, inputs: Iterable[Tensor]) -> None:
        # while there is a weak reference, no other storage gets the address
        self._varying: dict[int, StorageWeakRef] = {}
        self._made: dict[int, tuple[StorageWeakRef, Multiplication | None]] = {}
        self._vary(inputs)

    def is_constant(self, tensor: Tensor) -> bool:
        """Whether ``tensor`` depends on no input."""
        return tensor.untyped_storage()._cdata not in self._varying

    def follow(self, name: str, operands: Iterable[Any], results: Iterable[Tensor]) -> None:
        """Note what an operator computed from ``operands``."""
        if name not in _SHAPE_ONLY and self._any_varies(operands):
            self._vary(results)

    def _any_varies(self, operands: Iterable[Any]) -> bool:
        for each in operands:
            if isinstance(each, Tensor):
                if each.untyped_storage()._cdata in self._varying:
                    return True
            elif isinstance(each, list | tuple) and self._any_varies(each):
                return True
        return False

    def _vary(self, tensors: Iterable[Tensor]) -> None:
        for tensor in tensors:
            storage = tensor.untyped_storage()
            if storage._cdata not in self._varying:
                self._varying[storage._cdata] = _weak(storage)

    def note(self, result: Tensor, made: Multiplication | None) -> None:
        """Note how ``result`` was made; None forgets it."""
        storage = result.untyped_storage()
        self._made[storage._cdata] = _weak(storage), made

    def made(self, tensor: Tensor) -> Multiplication | None:
        """The multiplication whose result ``tensor`` is, or a view of that."""
        return self._made.get(tensor.untyped_storage()._cdata, (None, None))[1]

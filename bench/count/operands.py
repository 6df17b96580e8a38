"""What is known about the tensors of a pass: which depend on an input, which are to be summed."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor
from torch.multiprocessing.reductions import StorageWeakRef

Shape = tuple[int, ...]

_SHAPE_ONLY = frozenset(
    "empty_like zeros_like ones_like full_like rand_like randn_like randint_like new_empty "
    "new_empty_strided new_zeros new_ones new_full".split()
)
"""Operators that take the shape of a tensor, but none of its values."""


@dataclass(frozen=True)
class Operation:
    """One call of an operator: ``amount`` of the quantity ``kind`` (a field of ``Cost``).

    ``module`` is the innermost that it ran in, the network itself being "". ``operands`` are shapes
    of the arguments that are tensors or None, ``output`` that of the first result. ``rule`` is
    "vidcost", "user" (:func:`vidcost.rule`) or "torch" (``register_flop_formula``). What a backward
    pass computes again of the forward pass ``is_recomputed``.
    """

    module: str
    operator: str
    kind: str
    amount: int
    operands: tuple[Shape | None, ...]
    output: Shape
    rule: str = "vidcost"
    is_recomputed: bool = False


@dataclass
class Multiplication:
    """A multiplication element by element: the product that it is once it is summed.

    Of a square by a power only that is known. ``source`` is the forward operation that autograd
    records, in training.
    """

    product: Operation | None = None
    is_square: bool = False
    source: Any = None

    def contracted(self, shape: Sequence[int], dims: Sequence[int]) -> Operation | None:
        """The product if a sum of ``shape`` over ``dims``, or all, is over one of both operands."""
        if self.product is None or self.product.output != shape:
            return None
        rank, operands = len(shape), (each or () for each in self.product.operands)
        if not rank:
            return None
        left, right = ((1,) * (rank - len(each)) + each for each in operands)
        is_summed = any(left[dim] == right[dim] for dim in dims or range(rank))
        return self.product if is_summed else None


class Operands:
    """Follows tensors by their storages, which views share.

    Inputs vary, and so does what is computed from a tensor that varies. All else is constant:
    parameters, buffers, masks and positions, and what is computed from these alone.
    """

    def __init__(self, inputs: Iterable[Tensor]) -> None:
        # while there is a weak reference, no other storage gets the address. With each, a bit for
        # every operation that its values come from
        self._varying: dict[int, tuple[StorageWeakRef, int]] = {}
        self.followed = 0
        self._made: dict[int, tuple[StorageWeakRef, Multiplication | None]] = {}
        self._vary(inputs)

    def is_constant(self, tensor: Tensor) -> bool:
        """Whether ``tensor`` depends on no input."""
        return tensor.untyped_storage()._cdata not in self._varying

    def follow(self, name: str, given: Iterable[Any], results: Iterable[Tensor], made: int) -> None:
        """Note what an operator computed of what it was ``given``; ``made`` has its bits."""
        tensors = tensors_of(given)
        if name not in _SHAPE_ONLY and not all(map(self.is_constant, tensors)):
            self.followed |= made
            self._vary(results, made | self.sources(tensors))

    def sources(self, tensors: Iterable[Tensor]) -> int:
        """A bit for every operation that the values of ``tensors`` come from."""
        found = 0
        for tensor in tensors:
            found |= self._varying.get(tensor.untyped_storage()._cdata, (None, 0))[1]
        return found

    def _vary(self, tensors: Iterable[Tensor], sources: int = 0) -> None:
        for tensor in tensors:
            storage = tensor.untyped_storage()
            known = self._varying.get(storage._cdata)
            kept = known[0] if known else StorageWeakRef(storage)  # type: ignore[no-untyped-call]
            self._varying[storage._cdata] = kept, sources | (known[1] if known else 0)

    def note(self, result: Tensor, made: Multiplication | None) -> None:
        """Note how ``result`` was made; None forgets it."""
        storage = result.untyped_storage()
        self._made[storage._cdata] = StorageWeakRef(storage), made  # type: ignore[no-untyped-call]

    def made(self, tensor: Tensor) -> Multiplication | None:
        """The multiplication whose result ``tensor`` is, or a view of that."""
        return self._made.get(tensor.untyped_storage()._cdata, (None, None))[1]


def tensors_of(args: Iterable[Any]) -> list[Tensor]:
    """The tensors among the arguments of an operator, and in lists among them."""
    flat = (a for arg in args for a in (arg if isinstance(arg, list | tuple) else (arg,)))
    return [a for a in flat if isinstance(a, Tensor)]

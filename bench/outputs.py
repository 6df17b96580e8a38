"""What a network returns: the tensors in it, however they are put together."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping

from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence
from torch.utils._pytree import tree_leaves


def tensors_in(output: object) -> tuple[Tensor, ...]:
    """Every tensor in ``output`` once, in order.

    It looks into tuples, lists, sets, mappings, dataclasses, packed sequences and what is
    registered with torch's pytrees, one in the other. What else an output holds is passed over.
    """
    if isinstance(output, Tensor):
        return (output,)
    return tuple({id(tensor): tensor for tensor in _walk(output, set())}.values())


def is_finite(output: object) -> bool:
    """Whether no tensor in ``output`` holds NaN or infinity."""
    tensors = (x for x in tensors_in(output) if x.is_floating_point() or x.is_complex())
    return all(bool(x.isfinite().all()) for x in tensors)


class TensorsOut(nn.Module):
    """Returns the tensors in what ``model`` returns, as a tuple."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        return tensors_in(self.model(*inputs))


def _walk(value: object, inside: set[int]) -> Iterator[Tensor]:
    if isinstance(value, Tensor):
        yield value
        return
    if id(value) in inside:
        return
    # an output may hold itself
    inside = inside | {id(value)}
    for part in _parts(value):
        yield from _walk(part, inside)


def _parts(value: object) -> Iterator[object]:
    if isinstance(value, PackedSequence):
        # its other tensors are bookkeeping
        yield value.data
    elif isinstance(value, Mapping):
        yield from value.values()
    elif isinstance(value, list | tuple | set | frozenset):
        yield from value
    elif dataclasses.is_dataclass(value) and not isinstance(value, type):
        yield from (getattr(value, field.name, None) for field in dataclasses.fields(value))
    else:
        leaves = tree_leaves(value)
        if not (len(leaves) == 1 and leaves[0] is value):
            yield from leaves

"""How a network is called, by tensors alone whatever its signature; and the tensors it returns."""

import copy
import dataclasses
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence
from torch.utils._pytree import tree_leaves

Inputs = Any
"""One tensor; arguments by position in a tuple or list; or arguments by forward's names.

Arguments are trees: tuples, lists, mappings and dataclasses of tensors and anything else.
"""


class Called(nn.Module):
    """Calls ``model`` with its arguments, in which tensors take the places of :class:`_Place`.

    What is said of its modules begins with ``model.``; :func:`name_inside` takes that away.
    """

    def __init__(self, model: nn.Module, args: Any, kwargs: Any) -> None:
        super().__init__()
        self.model = model
        self._arguments = (args, kwargs)

    def forward(self, *values: Tensor) -> object:
        args, kwargs = _replaced(_Place, lambda place: values[place.number], self._arguments)
        return self.model(*args, **kwargs)


@dataclasses.dataclass(frozen=True)
class _Place:
    """Where the tensor of that number belongs."""

    number: int


def positional(
    model: nn.Module, inputs: Inputs, kwargs: Mapping[str, Any] | None = None
) -> tuple[nn.Module, tuple[Tensor, ...]]:
    """A network that takes tensors by position alone, and those tensors.

    It is ``model`` itself if ``inputs`` are one tensor or a sequence of tensors.
    Raises: ValueError if there is no tensor in the inputs.
    """
    args: tuple[Any, ...] = ()
    if isinstance(inputs, Mapping):
        named = {**inputs, **(kwargs or {})}
    else:
        args = tuple(inputs) if isinstance(inputs, list | tuple) else (inputs,)
        named = dict(kwargs or {})
    values: list[Tensor] = []

    def take(tensor: Tensor) -> _Place:
        values.append(tensor)
        return _Place(len(values) - 1)

    places = _replaced(Tensor, take, (args, named))
    if not values:
        raise ValueError(
            "the inputs hold no tensor: give tensors, or a shape such as (1, 3, 16, 112, 112)"
        )
    if not named and len(values) == len(args) and all(isinstance(x, Tensor) for x in args):
        return model, tuple(values)
    return Called(model, *places), tuple(values)


def name_inside(model: nn.Module, module: str) -> str:
    """What ``module`` of ``model`` is called inside the network that a person gave."""
    if isinstance(model, Called):
        return module.removeprefix("model").removeprefix(".")
    return module


def _replaced(kind: type[Any], change: Callable[[Any], Any], value: Any) -> Any:
    """``value`` with ``change`` made to everything of ``kind`` in its tree."""
    if isinstance(value, kind):
        return change(value)
    if isinstance(value, Mapping):
        # of its own type, which may be a user's
        made: Any = copy.copy(value)
        for key, each in value.items():
            made[key] = _replaced(kind, change, each)
        return made
    if isinstance(value, list | tuple):
        parts: Iterator[Any] = (_replaced(kind, change, each) for each in value)
        # a named tuple takes its parts one by one
        return type(value)(*parts) if hasattr(value, "_fields") else type(value)(parts)
    if dataclasses.is_dataclass(value) and not isinstance(value, type | _Place):
        made = copy.copy(value)
        for field in dataclasses.fields(value):
            each = _replaced(kind, change, getattr(value, field.name))
            object.__setattr__(made, field.name, each)
        return made
    return value


# outputs


def tensors_in(output: object) -> tuple[Tensor, ...]:
    """Every tensor in ``output`` once, in order.

    It looks into tuples, lists, sets, mappings, dataclasses, packed sequences and what is
    registered with torch's pytrees, one in the other. What else an output holds is passed over.
    """
    return tuple({id(tensor): tensor for tensor in _walk(output)}.values())


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


def _walk(value: Any) -> Iterator[Tensor]:
    parts: Iterable[Any] = ()
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, PackedSequence):
        # its other tensors are bookkeeping
        parts = (value.data,)
    elif isinstance(value, Mapping):
        parts = value.values()
    elif isinstance(value, list | tuple | set | frozenset):
        parts = value
    elif dataclasses.is_dataclass(value) and not isinstance(value, type):
        parts = (getattr(value, field.name, None) for field in dataclasses.fields(value))
    else:
        parts = [leaf for leaf in tree_leaves(value) if leaf is not value]
    for part in parts:
        yield from _walk(part)

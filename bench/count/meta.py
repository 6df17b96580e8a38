"""Networks as shapes alone, on the meta device: no weights are filled, nothing is computed."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

if TYPE_CHECKING:
    from vidcost.papers.row import Row


def on_meta(row: Row) -> tuple[nn.Module, tuple[Tensor, ...]]:
    """The network of ``row`` and its clips at batch 1, on the meta device.

    Names, shapes and types are those of ``row.model()`` and ``row.clips()``.
    Raises: ValueError as ``row.model`` does.
    """
    with torch.device("meta"), _Unfilled():
        model = row.model()
    # not row.clips(): torch.randn imports sympy there, a third of a second
    return model, tuple(torch.empty(1, *clip, device="meta") for clip in row.inputs)


def call(func: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
    """What the operator ``func`` returns, remembered for meta tensors of the same shapes.

    torch's meta kernels are written in Python, and networks repeat their layers: remembering the
    results of operators that return new tensors takes a third of the time off counting all rows.
    """
    key = None if _may_alias(func) else _key((func, args, *kwargs.items()))
    if key is None:
        return func(*args, **kwargs)
    if key not in _results:
        result = func(*args, **kwargs)
        _results[key] = _outline(result)
        return result
    known = _results[key]
    return func(*args, **kwargs) if known is None else _tensors(known)


_results: dict[Any, Any] = {}
"""By operator and arguments: outlines of results, None where they are not meta tensors."""


@cache
def _may_alias(func: Any) -> bool:
    """Whether a result may share memory with an argument, or an argument changes."""
    return any(each.alias_info for each in (*func._schema.arguments, *func._schema.returns))


def _key(arguments: Iterable[Any]) -> tuple[Any, ...] | None:
    """``arguments`` as a key, meta tensors by shape, strides and type; None if others are there."""
    keys: list[Any] = []
    for each in arguments:
        if isinstance(each, Tensor):
            if not each.is_meta or each.layout != torch.strided:
                return None
            keys.append((each.shape, each.stride(), each.dtype))
        elif isinstance(each, list | tuple):
            inside = _key(each)
            if inside is None:
                return None
            keys.append(inside)
        else:
            # 1, 1.0 and True are equal
            keys.append((type(each), each))
    return tuple(keys)


def _outline(result: Any) -> Any:
    if isinstance(result, Tensor):
        key = _key([result])
        return None if key is None else (Tensor, *key[0])
    if isinstance(result, list | tuple):
        outlines = [_outline(each) for each in result]
        return None if None in outlines else (type(result), outlines)
    return (type(None),) if result is None else None


def _tensors(outline: Any) -> Any:
    kind, *rest = outline
    if kind is Tensor:
        shape, stride, dtype = rest
        return torch.empty_strided(shape, stride, dtype=dtype, device="meta")
    return None if kind is type(None) else kind(map(_tensors, rest[0]))


class _Unfilled(TorchFunctionMode):
    """Leaves out what only fills a tensor, where that is on the meta device.

    There it has no values, and torch goes through Python to find that out.
    """

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        # torch.nn.init passes its tensor by name
        filled = (args[0] if args else kwargs["tensor"]) if func in _FILLS else None
        return filled if filled is not None and filled.is_meta else func(*args, **kwargs)


_FILLS = {
    *(getattr(nn.init, name) for name in vars(nn.init) if name.endswith("_") and name[0] != "_"),
    *(Tensor.fill_, Tensor.zero_, Tensor.uniform_, Tensor.normal_),
}

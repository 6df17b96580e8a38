"""What frequent operators return on the meta device.

torch's own kernels there are in Python: each takes up to a millisecond, and the first imports sympy
and the compiler, a second. A function here returns None where it is not sure, and torch answers.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import Any

import torch
from torch import Tensor

Function = Callable[..., Any]
_aten = torch.ops.aten


def result(func: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
    """What ``func`` returns, or None if it is not known here."""
    function = _function(func)
    if function is None or kwargs:
        return None
    first = args[0] if isinstance(args[0], Tensor) else args[0][0]
    return function(*args) if first.is_meta else None


@cache
def _function(func: Any) -> Function | None:
    return _FUNCTIONS.get(func) or (_in_place if _is_elementwise_in_place(func) else None)


def _is_elementwise_in_place(func: Any) -> bool:
    name, first = func._overloadpacket.__name__, func._schema.arguments[:1]
    if not name.endswith("_") or not all(x.alias_info and x.alias_info.is_write for x in first):
        return False
    # what works in place lacks the tag
    of = getattr(_aten, name[:-1], None)
    return of is not None and any(
        torch.Tag.pointwise in getattr(of, each).tags for each in of.overloads()
    )


def _in_place(x: Tensor, *others: Any) -> Tensor | None:
    tensors = [each for each in others if isinstance(each, Tensor)]
    fit = all(each.shape == x.shape and each.dtype == x.dtype for each in tensors)
    return x if fit and x.is_floating_point() else None


def _like(x: Tensor, *_: Any) -> Tensor | None:
    """Another of the same type and strides, if those leave no gaps."""
    if not x.is_floating_point():
        return None
    if not x.is_contiguous():
        by_stride = sorted(range(x.dim()), key=lambda dim: (x.stride(dim), x.shape[dim]))
        if not x.permute(by_stride[::-1]).is_contiguous():
            return None
    return torch.empty_strided(x.shape, x.stride(), dtype=x.dtype, device="meta")


def _new(like: Tensor, *shape: int) -> Tensor:
    return torch.empty(shape, dtype=like.dtype, device="meta")


def _convolution(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    transposed: bool,
    _: Sequence[int],
    groups: int,
) -> Tensor | None:
    rank = weight.dim() - 2
    fits = (
        not transposed
        and x.dim() == rank + 2
        and x.is_contiguous()
        and x.shape[1] == weight.shape[1] * groups
        and weight.shape[0] % groups == 0
        and all(each.dtype == x.dtype for each in (weight, bias) if each is not None)
    )
    if not fits:
        return None
    each_way = (x if len(x) == rank else [*x] * rank for x in (stride, padding, dilation))
    sizes = [
        (size + 2 * pad - spread * (kernel - 1) - 1) // step + 1
        for size, kernel, step, pad, spread in zip(
            x.shape[2:], weight.shape[2:], *each_way, strict=True
        )
    ]
    return _new(x, x.shape[0], weight.shape[0], *sizes) if min(sizes) > 0 else None


def _batch_norm(
    x: Tensor, weight: Any, bias: Any, mean: Tensor | None, *_: Any
) -> tuple[Tensor, ...] | None:
    if x.dim() < 2 or (mean is not None and mean.numel() != x.shape[1]):
        return None
    normed = _like(x)
    return None if normed is None else (normed, _new(x, x.shape[1]), _new(x, x.shape[1]))


def _layer_norm(x: Tensor, shape: Sequence[int], *_: Any) -> tuple[Tensor, ...] | None:
    outer = x.dim() - len(shape)
    normed, statistics = _like(x), (*x.shape[:outer], *[1] * len(shape))
    if normed is None or x.dtype != torch.float32 or x.shape[outer:] != tuple(shape):
        return None
    return normed, _new(x, *statistics), _new(x, *statistics)


def _mean(x: Tensor, dims: Sequence[int] | None, keepdim: bool = False) -> Tensor | None:
    if not x.is_contiguous() or not x.is_floating_point() or not dims:
        return None
    over = {dim % x.dim() for dim in dims}
    kept = ([1] if keepdim else [], *([size] for size in x.shape))
    return _new(x, *(n for d in range(x.dim()) for n in kept[0 if d in over else d + 1]))


def _both(x: Tensor, other: Any) -> Tensor | None:
    if type(other) in (int, float):
        return _like(x)
    fit = isinstance(other, Tensor) and other.is_meta and x.dtype == other.dtype
    if not fit or not x.is_floating_point() or not x.is_contiguous() or not other.is_contiguous():
        return None
    rank = max(x.dim(), other.dim())
    sides = [(*[1] * (rank - each.dim()), *each.shape) for each in (x, other)]
    if any(a != b and 1 not in (a, b) for a, b in zip(*sides, strict=True)):
        return None
    return _new(x, *(b if a == 1 else a for a, b in zip(*sides, strict=True)))


def _cat(tensors: Sequence[Tensor], dim: int = 0) -> Tensor | None:
    first = tensors[0]
    axis = dim % max(first.dim(), 1)
    around = {(*each.shape[:axis], -1, *each.shape[axis + 1 :]) for each in tensors}
    alike = all(
        each.is_meta and each.dtype == first.dtype and each.is_contiguous() for each in tensors
    )
    if len(around) > 1 or not alike or first.dim() <= axis:
        return None
    return _new(
        first,
        *first.shape[:axis],
        sum(each.shape[axis] for each in tensors),
        *first.shape[axis + 1 :],
    )


def _softmax(x: Tensor, dim: int, other_type: object = None) -> Tensor | None:
    fits = not other_type and x.is_contiguous() and -x.dim() <= dim < x.dim()
    return _like(x) if fits else None


def _mm(left: Tensor, right: Tensor) -> Tensor | None:
    *batch, inner, columns = right.shape
    fits = left.dim() == right.dim() and left.dtype == right.dtype
    fits = fits and [*left.shape[:-2], left.shape[-1]] == [*batch, inner]
    return _new(left, *left.shape[:-1], columns) if fits else None


def _addmm(bias: Tensor, left: Tensor, right: Tensor) -> Tensor | None:
    fits = bias.shape == right.shape[1:] and bias.dtype == left.dtype
    return _mm(left, right) if fits else None


def _grouped(
    left: Tensor, right: Tensor, offsets: Any = None, bias: Any = None, dtype: Any = None
) -> Tensor | None:
    if left.dtype == torch.bfloat16:
        return None
    # torch's kernel on meta takes no others, devices do
    halves = (each.to(torch.bfloat16) for each in (left, right))
    made: Tensor = _aten._grouped_mm(*halves, offsets, bias)
    return made.to(dtype or left.dtype)


_FUNCTIONS: dict[Any, Function] = {
    _aten.convolution.default: _convolution,
    _aten.native_batch_norm.default: _batch_norm,
    _aten.native_layer_norm.default: _layer_norm,
    _aten.mean.dim: _mean,
    _aten.cat.default: _cat,
    **{getattr(_aten, name).Tensor: _both for name in ("add", "sub", "mul", "div")},
    _aten._softmax.default: _softmax,
    _aten._safe_softmax.default: _softmax,
    _aten.addmm.default: _addmm,
    _aten.mm.default: _mm,
    _aten.bmm.default: _mm,
    _aten._grouped_mm.default: _grouped,
    **{
        getattr(_aten, name).default: _like
        for name in "relu sigmoid tanh gelu silu elu leaky_relu hardtanh hardswish hardsigmoid "
        "mish softplus _prelu_kernel".split()
    },
}

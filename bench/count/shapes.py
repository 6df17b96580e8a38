"""What frequent operators return on the meta device.

torch's own kernels there are in Python: each takes up to some milliseconds, and the first imports
sympy and the compiler, a second. A function here returns None where it is not sure: torch answers.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

_aten = torch.ops.aten


def call(func: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
    """What the operator ``func`` returns."""
    function, result = _FUNCTIONS.get(func), None
    if function and not kwargs:
        first = args[0] if isinstance(args[0], Tensor) else args[0][0]
        if first.is_meta and first.is_floating_point():
            result = function(*args)
    return func(*args, **kwargs) if result is None else result


def _new(like: Tensor, *shape: int) -> Tensor:
    return torch.empty(shape, dtype=like.dtype, device="meta")


def _like(x: Tensor, *_: Any) -> Tensor | None:
    """Another of the same type and strides, if those leave no gaps."""
    if x.is_contiguous():
        return _new(x, *x.shape)
    by_stride = sorted(range(x.dim()), key=lambda dim: (x.stride(dim), x.shape[dim]))
    if not x.permute(by_stride[::-1]).is_contiguous():
        return None
    return torch.empty_strided(x.shape, x.stride(), dtype=x.dtype, device="meta")


def _in_place(x: Tensor, *others: Any) -> Tensor | None:
    tensors = [each for each in others if isinstance(each, Tensor)]
    fit = all(each.shape == x.shape and each.dtype == x.dtype for each in tensors)
    return x if fit else None


def _both(x: Tensor, other: Any) -> Tensor | None:
    if type(other) in (int, float):
        return _like(x)
    fit = isinstance(other, Tensor) and other.is_meta and x.dtype == other.dtype
    if not fit or not x.is_contiguous() or not other.is_contiguous():
        return None
    rank = max(x.dim(), other.dim())
    sides = [(*[1] * (rank - each.dim()), *each.shape) for each in (x, other)]
    if any(a != b and 1 not in (a, b) for a, b in zip(*sides, strict=True)):
        return None
    return _new(x, *(b if a == 1 else a for a, b in zip(*sides, strict=True)))


def _slid(x: Tensor, channels: int, window: Sequence[int], *ways: Sequence[int]) -> Tensor | None:
    """The result of a window that slides over ``x``: ``ways`` are stride, padding, dilation."""
    rank = len(window)
    if x.dim() != rank + 2 or not x.is_contiguous():
        return None
    each_way = (way if len(way) == rank else [*way] * rank for way in ways)
    sizes = [
        (size + 2 * pad - spread * (width - 1) - 1) // step + 1
        for size, width, step, pad, spread in zip(x.shape[2:], window, *each_way, strict=True)
    ]
    return _new(x, x.shape[0], channels, *sizes) if min(sizes) > 0 else None


def _convolution(x: Tensor, weight: Tensor, bias: Tensor | None, *ways: Any) -> Tensor | None:
    stride, padding, dilation, is_transposed, _, groups = ways
    fits = (
        not is_transposed
        and x.dim() == weight.dim()
        and x.shape[1] == weight.shape[1] * groups
        and weight.shape[0] % groups == 0
        and all(each.dtype == x.dtype for each in (weight, bias) if each is not None)
    )
    size = weight.shape[2:]
    return _slid(x, weight.shape[0], size, stride, padding, dilation) if fits else None


def _max_pool(
    x: Tensor,
    window: Sequence[int],
    stride: Sequence[int] = (),
    padding: Sequence[int] = (0,),
    dilation: Sequence[int] = (1,),
    ceil_mode: bool = False,
) -> tuple[Tensor, Tensor] | None:
    if ceil_mode or len(window) < x.dim() - 2 or 2 * max(padding) > min(window):
        return None
    pooled = _slid(x, x.shape[1], window, stride or window, padding, dilation)
    return None if pooled is None else (pooled, pooled.to(torch.int64))


def _batch_norm(x: Tensor, weight: Any, bias: Any, mean: Any, *_: Any) -> tuple[Tensor, ...] | None:
    fits = x.dtype == torch.float32 and x.dim() > 1 and (mean is None or len(mean) == x.shape[1])
    normed = _like(x) if fits else None
    return None if normed is None else (normed, _new(x, x.shape[1]), _new(x, x.shape[1]))


def _layer_norm(x: Tensor, shape: Sequence[int], *_: Any) -> tuple[Tensor, ...] | None:
    outer = x.dim() - len(shape)
    if x.dtype != torch.float32 or x.shape[outer:] != tuple(shape):
        return None
    statistics = (*x.shape[:outer], *[1] * len(shape))
    return _new(x, *x.shape), _new(x, *statistics), _new(x, *statistics)


def _mean(x: Tensor, dims: Sequence[int] | None, keepdim: bool = False) -> Tensor | None:
    if not x.is_contiguous() or not dims:
        return None
    over = {dim % x.dim() for dim in dims}
    left = [[1] * keepdim if dim in over else [size] for dim, size in enumerate(x.shape)]
    return _new(x, *(size for each in left for size in each))


def _cat(tensors: Sequence[Tensor], dim: int = 0) -> Tensor | None:
    first = tensors[0]
    axis = dim % max(first.dim(), 1)
    around = {(*each.shape[:axis], -1, *each.shape[axis + 1 :]) for each in tensors}
    alike = (x.is_meta and x.dtype == first.dtype and x.is_contiguous() for x in tensors)
    if len(around) > 1 or not all(alike) or first.dim() <= axis:
        return None
    joined = sum(each.shape[axis] for each in tensors)
    return _new(first, *first.shape[:axis], joined, *first.shape[axis + 1 :])


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


_UNARY = (
    *("relu", "sigmoid", "tanh", "gelu", "silu", "elu", "leaky_relu", "hardtanh"),
    *("hardswish", "hardsigmoid", "mish"),
)
_BINARY = ("add", "sub", "mul", "div")
_FUNCTIONS: Mapping[Any, Callable[..., Any]] = {
    _aten.convolution.default: _convolution,
    _aten.max_pool2d_with_indices.default: _max_pool,
    _aten.max_pool3d_with_indices.default: _max_pool,
    _aten.native_batch_norm.default: _batch_norm,
    _aten.native_layer_norm.default: _layer_norm,
    _aten.mean.dim: _mean,
    _aten.cat.default: _cat,
    _aten._softmax.default: _softmax,
    _aten._safe_softmax.default: _softmax,
    _aten.addmm.default: _addmm,
    _aten.mm.default: _mm,
    _aten.bmm.default: _mm,
    **{getattr(_aten, name).default: _like for name in (*_UNARY, "softplus", "_prelu_kernel")},
    **{getattr(_aten, f"{name}_").default: _in_place for name in _UNARY},
    **{getattr(_aten, name).Tensor: _both for name in _BINARY},
    **{getattr(_aten, f"{name}_").Tensor: _in_place for name in _BINARY},
}

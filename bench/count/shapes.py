"""What common operators return on the meta device: shapes alone, without torch's way there.

Torch's own kernels for it are written in Python: they run through the arithmetic of BatchNorm, and
import its compiler for an addition. Where one here does not apply it returns None, and torch's is
asked.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor


def batch_norm(
    x: Tensor,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    mean: Tensor | None = None,
    variance: Tensor | None = None,
    training: bool = False,
    *_: Any,
) -> tuple[Tensor, Tensor, Tensor] | None:
    """The normalised input, and the statistics of the batch: none in evaluation mode."""
    if not x.is_meta:
        return None
    saved = torch.empty(x.shape[1] if training else 0, device=x.device)
    return _like(x), saved, saved


def batch_norm_backward(
    grad: Tensor, x: Tensor, *args: Any
) -> tuple[Tensor | None, Tensor | None, Tensor | None] | None:
    """The gradients of input, weight and bias that are wanted."""
    if not x.is_meta:
        return None
    wanted = args[-1]
    per_channel = torch.empty(x.shape[1], device=x.device)
    shapes = (_like(x), per_channel, per_channel)
    gradients = [shape if want else None for shape, want in zip(shapes, wanted, strict=True)]
    return gradients[0], gradients[1], gradients[2]


def group_norm(
    x: Tensor,
    weight: Tensor | None,
    bias: Tensor | None,
    batch: int,
    channels: int,
    positions: int,
    groups: int,
    eps: float,
) -> tuple[Tensor, Tensor, Tensor] | None:
    """The normalised input, mean and scale of every group."""
    if not _is_plain(x):
        return None
    statistic = x.new_empty((batch, groups))
    return x.new_empty(x.shape), statistic, statistic


def convolution(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    transposed: bool,
    output_padding: Sequence[int],
    groups: int,
) -> Tensor | None:
    """The output, dense; not of a transposed convolution or a broken call."""
    if (
        transposed
        or x.dim() != weight.dim()
        or x.shape[1] != weight.shape[1] * groups
        or not (_is_plain(x) and _is_plain(weight) and x.dtype == weight.dtype)
        or not len(stride) == len(padding) == len(dilation) == x.dim() - 2
    ):
        return None
    sizes = zip(x.shape[2:], weight.shape[2:], stride, padding, dilation, strict=True)
    out = [(size + 2 * p - d * (k - 1) - 1) // s + 1 for size, k, s, p, d in sizes]
    if min(out) < 1:
        return None
    return x.new_empty((x.shape[0], weight.shape[0], *out))


def pointwise(x: Tensor, other: Tensor | float = 1.0) -> Tensor | None:
    """Element by element, with a number or a tensor of the same type."""
    if not (isinstance(x, Tensor) and _is_plain(x) and x.is_floating_point()):
        return None
    if isinstance(other, int | float):
        return x.new_empty(x.shape)
    if not (isinstance(other, Tensor) and _is_plain(other) and x.dtype == other.dtype):
        return None
    if x.shape == other.shape:
        return x.new_empty(x.shape)
    try:
        return x.new_empty(torch.broadcast_shapes(x.shape, other.shape))  # type: ignore[no-untyped-call]
    except RuntimeError:
        return None


def product_and_sum(bias: Tensor, x: Tensor, weight: Tensor) -> Tensor | None:
    """The sum of a vector and a product of two matrices."""
    if (
        not (_is_plain(x) and x.dim() == weight.dim() == 2)
        or x.shape[1] != weight.shape[0]
        or bias.shape != weight.shape[1:]
        or not bias.dtype == x.dtype == weight.dtype
    ):
        return None
    return x.new_empty((x.shape[0], weight.shape[1]))


def mean(x: Tensor, dims: Sequence[int] | None = None, keepdim: bool = False) -> Tensor | None:
    """Over some axes, in a floating type."""
    if not (_is_plain(x) and x.is_floating_point() and dims):
        return None
    over = {dim % x.dim() for dim in dims if -x.dim() <= dim < x.dim()}
    if len(over) != len(dims):
        return None
    sizes = ((1 if axis in over else size) for axis, size in enumerate(x.shape))
    kept = [size for axis, size in enumerate(sizes) if keepdim or axis not in over]
    return x.new_empty(kept)


def stack(tensors: Sequence[Tensor], dim: int = 0) -> Tensor | None:
    """Tensors of one shape along a new axis."""
    first = tensors[0]
    if not _alike(tensors, first.shape, None) or not 0 <= dim <= first.dim():
        return None
    return first.new_empty((*first.shape[:dim], len(tensors), *first.shape[dim:]))


def concatenate(tensors: Sequence[Tensor], dim: int = 0) -> Tensor | None:
    """Tensors of one shape, but for the axis along which they are put together."""
    first = tensors[0]
    if not 0 <= dim < first.dim() or not _alike(tensors, first.shape, dim):
        return None
    size = sum(x.shape[dim] for x in tensors)
    return first.new_empty((*first.shape[:dim], size, *first.shape[dim + 1 :]))


SHAPES: dict[str, Callable[..., Any]] = {
    "native_batch_norm": batch_norm,
    "native_batch_norm_backward": batch_norm_backward,
    "native_group_norm": group_norm,
    "convolution": convolution,
    **dict.fromkeys(("add", "sub", "mul", "div", "tanh", "relu", "sigmoid"), pointwise),
    "addmm": product_and_sum,
    "mean": mean,
    "stack": stack,
    "cat": concatenate,
}
"""By the operator's name in the aten namespace; none of them in place."""


def _is_plain(x: Tensor) -> bool:
    return x.is_meta and x.is_contiguous()


def _alike(tensors: Sequence[Tensor], shape: torch.Size, but: int | None) -> bool:
    """Whether all are plain, of one type and of ``shape``, on the axis ``but`` of any size."""
    axes = [axis for axis in range(len(shape)) if axis != but]
    return all(
        _is_plain(x)
        and x.dtype == tensors[0].dtype
        and x.dim() == len(shape)
        and all(x.shape[axis] == shape[axis] for axis in axes)
        for x in tensors
    )


def _like(x: Tensor) -> Tensor:
    """A dense tensor of the same shape and order of axes."""
    if math.prod(x.shape) and x.is_contiguous():
        return torch.empty_strided(x.shape, x.stride(), dtype=x.dtype, device=x.device)
    return torch.empty_like(x)

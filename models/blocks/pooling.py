"""Pooling as fast as memory allows: the maximum of 2x2 pixels, and a channel's mean and maximum.

Gradients go where those of torch's own pooling go, also where several values are the maximum.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

FEW = 1 << 17
"""Values below which torch's own pooling has its gradient sooner."""


def max_pool_2x2(x: Tensor) -> Tensor:
    """The maximum of each 2x2 pixels; an odd last row or column is left out.

    On a CPU torch's own pooling looks at one value at a time. The maximum of every other row and
    the next one, and then of columns, is the same and was about 10 times as fast.

    Shapes: (B, C, T, H, W) -> (B, C, T, H // 2, W // 2).
    """
    wants_gradient = torch.is_grad_enabled() and x.requires_grad
    if x.is_cuda or (wants_gradient and x.numel() < FEW):
        return F.max_pool3d(x, (1, 2, 2))
    if wants_gradient:
        return _MaxPool.apply(x)  # type: ignore[no-any-return,no-untyped-call]
    return _larger_of_columns(torch.maximum(*_rows(x)))


def _rows(x: Tensor) -> tuple[Tensor, Tensor]:
    """Even and odd rows of the pixels that have a partner."""
    height, width = (size // 2 * 2 for size in x.shape[3:])
    return x[..., 0:height:2, :width], x[..., 1:height:2, :width]


def _larger_of_columns(rows: Tensor) -> Tensor:
    return torch.maximum(rows[..., 0::2], rows[..., 1::2])


class _MaxPool(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return _larger_of_columns(torch.maximum(*_rows(x)))

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        (x,) = ctx.saved_tensors
        to_x = torch.zeros_like(x)
        upper, lower = _rows(x)
        # of equal values the first has the gradient, row by row
        is_upper = _larger_of_columns(upper) >= _larger_of_columns(lower)
        for row, into, mine in zip((upper, lower), _rows(to_x), (is_upper, ~is_upper), strict=True):
            is_left = row[..., 0::2] >= row[..., 1::2]
            into[..., 0::2] = grad * (mine & is_left)
            into[..., 1::2] = grad * (mine & ~is_left)
        return to_x


def mean_and_max(x: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and maximum of each channel over frames and pixels.

    Torch's own gradient of a maximum goes over the input several times; this one over it twice.

    Shapes: (B, C, T, H, W) -> (B, C), (B, C).
    """
    if torch.is_grad_enabled() and x.requires_grad:
        return _MeanAndMax.apply(x)  # type: ignore[no-any-return,no-untyped-call]
    return x.mean((2, 3, 4)), x.amax((2, 3, 4))


class _MeanAndMax(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> tuple[Tensor, Tensor]:
        mean, largest = x.mean((2, 3, 4)), x.amax((2, 3, 4))
        ctx.save_for_backward(x, largest)
        return mean, largest

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, to_mean: Tensor, to_max: Tensor) -> Tensor:
        x, largest = ctx.saved_tensors
        is_max = x == _everywhere(largest)
        # equal values share the gradient
        to_each = to_max / is_max.sum((2, 3, 4))
        to_all = to_mean / (x[0, 0].numel())
        return torch.where(is_max, _everywhere(to_all + to_each), _everywhere(to_all))


def _everywhere(per_channel: Tensor) -> Tensor:
    return per_channel[:, :, None, None, None]

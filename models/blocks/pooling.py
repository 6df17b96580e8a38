"""Faster pooling: the maximum of 2x2 pixels, and a channel's mean and maximum.

Gradients go where those of torch's own pooling go, also where several values are the maximum.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

from vidcost.models.blocks.kernels import is_worth_a_launch, may_run


def max_pool_2x2(x: Tensor) -> Tensor:
    """The maximum of each 2x2 pixels; an odd last row or column is left out.

    On a CPU torch's own pooling looks at one value at a time. The maximum of every other row and
    the next one, and then of columns, is the same and was about 10 times as fast. Its gradient
    would not be: where one is wanted, and on a GPU, it is torch's.

    Shapes: (B, C, T, H, W) -> (B, C, T, H // 2, W // 2).
    """
    if x.is_cuda or (torch.is_grad_enabled() and x.requires_grad):
        return F.max_pool3d(x, (1, 2, 2))
    height, width = (size // 2 * 2 for size in x.shape[3:])
    rows = torch.maximum(x[..., 0:height:2, :width], x[..., 1:height:2, :width])
    return torch.maximum(rows[..., 0::2], rows[..., 1::2])


FEW = 1 << 18
"""Values below which torch's own gradient of the maximum is there sooner."""


def mean_and_max(x: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and maximum of each channel over frames and pixels.

    Torch's own gradient of a maximum goes over the input several times; this one over it twice. On
    a GPU a kernel goes over it once for both, and once for the gradient.

    Shapes: (B, C, T, H, W) -> (B, C), (B, C).
    """
    wants_gradient = torch.is_grad_enabled() and x.requires_grad
    is_large = x.numel() >= FEW if wants_gradient else is_worth_a_launch(x)
    if is_large and may_run(x) and x.is_contiguous():
        from vidcost.models.blocks import pooling_kernel

        if wants_gradient:
            return pooling_kernel.MeanAndMax.apply(x)  # type: ignore[no-any-return,no-untyped-call]
        return pooling_kernel.mean_and_max(x)
    if wants_gradient and x.numel() >= FEW:
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

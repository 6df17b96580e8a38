"""1x1x1 convolutions as products of matrices, for the fast path on a CPU.

Shapes: B batch, C channels, D channels of a projection, P = T*H*W positions.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.modules.module import _has_any_global_hook

FEW = 1 << 18
"""Values of a map below which torch's convolutions are as fast, and fewer operators."""

THIN = 2
"""Channels for each position from which the gradients of a weight, of each clip its own and then
added up, take longer than a convolution."""


def project(
    x: Tensor, *convolutions: nn.Conv3d, side_by_side: Literal["channels", "positions"]
) -> Sequence[Tensor]:
    """What 1x1x1 convolutions make of ``x``, one after another or in one product.

    On a CPU convolutions of torch bring maps into a layout of their own and back, for each anew.
    One product reads ``x`` as it lies and writes what is wanted: the channels of a position
    ``side_by_side``, or the positions of a channel.

    Shapes: (B, C, T, H, W) -> (B, D, P) for each.
    """
    each_clip = side_by_side == "positions"
    if not (is_for_products(x, x) and _may_multiply(x, convolutions, each_clip=each_clip)):
        return [convolution(x).flatten(2) for convolution in convolutions]
    return in_one_product(x.flatten(2), convolutions, each_clip=each_clip)


def in_one_product(
    x: Tensor, convolutions: Sequence[nn.Conv3d], *, each_clip: bool
) -> Sequence[Tensor]:
    """What 1x1x1 convolutions make of ``x``: positions side by side of ``each_clip``, or channels.

    Shapes: (B, C, P) -> (B, D, P) for each.
    """
    weight = torch.cat([each.weight for each in convolutions]).flatten(1)
    y = _product(x, weight, each_clip=each_clip)
    parts = torch.split(y, [each.out_channels for each in convolutions], dim=1)
    return [_plus(part, each.bias) for part, each in zip(parts, convolutions, strict=True)]


def project_by(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """The 1x1x1 convolution of ``x`` by a ``weight`` that belongs to no module.

    Shapes: (B, C, T, H, W), (D, C), (D,) -> (B, D, P).
    """
    if x.shape[1] != weight.shape[1] or not is_for_products(x, x):
        return F.conv3d(x, weight[:, :, None, None, None], bias).flatten(2)
    return _plus(_product(x.flatten(2), weight, each_clip=True), bias)


def project_back(y: Tensor, convolution: nn.Conv3d, like: Tensor) -> Tensor:
    """What a 1x1x1 convolution makes of ``y``, in the extents and layout of ``like``.

    Shapes: (B, D, P), (B, C, T, H, W) -> (B, C, T, H, W).
    """
    extents = like.shape[2:]
    channels_last = like.stride(1) == 1 and not like.is_contiguous()
    each_clip = not channels_last
    y = y.reshape(*y.shape[:2], *extents)
    if not (is_for_products(y, like) and _may_multiply(y, [convolution], each_clip=each_clip)):
        return convolution(y)  # type: ignore[no-any-return]
    z = _product(y.flatten(2), convolution.weight.flatten(1), each_clip=each_clip)
    return _plus(z, convolution.bias).reshape(*z.shape[:2], *extents)


def has_own_weight(module: nn.Module, x: Tensor, groups: int = 1) -> bool:
    """Whether ``module`` is a 1x1x1 convolution that would multiply ``x`` by its weight as it is.

    Pruning and weight normalisation make a weight anew before each call, offloading and sharding
    bring one, and another class or ``forward`` may do anything.
    """
    return (
        type(module) is nn.Conv3d
        and module.kernel_size == module.stride == (1, 1, 1)
        and module.padding == (0, 0, 0)
        and "forward" not in vars(module)
        and (weight := module._parameters.get("weight")) is not None
        and weight.shape == (module.out_channels, module.in_channels // groups, 1, 1, 1)
        and weight.device == x.device
    )


def _may_multiply(x: Tensor, convolutions: Sequence[nn.Conv3d], *, each_clip: bool) -> bool:
    """Whether products, which may be of ``each_clip`` by itself, may take convolutions' place.

    Not where hooks are to see what goes through a module, or to change it; nor of what a
    convolution would refuse: it knows the reason.
    """
    if _has_any_global_hook():  # type: ignore[no-untyped-call]
        return False
    channels, positions = x.shape[1], x.shape[2:].numel()
    adds_up = each_clip and len(x) > 1 and torch.is_grad_enabled()
    return all(
        has_own_weight(each, x)
        and each.in_channels == channels
        and not (
            each._forward_hooks
            or each._forward_pre_hooks
            or each._backward_hooks
            or each._backward_pre_hooks
        )
        and not (adds_up and each.out_channels > THIN * positions and each.weight.requires_grad)
        for each in convolutions
    )


def is_for_products(x: Tensor, widest: Tensor) -> bool:
    """Whether ``x`` is on a CPU, the ``widest`` map large, and nobody wants to see the operators.

    Counters, whose dispatch modes see operators, and tracers are to see what other devices compute;
    compilers choose by themselves.
    """
    # a small map, or one on a GPU, is told at once; after a convolution the code of any more
    # questions has left the caches, and takes ten times as long as in a loop of its own
    return (
        widest.numel() >= FEW
        and x.is_cpu
        and not torch.compiler.is_compiling()
        and x.dim() == 5
        and not torch.jit.is_tracing()  # type: ignore[attr-defined,no-untyped-call]
        and torch._C._len_torch_dispatch_stack() == 0
    )


def _product(x: Tensor, weight: Tensor, *, each_clip: bool) -> Tensor:
    """``weight`` times ``x``: positions side by side of ``each_clip`` by itself, else channels.

    Shapes: (B, C, P), (D, C) -> (B, D, P).
    """
    if each_clip:
        # B D C @ B C P -> B D P
        return weight.expand(len(x), -1, -1) @ x
    # B P C @ C D -> B P D
    return (x.transpose(1, 2) @ weight.t()).transpose(1, 2)


def _plus(y: Tensor, bias: Tensor | None) -> Tensor:
    # under autocast a product is of another type than the parameters
    return y if bias is None else y + bias.to(y.dtype)[:, None]

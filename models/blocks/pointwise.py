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
    if not all(_multiplies(x, each, each_clip=each_clip) for each in convolutions):
        return [convolution(x).flatten(2) for convolution in convolutions]
    weight = torch.cat([each.weight for each in convolutions]).flatten(1)
    if side_by_side == "channels":
        # B P C @ C D -> B P D
        y = (x.flatten(2).transpose(1, 2) @ weight.t()).transpose(1, 2)
    else:
        # B D C @ B C P -> B D P
        y = weight.expand(len(x), -1, -1) @ x.flatten(2)
    parts = torch.split(y, [each.out_channels for each in convolutions], dim=1)
    return [_plus(part, each.bias) for part, each in zip(parts, convolutions, strict=True)]


def project_by(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """The 1x1x1 convolution of ``x`` by a ``weight`` that belongs to no module.

    Shapes: (B, C, T, H, W), (D, C), (D,) -> (B, D, P).
    """
    if x.dim() != 5 or x.shape[1] != weight.shape[1] or not _is_unseen(x):
        return F.conv3d(x, weight[:, :, None, None, None], bias).flatten(2)
    # B D C @ B C P -> B D P
    return _plus(weight.expand(len(x), -1, -1) @ x.flatten(2), bias)


def project_back(y: Tensor, convolution: nn.Conv3d, like: Tensor) -> Tensor:
    """What a 1x1x1 convolution makes of ``y``, in the extents and layout of ``like``.

    Shapes: (B, D, P), (B, C, T, H, W) -> (B, C, T, H, W).
    """
    extents = like.shape[2:]
    channels_last = like.stride(1) == 1 and not like.is_contiguous()
    if not _multiplies(y.unflatten(2, extents), convolution, each_clip=not channels_last):
        return convolution(y.reshape(len(y), -1, *extents))  # type: ignore[no-any-return]
    weight = convolution.weight.flatten(1)
    if channels_last:
        # B P D @ D C -> B P C
        z = (y.transpose(1, 2) @ weight.t()).transpose(1, 2)
    else:
        # B C D @ B D P -> B C P
        z = weight.expand(len(y), -1, -1) @ y
    return _plus(z, convolution.bias).reshape(len(y), -1, *extents)


def has_own_weight(module: nn.Module, x: Tensor, groups: int = 1) -> bool:
    """Whether ``module`` is a 1x1x1 convolution that would multiply ``x`` by its weight as it is.

    Pruning and weight normalisation make a weight anew before each call, offloading and sharding
    bring one, and another class or ``forward`` may do anything.
    """
    return (
        type(module) is nn.Conv3d
        and module.kernel_size == module.stride == (1, 1, 1)
        and module.padding == (0, 0, 0)
        and module.groups == groups
        and "forward" not in vars(module)
        and (weight := module._parameters.get("weight")) is not None
        and weight.shape == (module.out_channels, module.in_channels // groups, 1, 1, 1)
        and weight.device == x.device
    )


def _is_unwatched(module: nn.Module) -> bool:
    """Whether no hook is to see what goes through ``module``, or to change it."""
    return not (
        module._forward_hooks
        or module._forward_pre_hooks
        or module._backward_hooks
        or module._backward_pre_hooks
        or _has_any_global_hook()  # type: ignore[no-untyped-call]
    )


def _multiplies(x: Tensor, convolution: nn.Conv3d, *, each_clip: bool) -> bool:
    """Whether a product, which may be of ``each_clip`` by itself, takes a convolution's place.

    Not of what ``convolution`` would refuse: it knows the reason.
    """
    if not (_is_unseen(x) and has_own_weight(convolution, x) and _is_unwatched(convolution)):
        return False
    if x.dim() != 5 or x.shape[1] != convolution.in_channels:
        return False
    adds_up = each_clip and len(x) > 1 and torch.is_grad_enabled()
    thin = convolution.out_channels > THIN * x.shape[2:].numel()
    return not (adds_up and thin and convolution.weight.requires_grad)


def _is_unseen(x: Tensor) -> bool:
    """Whether ``x`` is on a CPU and nobody wants to see the operators.

    Counters, whose dispatch modes see operators, and tracers are to see what other devices compute;
    compilers choose by themselves.
    """
    return (
        x.device.type == "cpu"
        and not torch.compiler.is_compiling()
        and not torch.jit.is_tracing()  # type: ignore[attr-defined,no-untyped-call]
        and torch._C._len_torch_dispatch_stack() == 0
    )


def _plus(y: Tensor, bias: Tensor | None) -> Tensor:
    # under autocast a product is of another type than the parameters
    return y if bias is None else y + bias.to(y.dtype)[:, None]

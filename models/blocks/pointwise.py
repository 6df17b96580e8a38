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


def project(
    x: Tensor, *convolutions: nn.Conv3d, side_by_side: Literal["channels", "positions"]
) -> Sequence[Tensor]:
    """What 1x1x1 convolutions make of ``x``, one after another or in one product.

    On a CPU convolutions of torch bring maps into a layout of their own and back, for each anew.
    One product reads ``x`` as it lies and writes what is wanted: the channels of a position
    ``side_by_side``, or the positions of a channel.

    Shapes: (B, C, T, H, W) -> (B, D, P) for each.
    """
    if not (_multiplies(x) and all(is_as_built(each, nn.Conv3d) for each in convolutions)):
        return [convolution(x).flatten(2) for convolution in convolutions]
    weight = torch.cat([each.weight for each in convolutions]).flatten(1).expand(len(x), -1, -1)
    if side_by_side == "channels":
        # B P C @ B C D -> B P D
        y = (x.flatten(2).transpose(1, 2) @ weight.transpose(1, 2)).transpose(1, 2)
    else:
        # B D C @ B C P -> B D P
        y = weight @ x.flatten(2)
    parts = torch.split(y, [each.out_channels for each in convolutions], dim=1)
    return [
        part if each.bias is None else part + each.bias[:, None]
        for part, each in zip(parts, convolutions, strict=True)
    ]


def project_by(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """The 1x1x1 convolution of ``x`` by a ``weight`` that belongs to no module.

    Shapes: (B, C, T, H, W), (D, C), (D,) -> (B, D, P).
    """
    if not _multiplies(x):
        return F.conv3d(x, weight[:, :, None, None, None], bias).flatten(2)
    # B D C @ B C P -> B D P
    y = weight.expand(len(x), -1, -1) @ x.flatten(2)
    return y if bias is None else y + bias[:, None]


def project_back(y: Tensor, convolution: nn.Conv3d, like: Tensor) -> Tensor:
    """What a 1x1x1 convolution makes of ``y``, in the extents and layout of ``like``.

    Shapes: (B, D, P), (B, C, T, H, W) -> (B, C, T, H, W).
    """
    extents = like.shape[2:]
    if not (_multiplies(y) and is_as_built(convolution, nn.Conv3d)):
        return convolution(y.reshape(len(y), -1, *extents))  # type: ignore[no-any-return]
    weight, bias = convolution.weight.flatten(1).expand(len(y), -1, -1), convolution.bias
    if like.is_contiguous() or not like.is_contiguous(memory_format=torch.channels_last_3d):
        # B C D @ B D P -> B C P
        z = weight @ y
    else:
        # B P D @ B D C -> B P C
        z = (y.transpose(1, 2) @ weight.transpose(1, 2)).transpose(1, 2)
    z = z if bias is None else z + bias[:, None]
    return z.reshape(len(y), -1, *extents)


def is_as_built(module: nn.Module, kind: type[nn.Module]) -> bool:
    """Whether ``module`` computes what its class does, and nobody looks at what goes through it.

    Then its parameters can be used without calling it.
    """
    return (
        type(module) is kind
        and "forward" not in vars(module)
        and not (
            module._forward_hooks
            or module._forward_pre_hooks
            or module._backward_hooks
            or module._backward_pre_hooks
            or _has_any_global_hook()  # type: ignore[no-untyped-call]
        )
    )


def _multiplies(x: Tensor) -> bool:
    """Whether products take the place of convolutions.

    Counters, whose dispatch modes see operators, and tracers are to see what other devices compute;
    compilers choose by themselves.
    """
    return (
        x.device.type == "cpu"
        and not torch.compiler.is_compiling()
        and not torch.jit.is_tracing()  # type: ignore[attr-defined,no-untyped-call]
        and torch._C._len_torch_dispatch_stack() == 0
    )

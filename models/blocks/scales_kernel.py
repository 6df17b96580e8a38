"""PNL's scales brought to one resolution, mixed, normalised and added to the input: one kernel.

Shapes: B batch, C channels, n scales, E = C // n channels of a scale, P = T*H*W positions.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import triton
import triton.language as tl
from torch import Tensor

INPUTS = 4
"""Scales that the kernel can be given."""


def combine_scales(
    scales: Sequence[Tensor],
    weights: Tensor | None,
    x: Tensor,
    bn: torch.nn.BatchNorm3d,
) -> Tensor:
    """BN( f_comb(Y_0, ..., Y_{n-1}) ) + x, without a gradient, by the running statistics.

    Each scale is read at its own resolution, so nothing is held at full resolution but x and z.
    Channels side by side, as attention leaves them, are read as they are.

    Shapes: scale k is (B, E, T, H >> k, W >> k); weights (B, n, n), None for concatenation;
            x contiguous (B, C, T, H, W), of fewer than 2^31 values a clip -> the same.
    """
    batch, channels, frames, height, width = x.shape
    assert len(scales) <= INPUTS, len(scales)
    assert bn.running_mean is not None
    assert bn.running_var is not None
    last = not scales[0].is_contiguous()
    layout = torch.channels_last_3d if last else torch.contiguous_format
    scales = [y.contiguous(memory_format=layout) for y in scales]
    z = torch.empty_like(x, dtype=torch.promote_types(x.dtype, scales[0].dtype))
    group, positions = channels // len(scales), frames * height * width
    # where channels are side by side, more of them at a time; 1024 values in any case
    rows, columns = (16, 64) if last else (4, 256)
    grid = (batch * triton.cdiv(positions, columns), triton.cdiv(group, rows))
    with torch.cuda.device_of(x):  # type: ignore[no-untyped-call]
        _combine[grid](
            z,
            x,
            *(scales[min(k, len(scales) - 1)] for k in range(INPUTS)),
            None if weights is None else weights.contiguous(),
            bn.weight,
            bn.bias,
            bn.running_mean,
            bn.running_var,
            bn.eps,
            frames,
            height,
            width,
            positions,
            group,
            N=len(scales),
            LAST=last,
            ROWS=rows,
            COLUMNS=columns,
            num_warps=4,
            enable_fp_fusion=True,
        )
    return z


@triton.jit
def _nearest(out: tl.tensor, size: tl.tensor, small: tl.tensor) -> tl.tensor:
    """The index that torch's nearest upsampling takes: out * small / size in single precision."""
    ratio = tl.div_rn(small.to(tl.float32), size.to(tl.float32))
    return tl.minimum((out.to(tl.float32) * ratio).to(tl.int32), small - 1)


@triton.jit
def _at_scale(
    y: tl.tensor,
    clip: tl.tensor,
    e: tl.tensor,
    p: tl.tensor,
    inside: tl.tensor,
    frames: tl.tensor,
    height: tl.tensor,
    width: tl.tensor,
    positions: tl.tensor,
    group: tl.tensor,
    K: tl.constexpr,  # noqa: N803
    LAST: tl.constexpr,  # noqa: N803
) -> tl.tensor:
    """Values of scale K at channels e and the positions p of full resolution: e p."""
    at = p
    if K > 0:
        small_height, small_width = height >> K, width >> K
        h = _nearest(p // width % height, height, small_height)
        w = _nearest(p % width, width, small_width)
        at = (p // width // height * small_height + h) * small_width + w
        positions = frames * small_height * small_width
    y += clip.to(tl.int64) * group * positions
    beside, apart = (1, group) if LAST else (positions, 1)
    offsets = e[:, None] * beside + at[None, :] * apart
    return tl.load(y + offsets, mask=inside, other=0.0).to(tl.float32)


@triton.jit
def _combine(
    z: tl.tensor,
    x: tl.tensor,
    y0: tl.tensor,
    y1: tl.tensor,
    y2: tl.tensor,
    y3: tl.tensor,
    weights: tl.tensor,
    bn_weight: tl.tensor,
    bn_bias: tl.tensor,
    bn_mean: tl.tensor,
    bn_var: tl.tensor,
    eps: tl.tensor,
    frames: tl.tensor,
    height: tl.tensor,
    width: tl.tensor,
    positions: tl.tensor,
    group: tl.tensor,
    N: tl.constexpr,  # noqa: N803
    LAST: tl.constexpr,  # noqa: N803
    ROWS: tl.constexpr,  # noqa: N803
    COLUMNS: tl.constexpr,  # noqa: N803
) -> None:
    """ROWS channels of each scale at COLUMNS positions of one clip."""
    blocks = tl.cdiv(positions, COLUMNS)
    clip, block = tl.program_id(0) // blocks, tl.program_id(0) % blocks
    e = tl.program_id(1) * ROWS + tl.arange(0, ROWS)
    p = block * COLUMNS + tl.arange(0, COLUMNS)
    inside = (e < group)[:, None] & (p < positions)[None, :]
    v0 = _at_scale(y0, clip, e, p, inside, frames, height, width, positions, group, 0, LAST)
    v1, v2, v3 = v0, v0, v0
    if N > 1:
        v1 = _at_scale(y1, clip, e, p, inside, frames, height, width, positions, group, 1, LAST)
    if N > 2:
        v2 = _at_scale(y2, clip, e, p, inside, frames, height, width, positions, group, 2, LAST)
    if N > 3:
        v3 = _at_scale(y3, clip, e, p, inside, frames, height, width, positions, group, 3, LAST)
    first = clip.to(tl.int64) * N * group * positions
    for s in tl.static_range(N):
        if weights is None:
            mixed = v0 if s == 0 else (v1 if s == 1 else (v2 if s == 2 else v3))
        else:
            row = weights + (clip * N + s) * N
            mixed = tl.load(row).to(tl.float32) * v0
            if N > 1:
                mixed += tl.load(row + 1).to(tl.float32) * v1
            if N > 2:
                mixed += tl.load(row + 2).to(tl.float32) * v2
            if N > 3:
                mixed += tl.load(row + 3).to(tl.float32) * v3
        c = s * group + e
        known = e < group
        scale = tl.load(bn_weight + c, mask=known, other=0.0).to(tl.float32) / tl.sqrt(
            tl.load(bn_var + c, mask=known, other=1.0).to(tl.float32) + eps
        )
        shift = (
            tl.load(bn_bias + c, mask=known, other=0.0).to(tl.float32)
            - tl.load(bn_mean + c, mask=known, other=0.0).to(tl.float32) * scale
        )
        at = first + c[:, None] * positions + p[None, :]
        identity = tl.load(x + at, mask=inside, other=0.0).to(tl.float32)
        tl.store(z + at, mixed * scale[:, None] + shift[:, None] + identity, mask=inside)

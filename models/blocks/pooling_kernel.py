"""Mean and maximum of each channel in one pass over the input: kernels.

Shapes: R rows, one for each channel of each item of the batch; P = T*H*W positions, side by side;
S parts of a row, if it is shared out.
"""

from __future__ import annotations

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor
from torch.autograd.function import once_differentiable

PROGRAMS = 1024
"""That a GPU is to have, if rows are long enough: several for each of its processors."""

LONGEST = 2048
"""Positions that a program takes at a time."""


def mean_and_max(x: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and maximum of each channel over frames and pixels, without a gradient.

    Shapes: (B, C, T, H, W), contiguous -> (B, C), (B, C).
    """
    mean, largest, _ = _pooled(x, counted=False)
    return mean, largest


class MeanAndMax(torch.autograd.Function):
    """The same, with a gradient that goes over the input once: maxima are counted on the way."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> tuple[Tensor, Tensor]:
        mean, largest, count = _pooled(x, counted=True)
        ctx.save_for_backward(x, largest, count)
        return mean, largest

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, to_mean: Tensor, to_max: Tensor) -> Tensor:
        x, largest, count = ctx.saved_tensors
        rows, positions = _rows_and_positions(x)
        to_x = torch.empty_like(x)
        block, warps = _block(positions)
        with torch.cuda.device_of(x):  # type: ignore[no-untyped-call]
            _spread[rows, triton.cdiv(positions, block)](
                to_x,
                x,
                largest,
                count,
                to_mean.contiguous(),
                to_max.contiguous(),
                positions,
                BLOCK=block,
                num_warps=warps,
                enable_fp_fusion=True,
            )
        return to_x


def _pooled(x: Tensor, *, counted: bool) -> tuple[Tensor, Tensor, Tensor | None]:
    """Mean, maximum and, if wanted, how often that is there: B C each."""
    rows, positions = _rows_and_positions(x)
    block, warps = _block(positions)
    blocks = triton.cdiv(positions, block)
    per_part = triton.cdiv(blocks, max(1, min(blocks, PROGRAMS // rows)))
    parts = triton.cdiv(blocks, per_part)

    def outputs(*shape: int, dtype: torch.dtype) -> tuple[Tensor, Tensor, Tensor | None]:
        return (
            x.new_empty(shape, dtype=dtype),
            x.new_empty(shape, dtype=dtype),
            x.new_empty(shape, dtype=torch.int32) if counted else None,
        )

    pooled = outputs(*x.shape[:2], dtype=x.dtype)
    of_parts = pooled if parts == 1 else outputs(rows, parts, dtype=torch.float32)
    with torch.cuda.device_of(x):  # type: ignore[no-untyped-call]
        _pool[rows, parts](
            *of_parts,
            x,
            positions,
            per_part * block,
            PARTS=parts > 1,
            BLOCK=block,
            num_warps=warps,
            enable_fp_fusion=True,
        )
        if parts > 1:
            _join[(rows,)](
                *pooled,
                *of_parts,
                positions,
                parts,
                BLOCK=triton.next_power_of_2(parts),
                num_warps=1,
                enable_fp_fusion=True,
            )
    return pooled


def _rows_and_positions(x: Tensor) -> tuple[int, int]:
    rows = x.shape[0] * x.shape[1]
    return rows, x.numel() // rows


def _block(positions: int) -> tuple[int, int]:
    """Positions that a program takes at a time, and warps that it has for them."""
    block = min(LONGEST, max(128, triton.next_power_of_2(positions)))
    return block, max(1, block // 512)


@triton.jit
def _merged(
    largest: tl.tensor, count: tl.tensor, other: tl.tensor, other_count: tl.tensor
) -> tuple[tl.tensor, tl.tensor]:
    """The larger of two, or NaN as torch has it, and how often that is there."""
    most = tl.maximum(largest, other, propagate_nan=tl.PropagateNan.ALL)
    return most, tl.where(largest == most, count, 0) + tl.where(other == most, other_count, 0)


@triton.jit
def _larger(one: tl.tensor, other: tl.tensor) -> tl.tensor:
    return tl.maximum(one, other, propagate_nan=tl.PropagateNan.ALL)


@triton.jit
def _pool(
    mean: tl.tensor,
    largest: tl.tensor,
    count: tl.tensor,
    x: tl.tensor,
    positions: tl.tensor,
    per_part: tl.tensor,
    PARTS: tl.constexpr,  # noqa: N803
    BLOCK: tl.constexpr,  # noqa: N803
) -> None:
    """One part of one row: its sum if there are several PARTS, else its mean."""
    row, part = tl.program_id(0), tl.program_id(1)
    x += row.to(tl.int64) * positions
    total = tl.zeros([BLOCK], tl.float32)
    most = tl.full([BLOCK], float("-inf"), tl.float32)
    times = tl.zeros([BLOCK], tl.int32)
    first = part * per_part
    for start in range(first, tl.minimum(first + per_part, positions), BLOCK):
        at = start + tl.arange(0, BLOCK)
        inside = at < positions
        some = tl.load(x + at, mask=inside, other=0.0).to(tl.float32)
        total += some
        some = tl.where(inside, some, float("-inf"))
        if count is None:
            most = _larger(most, some)
        else:
            most, times = _merged(most, times, some, inside.to(tl.int32))
    whole = tl.sum(total, 0)
    if not PARTS:
        whole = whole / positions
    out = row * tl.num_programs(1) + part
    tl.store(mean + out, whole)
    if count is None:
        tl.store(largest + out, tl.reduce(most, 0, _larger))
    else:
        most_of_all, times_of_all = tl.reduce((most, times), 0, _merged)
        tl.store(largest + out, most_of_all)
        tl.store(count + out, times_of_all)


@triton.jit
def _join(
    mean: tl.tensor,
    largest: tl.tensor,
    count: tl.tensor,
    sums: tl.tensor,
    maxima: tl.tensor,
    counts: tl.tensor,
    positions: tl.tensor,
    parts: tl.tensor,
    BLOCK: tl.constexpr,  # noqa: N803
) -> None:
    """All parts of one row."""
    row, part = tl.program_id(0), tl.arange(0, BLOCK)
    inside, at = part < parts, row * parts + part
    tl.store(mean + row, tl.sum(tl.load(sums + at, mask=inside, other=0.0), 0) / positions)
    most = tl.load(maxima + at, mask=inside, other=float("-inf"))
    if count is None:
        tl.store(largest + row, tl.reduce(most, 0, _larger))
    else:
        times = tl.load(counts + at, mask=inside, other=0)
        most_of_all, times_of_all = tl.reduce((most, times), 0, _merged)
        tl.store(largest + row, most_of_all)
        tl.store(count + row, times_of_all)


@triton.jit
def _spread(
    to_x: tl.tensor,
    x: tl.tensor,
    largest: tl.tensor,
    count: tl.tensor,
    to_mean: tl.tensor,
    to_max: tl.tensor,
    positions: tl.tensor,
    BLOCK: tl.constexpr,  # noqa: N803
) -> None:
    """The gradient of one block of one row; equal maxima share theirs."""
    row = tl.program_id(0)
    at = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    inside = at < positions
    first = row.to(tl.int64) * positions
    some = tl.load(x + first + at, mask=inside, other=0.0).to(tl.float32)
    most = tl.load(largest + row).to(tl.float32)
    to_all = tl.load(to_mean + row).to(tl.float32) / positions
    to_each = tl.load(to_max + row).to(tl.float32) / tl.load(count + row)
    tl.store(to_x + first + at, tl.where(some == most, to_all + to_each, to_all), mask=inside)

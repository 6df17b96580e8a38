"""The speed of a large matrix product: the most that a device is seen to do."""

import torch

from vidcost.bench.timing.axes import Dtype
from vidcost.bench.timing.build import DTYPES
from vidcost.bench.timing.clock import clock_for

EDGES = {"cuda": (8192,), "cpu": (256, 512, 1024, 2048)}
"""Rows and columns of the matrices, from small to large."""

LONG_ENOUGH_S = 0.05
"""On a CPU a larger matrix is tried only if the last product took less: some have no fp16 units."""

TIMES = 10


def measured_macs_per_s(device: str, dtype: Dtype) -> float:
    """Multiply-accumulates per second in the fastest of ten products of large square matrices.

    Takes about two seconds on two CPU cores, less on a GPU. TF32 is switched for ``tf32`` and
    ``fp32`` and put back.
    """
    held = torch.bfloat16 if dtype == "bf16-autocast" else DTYPES[dtype]
    before = torch.backends.cuda.matmul.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = dtype == "tf32"
    best = 0.0
    try:
        for edge in EDGES[torch.device(device).type]:
            # random: a GPU draws less power, and clocks higher, on equal numbers
            left, right = (torch.randn(edge, edge, device=device).to(held) for _ in range(2))
            fastest_s = _fastest_s(left, right)
            best = max(best, edge**3 / fastest_s)
            if fastest_s >= LONG_ENOUGH_S:
                break
    finally:
        torch.backends.cuda.matmul.allow_tf32 = before
    return best


def _fastest_s(left: torch.Tensor, right: torch.Tensor) -> float:
    clock = clock_for(str(left.device))
    out = torch.mm(left, right)
    clock.prepare(2 * TIMES)
    spans = []
    for _ in range(TIMES):
        start = clock.mark()
        torch.mm(left, right, out=out)
        spans.append((start, clock.mark()))
    clock.finish()
    return min(clock.seconds(start, end) for start, end in spans)

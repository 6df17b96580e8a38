"""Latency of rows with printed costs, optimized rows, and blocks alone, by the library's timer.

Each benchmark takes one cell's samples as `vidcost time` does, warm-up included, and hands them to
pytest-benchmark, for `--benchmark-compare`. `vidcost time` has a process for each cell, telemetry
and memory. Run: pytest bench/suites -m latency -k pnl; -m "latency and cuda"
"""

from __future__ import annotations

import statistics
import time

import pytest
import torch

from vidcost.bench.block_spec import with_impl
from vidcost.bench.timing.build import build
from vidcost.bench.timing.cell import Cell
from vidcost.bench.timing.clock import clock_for
from vidcost.bench.timing.machine import default_threads, describe
from vidcost.bench.timing.messages import Limits
from vidcost.bench.timing.plan import fitting, shared_shapes
from vidcost.bench.timing.runner import Runner, set_products
from vidcost.bench.timing.sampling import sample, without_collection
from vidcost.models.registry import BLOCKS, specs
from vidcost.papers.catalog import rows_of, rows_with_costs

LIMITS = Limits(sampling_s=2.0, warmup_s=2.0, precision=0.02, min_samples=6)


def _cells():
    with_costs = rows_with_costs()
    rows = [row for row in rows_of() if row in with_costs or (row.build and row.is_optimized)]
    both = [
        with_impl(spec, impl)
        for spec in specs()
        for impl in BLOCKS[spec.partition(":")[0]].implementations
    ]
    blocks, _ = fitting(both, shared_shapes(rows_of()))
    on = [{"device": "cuda", "dtype": dtype} for dtype in ("fp32", "tf32", "bf16")]
    for conditions in ({"threads": default_threads("cpu")}, *on):
        suffix = f"-{conditions['dtype']}" if "dtype" in conditions else ""
        targets = [{"row": row.name} for row in rows]
        targets += [{"block": spec, "shape": shape} for spec, shape in blocks]
        for target in targets:
            cell = Cell(**target, **conditions)
            yield f"{cell.target.replace(' at ', '-')}{suffix}", cell


def _marks(cell):
    if cell.device == "cpu":
        return []
    no_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
    return [pytest.mark.cuda, no_gpu]


@pytest.mark.latency
@pytest.mark.parametrize(
    "cell", [pytest.param(cell, id=name, marks=_marks(cell)) for name, cell in _cells()]
)
def test_latency(benchmark, cell):
    """A forward pass in evaluation mode."""
    threads, products = torch.get_num_threads(), torch.get_float32_matmul_precision()
    torch.set_num_threads(cell.threads)
    try:
        set_products(cell)
        clock = clock_for(cell.device)
        runner = Runner(cell, build(cell), clock)
        with without_collection():
            taken = sample(
                runner.take,
                LIMITS,
                lambda _: "keep",
                now=time.monotonic,
                resolution_s=clock.resolution_s,
            )
    finally:
        torch.set_num_threads(threads)
        torch.set_float32_matmul_precision(products)
    seconds = taken.samples["latency"]
    replay = iter(seconds)
    # pytest-benchmark calls a timer before and after each round: it is given the samples
    marks = (at for each in replay for at in (0.0, each))
    benchmark._timer = lambda: next(marks)
    benchmark.extra_info |= {
        "median_s": statistics.median(seconds),
        "conditions": cell.model_dump(mode="json"),
        "machine": describe(cell.device).model_dump(mode="json"),
    }
    benchmark.pedantic(lambda: None, rounds=len(seconds))

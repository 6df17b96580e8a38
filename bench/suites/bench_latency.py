"""Latency of rows with printed costs, optimized rows, and blocks alone; and of `vidcost count`.

A benchmark of a cell takes its samples as `vidcost time` does, warm-up included, and hands them to
pytest-benchmark, for `--benchmark-compare`. `vidcost time` has a process for each cell, telemetry
and memory. Run: pytest --pyargs vidcost.bench.suites -m latency -k pnl; -m "latency and cuda";
-k my_net --vidcost-target my_net.py:make --vidcost-input 1x3x16x112x112
"""

import os
import statistics
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
import torch

from vidcost.bench.cli.targets import network_cells
from vidcost.bench.timing.cell import Cell
from vidcost.bench.timing.machine import default_threads, describe
from vidcost.bench.timing.messages import Limits, Task
from vidcost.bench.timing.plan import ALL, blocks_alone
from vidcost.bench.timing.worker import measure
from vidcost.models.blocks.impl import IMPLS
from vidcost.papers.catalog import rows_of, rows_with_costs

COMMAND = [sys.executable, "-m", "vidcost", "count", "--format", "json"]
LIMITS = Limits(sampling_s=2, warmup_s=2, precision=0.02, min_samples=6, energy_s=0, memory=False)


def _cells() -> Iterator[Any]:
    with_costs = rows_with_costs()
    rows = [row for row in rows_of() if row in with_costs or (row.build and row.is_optimized)]
    blocks = [each for impl in IMPLS for each in blocks_alone([ALL], [], impl=impl)[0]]
    on: list[dict[str, Any]] = [
        {"device": "cuda", "dtype": dtype} for dtype in ("fp32", "tf32", "bf16")
    ]
    for conditions in ({"threads": default_threads("cpu")}, *on):
        suffix = f"-{conditions['dtype']}" if "dtype" in conditions else ""
        targets: list[dict[str, Any]] = [{"row": row.name} for row in rows]
        targets += [{"block": spec, "shape": shape} for spec, shape in blocks]
        for target in targets:
            cell = Cell(**target, **conditions)
            no_gpu = cell.device == "cuda" and not torch.cuda.is_available()
            marks = [pytest.mark.skipif(no_gpu, reason="no CUDA device")]
            marks += [pytest.mark.cuda] * (cell.device == "cuda")
            name = f"{cell.target.replace(' at ', '-')}{suffix}"
            yield pytest.param(cell, id=name, marks=marks)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """All cells, and networks of a user's own."""
    if "cell" in metafunc.fixturenames:
        options = [metafunc.config.getoption(f"vidcost_{name}") for name in ("target", "input")]
        own = [pytest.param(cell, id=cell.target) for cell in network_cells(*options)]
        metafunc.parametrize("cell", [*_cells(), *own])


@pytest.fixture(autouse=True)
def _left_as_it_was() -> Iterator[None]:
    threads, products = torch.get_num_threads(), torch.get_float32_matmul_precision()
    cpus = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else None
    yield
    torch.set_num_threads(threads)
    torch.set_float32_matmul_precision(products)
    if cpus is not None:
        os.sched_setaffinity(0, cpus)


@pytest.mark.latency
def test_latency(benchmark: Any, cell: Cell) -> None:
    """A forward pass in evaluation mode."""
    timing = measure(Task(cell=cell, limits=LIMITS), lambda _: "keep")
    seconds = timing.samples_s["latency"]
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


@pytest.mark.benchmark(group="counting all rows")
def test_command(benchmark: Any) -> None:
    """All rows within 10 s on two cores and 1 GB, torch's import included."""
    peaks = []

    def run() -> None:
        process = subprocess.Popen(COMMAND, stdout=subprocess.DEVNULL)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        assert process.returncode == 0
        peaks.append(usage.ru_maxrss * 1024)

    benchmark.pedantic(run, rounds=3)
    benchmark.extra_info["peak_bytes"] = max(peaks)
    assert benchmark.stats.stats.median < 10
    assert max(peaks) < 10**9

"""Latency of one pass: the rows of Tables 3, 5 and 6 and the optimized ones, and blocks alone in
both implementations where rows put them.

On a CPU timed by pytest-benchmark's clock, on a GPU by a clock of the device. A quick look, and
what `--benchmark-compare` compares; `vidcost time` has the protocol with warm-up, telemetry and a
process for each cell. Run: pytest bench/suites -m latency -k pnl; -m "latency and cuda"
"""

from __future__ import annotations

import os
import time

import pytest
import torch

from vidcost.bench.block_spec import with_impl
from vidcost.bench.timing.build import build
from vidcost.bench.timing.cell import Cell
from vidcost.bench.timing.machine import describe
from vidcost.bench.timing.memory import measure_memory
from vidcost.models.registry import BLOCKS, specs
from vidcost.papers.catalog import rows_of, rows_with_costs

THREADS = os.cpu_count() or 1
SPECS = tuple(
    with_impl(spec, impl)
    for spec in specs()
    for impl in BLOCKS[spec.partition(":")[0]].implementations
)
SHAPES = ((384, 8, 14, 14), (1024, 4, 14, 14))
"""Where rows put different blocks: MFNet's conv4 and ResNet-50's res4."""


class DeviceTimer:
    """The time on a CUDA device in seconds, by events on its current stream.

    Each call waits for what was launched before, so a round is the work of its passes and the
    launch of the first kernel. Events tell milliseconds in single precision, so time is added up
    from call to call.
    """

    def __init__(self) -> None:
        self._now = 0.0
        self._last: torch.cuda.Event | None = None

    def __call__(self) -> float:
        event = torch.cuda.Event(enable_timing=True)
        event.record()
        event.synchronize()
        if self._last is not None:
            self._now += self._last.elapsed_time(event) / 1e3
        self._last = event
        return self._now


def _cells():
    on = [(f"-{kind}", {"device": "cuda", "dtype": kind}) for kind in ("fp32", "tf32", "bf16")]
    printed = rows_with_costs()
    for suffix, conditions in [("", {"threads": THREADS}), *on]:
        for row in rows_of():
            # an optimized variant stands beside its row
            if row in printed or (row.build and row.is_optimized):
                cell = Cell(row=row.name, **conditions)
                yield f"{row.name}{suffix}", f"{row.network.__name__}{suffix}", cell
        for shape in SHAPES:
            at = "x".join(map(str, shape))
            for spec in SPECS:
                # 1024 channels do not split into 3 groups of even width
                if shape[0] % 6 and spec.startswith("pnl:n=3"):
                    continue
                cell = Cell(block=spec, shape=shape, **conditions)
                yield f"{spec}-{at}{suffix}", f"blocks at {at}{suffix}", cell


def _marks(cell, group):
    if cell.device == "cpu":
        return [pytest.mark.benchmark(group=group, timer=time.perf_counter)]
    return [
        pytest.mark.cuda,
        pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device"),
        pytest.mark.benchmark(group=group, timer=DeviceTimer()),
    ]


pytestmark = pytest.mark.latency


@pytest.fixture
def conditions(cell):
    """The switches of torch as the cell has them, and afterwards as they were."""
    threads = torch.get_num_threads()
    tf32 = torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32
    torch.set_num_threads(cell.threads)
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = cell.dtype == "tf32"
    yield
    torch.set_num_threads(threads)
    torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32 = tf32


@pytest.mark.parametrize(
    "cell",
    [pytest.param(cell, id=name, marks=_marks(cell, group)) for name, group, cell in _cells()],
)
def test_latency(benchmark, cell, conditions, predicted):
    """A forward pass in evaluation mode."""
    built = build(cell)

    def step() -> object:
        with torch.inference_mode():
            return built.model(*built.inputs)

    step()
    machine = describe(cell.device)
    benchmark.extra_info |= predicted[cell] | {
        "conditions": cell.model_dump(mode="json"),
        "machine": machine.model_dump(mode="json"),
    }
    benchmark(step)
    held_bytes = sum(clip.numel() * clip.element_size() for clip in built.inputs)
    memory = measure_memory(
        cell.device, step, weights_bytes=built.weights_bytes, held_bytes=lambda: held_bytes
    )
    benchmark.extra_info["peak_bytes"] = memory.peak

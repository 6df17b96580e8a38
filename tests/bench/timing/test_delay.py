"""Injected slow-downs: the same function, later."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from vidcost.bench.timing import delay, measurement
from vidcost.bench.timing.cell import Cell
from vidcost.bench.timing.measurement import measure
from vidcost.bench.timing.messages import Limits, Task

cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device")


@pytest.fixture(autouse=True)
def leaves_this_process_alone(monkeypatch):
    """Threads and CPUs are the worker's to choose, not a test's."""
    monkeypatch.setattr(measurement, "_configure", lambda cell: None)


def test_it_is_the_same_function(monkeypatch):
    moments = iter([0.0, 0.1, 0.25, 0.3])
    monkeypatch.setattr(delay.time, "perf_counter", lambda: next(moments))
    model = nn.Linear(2, 3)
    x = torch.ones(1, 2)
    torch.testing.assert_close(model(x), delay.Delayed(model, 0.25)(x))
    # the host looked at the clock until a quarter of a second was over
    assert [0.3] == list(moments)


def test_a_task_with_a_delay_takes_that_much_longer():
    cell = Cell(block="cgd", shape=(8, 2, 4, 4))
    limits = Limits(sampling_s=0.2, min_samples=3, precision=0.5, warmup_s=0.1, memory=False)
    timing = measure(Task(cell=cell, limits=limits, delay_s=0.05), lambda _: "stop")
    assert all(0.05 <= seconds for seconds in timing.samples_s["latency"])


@pytest.mark.cuda
@cuda
def test_on_a_gpu_the_stream_waits():
    cell = Cell(block="cgd", shape=(8, 2, 4, 4), device="cuda")
    limits = Limits(sampling_s=0.2, min_samples=3, warmup_s=0.1, memory=False, energy_s=0)
    (plain, delayed) = (
        measure(Task(cell=cell, limits=limits, delay_s=delay_s), lambda _: "stop")
        for delay_s in (0, 0.01)
    )
    best = min(plain.samples_s["latency"])
    assert 0.009 <= min(delayed.samples_s["latency"]) - best <= 0.02

"""Injected slow-downs: the same function, later."""

import statistics
import time
from dataclasses import replace

import pytest
import torch
from torch import nn

from vidcost.bench.timing import clock, worker
from vidcost.bench.timing.cell import Cell
from vidcost.bench.timing.messages import Limits, Task
from vidcost.bench.timing.worker import measure

cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device")


@pytest.fixture(autouse=True)
def leaves_this_process_alone(monkeypatch):
    """Threads and CPUs are the worker's to choose, not a test's."""
    monkeypatch.setattr(worker, "_configure", lambda cell: None)


def test_it_is_the_same_function(monkeypatch):
    moments = iter([7.0, 9.0, 9.1, 9.4, 9.5, 9.6])
    monkeypatch.setattr(clock.time, "perf_counter", lambda: next(moments))
    model = nn.Linear(2, 3)
    x = torch.ones(1, 2)
    torch.testing.assert_close(model(x), clock.Delayed(model, 0.25)(x))
    # the pass took two seconds, and the host looked at the clock until a quarter more was over
    assert [9.6] == list(moments)


def test_a_task_with_a_slow_down_takes_that_much_longer(monkeypatch):
    built = worker.build
    monkeypatch.setattr(
        worker, "build", lambda cell, seed: replace(built(cell, seed=seed), model=Slow())
    )
    cell = Cell(block="cgd", shape=(8, 2, 4, 4))
    limits = Limits(sampling_s=0.2, min_samples=3, precision=0.5, warmup_s=0.1, memory=False)
    timing = measure(Task(cell=cell, limits=limits, slowdown=0.5), lambda _: "stop")
    assert all(0.015 <= seconds for seconds in timing.samples_s["latency"])


class Slow(nn.Module):
    """A pass of ten milliseconds or more."""

    def forward(self, x):
        time.sleep(0.01)
        return x


class Stream:
    """A host that launches, and a stream that runs behind it; times of both in seconds."""

    def __init__(self):
        self.host = self.device = 0.0
        self.marks = []

    def launch(self, host_s, device_s):
        self.host += host_s
        self.device = max(self.device, self.host) + device_s

    def now(self):
        self.host += 1e-5
        return self.host

    def prepare(self, marks):
        self.marks = []

    def mark(self):
        self.marks.append(max(self.device, self.host))
        return len(self.marks) - 1

    def finish(self):
        self.host = max(self.host, self.device)

    def seconds(self, start, end):
        return self.marks[end] - self.marks[start]


# a tiny block, whose launches take longer than its kernels, and a large one
@pytest.mark.parametrize(("host_s", "device_s"), [(0.01, 0.001), (0.001, 0.01)])
def test_a_delay_is_seen_where_the_host_is_the_bottleneck(monkeypatch, host_s, device_s):
    stream = Stream()
    monkeypatch.setattr(clock, "clock_for", lambda device: stream)
    monkeypatch.setattr(clock.time, "perf_counter", stream.now)
    # a cycle is a nanosecond
    monkeypatch.setattr(torch.cuda, "_sleep", lambda cycles: stream.launch(0.0, cycles / 1e9))

    class Block(nn.Module):
        def forward(self, x):
            stream.launch(host_s, device_s)
            return x

    def passes_s(model):
        stream.prepare(0)
        marks = []
        for _ in range(9):
            start = stream.mark()
            model(torch.ones(1))
            marks.append((start, stream.mark()))
        return statistics.median(stream.seconds(*each) for each in marks)

    delayed = clock.Delayed(Block(), 0.5)
    delayed._device = "cuda"
    delayed(torch.ones(1))
    assert pytest.approx(1.5, abs=0.03) == passes_s(delayed) / passes_s(delayed.model)


@pytest.mark.cuda
@pytest.mark.alone
@cuda
def test_on_a_gpu_the_stream_waits():
    cell = Cell(block="nl", shape=(256, 8, 28, 28), device="cuda")
    limits = Limits(sampling_s=1, min_samples=30, warmup_s=1, memory=False, energy_s=0)
    (plain, delayed) = (
        measure(Task(cell=cell, limits=limits, slowdown=slowdown), lambda _: "stop")
        for slowdown in (0, 0.5)
    )
    medians = [statistics.median(each.samples_s["latency"]) for each in (plain, delayed)]
    assert 1.4 <= medians[1] / medians[0] <= 1.6

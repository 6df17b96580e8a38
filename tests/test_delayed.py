"""The delay of the gate's study: the same function, later."""

import statistics
import sys

import delayed
import pytest
import torch
from torch import nn

from vidcost.bench.timing.cell import Cell
from vidcost.bench.timing.messages import Limits, Task
from vidcost.bench.timing.parent import WorkerProcess
from vidcost.bench.timing.record import Timing


def test_it_is_the_same_function(monkeypatch):
    moments = iter([7.0, 9.0, 9.1, 9.4, 9.5, 9.6])
    monkeypatch.setattr(delayed.time, "perf_counter", lambda: next(moments))
    model = nn.Linear(2, 3)
    x = torch.ones(1, 2)
    torch.testing.assert_close(model(x), delayed.Delayed(model, 0.25)(x))
    # the pass took two seconds, and the host looked at the clock until a quarter more was over
    assert [9.6] == list(moments)


def median_s(cell, slowdown):
    """The median of what a worker of the study samples."""
    limits = Limits(sampling_s=0.3, warmup_s=0.3, chunk_s=0.1, memory=False, energy_s=0)
    with WorkerProcess([sys.executable, delayed.__file__, slowdown], threads=1) as process:
        process.give(Task(cell=cell, limits=limits))
        while not isinstance(message := process.listen(), Timing):
            process.send("keep")
    return statistics.median(message.samples_s["latency"])


@pytest.mark.slow
def test_a_worker_of_the_study_is_slower_by_that_much():
    cell = Cell(block="nl", shape=(64, 2, 14, 14))
    # other tests may use both cores
    assert 10 < median_s(cell, "49") / median_s(cell, "0")


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
    monkeypatch.setattr(delayed, "clock_for", lambda device: stream)
    monkeypatch.setattr(delayed.time, "perf_counter", stream.now)
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

    slower = delayed.Delayed(Block(), 0.5)
    slower._device = "cuda"
    slower(torch.ones(1))
    assert pytest.approx(1.5, abs=0.03) == passes_s(slower) / passes_s(slower.model)


@pytest.mark.cuda
@pytest.mark.alone
@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device")
def test_on_a_gpu_the_stream_waits():
    cell = Cell(block="nl", shape=(256, 8, 28, 28), device="cuda")
    assert 1.4 <= median_s(cell, "0.5") / median_s(cell, "0") <= 1.6

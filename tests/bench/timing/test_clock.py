"""Clocks: the host's against known durations, CUDA's against known cycles; the fastest product."""

import time

import pytest
import torch

from vidcost.bench.timing import clock as module
from vidcost.bench.timing.clock import CudaClock, HostClock, clock_for, measured_macs_per_s

cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device")


def test_the_host_clock_measures_a_known_duration():
    clock = HostClock()
    clock.prepare(4)
    start = clock.mark()
    time.sleep(0.05)
    end = clock.mark()
    clock.finish()
    # sleep may take longer, never less
    assert 0.05 <= clock.seconds(start, end) < 0.5
    assert clock.seconds(end, start) == -clock.seconds(start, end)
    assert 0 < clock.resolution_s < 1e-5


def test_events_are_created_beforehand(monkeypatch):
    """torch creates CUDA's event when it is first recorded."""
    recorded = []

    class Event:
        def __init__(self, enable_timing):
            assert enable_timing

        def record(self):
            recorded.append(self)

    monkeypatch.setattr(torch.cuda, "Event", Event)
    clock = CudaClock(torch.device("cuda"))
    clock.prepare(2)
    assert 2 == len(set(recorded))
    clock.prepare(2)
    assert (0, 1, 4) == (clock.mark(), clock.mark(), len(recorded))
    assert recorded[:2] == recorded[2:]


@pytest.mark.cuda
@pytest.mark.alone
@cuda
def test_the_clock_of_a_gpu_measures_known_cycles():
    """Twice the cycles take twice the time, whatever the frequency, and the host does not wait."""
    clock = clock_for("cuda")
    assert isinstance(clock, CudaClock)
    torch.cuda._sleep(10_000_000)
    clock.prepare(4)
    marks = []
    began = time.perf_counter()
    for cycles in (100_000_000, 200_000_000):
        start = clock.mark()
        torch.cuda._sleep(cycles)
        marks.append((start, clock.mark()))
    queued_s = time.perf_counter() - began
    clock.finish()
    short, long = (clock.seconds(*pair) for pair in marks)
    assert pytest.approx(2.0, rel=0.05) == long / short
    assert queued_s < short


def test_the_measured_peak_is_of_the_fastest_product(monkeypatch):
    # 2 x 2 x 2 MACs at best in 0.5 s, then 4 x 4 x 4 in 0.01 s, but never a third size
    monkeypatch.setattr(module, "EDGES", {"cpu": (2, 4, 8)})
    monkeypatch.setattr(module, "LONG_ENOUGH_S", 0.1)
    took = {2: 0.05, 4: 0.2}
    monkeypatch.setattr(module, "_fastest_s", lambda left, right: took[len(left)])
    assert 4**3 / 0.2 == measured_macs_per_s("cpu", "fp32")


def test_a_slow_type_is_not_measured_on_large_matrices(monkeypatch):
    asked = []

    def fastest(left, right):
        asked.append((len(left), left.dtype))
        return 60.0

    monkeypatch.setattr(module, "_fastest_s", fastest)
    assert 256**3 / 60 == measured_macs_per_s("cpu", "fp16")
    assert [(256, torch.float16)] == asked

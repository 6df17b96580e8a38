"""Clocks: the host's against known durations, CUDA's against known cycles."""

import time

import pytest
import torch

from vidcost.bench.timing.clock import CudaClock, HostClock, clock_for

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

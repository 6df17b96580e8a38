"""Clocks: marks in time, read when all is done.

``prepare`` makes room for so many marks, and forgets earlier ones; ``mark`` marks this moment with
a number; ``finish`` waits until the device has passed all marks; then ``seconds`` are those from
one mark to another. ``resolution_s`` is the least difference that says anything.
"""

import itertools
import time

import torch


class HostClock:
    """``time.perf_counter_ns``: for devices that are done when a call returns.

    Its resolution is the least time that two readings of it were apart.
    """

    def __init__(self) -> None:
        readings = [time.perf_counter_ns() for _ in range(1000)]
        steps = [after - before for before, after in itertools.pairwise(readings)]
        self.resolution_s = min(step for step in steps if step) / 1e9

    def prepare(self, marks: int) -> None:
        """Nothing to make."""

    def mark(self) -> int:
        """The host's time now."""
        return time.perf_counter_ns()

    def finish(self) -> None:
        """Nothing to wait for."""

    def seconds(self, start: int, end: int) -> float:
        """Difference of two moments."""
        return (end - start) / 1e9


class CudaClock:
    """CUDA events: the device's own clock.

    Source of the resolution: CUDA Runtime API, ``cudaEventElapsedTime``.
    """

    resolution_s = 0.5e-6

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._events: list[torch.cuda.Event] = []
        self._next = 0

    def prepare(self, marks: int) -> None:
        """Events are made once and recorded again."""
        while len(self._events) < marks:
            event = torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]
            # torch makes CUDA's event when it is first recorded
            event.record()
            self._events.append(event)
        self._next = 0

    def mark(self) -> int:
        """Record the next event on the current stream."""
        number = self._next
        self._next = number + 1
        self._events[number].record()
        return number

    def finish(self) -> None:
        """Synchronise, once for all marks."""
        torch.cuda.synchronize(self._device)

    def seconds(self, start: int, end: int) -> float:
        """Milliseconds between events, in seconds."""
        elapsed_ms: float = self._events[start].elapsed_time(self._events[end])
        return elapsed_ms / 1e3


Clock = HostClock | CudaClock


def clock_for(device: str) -> Clock:
    """The clock of ``device``, by torch's name."""
    kind = torch.device(device)
    return CudaClock(kind) if kind.type == "cuda" else HostClock()

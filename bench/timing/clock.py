"""Clocks: marks in time, read when all is done; and slow-downs of a known size.

``prepare`` makes room for so many marks, and forgets earlier ones; ``mark`` marks this moment and
returns its number; ``finish`` waits until the device has passed all marks; then ``seconds`` are
those from one mark to another. ``resolution_s`` is the least difference that says anything.
"""

import itertools
import time

import torch
from torch import Tensor, nn

_PROBE_CYCLES = 10_000_000
_PROBE_PASSES = 5


class HostClock:
    """``time.perf_counter_ns``: for devices that are done when a call returns.

    Its resolution is the least time that two readings of it were apart.
    """

    def __init__(self) -> None:
        readings = [time.perf_counter_ns() for _ in range(1000)]
        steps = [after - before for before, after in itertools.pairwise(readings)]
        self.resolution_s = min(step for step in steps if step) / 1e9
        self._moments: list[int] = []
        self._next = 0

    def prepare(self, marks: int) -> None:
        """Room is made beforehand, so that no list grows between two marks."""
        self._moments = [0] * marks
        self._next = 0

    def mark(self) -> int:
        """The host's time now."""
        number = self._next
        self._next = number + 1
        self._moments[number] = time.perf_counter_ns()
        return number

    def finish(self) -> None:
        """Nothing to wait for."""

    def seconds(self, start: int, end: int) -> float:
        """Difference of two moments."""
        return (self._moments[end] - self._moments[start]) / 1e9


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


class Delayed(nn.Module):
    """``model``, each pass of which takes longer by the fraction ``slowdown``, on its own device.

    On a CPU the host waits busily for that fraction of the time of this very pass, so the slow-down
    is the same however busy the machine is. On a GPU stream and host wait at the same time, for
    that fraction of the median of a few passes: the stream alone would do so while the host, where
    that is the bottleneck, launches the next pass, and nobody would see it.
    """

    def __init__(self, model: nn.Module, slowdown: float) -> None:
        super().__init__()
        self.model = model
        self._slowdown = slowdown
        first = next(model.parameters(), None)
        self._device = str(first.device) if first is not None and first.is_cuda else None
        self._delay: tuple[int, float] | None = None

    def forward(self, *inputs: Tensor) -> object:
        """The model's output, later."""
        if self._device is not None and self._delay is None:
            self._delay = self._probe(self._device, inputs)
        started = time.perf_counter()
        out: object = self.model(*inputs)
        now = time.perf_counter()
        wait_s = self._slowdown * (now - started)
        if self._delay is not None:
            cycles, wait_s = self._delay
            torch.cuda._sleep(cycles)  # type: ignore[no-untyped-call]
        while time.perf_counter() < now + wait_s:
            pass
        return out

    def _probe(self, device: str, inputs: tuple[Tensor, ...]) -> tuple[int, float]:
        """The cycles of the delay, and its seconds."""
        clock = clock_for(device)
        clock.prepare(4 * _PROBE_PASSES + 2)
        marks = []
        # as many passes that warm up
        for _ in range(2 * _PROBE_PASSES):
            start = clock.mark()
            self.model(*inputs)
            marks.append((start, clock.mark()))
        # the first launch sets the kernel up
        torch.cuda._sleep(1000)  # type: ignore[no-untyped-call]
        start = clock.mark()
        torch.cuda._sleep(_PROBE_CYCLES)  # type: ignore[no-untyped-call]
        end = clock.mark()
        clock.finish()
        passes_s = sorted(clock.seconds(*each) for each in marks[_PROBE_PASSES:])
        wait_s = self._slowdown * passes_s[_PROBE_PASSES // 2]
        return round(wait_s * _PROBE_CYCLES / clock.seconds(start, end)), wait_s

"""Slow-downs of a known size: a worker for the gate's study that delays every pass.

``python tools/delayed.py SLOWDOWN`` is vidcost.bench.timing.worker, but for the delay.
"""

import os
import sys
import time
from dataclasses import replace

import torch
from torch import Tensor, nn

from vidcost.bench.timing import worker
from vidcost.bench.timing.build import Built, build
from vidcost.bench.timing.cell import Cell
from vidcost.bench.timing.clock import clock_for

_PROBE_CYCLES = 10_000_000
_PROBE_PASSES = 5


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


def built(cell: Cell, seed: int) -> Built:
    """What ``cell`` times, later by the fraction in the first argument."""
    made = build(cell, seed=seed)
    return replace(made, model=Delayed(made.model, float(sys.argv[1])))


if __name__ == "__main__":
    worker.main(make=built)
    # torch and CUDA need not tidy up: all of it goes with the process
    os._exit(0)

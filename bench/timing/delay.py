"""Slow-downs of a known size, injected to see whether they are found."""

from __future__ import annotations

import time

import torch
from torch import Tensor, nn

_PROBE_CYCLES = 10_000_000
_PROBE_PASSES = 5


class Delayed(nn.Module):
    """``model``, each pass of which takes longer by the fraction ``slowdown``, on its own device.

    On a CPU the host waits busily for that fraction of the time of this very pass, so the slow-down
    is the same however busy the machine is. On a GPU the stream waits, by cycles that are timed
    first, for that fraction of the median of a few passes.
    """

    def __init__(self, model: nn.Module, slowdown: float) -> None:
        super().__init__()
        self.model = model
        self._slowdown = slowdown
        first = next(model.parameters(), None)
        self._on_cuda = first is not None and first.is_cuda
        self._cycles: int | None = None

    def forward(self, *inputs: Tensor) -> object:
        """What the model gives, later."""
        if self._on_cuda:
            if self._cycles is None:
                self._cycles = round(self._slowdown * self._pass_s(inputs) * _cycles_per_second())
            out: object = self.model(*inputs)
            torch.cuda._sleep(self._cycles)  # type: ignore[no-untyped-call]
            return out
        started = time.perf_counter()
        out = self.model(*inputs)
        now = time.perf_counter()
        until = now + self._slowdown * (now - started)
        while time.perf_counter() < until:
            pass
        return out

    def _pass_s(self, inputs: tuple[Tensor, ...]) -> float:
        """The median of a few passes after as many that warm up."""
        taken = []
        for _ in range(2 * _PROBE_PASSES):
            start, end = _events()
            start.record()
            self.model(*inputs)
            end.record()
            torch.cuda.synchronize()
            taken.append(start.elapsed_time(end) / 1e3)
        return float(sorted(taken[_PROBE_PASSES:])[_PROBE_PASSES // 2])


def _cycles_per_second() -> float:
    start, end = _events()
    # the first launch sets the kernel up
    torch.cuda._sleep(1000)  # type: ignore[no-untyped-call]
    start.record()
    torch.cuda._sleep(_PROBE_CYCLES)  # type: ignore[no-untyped-call]
    end.record()
    torch.cuda.synchronize()
    return float(_PROBE_CYCLES / (start.elapsed_time(end) / 1e3))


def _events() -> tuple[torch.cuda.Event, torch.cuda.Event]:
    start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))  # type: ignore[no-untyped-call]
    return start, end

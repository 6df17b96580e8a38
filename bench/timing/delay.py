"""Slow-downs of a known size, injected to see whether they are found."""

from __future__ import annotations

import time

import torch
from torch import Tensor, nn

_PROBE_CYCLES = 10_000_000


class Delayed(nn.Module):
    """``model``, each pass of which takes ``delay_s`` longer, on its own device.

    On a CPU the host waits busily; on a GPU the stream does, by cycles that are timed first.
    """

    def __init__(self, model: nn.Module, delay_s: float) -> None:
        super().__init__()
        self.model = model
        self._delay_s = delay_s
        first = next(model.parameters(), None)
        on_cuda = first is not None and first.is_cuda
        self._cycles = round(delay_s * _cycles_per_second()) if on_cuda else None

    def forward(self, *inputs: Tensor) -> object:
        """What the model gives, later."""
        out = self.model(*inputs)
        if self._cycles is not None:
            torch.cuda._sleep(self._cycles)  # type: ignore[no-untyped-call]
        else:
            until = time.perf_counter() + self._delay_s
            while time.perf_counter() < until:
                pass
        return out


def _cycles_per_second() -> float:
    start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))  # type: ignore[no-untyped-call]
    # the first launch sets the kernel up
    torch.cuda._sleep(1000)  # type: ignore[no-untyped-call]
    start.record()
    torch.cuda._sleep(_PROBE_CYCLES)  # type: ignore[no-untyped-call]
    end.record()
    torch.cuda.synchronize()
    return float(_PROBE_CYCLES / (start.elapsed_time(end) / 1e3))

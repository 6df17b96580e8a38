"""The parent's side of a measurement: what the worker is told, what the device did meanwhile."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Protocol

from vidcost.bench.timing.messages import Chunk, Reply, Window
from vidcost.bench.timing.record import Telemetry
from vidcost.bench.timing.telemetry import is_throttled

ENERGY_WINDOW_S = 5.0
"""NVML's energy counter moves in steps of up to 100 ms; a shorter window says too little."""

KEPT_EVERY_S = 1.0
"""A reading is kept this often, and whenever the throttle reasons changed: a record that is
committed need not have all that were looked at."""


class Readings(Protocol):
    """Where readings come from: a :class:`~vidcost.bench.timing.telemetry.Watch`."""

    def take(self) -> list[Telemetry]:
        """The readings since the last call."""

    def energy_j(self) -> float | None:
        """The energy counter now."""


class Exchange:
    """Answers one worker.

    After ``stop_at`` (of ``clock``) it is told to stop, unless its last samples are void.
    ``energy_j`` is what one pass took, once the window is over, None if that is not to be had:
    no counter, a window under :data:`ENERGY_WINDOW_S`, or a device throttled in it.
    """

    def __init__(
        self,
        readings: Readings,
        *,
        stop_at: float | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.energy_j: float | None = None
        self._readings = readings
        self._stop_at = stop_at
        self._clock = clock
        self._began: float | None = None
        self._kept: list[Telemetry] = []
        self._window: tuple[float, float | None] | None = None

    @property
    def telemetry(self) -> tuple[Telemetry, ...]:
        """The readings kept, from when the worker began to sample."""
        return tuple(self._kept)

    def reply(self, message: Chunk | Window) -> Reply:
        """What the worker is told."""
        if isinstance(message, Window):
            self._energy(message)
            return "keep"
        now = self._clock()
        if self._began is None:
            self._began = now - message.sampling_s
        if is_throttled(self._new()):
            return "void"
        return "stop" if self._stop_at is not None and now >= self._stop_at else "keep"

    def _new(self) -> list[Telemetry]:
        """Readings since the last message; the warm-up's are not the measurement's."""
        if self._began is None:
            self._readings.take()
            return []
        began = self._began
        new = [
            reading.model_copy(update={"at_s": reading.at_s - began})
            for reading in self._readings.take()
            if reading.at_s >= began
        ]
        for reading in new:
            last = self._kept[-1] if self._kept else None
            if (
                last is None
                or reading.at_s - last.at_s >= KEPT_EVERY_S
                or reading.throttle_reasons != last.throttle_reasons
            ):
                self._kept.append(reading)
        return new

    def _energy(self, window: Window) -> None:
        new = self._new()
        if window.edge == "start":
            self._window = (self._clock(), self._readings.energy_j())
            return
        assert self._window is not None, "a window ends that never began"
        (started, before), after = self._window, self._readings.energy_j()
        self._window = None
        if (
            before is not None
            and after is not None
            # a counter that stands still does not count
            and after > before
            and window.passes > 0
            and self._clock() - started >= ENERGY_WINDOW_S
            and not is_throttled(new)
        ):
            self.energy_j = (after - before) / window.passes

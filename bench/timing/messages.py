"""The messages between a worker and its parent, sent as objects over their pipe.

The parent sends a :class:`Task`. The worker sends a :class:`Chunk` after each stretch of samples
and waits for a reply: ``keep``, ``void`` (the device was throttled: take them again) or ``stop``
(keep them, time is up). On a GPU it then announces a :class:`Window` for the energy. The last
messages of a task are a ``Timing`` of each cell, with an empty key; or of one that failed, alone. A
worker ends when its parent hangs up.
"""

from typing import Literal

from pydantic import NonNegativeFloat, PositiveFloat, PositiveInt

from vidcost.bench.timing.cell import Cell
from vidcost.bench.timing.record import Frozen

Reply = Literal["keep", "void", "stop"]

STARTED = "started"
"""Sent once the first pass of a user's code is done; it has no reply."""


class ParentGone(Exception):
    """The parent hung up: nobody reads the measurement."""


class Limits(Frozen):
    """When sampling ends: at ``precision`` with ``min_samples``, or after ``sampling_s`` seconds.

    ``precision`` is the half width of the median's 95% confidence interval over the median; of two
    interleaved sides, that of their difference over the median with the blocks. ``start_up_s``
    bounds everything beside warm-up, sampling and energy: imports, building, compiling, the memory
    pass; and it bounds the start of a user's code, up to the end of its first pass. ``warmup_s``
    bounds the warm-up. A stretch of samples lasts ``chunk_s`` or longer. ``energy_s`` is the length
    of the energy measurement (0: none). ``memory``: measure the memory of a pass after the time.
    ``ends_at``, of time.monotonic(), is when all of it should be over: sampling ends earlier, so
    that energy and memory fit in, but not before ``least_s``. With ``turn_samples`` the worker
    takes so many samples after each ``keep`` until it is told to stop, so that two workers can be
    interleaved; then only the limit of the warm-up applies.
    """

    start_up_s: PositiveFloat = 300.0
    sampling_s: PositiveFloat = 60.0
    min_samples: PositiveInt = 30
    precision: PositiveFloat = 0.01
    warmup_s: PositiveFloat = 10.0
    chunk_s: PositiveFloat = 0.5
    least_s: PositiveFloat = 0.5
    energy_s: NonNegativeFloat = 5.0
    memory: bool = True
    ends_at: float | None = None
    turn_samples: PositiveInt | None = None
    seed: int = 0

    @property
    def total_s(self) -> float:
        """The most that a task may take."""
        return self.start_up_s + self.warmup_s + self.sampling_s + self.energy_s


class Task(Frozen):
    """The cell to measure, and those ``also`` in one rotation: against the same one."""

    cell: Cell
    also: tuple[Cell, ...] = ()
    limits: Limits = Limits()


class Chunk(Frozen):
    """Progress of the sampling; ``median_s`` and ``precision`` are of the samples kept so far.

    Where there is a time at which all should be over, there is one without samples after the first
    pass: ``needs_s`` is what the least that is left to do will take.
    """

    samples: int
    median_s: float
    precision: float | None = None
    sampling_s: float
    needs_s: float | None = None


class Window(Frozen):
    """Passes run back to back between ``start`` and ``end``, for the energy."""

    edge: Literal["start", "end"]
    passes: int = 0

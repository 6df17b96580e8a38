"""What the parent and a worker say to each other: one JSON object a line.

The worker says that it is ready, once it has imported what it needs, and again when it has built
something ahead. The parent sends a :class:`Task`, and the next one when that is done. The worker
answers with a :class:`Chunk` after each stretch of samples and waits for a reply, ``keep``,
``void`` (the device was throttled: take them again) or ``stop`` (keep them, time is up); on a GPU
it then announces a :class:`Window` for the energy. The last line of a task is a ``Timing`` with an
empty key.
"""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, NonNegativeFloat, PositiveFloat, PositiveInt

from vidcost.bench.timing.cell import Cell
from vidcost.bench.timing.record import Timing

Reply = Literal["keep", "void", "stop"]


class ParentGone(Exception):
    """Nobody reads what would be measured."""


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Limits(_Frozen):
    """When sampling ends: at ``precision`` with ``min_samples``, or after ``sampling_s`` seconds.

    ``precision`` is the half width of the median's 95% confidence interval over the median; of a
    share, that of the sides' difference over the median with the blocks.
    ``start_up_s`` is what a worker may take beside warm-up, sampling and energy: imports, building,
    compiling, the memory pass, a last pass longer than what was left of its time.
    ``warmup_s`` bounds the warm-up, a stretch of samples lasts ``chunk_s`` or longer, ``energy_s``
    is how long the energy is measured (0: not at all). ``memory``: the memory of a pass is measured
    too, after the time. ``least_s`` is what sampling may take however short the time for all cells
    is. With ``turn_samples`` the worker takes as many whenever it is told to keep on, until it is
    told to stop, so that two can take turns; only the warm-up's limit is its own to keep then.
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
    turn_samples: PositiveInt | None = None
    seed: int = 0


class Task(_Frozen):
    """What the worker is to do.

    Every pass takes longer by the share ``slowdown``, to see whether one of that size is found.
    ``ahead``: only build it, in the host's memory, and say that it is ready; its turn comes with a
    task of the same cell. ``peak_macs_per_s`` is what a large product reached in the same run, if
    it was measured there.
    """

    cell: Cell
    limits: Limits = Limits()
    slowdown: NonNegativeFloat = 0.0
    ahead: bool = False
    peak_macs_per_s: PositiveFloat | None = None


class Chunk(_Frozen):
    """How far the sampling is; ``median_s`` and ``precision`` are of the samples kept so far."""

    samples: int
    median_s: float
    precision: float | None = None
    sampling_s: float


class Window(_Frozen):
    """Passes run back to back between ``start`` and ``end``, for the energy."""

    edge: Literal["start", "end"]
    passes: int = 0


class Line(_Frozen):
    """One line of the worker: exactly one of these."""

    ready: bool = False
    chunk: Chunk | None = None
    window: Window | None = None
    timing: Timing | None = None

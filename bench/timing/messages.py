"""The messages between a worker and its parent, each a JSON object or a word.

The parent sends a :class:`Task`. The worker answers with a :class:`Chunk` after each stretch of
samples and waits for a reply: ``keep``, ``void`` (the device was throttled: take them again) or
``stop`` (keep them, time is up). On a GPU it then announces a :class:`Window` for the energy. The
last message of a task is a ``Timing`` with an empty key. A worker ends when its parent hangs up.
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

    ``precision`` is the half width of the median's 95% confidence interval over the median; of two
    interleaved sides, that of their difference over the median with the blocks. ``start_up_s`` is
    for everything beside warm-up, sampling and energy: imports, building, compiling, the memory
    pass, a last pass that takes longer than its time. ``warmup_s`` bounds the warm-up. A stretch of
    samples lasts ``chunk_s`` or longer. ``energy_s`` is the length of the energy measurement (0:
    none). ``memory``: measure the memory of a pass after the time. ``least_s`` is the least
    sampling time under any budget. With ``turn_samples`` the worker takes so many samples each time
    it is told to keep on, until it is told to stop, so that two workers can be interleaved; then
    only the limit of the warm-up applies.
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

    Every pass takes longer by the fraction ``slowdown``: a planted regression. ``ahead``: only
    build the cell in the host's memory and report that it is ready; the task to measure it follows.
    ``peak_macs_per_s`` is the speed of a large product, if it was measured in the same run.
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


class Message(_Frozen):
    """What a worker sends: exactly one of these. ``ready``: the cell is built ahead."""

    ready: bool = False
    chunk: Chunk | None = None
    window: Window | None = None
    timing: Timing | None = None

    def encoded(self) -> bytes:
        """As it is sent."""
        return self.model_dump_json(exclude_defaults=True).encode()

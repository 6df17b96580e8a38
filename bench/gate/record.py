"""What a gate measured: two versions, processes in pairs, raw samples, and the rule that judges."""

from __future__ import annotations

import math
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, NonNegativeInt, PositiveFloat, PositiveInt

from vidcost.bench.timing.cell import Cell
from vidcost.bench.timing.record import Machine, Status

Side = Literal["base", "head"]
Stage = Literal["memory", "screen", "confirm"]
Share = Annotated[float, Field(gt=0, lt=1)]

FEWEST_PAIRS = 6
"""With fewer no interval of 95% exists: all of five differences lie on one side by chance in 1 of
16 cases."""


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Rule(_Frozen):
    """How pairs of processes are judged.

    ``margin``: the share by which a version may be slower; a row whose noise is higher has
    ``noise_factor`` times its noise. The screen's ``screen_pairs`` only choose the rows that are
    measured again: those at which a one-sided test reaches ``screen_level`` in either direction
    and which are not shown to be equal. They are confirmed on fresh pairs, so many that a
    slow-down by ``find``, or by what the screen proves if that is more, is found with probability
    ``power``, within ``confirm_pairs`` and ``most_pairs``; from the former on a row is left alone
    as soon as its pairs show no change beyond ``margin``. Over all rows together the chance of a
    false alarm is ``confirm_level``. Eight and fourteen are the fewest that tolerate one pair in
    which something else disturbed a process. Memory may grow by ``memory_margin`` or
    ``memory_bytes``, whichever is more.
    """

    margin: Share = 0.03
    noise_factor: Annotated[float, Field(ge=0)] = 3.0
    screen_pairs: Annotated[int, Field(ge=FEWEST_PAIRS)] = 8
    screen_level: Share = 0.10
    confirm_pairs: Annotated[int, Field(ge=FEWEST_PAIRS)] = 14
    most_pairs: PositiveInt = 40
    confirm_level: Share = 0.01
    find: Share = 0.05
    power: Share = 0.95
    memory_margin: Share = 0.01
    memory_bytes: NonNegativeInt = 1 << 20

    def margin_at(self, noise: float) -> float:
        """The share by which a version may be slower, at a standard error of the log ratio."""
        return max(self.margin, math.expm1(self.noise_factor * noise))


class Visit(_Frozen):
    """One cell in one process.

    Processes come in pairs, base and head at once, and take turns; ``second``: this one warmed up
    after the other. ``samples_ns`` are raw nanoseconds of single passes, as many to a turn as the
    other's, in the same order. ``void_samples`` were left out on both sides: the device was
    throttled. ``peak_bytes`` is what a pass needs above the weights, measured at the ``memory``
    stage alone. ``slowdown`` is the share by which every pass was made to take longer.
    """

    stage: Stage
    pair: NonNegativeInt
    side: Side
    second: bool
    cell: NonNegativeInt
    status: Status = "ok"
    error: str = ""
    samples_ns: tuple[PositiveInt, ...] = ()
    turn_samples: PositiveInt = 1
    void_samples: NonNegativeInt = 0
    settled: bool = True
    peak_bytes: NonNegativeInt | None = None
    sm_clock_mhz: PositiveInt | None = None
    slowdown: Annotated[float, Field(ge=0)] = 0.0


class Version(_Frozen):
    """One of the two: ``ref`` as it was given, the ``commit`` it is, and what it ran with.

    ``code`` is a digest of the models; ``environment`` names the dependencies: "this" is those of
    the gate itself.
    """

    ref: str
    commit: str
    code: str
    environment: str = "this"
    machine: Machine | None = None


class Run(_Frozen):
    """A comparison of ``head`` with ``base``, from which every verdict can be computed again.

    ``cells`` are what both versions can run; ``left_out`` says of others why. ``seed`` chose the
    orders. ``visit_s`` is how long a pair takes turns at a cell, or longer for ``visit_turns``.
    ``complete`` is False while pairs are still to be measured.
    """

    file: Literal["vidcost gate"] = "vidcost gate"
    vidcost: str
    started: str
    base: Version
    head: Version
    cells: tuple[Cell, ...]
    left_out: tuple[str, ...] = ()
    rule: Rule = Rule()
    seed: int = 0
    visit_s: PositiveFloat = 1.0
    visit_turns: PositiveInt = 10
    complete: bool = False
    visits: tuple[Visit, ...] = ()

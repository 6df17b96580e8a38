"""Divides the time of a sweep: first among all cells, then among the least precise ones."""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass

from vidcost.bench.timing.cell import Cell
from vidcost.bench.timing.messages import Limits
from vidcost.bench.timing.record import Timing

FIRST = 0.5
"""The fraction of its share of the time that a cell may use in the first round."""

LONGER = 4
"""A cell is sampled again for at most so many times as long, which halves its interval."""

WORTHWHILE = 1.5
"""And for at least so many times as long: every attempt takes all samples again."""


@dataclass
class _Reached:
    """``precision`` is infinite if it is not known."""

    precision: float
    sampling_s: float
    more_helps: bool = True


class Budget:
    """Limits for a sweep of ``seconds`` from now on.

    In the first round a cell is sampled until ``limits`` are met or half of its part of the time is
    over, start-up included; the others get the rest. Then the least precise cell is sampled again,
    longer, while that fits, also beyond ``limits.sampling_s``. A cell that did not become more
    precise is not repeated.
    """

    def __init__(
        self, seconds: float, limits: Limits, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """Raises: ValueError if there is no time at all."""
        if not (seconds > 0 and math.isfinite(seconds)):
            raise ValueError(f"a budget of {seconds:g} s is no time: give more than 0")
        self._limits = limits
        self._clock = clock
        self.ends_at = clock() + seconds
        self._overhead_s = 0.0
        self._reached: dict[Cell, _Reached] = {}

    @property
    def left_s(self) -> float:
        """Seconds that are left."""
        return self.ends_at - self._clock()

    def first(self, cells_left: int) -> Limits | None:
        """Limits for the next of ``cells_left`` cells; None if the time is over."""
        if self.left_s <= 0:
            return None
        use_s = FIRST * self.left_s / cells_left
        limits = self._limits
        # a window that is too short is useless, so it is all or nothing
        energy_s = limits.energy_s if limits.energy_s <= use_s / 2 else 0.0
        return limits.model_copy(
            update={
                "energy_s": energy_s,
                "warmup_s": min(limits.warmup_s, max(limits.least_s, use_s / 4)),
                "sampling_s": min(
                    limits.sampling_s,
                    max(limits.least_s, use_s - energy_s - self._overhead_s),
                ),
            }
        )

    def worst(self) -> tuple[Cell, Limits] | None:
        """The cell to measure again and for how long; None if no time would help."""
        worst_first = sorted(self._reached, key=lambda c: self._reached[c].precision, reverse=True)
        for cell in worst_first:
            reached = self._reached[cell]
            if not reached.more_helps or reached.precision <= self._limits.precision:
                continue
            longest_s = self.left_s - self._overhead_s - self._limits.energy_s
            sampling_s = min(LONGER * reached.sampling_s, longest_s)
            if sampling_s >= WORTHWHILE * reached.sampling_s:
                return cell, self._limits.model_copy(update={"sampling_s": sampling_s})
        return None

    def add(self, cell: Cell, timing: Timing, *, took_s: float | None = None) -> None:
        """Record how precise ``cell`` is; it took ``took_s`` seconds, None if it was stored."""
        if timing.status != "ok" or timing.protocol is None:
            # more time does not help a cell that failed
            if cell in self._reached:
                self._reached[cell].more_helps = False
            return
        sampling_s = max(timing.protocol.sampling_s, self._limits.chunk_s)
        precision = timing.protocol.precision
        now = _Reached(math.inf if precision is None else precision, sampling_s)
        before = self._reached.get(cell)
        now.more_helps = before is None or now.precision < before.precision
        self._reached[cell] = now
        if took_s is not None:
            self._overhead_s = max(self._overhead_s, took_s - sampling_s)

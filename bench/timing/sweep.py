"""Measures many cells on this machine, one after another, and stores each record at once.

Within a budget of time if there is one: it is divided first among all cells, then among the least
precise ones.
"""

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from vidcost.bench.exit_status import INTERRUPTED, Ending
from vidcost.bench.timing.cell import Cell
from vidcost.bench.timing.messages import Chunk, Limits, Reply
from vidcost.bench.timing.parent import COMMAND, Predicted, Supervisor
from vidcost.bench.timing.record import Timing
from vidcost.bench.timing.store import Store

GPU_CHUNK_S = 0.25
"""A stretch of samples on a GPU."""

GPU_LEAST_S = 1.0
"""Least sampling time on a GPU, under any budget."""

SET_UP_S = 10.0
"""The time to look at devices and to count that is no part of a budget."""

LEAST_S = 1.0
"""The least that is left of a budget then, so that something is measured."""

ASSUMED_MACS_PER_S = 10e9
"""Of a CPU core in a network; on two of them the rows were measured at 20 to 80 GMAC/s."""

START_S = 4.0
"""A worker's imports and building, before its first pass."""

PASSES = 8
"""Passes of a row that is barely measured: warm-up, the memory pass, a few samples."""

FIRST = 0.5
"""The fraction of its share of the time that a cell may use in the first round."""

LONGER = 4
"""A cell is sampled again for at most so many times as long, which halves its interval."""

WORTHWHILE = 1.5
"""And for at least so many times as long: every attempt takes all samples again."""


class Interrupted(Ending):
    """The user stopped the sweep; says how to continue it."""

    status = INTERRUPTED


OnProgress = Callable[[str, int], None]
"""Told what happens, in words, and how many cells are done."""


@dataclass
class Swept:
    """The latest record of each cell that has one, in the order of the cells, and what to say."""

    timings: list[Timing] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def failures(self) -> list[str]:
        """A line on each cell that was not measured."""
        lines = []
        for timing in (each for each in self.timings if each.status != "ok"):
            cell = timing.cell
            where = f"batch {cell.batch}, {cell.dtype}, {cell.mode}, {cell.phase}"
            why = f"{timing.status}: {timing.error}" if timing.error else timing.status
            lines.append(f"{cell.target} on {cell.device} ({where}): {why}")
        return lines


def limits_for(device: str, *, start_up_s: float | None = None) -> Limits:
    """The default limits on ``device``; ``start_up_s`` is a worker's time beside sampling."""
    limits = Limits() if start_up_s is None else Limits(start_up_s=start_up_s)
    if device == "cpu":
        return limits
    # to start a cell on a GPU takes longer than to time it well
    return limits.model_copy(update={"chunk_s": GPU_CHUNK_S, "least_s": GPU_LEAST_S})


def sweep(
    cells: Sequence[Cell],
    store: Store,
    *,
    limits: Limits | None = None,
    resume: bool = False,
    budget_s: float | None = None,
    command: Sequence[str] = COMMAND,
    predict: Callable[[Cell], Predicted] = lambda _: Predicted(),
    on_progress: OnProgress = lambda words, done: None,
    warn: Callable[[str], None] = lambda line: None,
) -> Swept:
    """Measure ``cells`` on this machine and append each record to ``store``.

    A worker that fails is a status of its cell, and the next cell follows. ``resume`` leaves out
    cells that are stored as ok under the same code, device, driver and torch. With ``budget_s``
    every cell is measured for a short time, in the order given, and the least precise ones again
    for longer; one that is not expected to fit into what is left is left out. ``warn`` is told
    beforehand if the budget is too short. ``predict`` counts: it is called before a cell's worker
    is given it, so nothing is counted while one samples.
    Raises: ValueError for a device that is not there or a file that cannot be written; Interrupted
            on Ctrl-C, with every finished cell stored.
    """
    limits = limits or Limits()
    cells = list(dict.fromkeys(cells))
    timings: dict[Cell, Timing] = {}
    began = time.monotonic()
    notes = [store.prepare()]

    def on_chunk(cell: Cell, chunk: Chunk, reply: Reply) -> None:
        words = f"{cell.target}: {chunk.samples} samples, {chunk.median_s * 1e3:,.4g} ms"
        words += "" if chunk.precision is None else f" ± {chunk.precision:.1%}"
        on_progress(words + (", throttled" if reply == "void" else ""), len(timings))

    def measure(cell: Cell, limits: Limits, *, again: bool = False) -> None:
        began = time.monotonic()
        on_progress(f"{cell.target}{', again' if again else ''}: warming up", len(timings))
        timing = supervisor.measure(cell, limits, stop_at=budget.ends_at)
        # a second attempt that fails does not invalidate the first
        if timing.status == "ok" or not again:
            notes.append(store.append(timing))
            timings[cell] = timing
        on_progress(f"{cell.target}: {timing.status}", len(timings))
        budget.add(cell, timing, took_s=time.monotonic() - began)

    try:
        supervisor = Supervisor(command, predict, on_chunk, warn=warn)
        known = store.read() if resume else {}
        for cell in cells:
            timing = known.get(supervisor.key(cell))
            if timing is not None and timing.status == "ok":
                timings[cell] = timing
                on_progress(f"{cell.target}: stored", len(timings))
        missing = [cell for cell in cells if cell not in timings]
        least_s = dict.fromkeys(missing, 0.0)
        budget = Budget(math.inf, limits)
        if budget_s is not None:
            least_s = {c: least_seconds(c, supervisor.predict(c).macs_total) for c in missing}
            if (all_s := sum(least_s.values())) > 1.2 * budget_s + SET_UP_S:
                many = f"{len(missing)} measurements take about {all_s:.0f} s at least"
                warn(f"{many}, more than the budget of {budget_s:g} s")
            over_s = max(0.0, time.monotonic() - began - SET_UP_S)
            budget = Budget(max(budget_s - over_s, LEAST_S), limits)
        for cell, timing in timings.items():
            budget.add(cell, timing)
        left_out = []
        for number, cell in enumerate(missing):
            given = budget.first(len(missing) - number)
            # whatever the budget, something is measured
            if given is None or (number and least_s[cell] > budget.left_s):
                left_out.append(cell.target)
            else:
                measure(cell, given)
        if left_out:
            targets = ", ".join(dict.fromkeys(left_out))
            notes.append(f"no time was left for {targets}: raise --budget")
        while budget_s is not None and (worst := budget.worst()) is not None:
            measure(*worst, again=True)
    except KeyboardInterrupt:
        raise interrupted(len(timings), len(cells), f"in {store.path}") from None
    return Swept([timings[cell] for cell in cells if cell in timings], list(filter(None, notes)))


def least_seconds(cell: Cell, macs: int | None) -> float:
    """An estimate of the least time that a measurement takes; ``macs`` are those of one pass."""
    sides = 1 if cell.against is None else 2
    speed = ASSUMED_MACS_PER_S * cell.threads if cell.device == "cpu" else math.inf
    return START_S + sides * PASSES * (macs or 0) / speed


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
        self._limits = limits
        self._clock = clock
        self.ends_at = clock() + seconds
        self._overhead_s = 0.0
        # precision, infinite if it is not known, and seconds of sampling
        self._reached: dict[Cell, tuple[float, float]] = {}
        self._hopeless: set[Cell] = set()

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
        rest_s = use_s - energy_s - self._overhead_s
        return limits.model_copy(
            update={
                "energy_s": energy_s,
                "warmup_s": min(limits.warmup_s, max(limits.least_s, use_s / 4)),
                "sampling_s": min(limits.sampling_s, max(limits.least_s, rest_s)),
            }
        )

    def worst(self) -> tuple[Cell, Limits] | None:
        """The cell to measure again and for how long; None if no time would help."""
        longest_s = self.left_s - self._overhead_s - self._limits.energy_s
        worst_first = sorted(self._reached.items(), key=lambda item: item[1][0], reverse=True)
        for cell, (precision, before_s) in worst_first:
            sampling_s = min(LONGER * before_s, longest_s)
            is_done = precision <= self._limits.precision or cell in self._hopeless
            if not is_done and sampling_s >= WORTHWHILE * before_s:
                return cell, self._limits.model_copy(update={"sampling_s": sampling_s})
        return None

    def add(self, cell: Cell, timing: Timing, *, took_s: float | None = None) -> None:
        """Record how precise ``cell`` is; it took ``took_s`` seconds, None if it was stored."""
        if timing.status != "ok" or timing.protocol is None:
            # more time does not help a cell that failed
            self._hopeless.add(cell)
            return
        sampling_s = max(timing.protocol.sampling_s, self._limits.chunk_s)
        precision = math.inf if timing.protocol.precision is None else timing.protocol.precision
        if cell in self._reached and precision >= self._reached[cell][0]:
            self._hopeless.add(cell)
        self._reached[cell] = precision, sampling_s
        if took_s is not None:
            self._overhead_s = max(self._overhead_s, took_s - sampling_s)


def interrupted(done: int, of: int, where: str) -> Interrupted:
    return Interrupted(
        f"stopped after {done} of {of} cells, which are {where}: give the same command to continue"
    )

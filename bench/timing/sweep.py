"""Measures many cells on this machine, one after another, and stores each record at once.

Within a budget of time if there is one, which is divided among all cells.
"""

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from vidcost.bench.exit_status import INTERRUPTED, Ending
from vidcost.bench.timing.cell import Cell
from vidcost.bench.timing.figures import FEWEST, drifts
from vidcost.bench.timing.messages import Chunk, Limits, Reply
from vidcost.bench.timing.parent import COMMAND, Predicted, Supervisor
from vidcost.bench.timing.record import Timing
from vidcost.bench.timing.store import Store, better

GPU_CHUNK_S = 0.25
"""A stretch of samples on a GPU."""

GPU_LEAST_S = 1.0
"""Least sampling time on a GPU, under any budget."""

SET_UP_S = 10.0
"""The time to look at devices and to count that is no part of a budget."""

ASSUMED_MACS_PER_S = 10e9
"""Of a CPU core in a network; on two of them the rows were measured at 20 to 80 GMAC/s."""

START_S = 4.0
"""A worker's imports and building, before its first pass."""

PASSES = 8
"""Passes of a row that is barely measured: warm-up, the memory pass, a few samples."""


class Interrupted(Ending):
    """The user stopped the sweep; says how to continue it."""

    status = INTERRUPTED


OnProgress = Callable[[str, int], None]
"""Told what happens, in words, and how many cells are done."""


@dataclass
class Swept:
    """The best record of each cell that has one, in the order of the cells, and what to say.

    ``left_out`` are those for which no time was left.
    """

    timings: list[Timing] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    left_out: list[Cell] = field(default_factory=list)

    @property
    def failures(self) -> list[str]:
        """A line on each cell that was not measured."""
        return [
            f"{_words(each.cell)}: {each.status}{f': {each.error}' if each.error else ''}"
            for each in self.timings
            if each.status != "ok"
        ]

    @property
    def untimed(self) -> list[str]:
        """A line on each cell for which the time was too short: to begin, or for enough pairs."""
        lines = [f"no time was left for {_words(cell)}: raise --budget" for cell in self.left_out]
        for timing in self.timings:
            pairs = len(timing.samples_s.get("reference", ()))
            if timing.status == "ok" and timing.cell.against and pairs < FEWEST:
                lines.append(f"{_words(timing.cell)}: too few pairs ({pairs}): raise --budget")
        return lines


def _words(cell: Cell) -> str:
    conditions = f"batch {cell.batch}, {cell.dtype}, {cell.mode}, {cell.phase}"
    return f"{cell.target} on {cell.device} ({conditions})"


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
    clock: Callable[[], float] = time.monotonic,
    began: float | None = None,
) -> Swept:
    """Measure ``cells`` on this machine and append each record to ``store``.

    Cells that are timed against the same one are measured in one rotation. A worker that fails is a
    status of its cell, and the next ones follow. ``resume`` leaves out cells that are stored as ok
    under the same code, device, driver and torch. With ``budget_s`` each worker has an equal part
    of what is left, start-up included, unless it is precise earlier; what is not expected to fit is
    left out. ``warn`` is told beforehand if the budget is too short. ``predict`` counts: it is
    called before a cell's worker is given it, so nothing is counted while one samples. ``began`` is
    when the command did, by ``clock``: what it takes beyond :data:`SET_UP_S` is of the budget.
    Raises: ValueError for a device that is not there or a file that cannot be written; Interrupted
            on Ctrl-C, with every finished cell stored.
    """
    limits = limits or Limits()
    cells = list(dict.fromkeys(cells))
    timings: dict[Cell, Timing] = {}
    began = clock() if began is None else began
    notes: list[str] = []
    left_out: list[Cell] = []

    def on_chunk(cell: Cell, chunk: Chunk, reply: Reply) -> None:
        if chunk.needs_s is not None:
            all_s = clock() - began + chunk.needs_s
            if budget_s is not None and all_s > longest_s(budget_s):
                long = (
                    f"{cell.target}: a pass takes {chunk.median_s:.1f} s, all about {all_s:.0f} s"
                )
                warn(f"{long}, more than the budget of {budget_s:g} s")
            return
        words = f"{cell.target}: {chunk.samples} samples, {chunk.median_s * 1e3:,.4g} ms"
        words += "" if chunk.precision is None else f" ± {chunk.precision:.1%}"
        on_progress(words + (", throttled" if reply == "void" else ""), len(timings))

    try:
        supervisor = Supervisor(command, predict, on_chunk, warn=warn)
        known = store.read()
        stored = {c: t for c in cells if (t := known.get(supervisor.key(c))) and t.status == "ok"}
        missing: list[list[Cell]] = []
        for group in rotations(cells):
            # figures of one rotation are compared with each other: all of it is stored, or none
            if resume and stored.keys() >= {*group}:
                timings |= {cell: stored[cell] for cell in group}
                on_progress(f"{group[0].target}: stored", len(timings))
            else:
                missing.append(group)
        measured = set(cells) - timings.keys()
        ends_at, least_s = math.inf, [0.0 for _ in missing]
        if budget_s is not None:
            least_s = [least_seconds(group, supervisor.predict) for group in missing]
            if (all_s := sum(least_s)) > longest_s(budget_s):
                many = f"{len(measured)} measurements take about {all_s:.0f} s at least"
                warn(f"{many}, more than the budget of {budget_s:g} s")
            over_s = max(0.0, clock() - began - SET_UP_S)
            ends_at = clock() + max(budget_s - over_s, limits.least_s)
        for number, group in enumerate(missing):
            started = clock()
            left_s = ends_at - started
            # whatever the budget, something is measured
            if number and least_s[number] > left_s:
                left_out += group
                continue
            given = share(limits, started, left_s / (len(missing) - number))
            on_progress(f"{group[0].target}: warming up", len(timings))
            taken = supervisor.measure(*group, limits=given)
            for cell, timing in taken.items():
                notes.append(store.append(timing))
                timings[cell] = timing
                on_progress(f"{cell.target}: {timing.status}", len(timings))
    except KeyboardInterrupt:
        raise interrupted(len(timings), len(cells), f"in {store.path}") from None
    # one that was worse than what is stored changes nothing; of a rotation all are shown
    for cell in measured & stored.keys():
        if cell in timings and cell.against is None:
            timings[cell] = better(stored[cell], timings[cell])
    return Swept(
        [timings[cell] for cell in cells if cell in timings],
        [*filter(None, notes), *drifts(timings.values())],
        left_out,
    )


def rotations(cells: Sequence[Cell]) -> list[list[Cell]]:
    """``cells`` in groups that are measured together: all timed against the same one."""
    groups: dict[Cell, list[Cell]] = {}
    for cell in cells:
        groups.setdefault(cell.against or cell, []).append(cell)
    return list(groups.values())


def least_seconds(group: Sequence[Cell], predict: Callable[[Cell], Predicted]) -> float:
    """An estimate of the least time that it takes to measure a rotation."""
    first = group[0]
    speed = ASSUMED_MACS_PER_S * first.threads if first.device == "cpu" else math.inf
    sides = [*group, *([first.against] if first.against else [])]
    return START_S + sum(PASSES * (predict(each).macs_total or 0) / speed for each in sides)


def longest_s(budget_s: float) -> float:
    """The longest that a command with this budget may take."""
    return 1.2 * budget_s + SET_UP_S


def share(limits: Limits, started: float, seconds: float) -> Limits:
    """Limits of a rotation that has ``seconds`` in all from ``started``."""
    if seconds == math.inf:
        return limits
    # a window that is too short is useless, so it is all or nothing
    energy_s = limits.energy_s if limits.energy_s <= seconds / 4 else 0.0
    return limits.model_copy(
        update={
            "ends_at": started + seconds,
            "energy_s": energy_s,
            "warmup_s": min(limits.warmup_s, max(limits.least_s, seconds / 4)),
            "sampling_s": max(limits.least_s, seconds - energy_s),
        }
    )


def interrupted(done: int, of: int, where: str) -> Interrupted:
    return Interrupted(
        f"stopped after {done} of {of} cells, which are {where}: give the same command to continue"
    )

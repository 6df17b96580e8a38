"""Measures many cells on this machine, one after another, and stores each record at once.

Within a budget of time if there is one, which is divided among all cells.
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
    clock: Callable[[], float] = time.monotonic,
) -> Swept:
    """Measure ``cells`` on this machine and append each record to ``store``.

    A worker that fails is a status of its cell, and the next cell follows. ``resume`` leaves out
    cells that are stored as ok under the same code, device, driver and torch. With ``budget_s``
    each cell is sampled for an equal part of what is left, start-up included, until it is precise;
    one that is not expected to fit is left out. ``warn`` is told beforehand if the budget is too
    short. ``predict`` counts: it is called before a cell's worker is given it, so nothing is
    counted while one samples.
    Raises: ValueError for a device that is not there or a file that cannot be written; Interrupted
            on Ctrl-C, with every finished cell stored.
    """
    limits = limits or Limits()
    cells = list(dict.fromkeys(cells))
    timings: dict[Cell, Timing] = {}
    began = clock()
    notes = [store.prepare()]
    left_out: list[str] = []

    def on_chunk(cell: Cell, chunk: Chunk, reply: Reply) -> None:
        words = f"{cell.target}: {chunk.samples} samples, {chunk.median_s * 1e3:,.4g} ms"
        words += "" if chunk.precision is None else f" ± {chunk.precision:.1%}"
        on_progress(words + (", throttled" if reply == "void" else ""), len(timings))

    try:
        supervisor = Supervisor(command, predict, on_chunk, warn=warn)
        known = store.read() if resume else {}
        for cell in cells:
            timing = known.get(supervisor.key(cell))
            if timing is not None and timing.status == "ok":
                timings[cell] = timing
                on_progress(f"{cell.target}: stored", len(timings))
        missing = [cell for cell in cells if cell not in timings]
        least_s, ends_at, overhead_s = dict.fromkeys(missing, 0.0), math.inf, START_S
        if budget_s is not None:
            least_s = {c: least_seconds(c, supervisor.predict(c).macs_total) for c in missing}
            if (all_s := sum(least_s.values())) > 1.2 * budget_s + SET_UP_S:
                many = f"{len(missing)} measurements take about {all_s:.0f} s at least"
                warn(f"{many}, more than the budget of {budget_s:g} s")
            over_s = max(0.0, clock() - began - SET_UP_S)
            ends_at = clock() + max(budget_s - over_s, LEAST_S)
        for number, cell in enumerate(missing):
            started = clock()
            left_s = ends_at - started
            # whatever the budget, something is measured
            if number and least_s[cell] > left_s:
                left_out.append(cell.target)
                continue
            given = share(limits, left_s / (len(missing) - number), overhead_s)
            on_progress(f"{cell.target}: warming up", len(timings))
            timing = timings[cell] = supervisor.measure(cell, given, stop_at=ends_at)
            notes.append(store.append(timing))
            on_progress(f"{cell.target}: {timing.status}", len(timings))
            if timing.protocol is not None:
                overhead_s = max(overhead_s, clock() - started - timing.protocol.sampling_s)
    except KeyboardInterrupt:
        raise interrupted(len(timings), len(cells), f"in {store.path}") from None
    if left_out:
        targets = ", ".join(dict.fromkeys(left_out))
        notes.append(f"no time was left for {targets}: raise --budget")
    return Swept([timings[cell] for cell in cells if cell in timings], list(filter(None, notes)))


def least_seconds(cell: Cell, macs: int | None) -> float:
    """An estimate of the least time that a measurement takes; ``macs`` are those of one pass."""
    sides = 1 if cell.against is None else 2
    speed = ASSUMED_MACS_PER_S * cell.threads if cell.device == "cpu" else math.inf
    return START_S + sides * PASSES * (macs or 0) / speed


def share(limits: Limits, seconds: float, overhead_s: float) -> Limits:
    """Limits of a cell that has ``seconds`` in all, of which ``overhead_s`` are not sampling."""
    if seconds == math.inf:
        return limits
    # a window that is too short is useless, so it is all or nothing
    energy_s = limits.energy_s if limits.energy_s <= seconds / 4 else 0.0
    rest_s = seconds - energy_s - overhead_s
    return limits.model_copy(
        update={
            "energy_s": energy_s,
            "warmup_s": min(limits.warmup_s, max(limits.least_s, seconds / 4)),
            "sampling_s": max(limits.least_s, rest_s),
        }
    )


def interrupted(done: int, of: int, where: str) -> Interrupted:
    return Interrupted(
        f"stopped after {done} of {of} cells, which are {where}: give the same command to continue"
    )

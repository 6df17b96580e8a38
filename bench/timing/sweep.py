"""Measures many cells, each in a worker of its own, and stores each record at once.

:func:`sweep` measures on this machine, one cell after another, within a budget of time if there is
one. :func:`sweep_on_ray` measures on the nodes of a Ray cluster.
"""

import contextlib
import platform
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from vidcost.bench import engine
from vidcost.bench.exit_status import INTERRUPTED, Ending
from vidcost.bench.timing.budget import Budget
from vidcost.bench.timing.cell import Cell
from vidcost.bench.timing.conditions import machine_of
from vidcost.bench.timing.messages import Chunk, Limits, Reply
from vidcost.bench.timing.parent import COMMAND, Predicted, Supervisor
from vidcost.bench.timing.plan import check_code, least_seconds
from vidcost.bench.timing.record import Machine, Status, Timing
from vidcost.bench.timing.store import Store
from vidcost.bench.timing.stored import store_of, stored_files

GPU_CHUNK_S = 0.25
"""A stretch of samples on a GPU."""

GPU_LEAST_S = 1.0
"""Least sampling time on a GPU, under any budget."""


SET_UP_S = 10.0
"""The time to look at devices and to count that is no part of a budget."""

LEAST_S = 1.0
"""The least that is left of a budget then, so that something is measured."""


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
        return [failure(timing) for timing in self.timings if timing.status != "ok"]


def failure(timing: Timing) -> str:
    """A cell that was not measured, in a line."""
    cell = timing.cell
    where = f"batch {cell.batch}, {cell.dtype}, {cell.mode}, {cell.phase}"
    line = f"{cell.target} on {cell.device} ({where}): {timing.status}"
    return f"{line}: {timing.error}" if timing.error else line


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
    every cell is measured for a short time, and the least precise ones again for longer; the cell
    that is measured when the time is over is finished, the rest are left out; ``warn`` is told
    beforehand if the budget is too short. ``predict`` counts: it is called before a cell's worker
    is given it, so nothing is counted while one samples.

    Raises: ValueError for a device that is not there or a file that cannot be written; Interrupted
            on Ctrl-C, with every finished cell stored.
    """
    limits = limits or Limits()
    cells = list(dict.fromkeys(cells))
    timings: dict[Cell, Timing] = {}
    began = time.monotonic()
    budget: Budget | None = None
    notes = [store.prepare()]

    def on_chunk(cell: Cell, chunk: Chunk, reply: Reply) -> None:
        words = f"{cell.target}: {chunk.samples} samples, {chunk.median_s * 1e3:,.4g} ms"
        words += "" if chunk.precision is None else f" ± {chunk.precision:.1%}"
        on_progress(words + (", throttled" if reply == "void" else ""), len(timings))

    def stored(cell: Cell) -> Timing | None:
        # read again for each: another sweep may work on the same file
        known = store.read().get(supervisor.key(cell)) if resume else None
        return known if known is not None and known.status == "ok" else None

    def measure(cell: Cell, limits: Limits, *, again: bool = False) -> None:
        began = time.monotonic()
        on_progress(f"{cell.target}{', again' if again else ''}: warming up", len(timings))
        timing = supervisor.measure(cell, limits, stop_at=budget.ends_at if budget else None)
        # a second attempt that fails does not invalidate the first
        if timing.status == "ok" or not again:
            notes.append(store.append(timing))
            timings[cell] = timing
        on_progress(f"{cell.target}: {timing.status}", len(timings))
        if budget:
            budget.add(cell, timing, took_s=time.monotonic() - began)

    try:
        with Supervisor(command, cache(predict), on_chunk, warn=warn) as supervisor:
            if budget_s is not None:
                missing = [cell for cell in cells if not stored(cell)]
                least_s = sum(
                    least_seconds(cell, supervisor.predict(cell).macs_total) for cell in missing
                )
                if least_s > 1.2 * budget_s + SET_UP_S:
                    many = f"{len(missing)} measurements take about {least_s:.0f} s at least"
                    warn(f"{many}, more than the budget of {budget_s:g} s")
                over_s = max(0.0, time.monotonic() - began - SET_UP_S)
                budget = Budget(max(budget_s - over_s, LEAST_S), limits)
            for position, cell in enumerate(cells):
                if (known := stored(cell)) is not None:
                    timings[cell] = known
                    on_progress(f"{cell.target}: stored", len(timings))
                    if budget:
                        budget.add(cell, known)
                    continue
                given = budget.first(len(cells) - position) if budget else limits
                if given is None:
                    left = dict.fromkeys(cell.target for cell in cells[position:])
                    notes.append(f"no time was left for {', '.join(left)}: raise --budget")
                    break
                measure(cell, given)
            while budget and (worst := budget.worst()) is not None:
                measure(*worst, again=True)
    except KeyboardInterrupt:
        raise _interrupted(len(timings), len(cells), f"in {store.path}") from None
    return Swept([timings[cell] for cell in cells if cell in timings], list(filter(None, notes)))


def sweep_on_ray(
    cells: Sequence[Cell],
    results: Path,
    *,
    command: str,
    gpu: str | None = None,
    limits: Limits | None = None,
    resume: bool = False,
    predict: Callable[[Cell], Predicted] = lambda _: Predicted(),
    on_progress: OnProgress = lambda words, done: None,
    worker: Sequence[str] = COMMAND,
    look: Callable[[str], Machine] = machine_of,
) -> Swept:
    """Measure ``cells``, all of one device, on the Ray cluster that this process has joined.

    A cell is one task. Each record goes to the file of its machine in ``results``, so unlike
    machines are never mixed. With ``resume`` a node leaves out a cell that is stored as ok for its
    kind of machine. A cell that fails is a status of its cell. So is a cell that is lost, or that a
    node cannot measure, but it is stored nowhere.
    Raises: ValueError if there is no such GPU, or a file cannot be written; Interrupted on Ctrl-C,
            with every finished cell stored.
    """
    cells = list(dict.fromkeys(cells))
    known: dict[Cell, dict[str, Timing]] = {cell: {} for cell in cells}
    for contents in stored_files(results) if resume else ():
        for key, timing in contents.records.items():
            if timing.cell in known and timing.status == "ok":
                known[timing.cell][key] = timing
    shared = (limits or Limits(), predict, worker, look)
    calls = [(cell, frozenset(known[cell]), *shared) for cell in cells]
    timings: dict[Cell, Timing] = {}
    notes: list[str] = []
    device = cells[0].device if cells else "cpu"
    running = engine.outcomes(_measured_there, calls, device=device, gpu=gpu)
    try:
        with contextlib.closing(running) as outcomes:
            for number, outcome in outcomes:
                cell = cells[number]
                if isinstance(outcome, str):
                    timings[cell] = known[cell][outcome]
                elif isinstance(outcome, Exception):
                    is_lost = isinstance(outcome, engine.Lost)
                    status: Status = "killed" if is_lost else "crashed"
                    timings[cell] = Timing(key="", cell=cell, status=status, error=str(outcome))
                else:
                    assert outcome.machine is not None, outcome
                    store = store_of(results, outcome.machine, command=command)
                    notes.append(store.append(outcome))
                    timings[cell] = outcome
                words = "stored" if isinstance(outcome, str) else timings[cell].status
                on_progress(f"{cell.target}: {words}", len(timings))
    except KeyboardInterrupt:
        raise _interrupted(len(timings), len(cells), "stored") from None
    return Swept([timings[cell] for cell in cells], list(filter(None, notes)))


def _measured_there(
    cell: Cell,
    known: frozenset[str],
    limits: Limits,
    predict: Callable[[Cell], Predicted],
    worker: Sequence[str],
    look: Callable[[str], Machine],
) -> Timing | str:
    """On a node: the record of ``cell``, or its key if that is ``known``."""
    check_code(cell)
    with Supervisor(worker, predict, look=look) as supervisor:
        if (key := supervisor.key(cell)) in known:
            return key
        timing = supervisor.measure(cell, limits)
    assert timing.machine is not None, timing
    machine = timing.machine.model_copy(update={"host": platform.node()})
    return timing.model_copy(update={"machine": machine})


def _interrupted(done: int, of: int, where: str) -> Interrupted:
    return Interrupted(
        f"stopped after {done} of {of} cells, which are {where}: give the same command to continue"
    )

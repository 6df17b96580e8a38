"""Measures many cells, each in a worker of its own, and stores each record at once.

:func:`sweep` measures on this machine, one cell after another, within a budget of time if there is
one. :func:`sweep_on` hands the cells to an engine, which measures them wherever it has room.
"""

from __future__ import annotations

import contextlib
import itertools
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from vidcost.bench.engine.calls import Call, Engine, Lost, Needs, Unfit
from vidcost.bench.exit_status import INTERRUPTED, Ending
from vidcost.bench.timing.budget import Budget
from vidcost.bench.timing.cell import Cell
from vidcost.bench.timing.conditions import conditions, machine_of, machines_here
from vidcost.bench.timing.messages import Chunk, Limits, Reply
from vidcost.bench.timing.parent import COMMAND, Predicted, Supervisor
from vidcost.bench.timing.plan import check_code
from vidcost.bench.timing.record import Machine, Timing
from vidcost.bench.timing.store import Store

GPU_CHUNK_S = 0.25
"""A stretch of samples on a GPU."""

GPU_LEAST_S = 1.0
"""Least sampling time on a GPU, under any budget."""


class Interrupted(Ending):
    """The user stopped the sweep; says how to continue it."""

    status = INTERRUPTED


@dataclass(frozen=True)
class Event:
    """What happens to a cell, for a display.

    ``started``: its worker is given it, ``again`` for a better precision. ``sampled``: ``chunk`` is
    what there is so far, ``void`` if its last samples do not count. ``done``: it has a record.
    ``skipped``: its record was stored already.
    """

    kind: Literal["started", "sampled", "done", "skipped"]
    cell: Cell
    again: bool = False
    chunk: Chunk | None = None
    void: bool = False


OnEvent = Callable[[Event], None]


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
    on_event: OnEvent = lambda _: None,
) -> Swept:
    """Measure ``cells`` on this machine and append each record to ``store``.

    A worker that fails is a status of its cell, and the next cell follows. ``resume`` leaves out
    cells that are stored as ok under the same code, device, driver and torch. With ``budget_s``
    every cell is measured for a short time, and the least precise ones again for longer; the cell
    that is measured when the time is over is finished, the rest are left out. ``predict`` counts:
    it is called before a cell's worker is given it, so nothing is counted while one samples.

    Raises: ValueError for a device that is not there or a file that cannot be written; Interrupted
            on Ctrl-C, with every finished cell stored.
    """
    limits = limits or Limits()
    cells = list(dict.fromkeys(cells))
    timings: dict[Cell, Timing] = {}
    # to look at the devices is part of the budget
    budget = None if budget_s is None else Budget(budget_s, limits)
    notes = [store.prepare()]

    def on_chunk(cell: Cell, chunk: Chunk, reply: Reply) -> None:
        on_event(Event("sampled", cell, chunk=chunk, void=reply == "void"))

    def stored(cell: Cell) -> Timing | None:
        # read again for each: another sweep may work on the same file
        known = store.read().get(supervisor.key(cell)) if resume else None
        return known if known is not None and known.status == "ok" else None

    def measure(cell: Cell, limits: Limits, *, again: bool = False) -> None:
        began = time.monotonic()
        on_event(Event("started", cell, again=again))
        stop_at = budget.ends_at if budget else None
        timing = supervisor.measure(cell, limits, stop_at=stop_at)
        # a second attempt that fails does not invalidate the first
        if timing.status == "ok" or not again:
            notes.append(store.append(timing))
            timings[cell] = timing
        on_event(Event("done", cell))
        if budget:
            budget.add(cell, timing, took_s=time.monotonic() - began)

    try:
        with Supervisor(command, predict, on_chunk) as supervisor:
            for position, cell in enumerate(cells):
                if (known := stored(cell)) is not None:
                    timings[cell] = known
                    on_event(Event("skipped", cell))
                    if budget:
                        budget.add(cell, known)
                    continue
                given = budget.first(len(cells) - position) if budget else limits
                if given is None:
                    left = dict.fromkeys(cell.target for cell in cells[position:])
                    notes.append(f"no time was left for {', '.join(left)}: raise --budget")
                    break
                later = itertools.islice(cells, position + 1, None)
                supervisor.prepare(cell, given, (each for each in later if not stored(each)))
                measure(cell, given)
            while budget and (worst := budget.worst()) is not None:
                measure(*worst, again=True)
    except KeyboardInterrupt:
        raise _interrupted(len(timings), len(cells), f"in {store.path}") from None
    return Swept([timings[cell] for cell in cells if cell in timings], list(filter(None, notes)))


def needs_of(device: str) -> Needs:
    """What a cell on ``device`` must have for itself."""
    return "machine" if device == "cpu" else "gpu"


@dataclass(frozen=True)
class Site:
    """How a machine of a cluster measures a cell: as this one does. It is sent there."""

    predict: Callable[[Cell], Predicted] = lambda _: Predicted()
    command: Sequence[str] = COMMAND
    look: Callable[[str], Machine] = machine_of
    look_around: Callable[[str], list[Machine]] = machines_here

    def machines(self, device: str) -> list[tuple[Machine, tuple[str, ...]]]:
        """What could measure a cell on ``device`` there, and what the cell's key depends on."""
        return [(machine, conditions(machine)) for machine in self.look_around(device)]

    def measure(self, cell: Cell, limits: Limits) -> Timing:
        """The record of ``cell``.

        Raises: Unfit if the device is not there, or a user's code differs from where the cell was
                made; what ``predict`` raises.
        """
        check_code(cell)
        try:
            self.look(cell.device)
        except ValueError as error:
            raise Unfit(str(error)) from None
        with Supervisor(self.command, self.predict, look=self.look) as supervisor:
            return supervisor.measure(cell, limits)


def sweep_on(
    engine: Engine,
    cells: Sequence[Cell],
    store_of: Callable[[Machine], Store],
    *,
    site: Site,
    limits: Limits | None = None,
    resume: bool = False,
    on_event: OnEvent = lambda _: None,
) -> Swept:
    """Measure ``cells``, all of one device, wherever ``engine`` has room.

    Each record goes to the file that ``store_of`` its machine is, so unlike machines are never
    mixed. ``resume`` leaves out cells that are stored as ok for a kind of machine that the cluster
    has now. A cell that fails is a status of its cell. So is a cell that is lost each time it is
    tried, but it is stored nowhere.
    Raises: ValueError if there is no such machine, or a file cannot be written; Interrupted on
            Ctrl-C, with every finished cell stored.
    """
    cells = list(dict.fromkeys(cells))
    if not cells:
        return Swept()
    needs = needs_of(cells[0].device)
    known: dict[tuple[str, ...], Mapping[str, Timing]] = {}
    for answer in engine.everywhere(site.machines, cells[0].device, needs=needs):
        for machine, made_under in answer:
            if made_under not in known:
                known[made_under] = store_of(machine).read()
    timings: dict[Cell, Timing] = {}
    for cell in cells if resume else ():
        for made_under, records in known.items():
            stored = records.get(cell.key(*made_under))
            if stored is not None and stored.status == "ok":
                timings[cell] = stored
                on_event(Event("skipped", cell))
                break
    notes: list[str] = []
    waiting = [cell for cell in cells if cell not in timings]
    limits = limits or Limits()
    calls = (Call(cell.target, site.measure, (cell, limits), needs) for cell in waiting)
    try:
        with contextlib.closing(engine.run(calls)) as outcomes:
            for outcome in outcomes:
                cell = waiting[outcome.number]
                if isinstance(outcome.error, Lost):
                    error = str(outcome.error)
                    timing = Timing(key="", cell=cell, status="killed", error=error)
                else:
                    timing = outcome.get()
                    assert timing.machine is not None, timing
                    place = {"host": outcome.host, "node": outcome.node}
                    machine = timing.machine.model_copy(update=place)
                    timing = timing.model_copy(update={"machine": machine})
                    notes.append(store_of(machine).append(timing))
                timings[cell] = timing
                on_event(Event("done", cell))
    except KeyboardInterrupt:
        raise _interrupted(len(timings), len(cells), "stored") from None
    return Swept([timings[cell] for cell in cells], list(filter(None, notes)))


def _interrupted(done: int, of: int, where: str) -> Interrupted:
    return Interrupted(
        f"stopped after {done} of {of} cells, which are {where}: give the same command to go on"
    )

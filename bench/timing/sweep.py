"""Measuring cells one after another, each in a worker of its own, into one file."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Sequence

from vidcost.bench.exit_status import INTERRUPTED, Ending
from vidcost.bench.timing import events
from vidcost.bench.timing.budget import Budget
from vidcost.bench.timing.cell import Cell
from vidcost.bench.timing.events import Event
from vidcost.bench.timing.messages import Chunk, Limits, Reply
from vidcost.bench.timing.parent import COMMAND, Predicted, Supervisor
from vidcost.bench.timing.record import Timing
from vidcost.bench.timing.store import Store


class Interrupted(Ending):
    """The sweep was stopped by the user; says how to go on."""

    status = INTERRUPTED


def sweep(
    cells: Sequence[Cell],
    store: Store,
    *,
    limits: Limits | None = None,
    resume: bool = False,
    budget_s: float | None = None,
    command: Sequence[str] = COMMAND,
    predict: Callable[[Cell], Predicted] = lambda _: Predicted(),
    on_event: Callable[[Event], None] = lambda _: None,
) -> list[Timing]:
    """Measure ``cells`` and append each record to ``store`` as soon as it is there.

    A worker that fails is a status of its cell, and the next cell's turn. ``resume`` leaves out
    cells that are stored as ok under the same code, device, driver and torch. With ``budget_s``
    every cell is measured for a short time, and the worst again for longer; the cell that runs when
    the time is over is finished, the rest are left out. ``predict`` counts: it is called before a
    cell's worker is given it, so nothing is counted while one samples.

    Returns: the latest timing of each cell that has one, in the order of ``cells``.
    Raises: ValueError for a device that is not there or a file that cannot be written; Interrupted
    on Ctrl-C, with every finished cell stored.
    """
    limits = limits or Limits()
    cells = list(dict.fromkeys(cells))
    timings: dict[Cell, Timing] = {}

    def on_chunk(cell: Cell, chunk: Chunk, reply: Reply) -> None:
        on_event(events.ChunkTaken(cell, chunk, reply))

    # the devices are looked at within the budget
    budget = None if budget_s is None else Budget(budget_s, limits)
    try:
        _warn(store.prepare(), on_event)
        with Supervisor(command, predict, on_chunk) as supervisor:
            work = _Sweep(cells, store, supervisor, timings, on_event)
            work.first(limits, resume=resume, budget=budget)
            if budget:
                work.refine(budget)
    except KeyboardInterrupt:
        raise Interrupted(
            f"stopped after {len(timings)} of {len(cells)} cells, which are in {store.path}: "
            "give the same command to go on"
        ) from None
    return [timings[cell] for cell in cells if cell in timings]


class _Sweep:
    """One sweep: what it works with, and the timings so far."""

    def __init__(
        self,
        cells: Sequence[Cell],
        store: Store,
        supervisor: Supervisor,
        timings: dict[Cell, Timing],
        on_event: Callable[[Event], None],
    ) -> None:
        self._cells = cells
        self._store = store
        self._supervisor = supervisor
        self._timings = timings
        self._on_event = on_event

    def first(self, limits: Limits, *, resume: bool, budget: Budget | None) -> None:
        """Measure each cell once; those that are stored not at all."""
        for position, cell in enumerate(self._cells):
            # read anew for each: another sweep may work on the same file
            known = self._stored(cell) if resume else None
            if known is not None:
                self._timings[cell] = known
                self._on_event(events.CellSkipped(cell, known))
                if budget:
                    budget.add(cell, known)
                continue
            given = budget.first(len(self._cells) - position) if budget else limits
            if given is None:
                self._on_event(events.BudgetSpent(tuple(self._cells[position:])))
                return
            later = itertools.islice(self._cells, position + 1, None)
            following = (each for each in later if not (resume and self._stored(each)))
            self._supervisor.prepare(cell, given, following)
            self._measure(cell, given, budget)

    def refine(self, budget: Budget) -> None:
        """Measure the least precise cell again, longer, while that helps and fits."""
        while (worst := budget.worst()) is not None:
            self._measure(*worst, budget, again=True)

    def _stored(self, cell: Cell) -> Timing | None:
        known = self._store.read().get(self._supervisor.key(cell))
        return known if known is not None and known.status == "ok" else None

    def _measure(
        self, cell: Cell, limits: Limits, budget: Budget | None, *, again: bool = False
    ) -> None:
        number, began = self._cells.index(cell) + 1, time.monotonic()
        self._on_event(events.CellStarted(cell, number, len(self._cells), limits, again))
        timing = self._supervisor.measure(
            cell,
            limits,
            stop_at=budget.ends_at if budget else None,
        )
        # a second try that failed says nothing against what the first one measured
        if stored := timing.status == "ok" or not again:
            _warn(self._store.append(timing), self._on_event)
            self._timings[cell] = timing
        self._on_event(events.CellDone(cell, timing, stored))
        if budget:
            budget.add(cell, timing, took_s=time.monotonic() - began)


def _warn(text: str, on_event: Callable[[Event], None]) -> None:
    if text:
        on_event(events.Warned(text))

"""Timing on behalf of a person on many machines at once."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path

from rich.console import Console

from vidcost.bench.engine.work import Engine
from vidcost.bench.session.timing import (
    Taken,
    failure,
    limits_for,
    predict_with_peak,
    store_of,
)
from vidcost.bench.session.timing_progress import progress
from vidcost.bench.timing import events
from vidcost.bench.timing.cell import Cell
from vidcost.bench.timing.conditions import machines_here
from vidcost.bench.timing.kinds import first_difference
from vidcost.bench.timing.record import Machine
from vidcost.bench.timing.spread import Site, Spread, Usual, needs_of, spread
from vidcost.bench.timing.store import TIMINGS
from vidcost.bench.timing.sweep import Interrupted


def take_on(
    engine: Engine,
    cells: Sequence[Cell],
    results: Path,
    *,
    console: Console,
    resume: bool = True,
    start_up_s: float | None = None,
    command: str = "vidcost time",
    site: Site | None = None,
) -> Taken:
    """Time ``cells`` of one device wherever ``engine`` has room.

    Each record goes to the file of its own machine. ``start_up_s`` is what a worker may take beside
    its sampling; None for the usual.
    Raises: ValueError as :func:`spread` does; Interrupted on Ctrl-C.
    """
    taken = Taken()
    found = Spread(list(dict.fromkeys(cells)))
    taken.timings = found
    with progress(console, len(found.cells)) as show:

        def on_event(event: events.Event) -> None:
            show(event)
            match event:
                case events.CellDone() if event.timing.status != "ok":
                    taken.failures.append(failure(event.timing))
                case events.Warned():
                    taken.notes.append(event.text)
                case _:
                    pass

        try:
            spread(
                found,
                engine,
                partial(store_of, results, command=command),
                site=site or Usual(predict_with_peak),
                limits=limits_for(cells[0].device, start_up_s=start_up_s),
                resume=resume,
                on_event=on_event,
            )
        except KeyboardInterrupt:
            raise Interrupted(
                f"stopped after {found.done} of {len(found.cells)} cells, which are in "
                f"{results / TIMINGS}: give the same command to go on"
            ) from None
    return taken


def one_kind(engine: Engine, device: str) -> Machine:
    """A machine of the cluster's, if all that could time on ``device`` are alike.

    Raises: ValueError naming what differs, if they are not, or nothing can be said of them.
    """
    answers = engine.everywhere(machines_here, device, needs=needs_of(device))
    machines = [machine for each in answers for machine in each]
    if not machines:
        raise ValueError("no node says what its GPUs are: NVML is not to be had there")
    kinds = list(dict.fromkeys(machine.kind for machine in machines))
    if len(kinds) > 1:
        field, one, other = first_difference(*kinds[:2])
        raise ValueError(
            f"a study is of one kind of machine, and the nodes differ: {field} {one} and {other}: "
            "choose one kind, of GPUs by --gpu"
        )
    return machines[0]

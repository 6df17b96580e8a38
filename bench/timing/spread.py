"""A sweep over many machines at once: each cell where there is room, each record to its file."""

from __future__ import annotations

import contextlib
from array import array
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from vidcost.bench.engine.work import Engine, Lost, Needs, Piece, Unfit
from vidcost.bench.timing import events
from vidcost.bench.timing.cell import Cell
from vidcost.bench.timing.conditions import conditions, machine_of, machines_here
from vidcost.bench.timing.events import Event
from vidcost.bench.timing.messages import Limits
from vidcost.bench.timing.parent import COMMAND, Predicted, Supervisor
from vidcost.bench.timing.plan import check_code
from vidcost.bench.timing.record import Machine, Timing
from vidcost.bench.timing.store import Place, Store

NOWHERE = -1
"""Of a cell that has no record: it was lost, or its turn never came."""

Conditions = tuple[str, ...]


def needs_of(device: str) -> Needs:
    """What a timing on ``device`` must have for itself."""
    return "machine" if device == "cpu" else "gpu"


class Site(Protocol):
    """How a machine of the cluster is looked at, and measured on. It is sent there."""

    def machines(self, device: str) -> list[tuple[Machine, Conditions]]:
        """What could be given to a cell on ``device``, and what its key would be made of."""

    def measure(self, cell: Cell, limits: Limits) -> tuple[Conditions, Timing]:
        """The record of ``cell``, and what its key was made of."""


@dataclass(frozen=True)
class Usual:
    """A worker process for each cell, as on one machine. ``predict`` counts, before it starts."""

    predict: Callable[[Cell], Predicted] = lambda _: Predicted()
    command: Sequence[str] = COMMAND
    look: Callable[[str], Machine] = machine_of
    look_around: Callable[[str], list[Machine]] = machines_here

    def machines(self, device: str) -> list[tuple[Machine, Conditions]]:
        """See :class:`Site`."""
        return [(machine, conditions(machine)) for machine in self.look_around(device)]

    def measure(self, cell: Cell, limits: Limits) -> tuple[Conditions, Timing]:
        """See :class:`Site`.

        Raises: Unfit if the device is not there, or a user's code is not what it is where the cell
                was made; what ``predict`` raises.
        """
        check_code(cell)
        try:
            machine = self.look(cell.device)
        except ValueError as error:
            raise Unfit(str(error)) from None
        with Supervisor(self.command, self.predict, look=self.look) as supervisor:
            return conditions(machine), supervisor.measure(cell, limits)


@dataclass
class Spread:
    """What a sweep came to: how many cells have a record of this sweep or an earlier one.

    ``lost`` are records of cells that have none in a file: no machine is known to have measured
    them. The others are read one by one, so that there may be any number.
    """

    cells: Sequence[Cell]
    lost: dict[int, Timing] = field(default_factory=dict)
    done: int = 0
    # of each cell, which of ``_seen`` its record was made under
    _where: array[int] = field(default_factory=lambda: array("i"))
    _seen: dict[Conditions, tuple[int, Store]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._where = array("i", [NOWHERE]) * len(self.cells)

    def note(self, number: int, made_under: Conditions, store: Store) -> None:
        """Cell ``number`` has its record in ``store``."""
        index, _ = self._seen.setdefault(made_under, (len(self._seen), store))
        if self._where[number] == NOWHERE:
            self.done += 1
        self._where[number] = index

    def __iter__(self) -> Iterator[Timing]:
        """The latest timing of each cell that has one, in the order of the cells."""
        seen = [(made_under, store) for made_under, (_, store) in self._seen.items()]
        indices: dict[int, dict[str, Place]] = {}
        for number, cell in enumerate(self.cells):
            if number in self.lost:
                yield self.lost[number]
            if (index := self._where[number]) == NOWHERE:
                continue
            made_under, store = seen[index]
            if index not in indices:
                indices[index] = store.index()
            yield from store.at([indices[index][cell.key(*made_under)]])

    def __len__(self) -> int:
        return self.done + len(self.lost)


def spread(
    found: Spread,
    engine: Engine,
    store_of: Callable[[Machine], Store],
    *,
    site: Site,
    limits: Limits | None = None,
    resume: bool = False,
    on_event: Callable[[Event], None] = lambda _: None,
) -> None:
    """Measure the cells of ``found``, all of one device, wherever ``engine`` has room.

    ``store_of`` is the file of a machine, so that unlike machines are never mixed. ``resume``
    leaves out cells that are stored as ok for a machine that the cluster has now, whoever measured
    them there. A cell that fails is a status of that cell, and so is one that is lost wherever it
    is tried. ``found`` is filled as records come in.
    Raises: ValueError if there is no such machine, or a file cannot be written.
    """
    limits = limits or Limits()
    if not found.cells:
        return
    device = found.cells[0].device
    needs = needs_of(device)
    answers = engine.everywhere(site.machines, device, needs=needs)
    machines = {made_under: store_of(machine) for each in answers for machine, made_under in each}
    known = _Known(machines if resume else {})

    def pieces() -> Iterator[Piece[tuple[Conditions, Timing]]]:
        for number, cell in enumerate(found.cells):
            if (made_under := known.of(cell)) is not None:
                found.note(number, made_under, machines[made_under])
                on_event(events.CellSkipped(cell))
                continue
            on_event(events.CellStarted(cell, number + 1, len(found.cells), limits))
            yield Piece(cell.target, site.measure, (cell, limits), needs, tag=number)

    with contextlib.closing(engine.run(pieces())) as outcomes:
        for outcome in outcomes:
            number, cell = outcome.piece.tag, found.cells[outcome.piece.tag]
            if isinstance(outcome.error, Lost):
                timing = Timing(key="", cell=cell, status="killed", error=str(outcome.error))
                found.lost[number] = timing
                on_event(events.CellDone(cell, timing, stored=False))
                continue
            made_under, timing = outcome.get()
            assert timing.machine is not None
            machine = timing.machine.model_copy(update={"host": outcome.host, "node": outcome.node})
            timing = timing.model_copy(update={"machine": machine})
            store = store_of(machine)
            if warning := store.append(timing):
                on_event(events.Warned(warning))
            found.note(number, made_under, store)
            on_event(events.CellDone(cell, timing))


class _Known:
    """What is stored as ok for machines, by their conditions."""

    def __init__(self, machines: Mapping[Conditions, Store]) -> None:
        by_path: dict[Path, set[str]] = {}
        for store in machines.values():
            if store.path not in by_path:
                by_path[store.path] = {key for key, place in store.index().items() if place.ok}
        self._keys = {made_under: by_path[store.path] for made_under, store in machines.items()}

    def of(self, cell: Cell) -> Conditions | None:
        """What a record of ``cell`` was made under; None if there is none."""
        for made_under, keys in self._keys.items():
            if keys and cell.key(*made_under) in keys:
                return made_under
        return None

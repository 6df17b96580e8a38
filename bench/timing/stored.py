"""Stored timings: their files, and which of them may share a table."""

import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from vidcost.bench.timing.cell import Cell
from vidcost.bench.timing.conditions import conditions, machine_of
from vidcost.bench.timing.record import Machine, Timing
from vidcost.bench.timing.store import TIMINGS, Contents, Store


def store_of(results: Path, machine: Machine, *, command: str = "vidcost time") -> Store:
    """The file for timings of ``machine``: ``timings/<device>-torch<version>.jsonl``.

    That of a CPU begins with ``local-``, which git ignores: each machine has timings of its own.
    """
    version = machine.torch.partition("+")[0]
    local = "local-" if machine.device == machine.cpu else ""
    return Store(
        results / TIMINGS / f"{local}{slug(machine.device)}-torch{version}.jsonl", command=command
    )


def slug(device: str) -> str:
    """A device's name as part of a path."""
    return re.sub(r"[^a-z0-9]+", "-", device.lower()).strip("-")


def stored(cells: Sequence[Cell], results: Path) -> dict[Cell, Timing]:
    """The timings of ``cells`` that are stored as measured under today's code and device."""
    if not cells:
        return {}
    machine = machine_of(cells[0].device)
    records = store_of(results, machine).read()
    found = {cell: records.get(cell.key(*conditions(machine))) for cell in cells}
    return {cell: timing for cell, timing in found.items() if timing and timing.status == "ok"}


def stored_files(results: Path) -> Iterator[Contents]:
    """The contents of each file of timings in the results folder, by name; one is read at a time.

    Raises: ValueError naming file and line if one is damaged.
    """
    for path in sorted((results / TIMINGS).glob("*.jsonl")):
        yield Store(path).load()


def stored_by_device(folder: Path) -> dict[str, list[Timing]]:
    """The latest timing of each cell in any file of ``folder``, by the name of the device.

    Only timings taken on machines like that of the device's latest one.
    Raises: ValueError naming file and line if one is damaged.
    """
    latest: dict[str, dict[Cell, Timing]] = {}
    for contents in stored_files(folder):
        for timing in contents.records.values():
            if timing.machine is not None:
                latest.setdefault(timing.machine.device, {})[timing.cell] = timing
    found = {}
    for device, of_cells in sorted(latest.items()):
        kind = _kind(max(of_cells.values(), key=lambda each: each.started))
        found[device] = [each for each in of_cells.values() if _kind(each) == kind]
    return found


def _kind(timing: Timing) -> Machine | None:
    return timing.machine and timing.machine.kind


def by_kind(timings: Iterable[Timing]) -> list[list[Timing]]:
    """``timings`` in groups that may stand in one table each; one empty group if there are none.

    Timings of an unknown machine belong to the first group.
    """
    groups: dict[Machine | None, list[Timing]] = {}
    for timing in timings:
        groups.setdefault(_kind(timing), []).append(timing)
    unknown = groups.pop(None, [])
    first, *others = [*groups.values()] or [[]]
    return [[*first, *unknown], *others]


def machine_of_all(timings: Iterable[Timing]) -> Machine | None:
    """The kind of machine of all ``timings``; None if it is not known.

    Raises: ValueError if there are several, naming the difference.
    """
    kinds = list(dict.fromkeys(each.machine.kind for each in timings if each.machine is not None))
    if len(kinds) > 1:
        field, one, other = _difference(kinds[0], kinds[1])
        raise ValueError(
            f"timings of unlike machines do not go into one table: {field} {one} and {other}"
        )
    return kinds[0] if kinds else None


def rows_timed_alike(timings: Iterable[Timing]) -> dict[str, Timing]:
    """Inference of rows as they stand, by name, under the conditions that most were timed under."""
    groups: dict[str, dict[str, Timing]] = {}
    for timing in timings:
        cell = timing.cell
        if cell.row is None or not cell.is_row_itself or cell.is_pair or cell.phase == "training":
            continue
        groups.setdefault(cell.model_dump_json(exclude={"row"}), {})[cell.row] = timing
    return max(groups.values(), key=len, default={})


def _difference(one: Machine, other: Machine) -> tuple[str, object, object]:
    """The first field in which two machines differ, and its two values."""
    fields = ((name, value, getattr(other, name)) for name, value in one)
    return next((name, here, there) for name, here, there in fields if here != there)

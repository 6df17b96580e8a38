"""Stored timings: their files, the choice among them, and which of them may share a table."""

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
        results / TIMINGS / f"{local}{slug(machine)}-torch{version}.jsonl", command=command
    )


def slug(machine: Machine) -> str:
    """The device's name as part of a path."""
    return re.sub(r"[^a-z0-9]+", "-", machine.device.lower()).strip("-")


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


def stored_anywhere(folder: Path) -> list[Timing]:
    """The latest timing of each cell on each device in any file of ``folder``, in order.

    Only timings that were taken under the conditions of the device's latest one.
    Raises: ValueError naming file and line if one is damaged.
    """
    latest: dict[str, dict[Cell, Timing]] = {}
    for contents in stored_files(folder):
        for timing in contents.records.values():
            latest.setdefault(_device(timing), {})[timing.cell] = timing
    return [timing for found in latest.values() for timing in of_one_machine(found.values())[0]]


def chosen(which: str, results: Path) -> tuple[list[Timing], str]:
    """The timings of the file ``which``, or of the device whose name contains it; and a note.

    Raises: ValueError if there are none, or of several devices.
    """
    if Path(which).is_file():
        contents = Store(Path(which)).load()
        found, warnings = list(contents.records.values()), [contents.warning]
    else:
        read = list(stored_files(results))
        every = [timing for contents in read for timing in contents.records.values()]
        found = [timing for timing in every if which.casefold() in _device(timing).casefold()]
        warnings = [contents.warning for contents in read]
        if not found:
            there = ", ".join(sorted(set(filter(None, map(_device, every)))))
            raise ValueError(
                f"no timings of {which!r} in {results / TIMINGS}: "
                + (f"there are those of {there}" if there else "`vidcost time` makes some")
            )
    kept, note = of_one_machine(found)
    return kept, "; ".join(filter(None, (*warnings, note)))


def by_kind(timings: Iterable[Timing]) -> list[list[Timing]]:
    """``timings`` in groups that may stand in one table each; one empty group if there are none.

    Timings of an unknown machine belong to the first group.
    """
    groups: dict[Machine | None, list[Timing]] = {}
    for timing in timings:
        groups.setdefault(timing.machine and timing.machine.kind, []).append(timing)
    unknown = groups.pop(None, [])
    first, *others = [*groups.values()] or [[]]
    return [[*first, *unknown], *others]


def of_one_machine(timings: Iterable[Timing]) -> tuple[list[Timing], str]:
    """The timings taken on machines like the latest's, and a note on the others, if any.

    Timings of an unknown machine stay.
    Raises: ValueError naming the devices if there are several.
    """
    every = list(timings)
    devices = sorted(set(filter(None, map(_device, every))))
    if len(devices) > 1:
        raise ValueError(
            f"timings of {' and '.join(devices)} do not go into one table: "
            "choose one device with --timings DEVICE"
        )
    known = [(each.started, each.machine.kind) for each in every if each.machine is not None]
    if not known:
        return every, ""
    _, latest = max(known, key=lambda each: each[0])
    kept = [each for each in every if each.machine is None or each.machine.kind == latest]
    if len(kept) == len(every):
        return every, ""
    other = next(kind for _, kind in known if kind != latest)
    field, before, now = _difference(other, latest)
    left_out = _timings(len(every) - len(kept))
    return kept, f"{left_out} left out: taken with {field} {before}, the latest with {now}"


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


def _device(timing: Timing) -> str:
    return timing.machine.device if timing.machine else ""


def _timings(number: int) -> str:
    return "1 timing" if number == 1 else f"{number} timings"

"""The files of timings in a results folder, and the choice of timings in them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from vidcost.bench.timing.cell import Cell
from vidcost.bench.timing.conditions import conditions, machine_of
from vidcost.bench.timing.kinds import of_one_machine
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
    """What each file of timings in the results folder holds, by name; one is read at a time.

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
            device = timing.machine.device if timing.machine else ""
            latest.setdefault(device, {})[timing.cell] = timing
    return [timing for found in latest.values() for timing in of_one_machine(found.values())[0]]


def chosen(
    which: str, results: Path, files: Iterable[Contents] | None = None
) -> tuple[list[Timing], str]:
    """The timings of the file ``which``, or of the device whose name contains it; and a note.

    ``files`` are those of :func:`stored_files`, if they have been read.
    Raises: ValueError if there are none, or of several devices.
    """
    if Path(which).is_file():
        contents = Store(Path(which)).load()
        found, warnings = list(contents.records.values()), [contents.warning]
    else:
        found, warnings, devices = [], [], set()
        for contents in stored_files(results) if files is None else files:
            warnings.append(contents.warning)
            for timing in contents.records.values():
                name = timing.machine.device if timing.machine else ""
                devices.add(name)
                if which.casefold() in name.casefold():
                    found.append(timing)
        if not found:
            there = ", ".join(sorted(filter(None, devices)))
            raise ValueError(
                f"no timings of {which!r} in {results / TIMINGS}: "
                + (f"there are those of {there}" if there else "`vidcost time` makes some")
            )
    kept, note = of_one_machine(found)
    return kept, "; ".join(filter(None, (*warnings, note)))

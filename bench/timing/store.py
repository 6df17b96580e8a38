"""Stored timings: their files, and which of them may share a table.

A file is one JSON object a line, appended; the best of one key counts.
"""

import importlib.metadata
import math
import os
import re
from collections.abc import Iterable
from pathlib import Path
from typing import BinaryIO, Literal

from filelock import FileLock
from pydantic import BaseModel, ConfigDict

from vidcost.bench import files
from vidcost.bench.timing.cell import Cell
from vidcost.bench.timing.record import Machine, Timing

TIMINGS = "timings"
"""The folder of these files in results/."""

LOCK_TIMEOUT_S = 60
"""An append takes milliseconds: whoever waits longer waits for something else."""


class Header(BaseModel):
    """The first line: the kind of file, and the command and version that began it."""

    model_config = ConfigDict(frozen=True)

    file: Literal["vidcost timings"] = "vidcost timings"
    command: str
    vidcost: str


class Store:
    """A file of timings that several processes may append to.

    A record is one line, written in one piece under a lock and synced to the disk. A writer killed
    in the middle leaves a last line cut short: reading leaves it out and reports it, the next
    append cuts it off.
    """

    def __init__(self, path: Path, *, command: str = "vidcost time") -> None:
        """``command`` is named in the first line of a new file."""
        self.path = path
        self.warning = ""
        """Of what was last read: that the last line is cut short, or nothing."""
        self._command = command

    def read(self) -> dict[str, Timing]:
        """The best record of every key; none if there is no file.

        Raises: ValueError naming file and line if one but the last is damaged.
        """
        self.warning = ""
        records: dict[str, Timing] = {}
        try:
            lines = self.path.read_bytes().splitlines(keepends=True)
        except FileNotFoundError:
            return {}
        except OSError as error:
            raise ValueError(f"cannot read {self.path}: {error.strerror}") from None
        for number, line in enumerate(lines, 1):
            try:
                record = (Header if number == 1 else Timing).model_validate_json(line)
            except ValueError:
                if line.endswith(b"\n") or number == 1:
                    raise self._damaged_line(number) from None
                self.warning = f"{self.path}, line {number} is cut short and was left out"
                break
            if isinstance(record, Timing):
                earlier = records.get(record.key)
                records[record.key] = better(earlier, record) if earlier else record
        return records

    def append(self, timing: Timing) -> str:
        """Add a record; after this returns it is on the disk.

        Returns: the repair that was necessary before, or nothing.
        Raises: ValueError if it cannot be written or is no file of timings; it is then as it was.
        """
        lock = FileLock(self.path.with_name(f"{self.path.name}.lock"), timeout=LOCK_TIMEOUT_S)
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with lock:
                # unbuffered, or a failed write would be tried again when the file is closed
                descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT, 0o666)
                with os.fdopen(descriptor, "r+b", buffering=0) as file:
                    repaired = self._repair(file)
                    if file.seek(0, os.SEEK_END) == 0:
                        version = importlib.metadata.version("vidcost")
                        header = Header(command=self._command, vidcost=version)
                        files.append_line(file, header.model_dump_json().encode() + b"\n")
                    files.append_line(file, timing.model_dump_json().encode() + b"\n")
                    return repaired
        except (OSError, NotImplementedError) as error:
            # a lock's timeout has no strerror; some file systems have no locks
            why = getattr(error, "strerror", None) or error
            raise ValueError(
                f"cannot write {self.path}: {why}; its contents are untouched"
            ) from None

    def _damaged_line(self, number: int) -> ValueError:
        fault = "is not the first line of a file of timings" if number == 1 else "is damaged"
        return ValueError(f"{self.path}, line {number} {fault}: mend it or name another file")

    def _repair(self, file: BinaryIO) -> str:
        """End the last line, or cut it off if it is cut short; reject another kind of file."""
        first = file.readline()
        if not first:
            return ""
        try:
            Header.model_validate_json(first)
        except ValueError:
            raise self._damaged_line(1) from None
        file.seek(-1, os.SEEK_END)
        if file.read() == b"\n":
            return ""
        file.seek(0)
        before, _, line = file.read().rpartition(b"\n")
        if files.is_object(line):
            files.append_line(file, b"\n")
            return ""
        file.truncate(len(before) + 1)
        os.fsync(file.fileno())
        return f"the last line of {self.path} was cut short, and is gone"


def better(earlier: Timing, later: Timing) -> Timing:
    """The one that was measured, settled and is the more precise; of two alike the later."""

    def rank(timing: Timing) -> tuple[bool, bool, float]:
        protocol = timing.protocol
        if protocol is None or protocol.precision is None:
            return timing.status == "ok", False, -math.inf
        return timing.status == "ok", protocol.settled, -protocol.precision

    return earlier if rank(earlier) > rank(later) else later


def store_of(results: Path, machine: Machine, *, command: str = "vidcost time") -> Store:
    """The file for timings of ``machine``: ``timings/<device>-torch<version>.jsonl``.

    That of a CPU begins with ``local-``, which git ignores: each machine has timings of its own.
    """
    version = machine.torch.partition("+")[0]
    local = "local-" if machine.device == machine.cpu else ""
    name = f"{local}{slug(machine.device)}-torch{version}.jsonl"
    return Store(results / TIMINGS / name, command=command)


def slug(device: str) -> str:
    """The device's name as part of a path."""
    return re.sub(r"[^a-z0-9]+", "-", device.lower()).strip("-")


def stores(results: Path) -> list[Store]:
    """The files of timings in the results folder, by name."""
    return [Store(path) for path in sorted((results / TIMINGS).glob("*.jsonl"))]


def stored_by_device(results: Path) -> dict[str, list[Timing]]:
    """The latest timing of each cell in any file of the results folder, by the device's name.

    Only timings taken on machines like that of the device's latest one.
    Raises: ValueError naming file and line if one is damaged.
    """
    latest: dict[str, dict[Cell, Timing]] = {}
    for store in stores(results):
        for timing in store.read().values():
            if timing.machine is not None:
                latest.setdefault(timing.machine.device, {})[timing.cell] = timing
    found = {}
    for device, of_cells in sorted(latest.items()):
        kinds = by_kind(of_cells.values())
        found[device] = max(kinds, key=lambda kind: max(each.started for each in kind))
    return found


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


def machine_of_all(timings: Iterable[Timing]) -> Machine | None:
    """The kind of machine of all ``timings``; None if it is not known.

    Raises: ValueError if there are several.
    """
    kinds = {each.machine.kind for each in timings if each.machine is not None}
    if len(kinds) > 1:
        raise ValueError("timings of unlike machines do not go into one table")
    return kinds.pop() if kinds else None

"""The file of timings: one JSON object a line, appended; the latest of one key counts."""

from __future__ import annotations

import contextlib
import importlib.metadata
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import BinaryIO, Literal, NamedTuple

from filelock import FileLock
from pydantic import BaseModel, ConfigDict

from vidcost.bench import files
from vidcost.bench.timing.record import Timing

TIMINGS = "timings"
"""The folder of these files in results/."""

LOCK_TIMEOUT_S = 60
"""An append takes milliseconds: who waits longer for the lock waits for something else."""

_BLOCK = 1 << 16

_BEGINNING = b'{"file":"vidcost timings",'


class Header(BaseModel):
    """The first line: what the file is, and the command and version that began it."""

    model_config = ConfigDict(frozen=True)

    file: Literal["vidcost timings"] = "vidcost timings"
    command: str
    vidcost: str


class Contents(NamedTuple):
    """The latest record of every key; ``warning`` is empty or says what could not be read."""

    records: dict[str, Timing]
    warning: str


class Extent(NamedTuple):
    """How many bytes of a file are whole lines; ``warning`` is empty or says what follows them."""

    whole_bytes: int
    warning: str


class Place(NamedTuple):
    """Where in the file a record begins, in bytes, and whether its status is ok."""

    start: int
    ok: bool


class _Line(NamedTuple):
    """A line by where it begins, its number from 1, and its record; None if it is cut short."""

    start: int
    number: int
    timing: Timing | None


class Store:
    """A file of timings that several processes may append to.

    A record is one line, written in one piece under a lock and synced to the disk. A writer killed
    in the middle leaves a last line cut short: reading leaves it out and says so, the next append
    moves it to ``<file>.damaged``.
    """

    def __init__(self, path: Path, *, command: str = "vidcost time") -> None:
        """``command`` is named in the first line of a new file."""
        self.path = path
        self.damaged = path.with_name(f"{path.name}.damaged")
        self._command = command

    def read(self) -> dict[str, Timing]:
        """The latest record of every key; none if there is no file.

        Raises: ValueError naming file and line if one but the last is damaged.
        """
        return self.load().records

    def load(self) -> Contents:
        """Like :meth:`read`, with a warning if the last line is cut short."""
        contents = self._contents()
        if contents.warning and self.path.parent.is_dir():
            # somebody may have been writing it just now: without a lock only a fault is visible
            with contextlib.suppress(ValueError), self._locked():
                contents = self._contents()
        return contents

    def extent(self) -> Extent:
        """What :meth:`load` would read, by a look at the first and the last line alone.

        Raises: ValueError if it cannot be read or is no file of timings.
        """
        extent = self._extent()
        if extent.warning:
            # as in load: somebody may have been writing it just now
            with contextlib.suppress(ValueError), self._locked():
                extent = self._extent()
        return extent

    def index(self) -> dict[str, Place]:
        """Where the latest record of every key stands. One record at a time is held in memory.

        Raises: ValueError as :meth:`read`.
        """
        return {
            line.timing.key: Place(line.start, line.timing.status == "ok")
            for line in self._scan()
            if line.timing is not None
        }

    def at(self, places: Iterable[Place]) -> Iterator[Timing]:
        """The records at ``places`` of :meth:`index`, one after another."""
        with self.path.open("rb") as file:
            for place in places:
                file.seek(place.start)
                yield Timing.model_validate_json(file.readline())

    def prepare(self) -> str:
        """Make the file ready to be appended to, before any work is done for it.

        Returns: what had to be repaired, or nothing.
        Raises: ValueError if it cannot be written or is no file of timings.
        """
        with self._opened() as (_, repaired):
            return repaired

    def append(self, timing: Timing) -> str:
        """Add a record; after this returns it is on the disk.

        Returns: what had to be repaired before, or nothing.
        Raises: ValueError if it cannot be written; the file is then as it was.
        """
        with self._opened() as (file, repaired):
            files.append_line(file, timing.model_dump_json().encode() + b"\n")
            return repaired

    def _contents(self) -> Contents:
        records: dict[str, Timing] = {}
        for line in self._scan():
            if line.timing is None:
                return Contents(
                    records, f"{self.path}, line {line.number} is cut short and was left out"
                )
            records[line.timing.key] = line.timing
        return Contents(records, "")

    def _scan(self) -> Iterator[_Line]:
        """Every line but the first."""
        try:
            with self.path.open("rb") as file:
                start, number, data = 0, 1, file.readline()
                while data:
                    # what follows half a line is its other half, written just now
                    following = file.readline() if data.endswith(b"\n") else b""
                    record = self._parsed(data, number, is_last=not following)
                    if not isinstance(record, Header):
                        yield _Line(start, number, record)
                    start, number, data = start + len(data), number + 1, following
        except FileNotFoundError:
            return
        except OSError as error:
            raise ValueError(f"cannot read {self.path}: {error.strerror}") from None

    def _extent(self) -> Extent:
        try:
            with self.path.open("rb") as file:
                self._check(file)
                start, line = _last_line(file)
        except OSError as error:
            raise ValueError(f"cannot read {self.path}: {error.strerror}") from None
        if _is_cut(line, first=start == 0):
            return Extent(start, f"the last line of {self.path} is cut short and was left out")
        return Extent(start + len(line), "")

    def _parsed(self, data: bytes, number: int, *, is_last: bool) -> Header | Timing | None:
        """What a line holds; None if it is cut short."""
        try:
            return (Header if number == 1 else Timing).model_validate_json(data)
        except ValueError:
            if is_last and _is_cut(data, first=number == 1):
                return None
            raise self._damaged_line(number) from None

    def _damaged_line(self, number: int) -> ValueError:
        what = "is not the first line of a file of timings" if number == 1 else "is damaged"
        return ValueError(f"{self.path}, line {number} {what}: mend it or name another file")

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        lock = FileLock(self.path.with_name(f"{self.path.name}.lock"), timeout=LOCK_TIMEOUT_S)
        try:
            lock.acquire()
        except (OSError, NotImplementedError) as error:
            # a timeout is an OSError without strerror
            raise ValueError(
                f"cannot lock {self.path}: {getattr(error, 'strerror', None) or error}"
            ) from None
        try:
            yield
        finally:
            lock.release()

    @contextlib.contextmanager
    def _opened(self) -> Iterator[tuple[BinaryIO, str]]:
        """The locked file, whole and with its first line, and what was repaired."""
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with self._locked():
                # unbuffered, or a failed write would be tried again when the file is closed
                descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT, 0o666)
                with os.fdopen(descriptor, "r+b", buffering=0) as file:
                    self._check(file)
                    repaired = self._repair(file)
                    self._begin(file)
                    yield file, repaired
        except OSError as error:
            raise ValueError(
                f"cannot write {self.path}: {error.strerror or error}; what it holds is untouched"
            ) from None

    def _repair(self, file: BinaryIO) -> str:
        start, line = _last_line(file)
        if not _is_cut(line, first=start == 0):
            if line and not line.endswith(b"\n"):
                files.append_line(file, b"\n")
            return ""
        with self.damaged.open("ab") as damaged:
            damaged.write(line.rstrip(b"\n") + b"\n")
            damaged.flush()
            os.fsync(damaged.fileno())
        file.truncate(start)
        os.fsync(file.fileno())
        return f"the last line of {self.path} was cut short and lies in {self.damaged.name} now"

    def _check(self, file: BinaryIO) -> None:
        """Refuse another kind of file before anything is done to it."""
        file.seek(0)
        data = file.read(_BLOCK)
        first, _, rest = data.partition(b"\n")
        if not data or (not rest and _is_cut(first, first=True)):
            return
        try:
            Header.model_validate_json(first)
        except ValueError:
            raise self._damaged_line(1) from None

    def _begin(self, file: BinaryIO) -> None:
        if file.seek(0, os.SEEK_END) == 0:
            version = importlib.metadata.version("vidcost")
            header = Header(command=self._command, vidcost=version)
            files.append_line(file, header.model_dump_json().encode() + b"\n")
            _sync_folder(self.path.parent)


def _last_line(file: BinaryIO) -> tuple[int, bytes]:
    """Where the last line starts, and the line; it is empty if the file is."""
    size = file.seek(0, os.SEEK_END)
    block = _BLOCK
    while True:
        start = max(0, size - block)
        file.seek(start)
        data = file.read(size - start)
        before = data.rfind(b"\n", 0, max(0, len(data) - 1))
        if before >= 0 or start == 0:
            return start + before + 1, data[before + 1 :]
        block *= 8


def _is_cut(line: bytes, *, first: bool) -> bool:
    """Whether a line is the beginning of one of ours."""
    line = line.rstrip(b"\n")
    if first and line[: len(_BEGINNING)] != _BEGINNING[: len(line)]:
        return False
    return bool(line) and not files.is_object(line)


def _sync_folder(folder: Path) -> None:
    """Have a new file's name outlast a power cut, where folders can be synced."""
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

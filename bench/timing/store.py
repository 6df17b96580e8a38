"""The file of timings: one JSON object a line, appended; the latest of one key counts."""

import contextlib
import importlib.metadata
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import BinaryIO, Literal, NamedTuple

from filelock import FileLock
from pydantic import BaseModel, ConfigDict

from vidcost.bench import files
from vidcost.bench.timing.record import Timing

TIMINGS = "timings"
"""The folder of these files in results/."""

LOCK_TIMEOUT_S = 60
"""An append takes milliseconds: whoever waits longer waits for something else."""

_BEGINNING = b'{"file":"vidcost timings",'


class Header(BaseModel):
    """The first line: the kind of file, and the command and version that began it."""

    model_config = ConfigDict(frozen=True)

    file: Literal["vidcost timings"] = "vidcost timings"
    command: str
    vidcost: str


class Contents(NamedTuple):
    """The latest record of every key; ``warning`` reports a line that was left out, or is empty."""

    records: Mapping[str, Timing]
    warning: str


class Store:
    """A file of timings that several processes may append to.

    A record is one line, written in one piece under a lock and synced to the disk. A writer killed
    in the middle leaves a last line cut short: reading leaves it out and reports it, the next
    append moves it to ``<file>.damaged``. Lines that were read before are not read again.
    """

    def __init__(self, path: Path, *, command: str = "vidcost time") -> None:
        """``command`` is named in the first line of a new file."""
        self.path = path
        self.damaged = path.with_name(f"{path.name}.damaged")
        self._command = command
        self._records: dict[str, Timing] = {}
        self._lines = self._offset = 0

    def read(self) -> Mapping[str, Timing]:
        """The latest record of every key; none if there is no file.

        Raises: ValueError naming file and line if one but the last is damaged.
        """
        return self.load().records

    def load(self) -> Contents:
        """Like :meth:`read`, with a warning if the last line is cut short."""
        try:
            with self.path.open("rb") as file:
                if os.fstat(file.fileno()).st_size < self._offset:
                    # another file of that name
                    self._records, self._lines, self._offset = {}, 0, 0
                return Contents(self._records, self._read_from(file))
        except FileNotFoundError:
            return Contents({}, "")
        except OSError as error:
            raise ValueError(f"cannot read {self.path}: {error.strerror}") from None

    def prepare(self) -> str:
        """Make the file ready to be appended to, before any work is done for it.

        Returns: the repair that was necessary, or nothing.
        Raises: ValueError if it cannot be written or is no file of timings.
        """
        with self._opened() as (_, repaired):
            return repaired

    def append(self, timing: Timing) -> str:
        """Add a record; after this returns it is on the disk.

        Returns: the repair that was necessary before, or nothing.
        Raises: ValueError if it cannot be written; the file is then as it was.
        """
        with self._opened() as (file, repaired):
            files.append_line(file, timing.model_dump_json().encode() + b"\n")
            return repaired

    def _read_from(self, file: BinaryIO) -> str:
        file.seek(self._offset)
        for data in file:
            number = self._lines + 1
            is_whole = data.endswith(b"\n")
            try:
                record = (Header if number == 1 else Timing).model_validate_json(data)
            except ValueError:
                if is_whole or not _is_beginning(data, number):
                    raise self._damaged_line(number) from None
                return f"{self.path}, line {number} is cut short and was left out"
            if isinstance(record, Timing):
                self._records[record.key] = record
            if is_whole:
                self._lines, self._offset = number, self._offset + len(data)
        return ""

    def _damaged_line(self, number: int) -> ValueError:
        fault = "is not the first line of a file of timings" if number == 1 else "is damaged"
        return ValueError(f"{self.path}, line {number} {fault}: mend it or name another file")

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
        """The locked file, whole and with its first line, and the repair that was necessary."""
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with self._locked():
                # unbuffered, or a failed write would be tried again when the file is closed
                descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT, 0o666)
                with os.fdopen(descriptor, "r+b", buffering=0) as file:
                    repaired = self._repair(file)
                    if file.seek(0, os.SEEK_END) == 0:
                        version = importlib.metadata.version("vidcost")
                        header = Header(command=self._command, vidcost=version)
                        files.append_line(file, header.model_dump_json().encode() + b"\n")
                    yield file, repaired
        except OSError as error:
            raise ValueError(
                f"cannot write {self.path}: {error.strerror or error}; its contents are untouched"
            ) from None

    def _repair(self, file: BinaryIO) -> str:
        """End the last line, or move it aside if it is cut short; reject another kind of file."""
        first = file.readline()
        if not first:
            return ""
        try:
            Header.model_validate_json(first)
        except ValueError:
            if not _is_beginning(first, 1):
                raise self._damaged_line(1) from None
        file.seek(-1, os.SEEK_END)
        if file.read() == b"\n":
            return ""
        file.seek(0)
        before, _, line = file.read().rpartition(b"\n")
        if files.is_object(line):
            files.append_line(file, b"\n")
            return ""
        with self.damaged.open("ab", buffering=0) as damaged:
            files.append_line(damaged, line + b"\n")
        file.truncate(len(before) + 1 if before else 0)
        os.fsync(file.fileno())
        return f"the last line of {self.path} was cut short and lies in {self.damaged.name} now"


def _is_beginning(line: bytes, number: int) -> bool:
    """Whether a line without its end may be the beginning of one of ours."""
    beginning = _BEGINNING if number == 1 else b"{"
    return not line.endswith(b"\n") and line[: len(beginning)] == beginning[: len(line)]

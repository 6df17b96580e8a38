"""A trial of the gate on a known answer, and the file that trials are kept in."""

from __future__ import annotations

import importlib.metadata
import os
import warnings
from pathlib import Path
from typing import BinaryIO, Literal, Self

from filelock import FileLock
from pydantic import BaseModel, ConfigDict, Field, NonNegativeFloat, NonNegativeInt, model_validator

from vidcost.bench import files
from vidcost.bench.gate.record import Run

LOCK_TIMEOUT_S = 60
"""An append takes well under a second: who waits longer for the lock waits for something else."""

_BEGINNING = b'{"file":"vidcost gate study",'


class Trial(BaseModel):
    """One run in which base and head are the same code.

    In every pass of ``head`` a delay was injected that makes it slower by ``factor``; in an A/A
    trial none was, and ``factor`` is 1. ``number`` tells trials of one kind and factor apart.
    ``load`` is the load average of the minute before the trial, None if nobody asked for it.
    Raises: ValueError (pydantic's) for a factor that contradicts the kind.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["A/A", "delay"]
    factor: float = Field(ge=1, allow_inf_nan=False)
    number: NonNegativeInt
    load: NonNegativeFloat | None = None
    run: Run

    @model_validator(mode="after")
    def _coherent(self) -> Self:
        if (self.kind == "A/A") != (self.factor == 1):
            raise ValueError("an A/A trial has the factor 1, one with a delay more")
        return self

    @property
    def name(self) -> tuple[str, float, int]:
        """What a study has one trial of."""
        return self.kind, self.factor, self.number


class Header(BaseModel):
    """The first line: what the file is, and the command and version that began it."""

    model_config = ConfigDict(frozen=True)

    file: Literal["vidcost gate study"] = "vidcost gate study"
    command: str = "vidcost gate study"
    vidcost: str


def read(path: Path) -> list[Trial]:
    """The trials of a study in the order in which they were made; none if there is no file.

    A last line that was cut short is left out with a warning (UserWarning): the next
    :func:`append` removes it.
    Raises: ValueError naming file and line if it is no file of a study, a line but the last is
        damaged, or a trial stands in it twice.
    """
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return []
    except OSError as error:
        raise ValueError(f"cannot read {path}: {error.strerror}") from None
    whole = _whole(data)
    _check_beginning(path, data, whole)
    if whole < len(data):
        warnings.warn(f"{path}: the last line is cut short and was left out", stacklevel=2)
    trials: dict[tuple[str, float, int], Trial] = {}
    for number, line in enumerate(data[:whole].splitlines()[1:], start=2):
        try:
            trial = Trial.model_validate_json(line)
        except ValueError:
            raise ValueError(
                f"{path}, line {number} is damaged: mend it or name another file"
            ) from None
        # whichever of the two were left out, the study could be one of chosen trials
        if trial.name in trials:
            raise ValueError(
                f"{path}, line {number} is trial {trial.number} of {trial.kind} x{trial.factor:g} "
                "again: remove one of the two"
            )
        trials[trial.name] = trial
    return list(trials.values())


def append(path: Path, trial: Trial) -> None:
    """Add a trial, beginning the file if there is none; after this returns it is on the disk.

    Raises: ValueError if the file is no file of a study or cannot be written; it is then as it was.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(path.with_name(f"{path.name}.lock"), timeout=LOCK_TIMEOUT_S):
            # unbuffered, or a failed write would be tried again when the file is closed
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
            with os.fdopen(descriptor, "r+b", buffering=0) as file:
                _repair(path, file)
                files.append_line(file, trial.model_dump_json().encode() + b"\n")
    except OSError as error:
        raise ValueError(
            f"cannot write {path}: {error.strerror or error}; what it holds is untouched"
        ) from None


def _repair(path: Path, file: BinaryIO) -> None:
    """Leave ``file`` with its first line, whole lines alone, and a newline at the end."""
    data = file.read()
    whole = _whole(data)
    _check_beginning(path, data, whole)
    if whole < len(data):
        file.truncate(whole)
    if not whole:
        header = Header(vidcost=importlib.metadata.version("vidcost"))
        files.append_line(file, header.model_dump_json().encode() + b"\n")
    elif not data[:whole].endswith(b"\n"):
        files.append_line(file, b"\n")


def _whole(data: bytes) -> int:
    """How many bytes are lines that were written to their end, or lack only the newline."""
    end = data.rfind(b"\n") + 1
    return len(data) if files.is_object(data[end:]) else end


def _check_beginning(path: Path, data: bytes, whole: int) -> None:
    """Refuse another kind of file; the first line may have been cut short."""
    try:
        if whole:
            Header.model_validate_json(data[:whole].splitlines()[0])
        elif not data.startswith(_BEGINNING[: len(data)]):
            raise ValueError
    except ValueError:
        raise ValueError(f"{path} is no file of a study: name another file") from None

"""A row's counts as a record, and the file of records that is the exact baseline."""

from __future__ import annotations

import json
import platform
from collections.abc import Iterable
from dataclasses import asdict
from functools import cache
from pathlib import Path

import torch
from pydantic import BaseModel, ConfigDict
from torch import nn

from vidcost.bench import files
from vidcost.bench.count.answer import Answer
from vidcost.bench.count.closed_form import verify
from vidcost.bench.count.counter import Count, count
from vidcost.bench.count.distribution import version
from vidcost.bench.count.meta import on_meta
from vidcost.bench.count.reference_counter import PROCESSES
from vidcost.papers.row import Row

COUNTS = "counts.jsonl"


class Record(BaseModel):
    """What was counted for a row at batch 1.

    Units: ``params`` and ``buffers`` are elements; ``conv``, ``linear``, ``matmul`` are MACs;
    ``norm``, ``pool``, ``softmax``, ``activation`` are elements (see ``Cost``). ``closed_forms``
    is the number of modules whose closed form the count equals. ``reference_counters`` are the
    answers of other counters, each in its own convention.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    row: str
    classes: int
    inputs: tuple[tuple[int, int, int, int], ...]
    params: int
    buffers: int
    conv: int
    linear: int
    matmul: int
    norm: int
    pool: int
    softmax: int
    activation: int
    closed_forms: int
    reference_counters: dict[str, Answer] = {}

    @property
    def macs(self) -> int:
        """Multiply-accumulates, attention products included."""
        return self.conv + self.linear + self.matmul


@cache
def count_row(row: Row) -> Record:
    """Count ``row`` on the meta device at batch 1 and check its closed forms.

    Once in a process: tables, pages and the gate ask for the same rows again and again.

    Raises: ClosedFormMismatch naming row, module and both costs; ValueError as the network does.
    """
    record, _, _ = counted(row)
    return record


def counted(row: Row) -> tuple[Record, nn.Module, Count]:
    """The record of :func:`count_row`, with the network and the count that it is made of.

    Raises: as it does.
    """
    model, clips = on_meta(row)
    found = count(model, *clips)
    record = Record(
        row=row.name,
        classes=row.classes,
        inputs=row.inputs,
        buffers=found.buffers,
        closed_forms=verify(row.name, model, found),
        **asdict(found.total),
    )
    return record, model, found


def write(folder: Path, records: Iterable[Record], *, command: str) -> Path:
    """Write ``counts.jsonl``: a line on where it comes from, then a line per row.

    Raises: ValueError if it cannot be written.
    """
    made_by: dict[str, str] = {
        "command": command,
        "vidcost": version("vidcost"),
        "python": platform.python_version(),
        "torch": torch.__version__,
        **{reference_counter: version(reference_counter) for reference_counter in PROCESSES},
    }
    written = [record.model_dump_json() for record in records]
    lines = [json.dumps(made_by | {"records": len(written)}), *written]
    path = folder / COUNTS
    files.write(path, "\n".join(lines) + "\n")
    return path


def read(folder: Path) -> dict[str, Record]:
    """The records of ``counts.jsonl`` by row; empty if there is no such file.

    Raises: ValueError naming the file and line if one is damaged.
    """
    path = folder / COUNTS
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        return {}
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"cannot read {path}: {error}") from None
    records: dict[str, Record] = {}
    expected = 0
    # a file without a first line is damaged in line 1
    for number, line in enumerate(lines or [""], start=1):
        try:
            if number == 1:
                expected = int(json.loads(line)["records"])
                continue
            record = Record.model_validate_json(line)
        except (KeyError, TypeError, ValueError):
            raise ValueError(
                f"{path}, line {number} is damaged: `vidcost run` writes the file anew"
            ) from None
        records[record.row] = record
    if len(records) != expected:
        raise ValueError(
            f"{path} has {len(records)} of {expected} records: `vidcost run` writes the file anew"
        )
    return records

"""The record of a row's counts, and the file of records that is the exact baseline."""

import json
import platform
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path

import torch
from pydantic import BaseModel, ConfigDict
from torch import nn

from vidcost.bench import files
from vidcost.bench.count.counter import Count, count
from vidcost.bench.count.meta import on_meta
from vidcost.bench.count.modules import verify
from vidcost.bench.count.references.asking import REFERENCE_COUNTERS
from vidcost.bench.count.references.reference import Answer, Convention, version
from vidcost.models.cost import Cost
from vidcost.papers.row import Row

COUNTS = "counts.jsonl"


class Record(BaseModel, Cost, frozen=True):
    """The counts of a row at batch 1: a ``Cost``, and what belongs to it.

    ``buffers`` are elements. ``closed_forms`` is the number of modules whose closed form equals the
    count. ``reference_counters`` are the answers of other counters, in their own conventions.
    """

    model_config = ConfigDict(extra="forbid")

    row: str
    classes: int
    inputs: tuple[tuple[int, int, int, int], ...]
    buffers: int
    closed_forms: int
    reference_counters: dict[Convention, Answer] = {}


def counted(row: Row) -> tuple[Record, nn.Module, Count]:
    """Count ``row`` on the meta device at batch 1 and check its closed forms.

    Raises: ClosedFormMismatch naming row, module and both costs; ValueError as the network does.
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
    written = [{"row": each.row} | each.model_dump(mode="json") for each in records]
    header = {
        "command": command,
        "vidcost": version("vidcost"),
        "python": platform.python_version(),
        "torch": torch.__version__,
        **{each.package: each.version for each in REFERENCE_COUNTERS.values() if each.package},
        "records": len(written),
    }
    path = folder / COUNTS
    files.write(path, "".join(f"{json.dumps(line)}\n" for line in (header, *written)))
    return path


def read(folder: Path) -> dict[str, Record]:
    """The records of ``counts.jsonl`` by row; empty if there is no such file.

    Raises: ValueError naming the file and line if one is damaged.
    """
    path = folder / COUNTS
    try:
        header, *lines = path.read_text(encoding="utf-8").splitlines() or [""]
    except FileNotFoundError:
        return {}
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"cannot read {path}: {error}") from None
    records, number = {}, 1
    try:
        expected = int(json.loads(header)["records"])
        for line in lines:
            number += 1
            record = Record.model_validate_json(line)
            records[record.row] = record
    except (KeyError, TypeError, ValueError):
        raise ValueError(
            f"{path}, line {number} is damaged: `vidcost run` writes the file anew"
        ) from None
    if len(records) != expected:
        raise ValueError(
            f"{path} has {len(records)} of {expected} records: `vidcost run` writes the file anew"
        )
    return records

"""What a sweep tells while it runs."""

from __future__ import annotations

from dataclasses import dataclass

from vidcost.bench.timing.cell import Cell
from vidcost.bench.timing.messages import Chunk, Limits, Reply
from vidcost.bench.timing.record import Timing


@dataclass(frozen=True)
class CellStarted:
    """A worker was started; ``number`` counts from 1, ``again``: for a better precision."""

    cell: Cell
    number: int
    of: int
    limits: Limits
    again: bool = False


@dataclass(frozen=True)
class ChunkTaken:
    """A stretch of samples, and what the worker was told of it."""

    cell: Cell
    chunk: Chunk
    reply: Reply


@dataclass(frozen=True)
class CellDone:
    """A cell has its record, whatever its status."""

    cell: Cell
    timing: Timing
    stored: bool = True


@dataclass(frozen=True)
class CellSkipped:
    """A cell's measurement was stored already; ``timing`` is None if only its key was read."""

    cell: Cell
    timing: Timing | None = None


@dataclass(frozen=True)
class BudgetSpent:
    """No time was left for these cells."""

    cells: tuple[Cell, ...]


@dataclass(frozen=True)
class Warned:
    """Something that a person should know of the file."""

    text: str


Event = CellStarted | ChunkTaken | CellDone | CellSkipped | BudgetSpent | Warned

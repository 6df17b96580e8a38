"""What a worker that waits for its turn has built already."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from math import prod

import torch

from vidcost.bench.timing.cell import Cell
from vidcost.bench.timing.messages import Task
from vidcost.bench.timing.subject import Built, build, build_on_host, moved, row_of

MOST_BYTES = 1 << 30
"""Of inputs in single precision: several workers hold theirs at once."""


@dataclass
class Ahead:
    """What ``cell`` times, in the host's memory, by ``seed``; None once it was taken."""

    cell: Cell
    seed: int
    built: Built | None


def build_ahead(task: Task) -> Ahead | None:
    """Build what the task's cell times, on one core or as many as the cell has threads.

    None for what the host should not hold, and for a user's code, of which each failure is a status
    of its cell; whatever fails here fails again, and is told, when it is the cell's turn.
    """
    cell, seed = task.cell, task.limits.seed
    if cell.code or cell.device == "cpu" or _input_values(cell) * 4 > MOST_BYTES:
        return None
    torch.set_num_threads(cell.threads)
    with contextlib.suppress(Exception):
        return Ahead(cell, seed, build_on_host(cell, seed=seed))
    return None


def built_for(task: Task, ahead: Ahead | None) -> Built:
    """What the task's cell times, on its device: moved there if it was built ahead.

    Raises: as :func:`build` does.
    """
    cell, seed = task.cell, task.limits.seed
    if ahead is None:
        return build(cell, seed=seed)
    # nobody else holds on to it: moving moves the models themselves, and the memory of one side
    # alone is measured when the other is gone
    built, ahead.built = ahead.built, None
    if built is not None and (ahead.cell, ahead.seed) == (cell, seed):
        return moved(built, cell.device)
    return build(cell, seed=seed)


def _input_values(cell: Cell) -> int:
    if cell.row is not None:
        return cell.batch * sum(map(prod, row_of(cell).inputs))
    return cell.batch * prod(cell.shape or (1,))

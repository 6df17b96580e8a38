"""The process that times cells: ``python -m vidcost.bench.timing.worker``.

Its parent is :mod:`vidcost.bench.timing.parent`. A sweep gives a worker one task, so that nothing
is left over from another; a side of a comparison may be given several.
"""

from __future__ import annotations

import contextlib
import os
from math import prod
from typing import cast

import torch

from vidcost.bench.process import connect
from vidcost.bench.timing.build import Built, build, build_on_host, moved, row_of
from vidcost.bench.timing.cell import Cell
from vidcost.bench.timing.measurement import measure
from vidcost.bench.timing.messages import Chunk, Message, ParentGone, Reply, Task, Window

MOST_BYTES = 1 << 30
"""Of inputs in fp32 that are built ahead: several workers hold theirs at once."""


class Ahead:
    """What a worker builds before its cell is measured, in the host's memory."""

    def __init__(self) -> None:
        self._built: tuple[Cell, int, Built] | None = None

    def prepare(self, task: Task) -> None:
        """Build the task's cell, computing on as many threads as it has.

        Not for a CPU, nor inputs too large for the host, nor a user's code, each of whose failures
        is a status of its cell. What fails here fails again when the cell is measured.
        """
        cell, seed = task.cell, task.limits.seed
        self._built = None
        if cell.code or cell.device == "cpu" or _input_values(cell) * 4 > MOST_BYTES:
            return
        torch.set_num_threads(cell.threads)
        with contextlib.suppress(Exception):
            self._built = cell, seed, build_on_host(cell, seed=seed)

    def build(self, cell: Cell, *, seed: int) -> Built:
        """The cell on its device: moved there if it was built ahead, else built now.

        Raises: as :func:`vidcost.bench.timing.build.build` does.
        """
        # forgotten at once: the models are moved in place, and must be gone when memory is measured
        ahead, self._built = self._built, None
        if ahead is not None and ahead[:2] == (cell, seed):
            return moved(ahead[2], cell.device)
        return build(cell, seed=seed)


def main() -> None:
    """Time the cells of the parent's tasks until it hangs up."""
    pipe = connect()

    def exchange(said: Chunk | Window) -> Reply:
        message = Message(chunk=said) if isinstance(said, Chunk) else Message(window=said)
        pipe.send_bytes(message.encoded())
        try:
            return cast(Reply, pipe.recv_bytes().decode())
        except (EOFError, OSError):
            raise ParentGone from None

    ahead = Ahead()
    # a parent that hung up is the end
    with contextlib.suppress(EOFError, ParentGone):
        while True:
            task = Task.model_validate_json(pipe.recv_bytes())
            if task.ahead:
                ahead.prepare(task)
                message = Message(ready=True)
            else:
                message = Message(timing=measure(task, exchange, ahead.build))
            pipe.send_bytes(message.encoded())


def _input_values(cell: Cell) -> int:
    if cell.row is not None:
        return cell.batch * sum(map(prod, row_of(cell).inputs))
    return cell.batch * prod(cell.shape or (1,))


if __name__ == "__main__":
    main()
    # torch and CUDA need not tidy up: all of it goes with the process
    os._exit(0)

"""Workers that start ahead of their cells, so that none imports while another one samples."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterable, Sequence

from vidcost.bench.timing.cell import Cell
from vidcost.bench.timing.machine import usable_cores
from vidcost.bench.timing.messages import Limits, Task
from vidcost.bench.timing.worker_process import WorkerProcess

MOST = 8
"""Workers that wait at once: each holds some hundred megabytes."""

READY_LIMIT_S = 120.0
"""For what all import and build; who is not ready then is started anew at its turn."""


class Crew:
    """Starts workers by ``command``, those of a GPU several at once, and then waits for them all.

    A worker takes seconds to import torch and to build a network, on one core, and a cell on a GPU
    often less: so the seconds are spent once for as many cells as half of the cores, while nothing
    is timed. On a CPU a cell has the machine for itself, and its worker is started when it is its
    turn.
    """

    def __init__(self, command: Sequence[str], *, cores: int | None = None) -> None:
        self._command = command
        self._at_once = max(1, min(MOST, (cores or usable_cores()) // 2))
        self._waiting: dict[Cell, WorkerProcess] = {}

    def prepare(self, first: Cell, following: Iterable[Cell], limits: Limits) -> Sequence[Cell]:
        """Start workers for ``first`` and what follows, as many as fit, unless it has one.

        ``following`` is looked at no further than workers are started for.
        Returns: those that a worker was started for. They are ready when :meth:`wait` returns.
        """
        if first in self._waiting:
            return ()
        self.dismiss()
        if first.device == "cpu":
            return ()
        alike = itertools.takewhile(lambda cell: _needs(cell) == _needs(first), following)
        chosen = [first, *itertools.islice(alike, self._at_once - 1)]
        if len(chosen) < 2:
            return ()
        for cell in chosen:
            worker = self._waiting[cell] = self._start(cell)
            worker.give(Task(cell=cell, limits=limits, ahead=True))
        return chosen

    def wait(self) -> None:
        """Wait until all are ready; end those that are not in time, or have ended themselves."""
        deadline = time.monotonic() + READY_LIMIT_S
        for cell, worker in list(self._waiting.items()):
            if not worker.await_ready(deadline):
                with self._waiting.pop(cell):
                    pass

    def take(self, cell: Cell) -> WorkerProcess:
        """The worker for ``cell``, which is the caller's to end; if none waits, a new one."""
        return self._waiting.pop(cell, None) or self._start(cell)

    def dismiss(self) -> None:
        """End the workers that wait."""
        while self._waiting:
            with self._waiting.popitem()[1]:
                pass

    def _start(self, cell: Cell) -> WorkerProcess:
        return WorkerProcess(self._command, threads=cell.threads)


def _needs(cell: Cell) -> tuple[str, int]:
    return cell.device, cell.threads

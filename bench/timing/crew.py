"""Workers that start ahead of their cells, so that none imports while another one samples."""

from __future__ import annotations

import itertools
import os
import time
from collections import deque
from collections.abc import Sequence

from vidcost.bench.timing.cell import Cell
from vidcost.bench.timing.messages import Limits, Task
from vidcost.bench.timing.worker_process import WorkerProcess

MOST = 8
"""Workers that wait at once: each holds some hundred megabytes."""

READY_LIMIT_S = 120.0
"""For the imports of all, and what they build; who is not ready then is found out at its turn."""


class Crew:
    """Starts workers by ``command``, those of a GPU several at once, and then waits for them all.

    A worker takes seconds to import torch and to build a network, on one core, and a cell on a GPU
    often less: so the seconds are spent once for as many cells as half of the cores, while nothing
    is timed. On a CPU a cell has the machine for itself, and its worker is started when it is its
    turn.
    """

    def __init__(self, command: Sequence[str], *, cores: int | None = None) -> None:
        self._command = command
        self._at_once = max(1, min(MOST, (cores or _cores()) // 2))
        self._waiting: deque[WorkerProcess] = deque()
        self._threads = 0
        self._are_ready = False

    def prepare(self, cells: Sequence[Cell], limits: Limits) -> Sequence[Cell]:
        """Start workers for the first of ``cells`` if none waits; those they were started for."""
        (threads,) = {cell.threads for cell in cells[:1]}
        if self._waiting and threads == self._threads:
            return ()
        self.dismiss()
        alike = itertools.takewhile(lambda cell: cell.threads == threads, cells)
        chosen = list(itertools.islice(alike, self._at_once))
        if len(chosen) < 2 or chosen[0].device == "cpu":
            return ()
        self._threads, self._are_ready = threads, False
        for cell in chosen:
            worker = self._start(threads)
            self._waiting.append(worker)
            worker.give(Task(cell=cell, limits=limits, ahead=True))
        return chosen

    def take(self, threads: int) -> WorkerProcess:
        """The next worker, which is the caller's to end; all that wait are ready."""
        if not self._waiting:
            return self._start(threads)
        if not self._are_ready:
            deadline = time.monotonic() + READY_LIMIT_S
            for worker in self._waiting:
                worker.await_ready(deadline)
            self._are_ready = True
        return self._waiting.popleft()

    def _start(self, threads: int) -> WorkerProcess:
        return WorkerProcess(self._command, threads=threads)

    def dismiss(self) -> None:
        """End the workers that wait."""
        while self._waiting:
            with self._waiting.popleft():
                pass


def _cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1

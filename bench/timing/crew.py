"""Workers that start ahead of their cells, so that none imports while another one samples."""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Sequence

from vidcost.bench.timing.worker_process import WorkerProcess

MOST = 8
"""Workers that wait at once: each holds some hundred megabytes."""

READY_LIMIT_S = 120.0
"""For the imports of all; who is not ready then is found out when it is given its task."""


class Crew:
    """Starts workers by ``command``, those of a GPU several at once, and then waits for them all.

    A worker takes seconds to import torch, on one core, and a cell on a GPU often less: so the
    seconds are spent once for as many cells as half of the cores, while nothing is timed. On a CPU
    a cell has the machine for itself, and its worker is started when it is its turn.
    """

    def __init__(self, command: Sequence[str], *, cores: int | None = None) -> None:
        self._command = command
        self._at_once = max(1, min(MOST, (cores or _cores()) // 2))
        self._waiting: deque[WorkerProcess] = deque()
        self._threads = 0
        self._are_ready = False

    def prepare(self, device: str, *, threads: int, cells: int) -> int:
        """Start workers for the next of so many ``cells`` if none waits; how many were started."""
        if self._waiting and threads == self._threads:
            return 0
        self.dismiss()
        started = 0 if device == "cpu" else min(cells, self._at_once)
        if started < 2:
            return 0
        self._threads, self._are_ready = threads, False
        self._waiting.extend(self._start(threads) for _ in range(started))
        return started

    def take(self, threads: int) -> WorkerProcess:
        """The next worker, which is the caller's to end; all that wait have done their imports."""
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

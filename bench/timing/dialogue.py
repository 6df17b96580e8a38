"""One task of a worker, attended until its record is there or the worker has ended."""

from __future__ import annotations

import time
from collections.abc import Callable

from vidcost.bench.timing.messages import Chunk, Reply, Task, Window
from vidcost.bench.timing.record import Timing
from vidcost.bench.timing.worker_process import TimedOut, UnreadableLine, WorkerProcess

START_UP_S = 300.0
"""What a worker may take beside warm-up, sampling and energy: imports, building, compiling, the
memory pass, a last pass longer than what was left of its time."""


def attend(worker: WorkerProcess, task: Task, reply: Callable[[Chunk | Window], Reply]) -> Timing:
    """Give ``worker`` the task and answer it by ``reply``; its record, whatever became of it.

    Unless the status is one that the worker itself reported, it does not go on after this.
    """
    limits, failed = task.limits, Timing(key="", cell=task.cell)
    limit_s = START_UP_S + limits.warmup_s + limits.sampling_s + limits.energy_s
    deadline = time.monotonic() + limit_s
    worker.give(task)
    try:
        while (line := worker.receive(deadline)) is not None:
            if line.timing is not None:
                return line.timing
            if line.chunk is not None:
                worker.reply(reply(line.chunk))
            elif line.window is not None:
                worker.reply(reply(line.window))
    except TimedOut:
        error = f"no record within {limit_s:g} s"
        return failed.model_copy(update={"status": "timed out", "error": error})
    except UnreadableLine as unreadable:
        error = f"a line that cannot be read: {unreadable}"
        return failed.model_copy(update={"status": "crashed", "error": error})
    status, last_words = worker.end()
    return failed.model_copy(update={"status": status, "error": last_words})

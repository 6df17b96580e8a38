"""One task of a worker, attended until its record is there or the worker has ended."""

from __future__ import annotations

import time
from collections.abc import Callable

from vidcost.bench.timing.messages import Chunk, Reply, Task, Window
from vidcost.bench.timing.record import Timing
from vidcost.bench.timing.worker_process import TimedOut, UnreadableLine, WorkerProcess


def attend(worker: WorkerProcess, task: Task, reply: Callable[[Chunk | Window], Reply]) -> Timing:
    """Give ``worker`` the task and answer it by ``reply``; its record, whatever became of it.

    Unless the status is one that the worker itself reported, it does not go on after this.
    """
    dialogue = Dialogue(worker, task)
    while not isinstance(said := dialogue.listen(), Timing):
        worker.reply(reply(said))
    return said


class Dialogue:
    """A task that was given to ``worker``, message by message."""

    def __init__(self, worker: WorkerProcess, task: Task) -> None:
        limits = task.limits
        self._worker = worker
        self._failed = Timing(key="", cell=task.cell)
        self._limit_s = limits.start_up_s + limits.warmup_s + limits.sampling_s + limits.energy_s
        self._deadline = time.monotonic() + self._limit_s
        worker.give(task)

    def listen(self) -> Chunk | Window | Timing:
        """What the worker says next, to be replied to; the record, which ends the task.

        A worker that ended, or said nothing in time, is a record too, by its status.
        """
        try:
            while (line := self._worker.receive(self._deadline)) is not None:
                if (said := line.timing or line.chunk or line.window) is not None:
                    return said
        except TimedOut:
            error = f"no record within {self._limit_s:g} s"
            return self._failed.model_copy(update={"status": "timed out", "error": error})
        except UnreadableLine as unreadable:
            error = f"a line that cannot be read: {unreadable}"
            return self._failed.model_copy(update={"status": "crashed", "error": error})
        status, last_words = self._worker.end()
        return self._failed.model_copy(update={"status": status, "error": last_words})

"""Stands in for a worker; the row of its cell says how it behaves."""

import os
import resource
import signal
import sys

from vidcost.bench.process import connect
from vidcost.bench.timing.messages import STARTED, Chunk, Task
from vidcost.bench.timing.record import Timing

PIPE = connect()


def chunk(precision=0.004, sampling_s=0.5):
    # the number of samples tells the test which process this is
    known = {"samples": os.getpid(), "median_s": 0.01, "sampling_s": sampling_s}
    PIPE.send(Chunk(**known, precision=precision))
    return PIPE.recv()


def answer(task, *, precision=0.004, sampling_s=0.5, **fields):
    protocol = {"warmup_samples": 3, "settled": True, "precision": precision}
    known = {"key": "", "cell": task.cell, "protocol": protocol | {"sampling_s": sampling_s}}
    known["samples_s"] = {"latency": [0.011, 0.013]}
    PIPE.send(Timing.model_validate(known | fields))


def main():
    task = PIPE.recv()
    cells = (task.cell, *task.also)
    # whichever fails, all do
    failing = [cell.row for cell in cells if cell.row in ("crash", "oom")]
    kind, _, more = (failing or [task.cell.row])[0].partition("-")
    if kind == "ok" or (kind == "hang" and "CALM" in os.environ):
        chunk()
        for cell in cells:
            answer(Task(cell=cell))
    elif kind == "fine":
        # the first measurement is precise, one of a second is not
        answer(task, precision=float(more) * (9 if task.limits.sampling_s == 1 else 1))
    elif kind == "hang":
        chunk()
        signal.pause()
    elif kind == "deaf":
        signal.pause()
    elif kind == "slow":
        PIPE.send(STARTED)
        signal.pause()
    elif kind == "crash":
        print("Traceback (most recent call last):\nRuntimeError: no kernel", file=sys.stderr)
        sys.exit(7)
    elif kind == "killed":
        os.kill(os.getpid(), getattr(signal, more))
    elif kind == "allocate":
        resource.setrlimit(resource.RLIMIT_AS, (1 << 28, 1 << 28))
        bytearray(1 << 29)
    elif kind == "oom":
        answer(task, status="oom", error="tried to allocate 77 GiB", samples_s={}, protocol=None)
    elif kind == "slowly":
        PIPE.send(Chunk(samples=0, median_s=5.0, sampling_s=0, needs_s=23.0))
        assert PIPE.recv() == "keep"
        answer(task)


if __name__ == "__main__":
    main()

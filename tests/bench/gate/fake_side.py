"""A fake worker; the environment says how long a pass takes and what goes wrong.

PLAN is JSON by row or block: ``ns`` of a pass, ``peak`` in bytes, ``die`` or ``oom`` for a failure.
Each process appends its side and the rows it was given to the file LOG.
"""

import atexit
import contextlib
import json
import os
import random
import sys
from pathlib import Path

from vidcost.bench.process import connect
from vidcost.bench.timing.messages import Chunk
from vidcost.bench.timing.record import Timing

PIPE = connect()
# a seed of its own for every process
NOISE = random.Random(os.environ["VIDCOST_PADDING"] + str(os.getpid())).gauss(1, 0.004)
GIVEN = []


@atexit.register
def log():
    with Path(os.environ["LOG"]).open("a", encoding="utf-8") as file:
        file.write(json.dumps([os.environ["SIDE"], GIVEN]) + "\n")


def measured(task):
    limits, name = task.limits, task.cell.row or task.cell.block
    GIVEN.append(name)
    plan = json.loads(os.environ["PLAN"])[name]
    if plan.get("die"):
        sys.exit(f"RuntimeError: no kernel for {name}")
    if plan.get("oom"):
        return {"status": "oom", "error": "out of memory"}
    pass_s, samples = plan["ns"] / 1e9 * NOISE, []
    PIPE.send(Chunk(samples=0, median_s=0, sampling_s=0))
    while PIPE.recv() == "keep":
        samples += [pass_s] * limits.turn_samples
        PIPE.send(Chunk(samples=len(samples), median_s=0, sampling_s=0))
    memory = {"weights": 1, "peak": plan.get("peak", 1000)} if limits.memory else None
    protocol = {"warmup_samples": 3, "settled": True, "precision": None, "sampling_s": 1}
    return {"samples_s": {"latency": samples}, "memory": memory, "protocol": protocol}


# until the parent hangs up
with contextlib.suppress(EOFError):
    while True:
        asked = PIPE.recv()
        PIPE.send(Timing.model_validate({"key": "", "cell": asked.cell} | measured(asked)))

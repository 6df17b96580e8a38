"""A fake worker; the environment says how long a pass takes and what goes wrong.

PLAN is JSON by row or block: ``ns`` of a pass, ``peak`` in bytes, ``die`` or ``oom`` for a failure.
Each process appends its side and the rows it was given to the file LOG.
"""

import json
import os
import random
import sys

from vidcost.bench.process import connect
from vidcost.bench.timing.messages import Chunk
from vidcost.bench.timing.record import Timing

PIPE = connect()


def answer(task, plan, noise):
    cell, limits = task["cell"], task["limits"]
    known = {"key": "", "cell": cell}
    if plan.get("oom"):
        return known | {"status": "oom", "error": "out of memory"}
    pass_s = plan["ns"] / 1e9 * (1 + task["slowdown"])
    samples = []
    while True:
        PIPE.send(Chunk(samples=len(samples), median_s=0, sampling_s=0))
        if PIPE.recv() != "keep":
            break
        samples += [pass_s * noise] * limits["turn_samples"]
    memory = {"weights": 1, "peak": plan.get("peak", 1000)} if limits["memory"] else None
    protocol = {"warmup_samples": 3, "settled": True, "precision": None, "sampling_s": 1}
    return known | {
        "samples_s": {"latency": samples},
        "memory": memory,
        "protocol": protocol,
    }


def main():
    plans = json.loads(os.environ["PLAN"])
    rows = []
    # a seed of its own for every process
    noise = random.Random(os.environ["VIDCOST_PADDING"] + str(os.getpid())).gauss(1, 0.004)
    try:
        while True:
            task = PIPE.recv().model_dump()
            row = task["cell"]["row"] or task["cell"]["block"]
            rows.append(row)
            plan = plans[row]
            if plan.get("die"):
                sys.exit(f"RuntimeError: no kernel for {row}")
            PIPE.send(Timing.model_validate(answer(task, plan, noise)))
    except EOFError:
        # the parent hung up
        pass
    finally:
        with open(os.environ["LOG"], "a", encoding="utf-8") as log:  # noqa: PTH123
            log.write(json.dumps([os.environ["SIDE"], rows]) + "\n")


if __name__ == "__main__":
    main()

"""The process that times cells: ``python -m vidcost.bench.timing.worker``.

Its parent is :mod:`vidcost.bench.timing.parent`. A sweep gives a worker one task, so that nothing
is left over from another; a side of a comparison may be given several.
"""

import contextlib
import gc
import os
import statistics
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any

import torch

from vidcost.bench.call import is_finite
from vidcost.bench.process import connect
from vidcost.bench.timing.build import Built, build
from vidcost.bench.timing.cell import Cell
from vidcost.bench.timing.clock import clock_for
from vidcost.bench.timing.machine import allowed_cpus, cpus_for
from vidcost.bench.timing.messages import STARTED, Chunk, ParentGone, Reply, Task, Window
from vidcost.bench.timing.record import Memory, Timing
from vidcost.bench.timing.runner import Runner, Unsupported, failure_of, memory_of, set_products
from vidcost.bench.timing.sampling import precision_of, sample
from vidcost.bench.user.reference import UserCodeError, last_line

Exchange = Callable[[Chunk | Window], Reply]
Make = Callable[[Cell, int], Built]
"""Builds a cell from a seed."""

ALLOWED = allowed_cpus()
"""The CPUs of this process as it found them, before it was pinned to some."""

BACK_TO_BACK_S = 0.1
"""Passes of the energy window that are launched before the host waits."""

MEMORY_PASSES = 2
"""Passes of each side that measuring its memory takes, or as long as them."""


def _built(cell: Cell, seed: int) -> Built:
    return build(cell, seed=seed)


def measure(task: Task, *answers: Any, **options: Any) -> Timing:
    """The first record of :func:`measure_all`, which takes the same."""
    return measure_all(task, *answers, **options)[0]


def measure_all(
    task: Task,
    exchange: Exchange,
    started: Callable[[], None] = lambda: None,
    *,
    make: Make = _built,
) -> list[Timing]:
    """Build what the task's cells time, time it, and measure its memory.

    ``exchange`` passes messages to the parent and returns its replies; ``started`` tells it that
    the first pass of a user's code is done; ``make`` builds a cell from a seed. A cell that its
    device cannot run, a lack of memory, and whatever a user's code does are statuses of the record.
    Returns: a record of each cell, or one of a failure.
    Raises: ValueError if there is no such row, block or device.
    """
    cell = task.cell
    try:
        _configure(cell)
        return _measured(task, exchange, started, make)
    except UserCodeError as error:
        known = {"status": "raised", "error": str(error)}
    except (KeyboardInterrupt, ParentGone):
        raise
    except BaseException as error:
        known = failure_of(error) or {"status": "raised", "error": last_line(error)}
        # of our own code it would be a bug, which must not look like a measurement
        if not failure_of(error) and not _is_code(task):
            raise
    return [Timing(key="", cell=cell).model_copy(update=known)]


def _is_code(task: Task) -> bool:
    """Whether a user's code runs in it."""
    sides = (task.cell, task.cell.against, *task.also)
    return any(side is not None and side.code for side in sides)


def _measured(
    task: Task, exchange: Exchange, started: Callable[[], None], make: Make
) -> list[Timing]:
    cell, limits = task.cell, task.limits
    clock = clock_for(cell.device)
    built = make(cell, limits.seed)
    others = [each.model_copy(update={"against": None}) for each in task.also]
    also = [(each, make(each, limits.seed)) for each in others]
    runner = Runner(cell, built, clock, seed=limits.seed, also=also)
    if _is_code(task):
        output = runner.step()
        started()
        if not is_finite(output):
            error = "it returned values that are not finite"
            return [Timing(key="", cell=cell, status="not finite", error=error)]
    energy_s = limits.energy_s if cell.device != "cpu" and cell.against is None else 0.0
    samples, protocol = sample(
        runner.take,
        limits,
        exchange,
        resolution_s=clock.resolution_s,
        after_s=lambda pass_s: energy_s + MEMORY_PASSES * pass_s * limits.memory,
    )
    cpus = tuple(allowed_cpus()) if cell.device == "cpu" else ()
    protocol = protocol.model_copy(update={"cpus": cpus})
    known = Timing(key="", cell=cell, protocol=protocol)
    if not samples:
        error = f"no clean sample in {protocol.sampling_s:.0f} s: the device was throttled"
        return [known.model_copy(update={"status": "throttled", "error": error})]
    if energy_s:
        each_s = statistics.median(samples["latency"])
        _energy_window(cell, runner, energy_s, exchange, each_s)
    memories: dict[Cell, Memory] = {}
    if limits.memory and cell.against is not None:
        # the other sides would be part of it
        del built, runner, also
        for side in (cell.against, cell, *task.also):
            alone = side.model_copy(update={"against": None})
            memories[side] = _memory_alone(alone, limits.seed)
        # the process has held all of them
        of = memories[cell.against]
        memories[cell.against] = of.model_copy(update={"rss_peak": None})
    elif limits.memory:
        # a replay allocates nothing: its memory is reserved for the graph
        unknown = {"peak": None} if cell.mode == "cuda-graph" else {}
        memories[cell] = memory_of(cell.device, runner).model_copy(update=unknown)
    records = []
    for number, each in enumerate((cell, *task.also)):
        mine = samples
        if each.against is not None:
            target = samples[f"target {number}" if number else "target"]
            mine = {"target": target, "reference": samples["reference"]}
        found = {
            "samples_s": {part: tuple(of) for part, of in mine.items()},
            "protocol": protocol.model_copy(
                update={"precision": precision_of(mine, clock.resolution_s)}
            ),
            "memory": memories.get(each),
            "reference_memory": memories.get(each.against) if each.against else None,
        }
        records.append(Timing(key="", cell=each).model_copy(update=found))
    return records


def _configure(cell: Cell) -> None:
    """Threads, CPUs, and how exact products are."""
    torch.set_num_threads(cell.threads)
    device = torch.device(cell.device)
    if device.type == "cuda" and device.index is not None:
        # events are recorded on the current device's stream
        torch.cuda.set_device(device)
    if device.type == "cpu" and ALLOWED:
        if cell.threads > len(ALLOWED):
            raise Unsupported(f"{cell.threads} threads have {len(ALLOWED)} CPUs to run on")
        os.sched_setaffinity(0, cpus_for(cell.threads, ALLOWED))
    set_products(cell)


def _memory_alone(cell: Cell, seed: int) -> Memory:
    """Memory of one of two sides, built anew."""
    gc.collect()
    set_products(cell)
    built = build(cell, seed=seed)
    runner = Runner(cell, built, clock_for(cell.device), seed=seed)
    if cell.device != "cpu" or cell.phase == "training" or cell.code:
        # workspaces and the optimiser's state are made by the first pass
        runner.step()
    return memory_of(cell.device, runner)


def _energy_window(
    cell: Cell, runner: Runner, energy_s: float, exchange: Exchange, each_s: float
) -> None:
    torch.cuda.synchronize(cell.device)
    exchange(Window(edge="start"))
    started, passes = time.monotonic(), 0
    # a pass is launched long before it runs: wait now and then, or the window would be all queue
    launched = max(1, round(BACK_TO_BACK_S / each_s))
    while time.monotonic() - started < energy_s:
        for _ in range(launched):
            runner.step()
        passes += launched
        torch.cuda.synchronize(cell.device)
    exchange(Window(edge="end", passes=passes))


def answering(pipe: Connection) -> tuple[Exchange, Callable[[], None]]:
    """``exchange`` and ``started`` of :func:`measure` over the pipe to the parent."""

    def exchange(message: Chunk | Window) -> Reply:
        pipe.send(message)
        try:
            reply: Reply = pipe.recv()
        except (EOFError, OSError):
            raise ParentGone from None
        return reply

    return exchange, lambda: pipe.send(STARTED)


def main(make: Make = _built) -> None:
    """Time the cells of the parent's tasks until it hangs up; ``make`` as for :func:`measure`."""
    pipe = connect()
    exchange, started = answering(pipe)
    with contextlib.suppress(EOFError, ParentGone):
        while True:
            for timing in measure_all(pipe.recv(), exchange, started, make=make):
                pipe.send(timing)


if __name__ == "__main__":
    main()
    # torch and CUDA need not tidy up: all of it goes with the process
    os._exit(0)

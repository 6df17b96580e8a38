"""One cell, measured in this process from beginning to end."""

from __future__ import annotations

import gc
import os
import time
from collections.abc import Callable

import torch

from vidcost.bench.timing.cell import Cell
from vidcost.bench.timing.clock import clock_for
from vidcost.bench.timing.machine import describe
from vidcost.bench.timing.memory import measure_memory
from vidcost.bench.timing.messages import Chunk, Reply, Task, Window
from vidcost.bench.timing.peak import measured_macs_per_s
from vidcost.bench.timing.record import Timing
from vidcost.bench.timing.runner import Runner, Unsupported
from vidcost.bench.timing.sampling import sample
from vidcost.bench.timing.subject import Built, build

Exchange = Callable[[Chunk | Window], Reply]


def measure(task: Task, exchange: Exchange) -> Timing:
    """Build what the task's cell times, time it, and say what memory it took.

    ``exchange`` passes messages to the parent and returns its replies. What the cell's device
    cannot do, and a lack of memory, are statuses of the record.
    Raises: ValueError if there is no such row, block or device.
    """
    cell = task.cell
    machine = describe(cell.device)
    _configure(cell)
    try:
        return _measured(task, exchange).model_copy(update={"machine": machine})
    except Unsupported as error:
        return Timing(key="", cell=cell, machine=machine, status="unsupported", error=str(error))
    except (RuntimeError, MemoryError) as error:
        line = _one_line(error)
        if _is_out_of_memory(error):
            return Timing(key="", cell=cell, machine=machine, status="oom", error=line)
        if _is_not_implemented(error):
            return Timing(key="", cell=cell, machine=machine, status="unsupported", error=line)
        raise


def _measured(task: Task, exchange: Exchange) -> Timing:
    cell, limits = task.cell, task.limits
    on_cuda = torch.device(cell.device).type == "cuda"
    built = build(cell, seed=limits.seed)
    runner = Runner(cell, built, clock_for(cell.device), seed=limits.seed)
    gc.collect()
    gc.disable()
    sampled = sample(runner.take, limits, exchange, now=time.monotonic)
    gc.enable()
    known = Timing(
        key="", cell=cell, protocol=sampled.protocol(limits.seed), status="ok", samples_s={}
    )
    if not sampled.samples:
        error = f"no clean sample in {sampled.sampling_s:.0f} s: the device was throttled"
        return known.model_copy(update={"status": "throttled", "error": error})
    if on_cuda and limits.energy_s and not cell.share:
        _energy_window(cell, runner, limits.energy_s, exchange)
    memory = measure_memory(
        cell.device,
        runner.step,
        weights_bytes=built.weights_bytes + _without_bytes(built),
        held_bytes=lambda: _held_bytes(built, runner),
    )
    if cell.mode == "cuda-graph":
        # a replay allocates nothing: what it needs is reserved for the graph
        memory = memory.model_copy(update={"peak": None})
    return known.model_copy(
        update={
            "samples_s": {part: tuple(values) for part, values in sampled.samples.items()},
            "memory": memory,
            "peak_macs_per_s": (measured_macs_per_s(cell.device, cell.dtype) if on_cuda else None),
        }
    )


def _configure(cell: Cell) -> None:
    """Threads, and how exact products are."""
    torch.set_num_threads(cell.threads)
    if (device := torch.device(cell.device)).index is not None:
        # events are recorded on the current device's stream
        torch.cuda.set_device(device)
    if hasattr(os, "sched_setaffinity"):
        allowed = sorted(os.sched_getaffinity(0))
        os.sched_setaffinity(0, allowed[: cell.threads] if cell.device == "cpu" else allowed)
    torch.set_float32_matmul_precision("high" if cell.dtype == "tf32" else "highest")
    torch.backends.cudnn.allow_tf32 = cell.dtype == "tf32"
    torch.backends.cudnn.benchmark = cell.cudnn_benchmark


def _energy_window(cell: Cell, runner: Runner, energy_s: float, exchange: Exchange) -> None:
    torch.cuda.synchronize(cell.device)
    exchange(Window(edge="start"))
    started, passes = time.monotonic(), 0
    # a pass is launched long before it runs: wait now and then, or the window would be all queue
    while time.monotonic() - started < energy_s:
        for _ in range(8):
            runner.step()
            passes += 1
        torch.cuda.synchronize(cell.device)
    exchange(Window(edge="end", passes=passes))


def _without_bytes(built: Built) -> int:
    return Built(built.without, ()).weights_bytes if built.without is not None else 0


def _held_bytes(built: Built, runner: Runner) -> int:
    """Inputs and the optimiser's state; gradients are freed at the beginning of a step."""
    inputs = sum(clip.numel() * clip.element_size() for clip in built.inputs)
    return inputs + runner.state_bytes


def _is_out_of_memory(error: BaseException) -> bool:
    words = ("not enough memory", "can't allocate memory", "out of memory")
    return isinstance(error, MemoryError | torch.OutOfMemoryError) or any(
        word in str(error).lower() for word in words
    )


def _is_not_implemented(error: BaseException) -> bool:
    return isinstance(error, NotImplementedError) or "not implemented for" in str(error)


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split())[:500] or type(error).__name__

"""Memory of one pass, measured apart from its time."""

import resource
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch

from vidcost.bench.timing.record import Memory
from vidcost.bench.timing.runner import Runner


def rss_peak_bytes() -> int:
    """The most memory this process has held so far."""
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if sys.platform == "darwin" else most * 1024


def memory_of(device: str, runner: Runner) -> Memory:
    """The memory of one more pass of ``runner``.

    What is held before it (inputs, the optimiser's state) is part of the peak above the weights;
    gradients are freed at the beginning of a step. The rest of the peak is what torch's allocator
    gave out at once above what was allocated before the step: on CUDA by its own statistics, on the
    CPU by the profiler.
    """
    rss = rss_peak_bytes()
    weights, held = runner.weights_bytes, runner.held_bytes
    if torch.device(device).type != "cuda":
        return Memory(weights=weights, peak=held + _most_allocated(runner.step), rss_peak=rss)
    torch.cuda.synchronize(device)
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats(device)
    before = torch.cuda.memory_allocated(device)
    runner.step()
    torch.cuda.synchronize(device)
    return Memory(
        weights=weights,
        peak=held + torch.cuda.max_memory_allocated(device) - before,
        reserved=torch.cuda.max_memory_reserved(device),
        rss_peak=rss_peak_bytes(),
        device_used=_device_used(device),
    )


def _device_used(device: str) -> int | None:
    """Bytes that all processes use on the device, by NVML; None without NVML."""
    try:
        return int(torch.cuda.device_memory_used(device))
    except Exception:  # no NVML, no permission, a device it does not know: it varies by release
        return None


def _most_allocated(step: Callable[[], object]) -> int:
    from torch.profiler import ProfilerActivity, profile

    # one cycle is all there is: acc_events keeps torch 2.11 from warning of more
    activities = [ProfilerActivity.CPU]
    with profile(activities=activities, profile_memory=True, acc_events=True) as profiled:
        step()
    results = profiled.profiler.kineto_results
    changes = sorted(_allocations(results.experimental_event_tree()))
    most = now = 0
    for _, change in changes:
        now += change
        most = max(most, now)
    return most


def _allocations(events: Sequence[Any]) -> Iterator[tuple[int, int]]:
    """(time, bytes given out or, if negative, taken back) of every event and those below it."""
    for event in events:
        extra = event.typed[1]
        if type(extra).__name__ == "_ExtraFields_Allocation":
            yield event.start_time_ns, extra.alloc_size
        yield from _allocations(event.children)

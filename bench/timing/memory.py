"""Memory of one pass, measured apart from its time."""

from __future__ import annotations

import resource
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch

from vidcost.bench.timing.record import Memory


def rss_peak_bytes() -> int:
    """The most memory this process has held so far."""
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if sys.platform == "darwin" else most * 1024


def measure_memory(
    device: str, step: Callable[[], object], *, weights_bytes: int, held_bytes: Callable[[], int]
) -> Memory:
    """Run ``step`` once and say what it needed.

    ``weights_bytes`` are those of the model; ``held_bytes`` says what is held besides before a step
    (inputs, the optimiser's state), which is part of the peak above the weights.
    On CUDA the peak is the allocator's, less weights. On the CPU it is what torch's allocator gave
    out at once, by its profiler, and the worker's resident memory until before that pass.
    """
    if torch.device(device).type == "cuda":
        return _on_cuda(device, step, weights_bytes)
    rss = rss_peak_bytes()
    held = held_bytes()
    return Memory(weights=weights_bytes, peak=held + _most_allocated(step), rss_peak=rss)


def _on_cuda(device: str, step: Callable[[], object], weights_bytes: int) -> Memory:
    torch.cuda.synchronize(device)
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats(device)
    step()
    torch.cuda.synchronize(device)
    return Memory(
        weights=weights_bytes,
        peak=torch.cuda.max_memory_allocated(device) - weights_bytes,
        reserved=torch.cuda.max_memory_reserved(device),
        rss_peak=rss_peak_bytes(),
        nvml_used=_nvml_used(device),
    )


def _nvml_used(device: str) -> int | None:
    """What NVML says is used on the device, by all its processes; None without NVML."""
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

"""Clocks for pytest-benchmark: ``pytest --benchmark-timer=vidcost.timers.cuda``."""

from time import perf_counter

cpu = perf_counter
"""The host's clock in seconds, for work that is done when a call returns."""


def cuda() -> float:
    """The host's clock in seconds after the current CUDA device has finished all work.

    Read before and after a call, it times the call's kernels and their launches. It raises what
    torch raises without a CUDA device.
    """
    import torch

    torch.cuda.synchronize()
    return perf_counter()

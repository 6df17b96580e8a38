"""Which modules need much memory when a network runs for real."""

from __future__ import annotations

import math

from vidcost.bench.count.counter import Count

LARGE_BYTES = 10**9


def large_modules(count: Count) -> frozenset[str]:
    """Names of the modules that produce a tensor of ``LARGE_BYTES`` or more in single precision.

    An attention matrix of 25,088 positions takes 2.5 GB, and its softmax as much again.
    """
    return frozenset(
        operation.module
        for operation in count.operations
        if 4 * math.prod(operation.output) >= LARGE_BYTES
    )

"""Figures from raw samples: medians and what is known of them."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

CONFIDENCE = 0.95
EXACT_UP_TO = 500
_Z = statistics.NormalDist().inv_cdf((1 + CONFIDENCE) / 2)


@dataclass(frozen=True)
class Summary:
    """A median, its 95% confidence interval (None where there are too few samples) and spread."""

    median: float
    low: float | None
    high: float | None
    iqr: float
    n: int


def summary(samples: Sequence[float]) -> Summary:
    """Describe ``samples``.  Raises: ValueError if there are none."""
    if not samples:
        raise ValueError("no samples to describe")
    ordered = sorted(samples)
    quartiles = statistics.quantiles(ordered, n=4, method="inclusive") if len(ordered) > 1 else None
    interval = median_interval(ordered)
    return Summary(
        median=statistics.median(ordered),
        low=interval[0] if interval else None,
        high=interval[1] if interval else None,
        iqr=quartiles[2] - quartiles[0] if quartiles else 0.0,
        n=len(ordered),
    )


def median_interval(samples: Sequence[float]) -> tuple[float, float] | None:
    """A confidence interval of the median from order statistics; None below six samples.

    The interval between the k-th smallest and the k-th largest sample misses the median with the
    probability that a fair coin falls fewer than k times on one side, whatever the distribution.
    """
    ordered = sorted(samples)
    k = median_rank(len(ordered))
    return (ordered[k - 1], ordered[-k]) if k else None


def median_rank(n: int) -> int:
    """The k of :func:`median_interval` for ``n`` samples; 0 if there is none."""
    if n > EXACT_UP_TO:
        # a fair coin's falls are normal by then
        return math.floor((n - _Z * math.sqrt(n)) / 2)
    # the largest k for which both tails together stay within 5%, one in twenty
    tail, term, k = 0, 1, 0
    while 2 * 20 * (tail + term) <= 2**n:
        tail, term, k = tail + term, term * (n - k) // (k + 1), k + 1
    return k


def half_width(samples: Sequence[float]) -> float | None:
    """Half the width of the median's interval; None where there is none."""
    interval = median_interval(samples)
    return None if interval is None else (interval[1] - interval[0]) / 2


def differences(with_: Sequence[float], without: Sequence[float]) -> list[float]:
    """The k-th of one less the k-th of the other.  Raises: ValueError if they are no pairs."""
    return [a - b for a, b in _paired(with_, without)]


def ratios(over: Sequence[float], under: Sequence[float]) -> list[float]:
    """The k-th of one over the k-th of the other.  Raises: ValueError if they are no pairs."""
    return [a / b for a, b in _paired(over, under)]


def _paired(one: Sequence[float], other: Sequence[float]) -> list[tuple[float, float]]:
    if len(one) != len(other):
        raise ValueError(f"{len(one)} and {len(other)} samples are no pairs")
    return list(zip(one, other, strict=True))

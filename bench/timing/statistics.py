"""Figures from raw samples: medians, and intervals that allow for autocorrelation."""

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

CONFIDENCE = 0.95
EXACT_UP_TO = 500
_Z = statistics.NormalDist().inv_cdf((1 + CONFIDENCE) / 2)
_STUDENT = (12.7062, 4.3027, 3.1824, 2.7764, 2.5706, 2.4469)
"""Student's t at 97.5% for 1 to 6 degrees of freedom."""

FEWEST_TO_BATCH = 20
"""Of fewer samples no autocorrelation can be estimated: the interval takes them as independent."""
FEWEST_BATCHES = 8
CHOSEN_FOR_BEING_NARROW = 1.03
"""Sampling ends when an interval is narrow, which some are by chance: so much wider they cover."""


class Interval(NamedTuple):
    """A 95% confidence interval of a median, from so many batches of samples."""

    low: float
    high: float
    batches: int


@dataclass(frozen=True)
class Summary:
    """A median, its 95% confidence interval (None where there are too few samples)."""

    median: float
    low: float | None
    high: float | None
    n: int


def summary(samples: Sequence[float], processes: Sequence[int] = ()) -> Summary:
    """Describe ``samples``, one after the other in time.

    ``processes`` are the numbers of samples of each process, if there were several: the median is
    then the mean of the processes' medians, and its interval Student's over those.
    Raises: ValueError if there are no samples.
    """
    if not samples:
        raise ValueError("no samples to describe")
    if len(processes) < 2:
        found = median_interval(samples)
        low, high = (found.low, found.high) if found else (None, None)
        return Summary(statistics.median(samples), low, high, len(samples))
    assert sum(processes) == len(samples), processes
    ends = np.cumsum(processes)[:-1]
    medians = [float(np.median(each)) for each in np.split(np.asarray(samples), ends)]
    middle = statistics.fmean(medians)
    half = _student(len(medians)) * statistics.stdev(medians) / math.sqrt(len(medians))
    return Summary(middle, middle - half, middle + half, len(samples))


def median_interval(samples: Sequence[float]) -> Interval | None:
    """A confidence interval of the median, between two of the samples; None below six.

    Of independent samples the k-th smallest and the k-th largest miss the median with the
    probability that a fair coin falls fewer than k times on one side, whatever the distribution.
    Samples of one process are autocorrelated. So the variance of the number of samples below the
    median is estimated from means of batches, and k is lowered accordingly. Batches are doubled
    until their means are no longer correlated, or only :data:`FEWEST_BATCHES` would be left.
    Source: batch means with Student's t, Law and Carson, Operations Research 27 (1979).
    """
    ordered = sorted(samples)
    n = len(ordered)
    k = _independent_rank(n)
    if not k:
        return None
    batches = n
    if n >= FEWEST_TO_BATCH:
        values = np.asarray(samples)
        middle = statistics.median(ordered)
        below = (values < middle) + 0.5 * (values == middle)
        means, correlation = _batched(below)
        batches = len(means)
        deviation = CHOSEN_FOR_BEING_NARROW * means.std(ddof=1) / math.sqrt(batches)
        # what correlation is left, as of an autoregression of first order
        deviation *= math.sqrt((1 + correlation) / (1 - min(correlation, 0.9)))
        k = max(1, min(k, math.floor(n / 2 - _student(batches) * deviation * n)))
    return Interval(ordered[k - 1], ordered[-k], batches)


def _batched(values: np.ndarray) -> tuple[np.ndarray, float]:
    """Means of batches as long as necessary, and their correlation with the next, at least 0."""
    length = 1
    while True:
        count = len(values) // length
        # the first samples are left out
        means = values[-count * length :].reshape(count, length).mean(1)
        apart = means - means.mean()
        total = float(apart @ apart)
        # the estimate is low by about one over the number of batches
        correlation = float(apart[1:] @ apart[:-1]) / total + 1 / count if total else 0.0
        if correlation <= 0.25 / math.sqrt(count) or len(values) // (2 * length) < FEWEST_BATCHES:
            return means, max(correlation, 0.0)
        length *= 2


def _student(count: int) -> float:
    """The 97.5% quantile of Student's t for a mean of ``count`` values; scipy is no worker's.

    Source of the expansion: Abramowitz and Stegun, 26.7.5.
    """
    degrees = count - 1
    if degrees <= len(_STUDENT):
        return _STUDENT[degrees - 1]
    z, first = _Z, (_Z**3 + _Z) / 4
    return z + first / degrees + (5 * z**5 + 16 * z**3 + 3 * z) / 96 / degrees**2


def _independent_rank(n: int) -> int:
    """The k of :func:`median_interval` for ``n`` independent samples; 0 if there is none."""
    if n > EXACT_UP_TO:
        # a fair coin's falls are normal by then
        return math.floor((n - _Z * math.sqrt(n)) / 2)
    # the largest k for which both tails together stay within 5%, one in twenty
    tail, term, k = 0, 1, 0
    while 2 * 20 * (tail + term) <= 2**n:
        tail, term, k = tail + term, term * (n - k) // (k + 1), k + 1
    return k


def differences(with_: Sequence[float], without: Sequence[float]) -> list[float]:
    """The k-th of one less the k-th of the other.  Raises: ValueError if they are no pairs."""
    return [a - b for a, b in zip(with_, without, strict=True)]


def ratios(over: Sequence[float], under: Sequence[float]) -> list[float]:
    """The k-th of one over the k-th of the other.  Raises: ValueError if they are no pairs."""
    return [a / b for a, b in zip(over, under, strict=True)]

"""By how much one sample lies above another: two sides that were not measured in pairs."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy import stats

from vidcost.bench.gate.statistics import CONFIDENCE, Values, pooled_deviation

_Z = float(stats.norm.ppf((1 + CONFIDENCE) / 2))


@dataclass(frozen=True)
class Shift:
    """By how much head lies above base, with its 95% interval and its standard error.

    ``p_above`` is the one-sided p that it lies above by what is given, or by less; ``p_below`` that
    it lies below by that, or by less.
    """

    center: float
    low: float
    high: float
    error: float
    p_above: Callable[[float], float]
    p_below: Callable[[float], float]


def shift_by_ranks(base: Values, head: Values) -> Shift:
    """By the exact test of Mann and Whitney (1947), which assumes no distribution.

    The center is Hodges and Lehmann's: the median of all differences. The interval holds what the
    test does not refuse; it is infinite where there are too few values.
    """
    differences = np.subtract.outer(np.asarray(head, dtype=float), np.asarray(base, dtype=float))
    low = _lower(base, head, (1 - CONFIDENCE) / 2)
    high = -_lower(head, base, (1 - CONFIDENCE) / 2)
    return Shift(
        center=float(np.median(differences)),
        low=low,
        high=high,
        error=(high - low) / 2 / _Z,
        p_above=lambda above: u_test_p(base, head, above),
        p_below=lambda below: u_test_p(head, base, below),
    )


def shift_by_noise(base: Values, head: Values, noise: float) -> Shift:
    """By the normal distribution, of values whose standard deviation is known to be ``noise``.

    Where the values at hand vary more than that, theirs is taken. The center is the difference of
    the means.
    """
    center = float(np.mean(head) - np.mean(base))
    error = max(noise, pooled_deviation((base, head)) or 0.0) * math.sqrt(
        1 / len(base) + 1 / len(head)
    )
    return Shift(
        center=center,
        low=center - _Z * error,
        high=center + _Z * error,
        error=error,
        p_above=lambda above: float(stats.norm.sf((center - above) / error)),
        p_below=lambda below: float(stats.norm.sf((-center - below) / error)),
    )


def u_test_p(base: Values, head: Values, above: float = 0.0) -> float:
    """One-sided p that ``head`` lies above ``base`` by ``above`` or less; a tie counts half."""
    shifted = np.asarray(head, dtype=float) - above
    return float(
        stats.mannwhitneyu(shifted, base, alternative="greater", method="exact").pvalue,
    )


def least_p(base: int, head: int) -> float:
    """The least p that the exact test can have with so many values: all of head above base."""
    return 1 / math.comb(base + head, base)


def values_needed(level: float) -> int:
    """How many values on each side the exact test needs to reach ``level``."""
    count = 1
    while least_p(count, count) > level:
        count += 1
    return count


def _lower(base: Values, head: Values, level: float) -> float:
    """The greatest shift that the test at ``level`` refuses to put head at or below."""
    if least_p(len(base), len(head)) > level:
        return -math.inf
    differences = np.unique(np.subtract.outer(np.asarray(head), np.asarray(base)))
    # between two neighbours the test says the same everywhere
    between = (differences[:-1] + differences[1:]) / 2
    low, high = 0, len(differences)
    while high - low > 1:
        middle = (low + high) // 2
        if u_test_p(base, head, above=float(between[middle - 1])) <= level:
            low = middle
        else:
            high = middle
    return float(differences[low])

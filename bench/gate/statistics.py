"""Tests, intervals and estimates on log ratios of pairs and on two samples, mostly by scipy."""

from __future__ import annotations

import functools
import math
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

Values = Sequence[float]

CONFIDENCE = 0.95
"""Of the intervals that are shown."""

_Z = float(stats.norm.ppf((1 + CONFIDENCE) / 2))

# pairs


def sign_flip_p(values: Values, above: float = 0.0) -> float:
    """One-sided p of the sign-flip test; H0: ``values`` are centered at ``above`` or below.

    The statistic is the sum of signed ranks, so a disturbed pair weighs no more than its rank.
    Exact if the sign of a difference is random under H0, as it is if the order in each pair is.
    Source: Wilcoxon 1945, Individual Comparisons by Ranking Methods.
    """
    shifted = np.asarray(values, dtype=float) - above
    # a difference of exactly 0 has no sign
    shifted = shifted[shifted != 0]
    if not len(shifted):
        return 1.0
    return float(stats.wilcoxon(shifted, alternative="greater", method="exact").pvalue)


def center(values: Values) -> float:
    """The Hodges-Lehmann estimate: the median of all means of two values."""
    return float(np.median(_pair_means(values)))


def interval(values: Values, confidence: float = CONFIDENCE) -> tuple[float, float]:
    """The two-sided confidence interval: the values that the sign-flip test does not reject.

    Infinite if there are too few values.
    """
    rejected = _critical_rank_sum(len(values), (1 - confidence) / 2)
    if rejected < 0:
        return -math.inf, math.inf
    means = np.sort(_pair_means(values))
    return float(means[rejected]), float(means[-1 - rejected])


def standard_error(values: Values) -> float:
    """The standard error of :func:`center`, from the width of its interval."""
    low, high = interval(values)
    return (high - low) / 2 / _Z


def pairs_needed(values: Values, *, distance: float, level: float, power: float) -> int:
    """How many pairs find a shift of ``distance`` in the log ratio with probability ``power``.

    The standard deviation is the upper end of its 80% confidence bound from ``values``, because a
    few values may be close together by chance.
    """
    freedom = len(values) - 1
    deviation = float(np.std(values, ddof=1))
    pessimistic = deviation * math.sqrt(freedom / stats.chi2.ppf(0.2, freedom))
    z = stats.norm.ppf(1 - level) + stats.norm.ppf(power)
    return max(1, math.ceil(float(z * pessimistic / distance) ** 2))


@functools.cache
def _critical_rank_sum(count: int, level: float) -> int:
    """Wilcoxon's critical value: the greatest rank sum of negative values that is rejected.

    The interval leaves out as many means at either end. -1 if so few values never reach ``level``.
    """
    rank_sums = range(count * (count + 1) // 2 + 1)
    rejected = bisect_right(rank_sums, level, key=lambda total: sign_flip_p(_ranks(count, total)))
    return rejected - 1


def _ranks(count: int, negative: int) -> list[float]:
    """The numbers from 1 to ``count``; the negative ones sum to ``negative``."""
    signed = []
    for rank in range(count, 0, -1):
        flipped = rank <= negative
        negative -= rank * flipped
        signed.append(-float(rank) if flipped else float(rank))
    return signed


def _pair_means(values: Values) -> NDArray[np.float64]:
    """Walsh averages: the mean of every two values, and of each with itself."""
    array = np.asarray(values, dtype=float)
    first, second = np.triu_indices(len(array))
    means: NDArray[np.float64] = (array[first] + array[second]) / 2
    return means


# families of tests


def holm_adjusted(p_values: Values) -> list[float]:
    """P values adjusted for the family-wise error rate.

    Source: Holm 1979, A Simple Sequentially Rejective Multiple Test Procedure.
    """
    rising = np.sort(p_values)
    # the least is multiplied by the number of tests, the next by one less
    adjusted = np.maximum.accumulate(rising * np.arange(len(rising), 0, -1)).clip(max=1)
    return [float(p) for p in adjusted[np.searchsorted(rising, p_values)]]


# two samples


@dataclass(frozen=True)
class Shift:
    """By how much head lies above base, with its 95% interval and standard error."""

    center: float
    low: float
    high: float
    error: float


def shift_by_ranks(base: Values, head: Values) -> Shift:
    """The shift by the exact U-test, which assumes no distribution.

    The center is the Hodges-Lehmann estimate: the median of all differences. The interval holds
    the shifts that the test does not reject; it is infinite if there are too few values.
    Source: Mann and Whitney 1947, On a Test of Whether one of Two Random Variables is
    Stochastically Larger than the Other.
    """
    differences = np.subtract.outer(np.asarray(head, dtype=float), np.asarray(base, dtype=float))
    low = _lower(base, head, (1 - CONFIDENCE) / 2)
    high = -_lower(head, base, (1 - CONFIDENCE) / 2)
    return Shift(float(np.median(differences)), low, high, error=(high - low) / 2 / _Z)


def u_test_p(base: Values, head: Values, above: float = 0.0) -> float:
    """One-sided p of the exact U-test; H0: ``head`` is at most ``above`` above ``base``."""
    shifted = np.asarray(head, dtype=float) - above
    return float(stats.mannwhitneyu(shifted, base, alternative="greater", method="exact").pvalue)


def least_p(base: int, head: int) -> float:
    """The least p of the exact U-test with so many values: all of head above all of base."""
    return 1 / math.comb(base + head, base)


def values_needed(level: float) -> int:
    """How many values on each side the exact U-test needs to reach ``level``."""
    count = 1
    while least_p(count, count) > level:
        count += 1
    return count


def _lower(base: Values, head: Values, level: float) -> float:
    """The lower confidence bound of the shift, at ``level``."""
    if least_p(len(base), len(head)) > level:
        return -math.inf
    differences = np.unique(np.subtract.outer(np.asarray(head), np.asarray(base)))
    # p is constant between two neighbouring differences
    between = (differences[:-1] + differences[1:]) / 2
    rejected = bisect_right(between, level, key=lambda shift: u_test_p(base, head, float(shift)))
    return float(differences[rejected])

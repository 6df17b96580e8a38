"""Tests and intervals of log ratios, of pairs and of two samples, mostly by scipy."""

import functools
import itertools
import math
from bisect import bisect_right
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy import stats

Values = Sequence[float]

CONFIDENCE = 0.95
"""Of the intervals, two-sided."""

_TAIL = (1 - CONFIDENCE) / 2

_EFFICIENCY = 3 / math.pi
"""Of the signed-rank test on normal values, relative to the t-test (Hodges and Lehmann 1956)."""


class Estimate(NamedTuple):
    """By how much head lies above base, with its 95% interval; infinite for too few values."""

    center: float
    low: float
    high: float


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
    ranks = stats.rankdata(abs(shifted))
    return _rank_sum_p(len(shifted), math.ceil(ranks[shifted < 0].sum()))


def of_pairs(values: Values) -> Estimate:
    """The Hodges-Lehmann estimate, and the values that the sign-flip test does not reject.

    The estimate is the median of all means of two values.
    """
    array = np.asarray(values, dtype=float)
    first, second = np.triu_indices(len(array))
    means = np.sort((array[first] + array[second]) / 2)
    rejected = _critical_rank_sum(len(array), _TAIL)
    if rejected < 0:
        return Estimate(float(np.median(means)), -math.inf, math.inf)
    return Estimate(float(np.median(means)), float(means[rejected]), float(means[-1 - rejected]))


def pairs_needed(values: Values, *, distance: float, level: float, power: float) -> int:
    """How many pairs find a shift of ``distance`` in the log ratio with probability ``power``.

    At least :func:`fewest_pairs`. The standard deviation is the upper end of its 90% confidence
    bound from ``values``, because a few values may be close together by chance.
    """
    freedom = len(values) - 1
    deviation = float(np.std(values, ddof=1))
    pessimistic = deviation * math.sqrt(freedom / stats.chi2.ppf(0.1, freedom))
    z = stats.norm.ppf(1 - level) + stats.norm.ppf(power)
    by_noise = math.ceil(float(z * pessimistic / distance) ** 2 / _EFFICIENCY)
    return max(fewest_pairs(level), by_noise)


@functools.cache
def fewest_pairs(level: float) -> int:
    """The fewest pairs that reach ``level`` with one disturbed pair, the largest, against them."""
    return next(count for count in itertools.count(1) if _rank_sum_p(count, count) <= level)


@functools.cache
def _critical_rank_sum(count: int, level: float) -> int:
    """Wilcoxon's critical value: the greatest rank sum of negative values that is rejected.

    The interval leaves out as many means at either end. -1 if so few values never reach ``level``.
    """
    rank_sums = range(count * (count + 1) // 2 + 1)
    return bisect_right(rank_sums, level, key=lambda total: _rank_sum_p(count, total)) - 1


@functools.cache
def _rank_sum_p(count: int, negative: int) -> float:
    """P of ``count`` values of which the negative ones have ranks that sum to ``negative``."""
    signed = []
    for rank in range(count, 0, -1):
        flipped = rank <= negative
        negative -= rank * flipped
        signed.append(-rank if flipped else rank)
    if not signed:
        return 1.0
    return float(stats.wilcoxon(signed, alternative="greater", method="exact").pvalue)


# two samples


def u_test_p(base: Values, head: Values, above: float = 0.0) -> float:
    """One-sided p of the exact U-test; H0: ``head`` is at most ``above`` above ``base``."""
    shifted = np.asarray(head, dtype=float) - above
    return float(stats.mannwhitneyu(shifted, base, alternative="greater", method="exact").pvalue)


def of_two_samples(base: Values, head: Values) -> Estimate:
    """The median of all differences, and the shifts that the exact U-test does not reject.

    Source: Mann and Whitney 1947, On a Test of Whether one of Two Random Variables is
    Stochastically Larger than the Other.
    """
    differences = np.subtract.outer(np.asarray(head, dtype=float), np.asarray(base, dtype=float))
    return Estimate(float(np.median(differences)), _lower(base, head), -_lower(head, base))


def least_p(base: int, head: int) -> float:
    """The least p of the exact U-test with so many values: all of head above all of base."""
    return 1 / math.comb(base + head, base)


def values_needed(level: float) -> int:
    """How many values on each side the exact U-test needs to reach ``level``."""
    return next(count for count in itertools.count(1) if least_p(count, count) <= level)


def _lower(base: Values, head: Values) -> float:
    """The lower confidence bound of the shift."""
    if least_p(len(base), len(head)) > _TAIL:
        return -math.inf
    differences = np.unique(np.subtract.outer(np.asarray(head), np.asarray(base)))
    # p is constant between two neighbouring differences
    between = (differences[:-1] + differences[1:]) / 2
    rejected = bisect_right(between, _TAIL, key=lambda shift: u_test_p(base, head, float(shift)))
    return float(differences[rejected])


# families of tests


def holm_adjusted(p_values: Values) -> list[float]:
    """P values adjusted for the family-wise error rate.

    Source: Holm 1979, A Simple Sequentially Rejective Multiple Test Procedure.
    """
    rising = np.sort(p_values)
    # the least is multiplied by the number of tests, the next by one less
    adjusted = np.maximum.accumulate(rising * np.arange(len(rising), 0, -1)).clip(max=1)
    return [float(p) for p in adjusted[np.searchsorted(rising, p_values)]]

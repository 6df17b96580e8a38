"""Tests and intervals on log ratios of pairs, mostly by scipy."""

from __future__ import annotations

import functools
import math
from bisect import bisect_right
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import stats

Values = Sequence[float]

CONFIDENCE = 0.95
"""Of the intervals that are shown."""


def sign_flip_p(values: Values, above: float = 0.0) -> float:
    """One-sided p of the sign-flip test that ``values`` lie around ``above`` or below.

    The statistic is the sum of signed ranks (Wilcoxon 1945), so that a single pair that was
    disturbed weighs no more than its rank. Exact if the sign of a difference is as good as random
    under the null hypothesis, as it is where the order in a pair was chosen at random.
    """
    shifted = np.asarray(values, dtype=float) - above
    # a difference of exactly nothing says nothing about its sign
    shifted = shifted[shifted != 0]
    if not len(shifted):
        return 1.0
    return float(stats.wilcoxon(shifted, alternative="greater", method="exact").pvalue)


def center(values: Values) -> float:
    """The Hodges-Lehmann estimate: the median of all means of two values."""
    return float(np.median(_pair_means(values)))


def interval(values: Values, confidence: float = CONFIDENCE) -> tuple[float, float]:
    """The values that the test does not refuse, at ``confidence`` on both sides together.

    Infinite where there are too few values for it.
    """
    refused = _critical_rank_sum(len(values), (1 - confidence) / 2)
    if refused < 0:
        return -math.inf, math.inf
    means = np.sort(_pair_means(values))
    return float(means[refused]), float(means[-1 - refused])


def noise(values: Values) -> float:
    """The standard error of :func:`center`, from the width of its interval."""
    low, high = interval(values)
    return (high - low) / 2 / float(stats.norm.ppf((1 + CONFIDENCE) / 2))


def holm_adjusted(p_values: Values) -> list[float]:
    """P values adjusted so that refusing at a level makes any mistake with at most that chance.

    As statsmodels' ``multipletests`` has them, which searches all that is loaded for garbage at
    each call: a tenth of a second.
    Source: Holm 1979, A Simple Sequentially Rejective Multiple Test Procedure.
    """
    rising = np.sort(p_values)
    # the least is held against as many as there are, the next against one fewer
    adjusted = np.maximum.accumulate(rising * np.arange(len(rising), 0, -1)).clip(max=1)
    return [float(p) for p in adjusted[np.searchsorted(rising, p_values)]]


def pooled_deviation(groups: Sequence[Values]) -> float | None:
    """The standard deviation within groups, each around its own mean; None of single values."""
    squares = sum(len(group) * float(np.var(group)) for group in groups if len(group) > 1)
    freedom = sum(len(group) - 1 for group in groups if group)
    return math.sqrt(squares / freedom) if freedom else None


def pairs_needed(values: Values, *, distance: float, level: float, power: float) -> int:
    """How many pairs find a shift of ``distance`` in the log ratio with probability ``power``.

    The standard deviation is that of ``values``, at the upper end of its 80% confidence bound,
    since a few values may happen to lie close together.
    """
    freedom = len(values) - 1
    deviation = float(np.std(values, ddof=1))
    pessimistic = deviation * math.sqrt(freedom / stats.chi2.ppf(0.2, freedom))
    z = stats.norm.ppf(1 - level) + stats.norm.ppf(power)
    return max(1, math.ceil(float(z * pessimistic / distance) ** 2))


@functools.cache
def _critical_rank_sum(count: int, level: float) -> int:
    """Wilcoxon's critical value: the greatest rank sum of negative values that is refused.

    It is also how many means of two lie below the bound. -1 if so few values never reach ``level``.
    """
    rank_sums = range(count * (count + 1) // 2 + 1)
    refused: int = bisect_right(rank_sums, level, key=lambda sum_: sign_flip_p(_ranks(count, sum_)))
    return refused - 1


def _ranks(count: int, negative: int) -> list[float]:
    """The numbers from 1 to ``count``, some of them negative: those sum to ``negative``."""
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

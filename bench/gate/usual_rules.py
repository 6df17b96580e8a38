"""The rules of the usual tools, on what such a tool sees: one process of each version.

Each is handed the raw samples of both, in any one unit, at least one each, and says whether it
calls head slower.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from scipy import stats

Samples = Sequence[int]


@dataclass(frozen=True)
class UsualRule:
    """A rule with its name in tables and where it is from."""

    name: str
    source: str
    slower: Callable[[Samples, Samples], bool]


def mean_above(base: Samples, head: Samples, *, percent: float) -> bool:
    """Head's mean is more than ``percent`` above base's.

    Source: pytest-benchmark, ``--benchmark-compare-fail=mean:10%``.
    """
    return _above(statistics.fmean(base), statistics.fmean(head), percent)


def min_above(base: Samples, head: Samples, *, percent: float) -> bool:
    """Head's quickest sample is more than ``percent`` above base's.

    Source: pytest-benchmark, ``--benchmark-compare-fail=min:5%``, the example of its own help.
    """
    return _above(min(base), min(head), percent)


def median_above(base: Samples, head: Samples, *, percent: float) -> bool:
    """Head's median is more than ``percent`` above base's.

    Source: a flat threshold on medians, a common choice.
    """
    return _above(statistics.median(base), statistics.median(head), percent)


def welch(base: Samples, head: Samples, *, level: float) -> bool:
    """Welch's t-test is significant, two-sided, and head's mean is the higher one.

    It takes samples for independent and normal. One sample on a side is no test.
    Source: a common choice.
    """
    if min(len(base), len(head)) < 2 or statistics.fmean(head) <= statistics.fmean(base):
        return False
    if np.ptp(base) == np.ptp(head) == 0:
        # scipy divides by the variance; samples that do not vary differ with certainty
        return True
    return bool(stats.ttest_ind(head, base, equal_var=False).pvalue < level)


def u_test(base: Samples, head: Samples, *, level: float) -> bool:
    """The Mann-Whitney U-test is significant, two-sided, and head's median is the higher one.

    It takes samples for independent.
    Source: Go's benchstat, whose default level is 0.05; stricter ones are a common choice.
    """
    if statistics.median(head) <= statistics.median(base):
        return False
    return bool(stats.mannwhitneyu(head, base, alternative="two-sided").pvalue < level)


def _above(base: float, head: float, percent: float) -> bool:
    return head / base * 100 - 100 > percent


USUAL_RULES = (
    UsualRule(
        "mean:10%",
        "pytest-benchmark, --benchmark-compare-fail=mean:10%",
        partial(mean_above, percent=10),
    ),
    UsualRule(
        "min:5%",
        "pytest-benchmark, --benchmark-compare-fail=min:5%",
        partial(min_above, percent=5),
    ),
    UsualRule("flat 7%", "medians, a common choice", partial(median_above, percent=7)),
    UsualRule("t-test 0.05", "Welch's, on samples, a common choice", partial(welch, level=0.05)),
    UsualRule(
        "U-test 0.05",
        "Mann-Whitney's, on samples; the test and default level of Go's benchstat",
        partial(u_test, level=0.05),
    ),
    UsualRule(
        "U-test 0.002",
        "the same at a stricter level, a common choice",
        partial(u_test, level=0.002),
    ),
)

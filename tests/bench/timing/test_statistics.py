"""Medians and their intervals."""

from __future__ import annotations

import random

import pytest
from scipy import stats

from vidcost.bench.timing.statistics import (
    differences,
    half_width,
    median_interval,
    ratios,
    summary,
)


def test_a_summary_by_hand():
    described = summary([7.0, 1.0, 3.0, 2.0, 11.0, 5.0, 13.0])
    # of seven, the smallest and the largest miss the median with 2/128
    assert (5.0, 1.0, 13.0, 7) == (described.median, described.low, described.high, described.n)
    # quartiles at ranks 2.5 and 5.5: 2.5 and 9
    assert 6.5 == described.iqr


@pytest.mark.parametrize("n", [0, 1, 5])
def test_too_few_samples_have_no_interval(n):
    samples = list(range(1, n + 1))
    assert None is median_interval(samples)
    assert None is half_width(samples)


def test_one_sample_is_its_own_median():
    described = summary([3.0])
    assert (3.0, None, None, 0.0, 1) == (
        described.median,
        described.low,
        described.high,
        described.iqr,
        described.n,
    )


def test_no_samples_are_rejected():
    with pytest.raises(ValueError, match="no samples"):
        summary([])


@pytest.mark.parametrize("n", [6, 17, 1000])
def test_the_interval_is_scipys(n):
    samples = [random.Random(n).expovariate(1.0) for _ in range(n)]
    expected = stats.quantile_test(samples, q=0, p=0.5).confidence_interval(0.95)
    assert (expected.low, expected.high) == median_interval(samples)


def test_pairs_are_subtracted_and_divided_one_by_one():
    assert [2.0, 1.0, 5.0] == differences([5.0, 8.0, 13.0], [3.0, 7.0, 8.0])
    assert [2.0, 0.5] == ratios([4.0, 3.0], [2.0, 6.0])


@pytest.mark.parametrize("combine", [differences, ratios])
def test_unequal_numbers_are_no_pairs(combine):
    with pytest.raises(ValueError, match="3 and 2 samples are no pairs"):
        combine([1, 2, 3], [1, 2])

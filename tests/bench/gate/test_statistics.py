"""Tests and intervals: against enumeration, tables and simulation."""

import itertools
import math

import numpy as np
import pytest

from vidcost.bench.gate.statistics import (
    holm_adjusted,
    least_p,
    of_pairs,
    of_two_samples,
    pairs_needed,
    sign_flip_p,
    u_test_p,
    values_needed,
)

BASE = [2.0, 3.0, 5.0, 7.0]
HEAD = [11.0, 13.0, 17.0]


def enumerated_p(values):
    """The fraction of all sign flips with a rank sum as large as the observed one or larger."""
    by_size = sorted(values, key=abs)
    seen = sum(rank for rank, value in enumerate(by_size, 1) if value > 0)
    flips = list(itertools.product((0, 1), repeat=len(values)))
    sums = [sum(rank * sign for rank, sign in enumerate(signs, 1)) for signs in flips]
    return sum(one >= seen for one in sums) / len(flips)


def test_p_is_the_fraction_of_all_sign_flips():
    count, generator = 9, np.random.default_rng(9)
    for shift in (-1, -0.2, 0, 0.3, 1, 5):
        values = generator.standard_normal(count) + shift
        assert enumerated_p(values) == pytest.approx(sign_flip_p(values), rel=1e-12)
        assert enumerated_p(values - 0.4) == pytest.approx(sign_flip_p(values, 0.4), rel=1e-12)


def test_p_by_hand():
    # ranks below sum to 3 or less: none, 1, 2, 3, 1 and 2
    assert 5 / 64 == sign_flip_p([-1, -2, 3, 4, 5, 6])
    # how far one pair lies off does not matter
    assert sign_flip_p([1, 2, 3, 4, 5, -6]) == sign_flip_p([1, 2, 3, 4, 5, -6000])
    # a difference of 0 has no sign
    assert 1 == sign_flip_p([0, 0, 0])
    assert 1 / 64 == sign_flip_p([0, 1, 2, 3, 4, 5, 6, 0])
    assert 1 == sign_flip_p([7] * 6, above=7)


@pytest.mark.parametrize(("count", "critical"), [(6, 0), (8, 3), (12, 13)])
def test_the_interval_is_that_of_wilcoxons_table(count, critical):
    # critical rank sums of the two-sided test at 5%, as textbooks print them
    values = np.random.default_rng(count).standard_normal(count)
    means = sorted((a + b) / 2 for a, b in itertools.combinations_with_replacement(values, 2))
    assert (means[critical], means[-1 - critical]) == of_pairs(values)[1:]


def test_estimates_by_hand():
    # means of two: 1, 1.5, 2, 3.5, 4, 6
    assert (2.75, -math.inf, math.inf) == of_pairs([6, 1, 2])
    assert (0.1, 0.1, 0.1) == of_pairs([0.1] * 6)


@pytest.mark.parametrize("distribution", ["standard_normal", "standard_cauchy"])
def test_the_interval_covers_the_truth_as_often_as_it_says(distribution):
    draws = getattr(np.random.default_rng(7), distribution)((3000, 8)) + 7
    covered = [low <= 7 <= high for _, low, high in map(of_pairs, draws)]
    assert np.mean(covered) >= 0.95


def test_pairs_that_are_planned_find_with_the_power_that_is_promised():
    generator, level = np.random.default_rng(3), 0.01
    found = []
    for _ in range(300):
        count = pairs_needed(generator.standard_normal(8), distance=0.8, level=level, power=0.95)
        found.append(sign_flip_p(generator.standard_normal(count) + 0.8) <= level)
    assert np.mean(found) >= 0.95


def test_holm_by_hand():
    # least first: 3 times 0.01, twice 0.03; once 0.04 would be less than the one before
    assert [0.03, 0.06, 0.06] == pytest.approx(holm_adjusted([0.01, 0.04, 0.03]))
    assert [1, 1] == holm_adjusted([0.7, 0.8])
    assert [0.04, 0.04] == holm_adjusted([0.02, 0.02])
    assert [] == holm_adjusted([])


def test_the_least_p_and_the_values_needed():
    assert 1 / 35 == least_p(4, 3) == pytest.approx(u_test_p(BASE, HEAD))
    # heads of 2.5, 4.5, 8.5 lie above a base 7 times; in 15 of 35 divisions as often or more
    assert pytest.approx(15 / 35) == u_test_p(BASE, HEAD, 8.5)
    # with five of each there are 252 ways, with four 70
    assert [5, 5, 4, 6] == [values_needed(level) for level in (0.01, 1 / 252, 0.025, 0.001082252)]
    # the level of one of so many benchmarks
    assert [5, 7, 7, 8, 8] == [values_needed(0.01 / number) for number in (2, 10, 20, 50, 100)]


def test_the_shift_by_ranks():
    # differences: 4 6 8 9 | 6 8 10 11 | 10 12 14 15
    assert 9.5 == of_two_samples(BASE, HEAD).center
    base, head = [0.0, 1.0, 3.0, 7.0, 12.0], [20.0, 22.5, 25.0, 31.0, 33.25]
    shift, step = of_two_samples(base, head), 1e-6
    assert u_test_p(base, head, shift.low - step) <= 0.025 < u_test_p(base, head, shift.low + step)
    assert -shift.high == of_two_samples(head, base).low
    assert (-math.inf, math.inf) == of_two_samples([1.0, 2.0, 3.0], [4.0, 5.0, 6.0])[1:]
    assert (0.0, 0.0, 0.0) == of_two_samples([2.0] * 8, [2.0] * 8)

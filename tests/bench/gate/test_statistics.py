"""Tests and intervals: against enumeration, tables and simulation."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from statsmodels.stats.multitest import multipletests

from vidcost.bench.gate.statistics import (
    center,
    holm_adjusted,
    interval,
    noise,
    pairs_needed,
    sign_flip_p,
)

NOISES = {
    "normal": lambda generator, shape: generator.standard_normal(shape),
    "heavy tails": lambda generator, shape: generator.standard_cauchy(shape),
    "skewed": lambda generator, shape: (
        generator.exponential(size=shape) * generator.choice([-1, 1], size=shape)
    ),
}


def enumerated_p(values):
    """The share of all sign flips whose ranks above zero sum to what was seen or to more."""
    by_size = sorted(values, key=abs)
    seen = sum(rank for rank, value in enumerate(by_size, 1) if value > 0)
    flips = list(itertools.product((0, 1), repeat=len(values)))
    sums = [sum(rank * sign for rank, sign in enumerate(signs, 1)) for signs in flips]
    return sum(one >= seen for one in sums) / len(flips)


def enumerated_interval(values):
    """What no test refuses at 2.5% on its side, tried between every two possible bounds."""
    bounds = sorted((a + b) / 2 for a, b in itertools.combinations_with_replacement(values, 2))
    held = []
    for low, high in itertools.pairwise(bounds):
        shifted = [value - (low + high) / 2 for value in values]
        if min(enumerated_p(shifted), enumerated_p([-value for value in shifted])) > 0.025:
            held += [low, high]
    return held[0], held[-1]


@pytest.mark.parametrize("count", range(6, 11))
def test_p_is_the_share_of_all_sign_flips(count):
    generator = np.random.default_rng(count)
    for shift in (-1, -0.2, 0, 0.3, 1, 5):
        values = generator.standard_normal(count) + shift
        assert enumerated_p(values) == pytest.approx(sign_flip_p(values), rel=1e-12)
        assert enumerated_p(values - 0.4) == pytest.approx(sign_flip_p(values, 0.4), rel=1e-12)


def test_p_by_hand():
    # ranks below sum to 0; to 1 or less; to 3 or less: none, 1, 2, 3, 1 and 2
    assert 1 / 64 == sign_flip_p([1, 2, 3, 4, 5, 6])
    assert 2 / 64 == sign_flip_p([-1, 2, 3, 4, 5, 6])
    assert 5 / 64 == sign_flip_p([-1, -2, 3, 4, 5, 6]) == sign_flip_p([1, 2, -3, 4, 5, 6])
    assert 1 == sign_flip_p([-1, -2, -3, -4, -5, -6])


def test_how_far_one_pair_lies_off_does_not_matter():
    assert sign_flip_p([1, 2, 3, 4, 5, -6]) == sign_flip_p([1, 2, 3, 4, 5, -6000])


def test_a_difference_of_nothing_has_no_sign():
    assert 1 == sign_flip_p([0, 0, 0])
    assert 1 / 64 == sign_flip_p([0, 1, 2, 3, 4, 5, 6, 0])
    assert 1 / 64 == sign_flip_p([7] * 6, above=0)
    assert 1 == sign_flip_p([7] * 6, above=7)


def test_center_by_hand():
    # means of two: 1, 1.5, 2, 3.5, 4, 6
    assert 2.75 == center([6, 1, 2])
    assert 7 == center([7])


@pytest.mark.parametrize(("count", "critical"), [(6, 0), (7, 2), (8, 3), (10, 8), (12, 13)])
def test_the_interval_is_that_of_wilcoxons_table(count, critical):
    # critical rank sums of the two-sided test at 5%, as any textbook prints them
    values = np.random.default_rng(count).standard_normal(count)
    means = sorted((a + b) / 2 for a, b in itertools.combinations_with_replacement(values, 2))
    assert (means[critical], means[-1 - critical]) == interval(values)


@pytest.mark.parametrize("count", [6, 7, 9, 10])
def test_the_interval_is_what_the_test_does_not_refuse(count):
    for seed in range(3):
        values = list(np.random.default_rng([count, seed]).standard_normal(count))
        assert enumerated_interval(values) == interval(values)


def test_fewer_than_six_values_have_no_interval():
    assert (-math.inf, math.inf) == interval([1, 2, 3, 4, 5])
    assert math.inf == noise([1, 2, 3, 4, 5])
    assert (1, 6) == interval([1, 2, 3, 4, 5, 6])


def test_values_that_agree_have_an_interval_of_no_width():
    assert (0.1, 0.1) == interval([0.1] * 6)
    assert 0 == noise([0.1] * 6)


@pytest.mark.parametrize("count", [6, 12])
@pytest.mark.parametrize("kind", NOISES)
def test_the_interval_holds_the_truth_as_often_as_it_says(kind, count):
    draws = NOISES[kind](np.random.default_rng(count), (4000, count)) + 7
    held = [low <= 7 <= high for low, high in map(interval, draws)]
    assert np.mean(held) >= 0.95


def test_noise_is_the_standard_error():
    draws = 3 * np.random.default_rng(0).standard_normal((400, 25))
    # the mean's would be 3 / 5; this estimate loses 2.3% and the steps of the test some more
    assert 0.6 == pytest.approx(np.mean([noise(values) for values in draws]), rel=0.08)
    assert np.std([center(values) for values in draws]) == pytest.approx(0.6, rel=0.08)


def test_holm_by_hand():
    # least first: 3 times 0.01, twice 0.03; once 0.04 would be less than the one before
    assert [0.03, 0.06, 0.06] == pytest.approx(holm_adjusted([0.01, 0.04, 0.03]))
    assert [0.7] == holm_adjusted([0.7])
    assert [1, 1] == holm_adjusted([0.7, 0.8])
    assert [] == holm_adjusted([])


@pytest.mark.parametrize("count", [1, 2, 5, 12])
def test_holm_as_statsmodels_has_it(count):
    draws = np.random.default_rng(count).uniform(0, 0.4, (2, count))
    # with values that are equal, too
    for p_values in (draws[0], draws[1].round(1)):
        expected = multipletests(p_values, method="holm")[1]
        assert list(expected) == holm_adjusted(p_values)


def test_more_pairs_are_needed_for_less_and_in_more_noise():
    values = np.random.default_rng(0).standard_normal(6)

    def needed(distance=1.0, level=0.01, power=0.95, scale=1.0):
        return pairs_needed(scale * values, distance=distance, level=level, power=power)

    assert needed(0.25) > needed(0.5) > needed(1) > needed(2)
    assert needed(scale=4) > needed(scale=2) > needed(scale=1)
    assert needed(level=0.001) > needed(level=0.01)
    assert needed(power=0.99) > needed(power=0.9)
    assert needed(distance=0.5) == needed(scale=2)
    assert 1 == pairs_needed([7] * 6, distance=0.01, level=0.01, power=0.95)


def test_as_many_pairs_as_are_said_to_be_needed_find_it():
    generator = np.random.default_rng(0)
    # 1% in either process of a pair
    deviation = math.sqrt(2) * 0.01
    distance = math.log(1.05) - math.log(1.03)
    found = []
    for _ in range(200):
        screened = generator.normal(scale=deviation, size=6)
        pairs = max(12, pairs_needed(screened, distance=distance, level=0.01, power=0.95))
        logs = generator.normal(math.log(1.05), deviation, size=pairs)
        found.append(sign_flip_p(logs, above=math.log(1.03)) <= 0.01)
    assert np.mean(found) >= 0.9

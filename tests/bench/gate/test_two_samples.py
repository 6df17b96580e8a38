"""By how much one sample lies above another: tests without pairs, and their intervals."""

from __future__ import annotations

import math
from itertools import combinations
from random import Random

import pytest

from vidcost.bench.gate.two_samples import (
    least_p,
    shift_by_noise,
    shift_by_ranks,
    u_test_p,
    values_needed,
)

BASE = [2.0, 3.0, 5.0, 7.0]
HEAD = [11.0, 13.0, 17.0]


def by_enumeration(base, head, above):
    """The share of all ways to name the heads that put them as far up or farther."""
    values = [*base, *(value - above for value in head)]

    def wins(heads):
        others = [values[i] for i in range(len(values)) if i not in heads]
        return sum(values[i] > other for i in heads for other in others)

    seen = wins(range(len(base), len(values)))
    every = list(combinations(range(len(values)), len(head)))
    return sum(wins(heads) >= seen for heads in every) / len(every)


@pytest.mark.parametrize("above", [0.0, 4.5, 8.5, 10.5, 20.0])
def test_p_is_that_of_all_ways_to_divide_the_values(above):
    assert pytest.approx(by_enumeration(BASE, HEAD, above)) == u_test_p(BASE, HEAD, above)


def test_the_least_p_is_that_of_one_way_in_all():
    assert 1 / 35 == least_p(4, 3) == pytest.approx(u_test_p(BASE, HEAD))


def test_values_needed():
    # with five of each there are 252 ways, with four 70
    assert [5, 5, 4, 6] == [values_needed(level) for level in (0.01, 1 / 252, 0.025, 0.001082252)]


def test_the_center_is_the_median_of_all_differences():
    # 4 6 8 9 | 6 8 10 11 | 10 12 14 15
    assert 9.5 == shift_by_ranks(BASE, HEAD).center


def test_the_interval_holds_what_the_test_does_not_refuse():
    base, head = [0.0, 1.0, 3.0, 7.0, 12.0], [20.0, 22.5, 25.0, 31.0, 33.25]
    shift = shift_by_ranks(base, head)
    step = 1e-6
    assert u_test_p(base, head, shift.low - step) <= 0.025 < u_test_p(base, head, shift.low + step)
    assert -shift.high == shift_by_ranks(head, base).low
    assert shift.low < shift.center < shift.high


def test_too_few_values_have_no_interval():
    shift = shift_by_ranks([1.0, 2.0, 3.0], [4.0, 5.0, 6.0])
    assert (-math.inf, math.inf) == (shift.low, shift.high)


def test_equal_values_are_known_exactly():
    shift = shift_by_ranks([2.0] * 8, [2.0] * 8)
    assert (0.0, 0.0, 0.0, 0.0) == (shift.center, shift.low, shift.high, shift.error)


def test_known_noise_of_single_values():
    shift = shift_by_noise([1.0], [1.5], 0.3)
    assert 0.5 == shift.center
    # 0.3 times the root of 2
    assert pytest.approx(0.4242640687) == shift.error
    assert pytest.approx((-0.3315422796, 1.3315422796)) == (shift.low, shift.high)
    # one standard error above leaves 15.87% in the tail
    assert pytest.approx(0.1586552539) == shift.p_above(0.5 - shift.error)


def test_values_that_vary_more_than_their_noise_are_not_believed_to_have_it():
    calm = shift_by_noise([1.0, 1.0], [1.0, 1.0], 0.01)
    # squares of 4 and 4 in all, 6 degrees of freedom; four values on either side
    stormy = shift_by_noise([-1.0, 3.0, 1.0, 1.0], [1.0, 1.0, 1.0, 1.0], 0.01)
    assert pytest.approx(0.01) == calm.error
    assert pytest.approx(math.sqrt(8 / 6) * math.sqrt(1 / 2)) == stormy.error


@pytest.mark.parametrize(("count", "level"), [(8, 0.01), (6, 0.05)])
def test_false_alarms_of_the_exact_test_stay_below_their_level(count, level):
    random = Random(20060)
    runs = 1000
    alarms = sum(
        u_test_p(
            [random.gauss(0, 1) for _ in range(count)], [random.gauss(0, 1) for _ in range(count)]
        )
        <= level
        for _ in range(runs)
    )
    # two standard errors above the level, as chance would have it in 1 of 40 such tests
    assert alarms <= runs * level + 2 * math.sqrt(runs * level)
    assert alarms > 0


def test_the_interval_holds_the_truth_as_often_as_it_says():
    random = Random(5091)
    runs = 150
    held = 0
    for _ in range(runs):
        base = [random.expovariate(1) for _ in range(8)]
        head = [random.expovariate(1) + 0.7 for _ in range(8)]
        shift = shift_by_ranks(base, head)
        held += shift.low <= 0.7 <= shift.high
    assert held >= 0.95 * runs - 2 * math.sqrt(0.95 * 0.05 * runs)


@pytest.mark.parametrize("count", [1, 5])
def test_false_alarms_by_known_noise_stay_below_their_level(count):
    random = Random(11)
    runs, level = 1000, 0.05
    alarms = 0
    for _ in range(runs):
        base, head = ([random.gauss(0, 0.02) for _ in range(count)] for _ in range(2))
        alarms += shift_by_noise(base, head, 0.02).p_above(0.0) <= level
    assert 0 < alarms <= runs * level + 2 * math.sqrt(runs * level)

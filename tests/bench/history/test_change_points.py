"""Change points: what is planted is found, and noise, outliers and short series have none."""

from __future__ import annotations

from collections.abc import Callable
from math import exp

import numpy as np
import pytest

from vidcost.bench.history.change_points import (
    LEAST_NOISE,
    MIN_POINTS,
    change_points,
    noise,
)

Draw = Callable[[int], np.ndarray]


def series(draws: np.ndarray, *, percent: float = 1.0) -> list[float]:
    """Medians around 20 ms with noise of so many percent."""
    return [0.02 * exp(percent / 100 * draw) for draw in draws]


def test_a_step_of_five_percent_in_noise_of_one_is_found_where_it_is() -> None:
    rng = np.random.default_rng(2006)
    found = []
    for _ in range(100):
        values = series(rng.standard_normal(24))
        values[12:] = [1.05 * value for value in values[12:]]
        found.append(change_points(values))
    # of 2000 series 1989 had that one point, within one place
    assert sum(len(points) == 1 and 11 <= points[0] <= 13 for points in found) >= 97


def test_an_improvement_is_one_too() -> None:
    values = series(np.random.default_rng(5).standard_normal(20))
    values[:9] = [1.2 * value for value in values[:9]]
    assert (9,) == change_points(values)


def test_steps_up_and_back_are_two() -> None:
    values = series(np.random.default_rng(6).standard_normal(30))
    values[10:18] = [1.1 * value for value in values[10:18]]
    assert (10, 18) == change_points(values)


@pytest.mark.parametrize("points", [8, 30, 120])
@pytest.mark.parametrize("name", ["normal", "tails"])
def test_noise_has_change_points_in_few_series(points: int, name: str) -> None:
    rng = np.random.default_rng(91)
    draws: dict[str, Draw] = {
        "normal": rng.standard_normal,
        "tails": lambda n: rng.standard_t(3, n),
    }
    changed = sum(bool(change_points(series(draws[name](points)))) for _ in range(200))
    # of 2000 it was 0.4 to 0.9%
    assert changed <= 200 * 5 // 100


def test_the_rate_does_see_noise_that_is_none() -> None:
    rng = np.random.default_rng(91)
    walks = (np.cumsum(rng.standard_normal(30)) for _ in range(200))
    assert sum(bool(change_points(series(walk))) for walk in walks) > 150


@pytest.mark.parametrize("position", [0, 1, 7, 14, 28, 29])
@pytest.mark.parametrize("factor", [0.3, 1.1, 40.0])
def test_an_outlier_is_no_change(position: int, factor: float) -> None:
    values = series(np.random.default_rng(17).standard_normal(30))
    values[position] *= factor
    assert () == change_points(values)


def test_several_outliers_are_no_change() -> None:
    values = series(np.random.default_rng(18).standard_normal(30))
    for position in (3, 4, 11, 13, 27):
        values[position] *= 3
    assert () == change_points(values)


def test_of_few_points_none_is_marked() -> None:
    step = [1.0, 1.01, 0.99, 1.0, 2.0, 2.01, 1.99, 2.0]
    assert MIN_POINTS == len(step)
    assert (4,) == change_points(step)
    assert () == change_points(step[:-1])
    assert () == change_points([])


def test_equal_medians_are_a_clock_s_step() -> None:
    assert () == change_points([0.02] * 12)
    # a tenth of LEAST_NOISE is no change, ten times it is
    assert () == change_points([0.02] * 6 + [0.02 * 1.0001] * 6)
    assert (6,) == change_points([0.02] * 6 + [0.02 * 1.01] * 6)


@pytest.mark.parametrize("wrong", [0.0, -1.0, float("nan"), float("inf")])
def test_a_median_is_above_zero(wrong: float) -> None:
    with pytest.raises(ValueError, match="values above 0 only"):
        change_points([1.0, wrong])


def test_noise_is_of_neighbours() -> None:
    # differences 2, 2, 2, 2, 90: their median is 2, and 1.4826 * 2 / sqrt(2) = 2.0967
    assert pytest.approx(2.0967, abs=1e-4) == noise([0, 2, 0, 2, 0, 90])
    assert LEAST_NOISE == noise([3, 3, 3])
    with pytest.raises(ValueError, match="two points"):
        noise([3])

"""Medians and their intervals, also of autocorrelated samples."""

import gc
import itertools
import random

import numpy as np
import pytest
from scipy import signal, stats

from vidcost.bench.timing.messages import Limits
from vidcost.bench.timing.sampling import sample
from vidcost.bench.timing.statistics import _student, differences, median_interval, ratios, summary


def test_a_summary_by_hand():
    described = summary([7.0, 1.0, 3.0, 2.0, 11.0, 5.0, 13.0])
    # of seven, the smallest and the largest miss the median with 2/128
    assert (5.0, 1.0, 13.0, 7) == (described.median, described.low, described.high, described.n)
    # quartiles at ranks 2.5 and 5.5: 2.5 and 9
    one = summary([3.0])
    assert (3.0, None, None, 1) == (one.median, one.low, one.high, one.n)
    with pytest.raises(ValueError, match="no samples"):
        summary([])


@pytest.mark.parametrize("n", [0, 1, 5])
def test_too_few_samples_have_no_interval(n):
    assert None is median_interval(list(range(n)))


@pytest.mark.parametrize("n", [6, 17, 1000])
def test_the_interval_of_independent_samples_is_not_narrower_than_scipys(n):
    rng = random.Random(n)
    samples = [rng.expovariate(1.0) for _ in range(n)]
    expected = stats.quantile_test(samples, q=0, p=0.5).confidence_interval(0.95)
    found = median_interval(samples)
    assert found.low <= expected.low
    assert found.high >= expected.high
    assert found.high - found.low < 1.5 * (expected.high - expected.low)


def test_pairs_are_subtracted_and_divided_one_by_one():
    assert [2.0, 1.0, 5.0] == differences([5.0, 8.0, 13.0], [3.0, 7.0, 8.0])
    assert [2.0, 0.5] == ratios([4.0, 3.0], [2.0, 6.0])
    for combine in (differences, ratios):
        with pytest.raises(ValueError, match="argument 2 is shorter"):
            combine([1, 2, 3], [1, 2])


def autoregressive(rng, correlation, n):
    """A stationary series of first order around 0, of variance 1."""
    noise = rng.standard_normal(n) * np.sqrt(1 - correlation**2)
    noise[0] = rng.standard_normal()
    return signal.lfilter([1], [1, -correlation], noise)


# of 400 trials the standard error is 1.1%
@pytest.mark.parametrize("correlation", [0.0, 0.36, 0.7])
@pytest.mark.parametrize("n", [100, 400])
def test_intervals_of_autocorrelated_samples_cover_the_median(correlation, n):
    rng = np.random.default_rng(n)
    covered = 0
    for _ in range(400):
        found = median_interval(autoregressive(rng, correlation, n).tolist())
        covered += found.low <= 0 <= found.high
    assert 0.92 <= covered / 400 <= 0.99


class Passes:
    """Autocorrelated passes of about 10 ms, on a clock of their own."""

    def __init__(self, rng, correlation, spread):
        self.series = iter((0.01 * (1 + spread * autoregressive(rng, correlation, 9_000))).tolist())
        self.now = 0.0

    def take(self, count):
        taken = list(itertools.islice(self.series, count))
        self.now += sum(taken)
        return {"latency": taken}


@pytest.mark.slow
@pytest.mark.parametrize("correlation", [0.0, 0.36, 0.7])
def test_stopping_when_narrow_keeps_the_coverage(monkeypatch, correlation):
    monkeypatch.setattr(gc, "collect", lambda: None)
    rng = np.random.default_rng(7)
    limits = Limits(sampling_s=60, precision=0.02)
    covered, trials = 0, 300
    for _ in range(trials):
        passes = Passes(rng, correlation, 0.06)
        samples, _ = sample(passes.take, limits, lambda _: "keep", now=lambda of=passes: of.now)
        of = summary(samples["latency"])
        covered += of.low <= 0.01 <= of.high
    # 93 to 97%, each give or take two standard errors of 300 trials
    assert 0.91 <= covered / trials <= 0.985


def test_the_interval_of_several_processes_is_students_over_their_medians():
    # medians 1, 2 and 3 of processes of unlike numbers of samples
    samples = [1.0] * 3 + [2.0] * 5 + [3.0] * 2
    described = summary(samples, [3, 5, 2])
    half = 4.302652729749464 / 3**0.5
    assert (2.0, 10) == (described.median, described.n)
    assert pytest.approx((2 - half, 2 + half), rel=1e-4) == (described.low, described.high)


def test_students_quantiles_are_scipys():
    counts = range(2, 200)
    expected = [stats.t.ppf(0.975, count - 1) for count in counts]
    assert pytest.approx(expected, rel=4e-3) == [_student(count) for count in counts]

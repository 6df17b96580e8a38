"""Verdicts on planted samples, and how often they are wrong."""

from __future__ import annotations

import json
import math
from collections import Counter

import numpy as np
import pytest
from pydantic import ValidationError
from scipy import stats

from vidcost.bench.gate.judge import judge, pairs_of, still_to_confirm, to_confirm
from vidcost.bench.gate.record import Rule, Run, Verdict, exit_status
from vidcost.bench.gate.statistics import sign_flip_p

from .planted import MIB, changed, planted, swapped, without

GIB = 1 << 30

BY_HAND = Rule(screen_pairs=6, confirm_pairs=12)
"""For figures that are worked out by hand; elsewhere the rule is the default."""


def latency(run):
    return [verdict for verdict in judge(run) if verdict.metric == "latency"]


def words(*runs):
    """How often each verdict was given on latency."""
    return Counter(verdict.word for run in runs for verdict in latency(run))


def only(run, metric="latency"):
    """The verdict on a run of one cell."""
    (verdict,) = (verdict for verdict in judge(run) if verdict.metric == metric)
    return verdict


def storm(probability, factor, seed):
    """Disturb processes at random."""
    generator = np.random.default_rng([seed, 1])
    return lambda place: factor if generator.random() < probability else 1.0


def drift(seed, *, correlation, step, of):
    """Disturb by a random walk that is pulled back, one step for each new value of ``of``."""
    generator = np.random.default_rng([seed, 2])
    state, last = 0.0, None

    def disturbed(place):
        nonlocal state, last
        if of(place) is None or of(place) != last:
            state = correlation * state + step * generator.standard_normal()
            last = of(place)
        return math.exp(state)

    return disturbed


def when(condition, factor):
    return lambda place: factor if condition(place) else 1.0


# each verdict


def test_a_row_8_percent_slower_has_regressed():
    run = planted(slower=1.08)
    verdict = only(run)
    assert ("row-0", "REGRESSED", 1) == (verdict.target, verdict.word, exit_status(judge(run)))
    assert 1.03 < verdict.low < 1.08 < verdict.high < 1.1
    assert 1.08 == pytest.approx(verdict.ratio, abs=0.01)
    assert (0.03, to_confirm(run)[0]) == (verdict.margin, verdict.pairs)
    assert 0.1 == pytest.approx(verdict.base, rel=0.01)
    assert 0.108 == pytest.approx(verdict.head, rel=0.01)
    assert verdict.p <= 0.01


def test_a_row_without_a_change_is_equivalent():
    verdict = only(planted(noise=0.005, rule=BY_HAND))
    assert ("EQUIVALENT", 6, None) == (verdict.word, verdict.pairs, verdict.p)
    assert 0.97 < verdict.low < 1 < verdict.high < 1.03


def test_too_much_noise_is_inconclusive():
    run = planted(noise=0.06, slower=1.05, seed=2)
    verdict = only(run)
    assert ("INCONCLUSIVE", 0) == (verdict.word, exit_status(judge(run)))
    assert verdict.low < 1.03 < verdict.high
    assert math.exp(3 * verdict.standard_error) - 1 == pytest.approx(verdict.margin)
    assert verdict.margin > 0.03


def test_swapped_sides_invert_the_verdict():
    run = planted(slower={0: 1.08, 1: 0.92}, cells=3, noise=0.005)
    forward, backward = latency(run), latency(swapped(run))
    assert ["REGRESSED", "IMPROVED", "EQUIVALENT"] == [verdict.word for verdict in forward]
    assert ["IMPROVED", "REGRESSED", "EQUIVALENT"] == [verdict.word for verdict in backward]
    for one, other in zip(forward, backward, strict=True):
        assert 1 / one.ratio == pytest.approx(other.ratio)
        assert (1 / one.high, 1 / one.low) == pytest.approx((other.low, other.high))


@pytest.mark.parametrize("side", ["base", "head"])
def test_a_side_that_fails_is_invalid(side):
    run = changed(
        planted(cells=2, noise=0.005),
        lambda visit: visit.side == side and visit.cell == 1,
        status="crashed",
        error="no such operator",
        samples_ns=(),
        peak_bytes=None,
    )
    why = f"{side} crashed: no such operator"
    assert [
        ("latency", "EQUIVALENT", "within 3.0%"),
        ("latency", "INVALID", why),
        ("memory", "EQUIVALENT", "the same"),
        ("memory", "INVALID", why),
    ] == [(verdict.metric, verdict.word, verdict.why) for verdict in judge(run)]
    assert 3 == exit_status(judge(run))


def test_a_failed_pair_may_be_replaced():
    run = planted(noise=0.005, rule=BY_HAND)
    again = [visit.model_copy(update={"pair": 6}) for visit in run.visits if visit.pair == 5]
    failed = changed(
        run, lambda visit: visit.pair == 5 and visit.side == "base", status="crashed", samples_ns=()
    )
    mended = failed.model_copy(update={"visits": (*failed.visits, *again)})
    assert ("INVALID", "EQUIVALENT") == (only(failed).word, only(mended).word)
    assert only(run).ratio == only(mended).ratio


def test_missing_pairs_are_invalid():
    run = planted(noise=0.005, rule=BY_HAND)
    verdict = only(without(run, lambda visit: (visit.pair, visit.side) == (4, "base")))
    assert ("INVALID", "5 of 6 pairs were measured") == (verdict.word, verdict.why)
    slow = planted(slower=1.08)
    needed = to_confirm(slow)[0]
    for count in (0, 1, needed - 1):
        part = without(slow, lambda visit, at=count: visit.stage == "confirm" and visit.pair >= at)
        assert f"{count} of {needed} pairs were measured" == only(part).why
    nothing = without(planted(cells=2), lambda visit: True)
    assert ["INVALID"] * 4 == [verdict.word for verdict in judge(nothing)]
    assert {} == to_confirm(nothing)


@pytest.mark.parametrize("sample", ["NaN", "-5"])
def test_a_sample_that_is_no_time_is_rejected(sample):
    text = planted().model_dump_json()
    sane = json.loads(text)["visits"][-1]["samples_ns"][0]
    with pytest.raises(ValidationError, match="samples_ns"):
        Run.model_validate_json(text.replace(str(sane), sample))


def test_the_file_alone_gives_the_same_verdicts():
    run = planted(cells=6, slower={0: 1.08, 1: 0.92}, disturbed=storm(0.05, 1.2, 0))
    assert judge(run) == judge(Run.model_validate_json(run.model_dump_json()))
    shuffled = run.model_copy(update={"visits": run.visits[::-1]})
    assert judge(run) == judge(shuffled)


# disturbances


def test_correlated_samples_are_no_evidence():
    rows = [
        planted(disturbed=drift(seed, correlation=0.97, step=0.01, of=lambda _: None), samples=30)
        for seed in range(40)
    ]
    assert 0 == words(*rows)["REGRESSED"] + words(*rows)["IMPROVED"]
    fooled = 0
    for run in rows:
        sides = {"base": [], "head": []}
        for visit in run.visits:
            sides[visit.side] += visit.samples_ns
        fooled += stats.mannwhitneyu(sides["base"], sides["head"]).pvalue < 0.05
    # a test of single samples on the same data
    assert fooled > 15


@pytest.mark.parametrize(("slower", "word"), [(1.0, "EQUIVALENT"), (1.08, "REGRESSED")])
def test_a_drift_of_the_machine_changes_nothing(slower, word):
    throttled = when(lambda place: place.pair >= 7, 1.3)
    for seed in range(10):
        walk = drift(seed, correlation=0.9, step=0.1, of=lambda place: (place.stage, place.pair))
        assert {word: 1} == words(planted(slower=slower, noise=0.004, disturbed=walk, seed=seed))
        run = planted(
            slower=slower,
            noise=0.005,
            disturbed=throttled,
            rule=Rule(screen_pairs=12),
            seed=seed,
        )
        assert {word: 1} == words(run)


@pytest.mark.parametrize(
    "disturbance",
    [
        lambda seed: when(lambda place: place.second, 1.1),
        lambda seed: storm(0.15, 2, seed),
    ],
    ids=["the second process is slower", "outliers"],
)
def test_disturbances_are_no_regression(disturbance):
    found = words(*(planted(cells=10, disturbed=disturbance(seed), seed=seed) for seed in range(5)))
    assert 50 == found["INCONCLUSIVE"] + found["EQUIVALENT"]


# screen and confirm


def test_only_the_fresh_pairs_decide():
    slow = when(lambda place: (place.stage, place.side) == ("screen", "head"), 1.08)
    screened = planted(noise=0.005, disturbed=slow)
    assert [0] == list(to_confirm(screened))
    verdict = only(screened)
    assert "EQUIVALENT" == verdict.word
    assert verdict.p > 0.5


@pytest.mark.parametrize(("factor", "word"), [(1.08, "REGRESSED"), (1 / 1.08, "IMPROVED")])
def test_confirmation_stops_early_only_if_nothing_is_seen(factor, word):
    def first(count, run):
        return without(run, lambda visit: visit.stage == "confirm" and visit.pair >= count)

    in_screen = when(lambda place: (place.stage, place.side) == ("screen", "head"), factor)
    calm = planted(noise=0.03, disturbed=in_screen, rule=BY_HAND, seed=1)
    slow = planted(noise=0.03, slower=factor, rule=BY_HAND, seed=1)
    assert {0: 40} == to_confirm(calm) == to_confirm(slow)

    def left(run):
        return still_to_confirm(run, to_confirm(run))

    assert {0: 40} == left(first(11, calm)) == left(first(39, slow))
    assert {} == left(first(12, calm)) == left(slow)
    assert 12 == only(first(12, calm)).pairs
    assert word == only(slow).word
    assert ["INVALID"] * 2 == [only(first(11, calm)).word, only(first(39, slow)).word]


def test_more_noise_needs_more_pairs_and_a_larger_change_fewer():
    asked = [
        to_confirm(planted(slower=1.06, noise=noise, rule=BY_HAND))[0]
        for noise in (0.001, 0.022, 0.04)
    ]
    assert 12 == asked[0] < asked[1] < asked[2] == 40
    pairs = to_confirm(planted(cells=2, noise=0.02, slower={0: 1.06, 1: 1.4}, seed=1))
    assert pairs[0] > Rule().confirm_pairs == pairs[1]
    faster = to_confirm(planted(cells=2, noise=0.02, slower={0: 0.94, 1: 0.6}, seed=1))
    assert faster[0] > Rule().confirm_pairs == faster[1]


def test_one_row_of_thirty_is_found():
    run = planted(cells=30, noise=0.03, slower={17: 1.3}, seed=3)
    verdicts = latency(run)
    assert ["row-17"] == [verdict.target for verdict in verdicts if verdict.word == "REGRESSED"]
    asked = to_confirm(run)
    assert len(asked) > 3
    # the least p is multiplied by the number of confirmed cells
    raw = sign_flip_p(pairs_of(run, "confirm")[17].log_ratios, math.log(1.03))
    assert len(asked) * raw == pytest.approx(verdicts[17].p)


def test_all_of_many_rows_are_found():
    # 2^-12 for each, times 45, would exceed the level: 13 pairs are needed
    run = planted(cells=45, slower=1.3, noise=0.002, rule=BY_HAND)
    assert {13} == set(to_confirm(run).values())
    assert {"REGRESSED": 45} == words(run)


# memory


@pytest.mark.parametrize(
    ("base", "more", "word"),
    [
        (31 * MIB, MIB, "EQUIVALENT"),
        (31 * MIB, MIB + 1, "REGRESSED"),
        (GIB, 0.009 * GIB, "EQUIVALENT"),
        (GIB, 0.011 * GIB, "REGRESSED"),
        (GIB, -0.011 * GIB, "IMPROVED"),
        (0, 1.1 * MIB, "REGRESSED"),
    ],
)
def test_memory_may_grow_by_a_percent_or_a_mebibyte(base, more, word):
    run = planted(noise=0.001, peaks=(base, base + int(more)))
    verdict = only(run, "memory")
    assert (word, base, base + int(more)) == (verdict.word, verdict.base, verdict.head)
    assert exit_status(judge(run)) == (1 if word == "REGRESSED" else 0)
    assert "EQUIVALENT" == only(run).word


def test_memory_that_was_not_measured_is_invalid():
    assert "INVALID" == only(planted(peaks=(None, 7)), "memory").word


# exit statuses


@pytest.mark.parametrize(
    ("found", "complete", "incomplete"),
    [
        ("", 3, 3),
        ("EQUIVALENT IMPROVED INCONCLUSIVE", 0, 3),
        ("EQUIVALENT IMPROVED INCONCLUSIVE INVALID", 3, 3),
        ("EQUIVALENT IMPROVED INCONCLUSIVE INVALID REGRESSED", 1, 1),
    ],
)
def test_exit_status(found, complete, incomplete):
    verdicts = [Verdict(target="a", metric="latency", word=word) for word in found.split()]
    assert complete == exit_status(verdicts) == exit_status(verdicts[::-1])
    assert incomplete == exit_status(verdicts, complete=False)


# how often it is wrong


def test_no_false_alarm_in_400_comparisons():
    # 2% of noise, and 10% more in every twentieth process
    runs = (
        planted(cells=10, noise=0.02, disturbed=storm(0.05, 1.1, seed), seed=seed)
        for seed in range(40)
    )
    found = words(*runs)
    assert 400 == found.total()
    bound = stats.binomtest(found["REGRESSED"], 400).proportion_ci(0.9, method="exact").high
    assert bound < 0.01


@pytest.mark.slow
def test_the_level_holds_without_a_margin():
    # everything is confirmed, and only the test itself prevents an alarm
    bare = BY_HAND.model_copy(
        update={"margin": 1e-9, "standard_error_factor": 0.0, "screen_level": 0.99, "find": 0.5}
    )
    alarms, unadjusted = 0, 0
    for seed in range(300):
        run = planted(cells=5, noise=0.02, rule=bare, seed=seed)
        verdicts = latency(run)
        assert [12] * 5 == [verdict.pairs for verdict in verdicts]
        alarms += any(verdict.word == "REGRESSED" for verdict in verdicts)
        unadjusted += any(
            sign_flip_p(found.log_ratios) <= bare.confirm_level
            for found in pairs_of(run, "confirm")
        )
    most = 0.01 + 3 * math.sqrt(0.01 * 0.99 / 300)
    assert alarms / 300 <= most < unadjusted / 300


def test_5_percent_are_found_19_times_in_20():
    runs = (planted(slower=1.05, seed=seed) for seed in range(100))
    assert words(*runs)["REGRESSED"] >= 95

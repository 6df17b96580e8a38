"""Verdicts on planted samples, and how often they are wrong."""

from __future__ import annotations

import json
import math
from collections import Counter

import numpy as np
import pytest
from pydantic import ValidationError
from scipy import stats

from vidcost.bench.gate.evidence import evidence
from vidcost.bench.gate.judge import judge, still_to_confirm, to_confirm
from vidcost.bench.gate.record import Rule, Run
from vidcost.bench.gate.statistics import sign_flip_p
from vidcost.bench.gate.verdict import Verdict, exit_status

from .planted import MIB, changed, planted, swapped, without

GIB = 1 << 30

BY_HAND = Rule(screen_pairs=6, confirm_pairs=12)
"""For figures that are worked out by hand; elsewhere the rule is what the gate uses."""


def latency(run):
    return [verdict for verdict in judge(run) if verdict.metric == "latency"]


def words(*runs):
    """How often each verdict was given on latency."""
    return Counter(verdict.word for run in runs for verdict in latency(run))


def only(run, metric="latency"):
    """The verdict on a run of one cell."""
    (verdict,) = (verdict for verdict in judge(run) if verdict.metric == metric)
    return verdict


def storm(share, factor, seed):
    """Disturb a share of the processes at random."""
    generator = np.random.default_rng([seed, 1])
    return lambda place: factor if generator.random() < share else 1.0


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
    assert ("row-0", "REGRESSED", 1) == (verdict.subject, verdict.word, exit_status(judge(run)))
    assert 1.03 < verdict.low < 1.08 < verdict.high < 1.1
    assert 1.08 == pytest.approx(verdict.ratio, abs=0.01)
    assert (0.03, to_confirm(run)[0]) == (verdict.margin, verdict.pairs)
    assert 0.1 == pytest.approx(verdict.base, rel=0.01)
    assert 0.108 == pytest.approx(verdict.head, rel=0.01)
    assert verdict.p <= 0.01


def test_a_row_8_percent_faster_has_improved():
    run = planted(slower=0.92)
    verdict = only(run)
    assert ("IMPROVED", 0) == (verdict.word, exit_status(judge(run)))
    assert verdict.low < 0.92 < verdict.high < 0.97


def test_a_row_without_a_change_is_equivalent():
    verdict = only(planted(noise=0.005, rule=BY_HAND))
    assert ("EQUIVALENT", 6, None) == (verdict.word, verdict.pairs, verdict.p)
    assert 0.97 < verdict.low < 1 < verdict.high < 1.03


def test_too_much_noise_is_inconclusive():
    run = planted(noise=0.06, slower=1.05, seed=2)
    verdict = only(run)
    assert ("INCONCLUSIVE", 0) == (verdict.word, exit_status(judge(run)))
    assert verdict.low < 1.03 < verdict.high
    # three times its noise
    assert math.exp(3 * verdict.noise) - 1 == pytest.approx(verdict.margin)
    assert verdict.margin > 0.03


def test_swapped_sides_turn_the_verdict_round():
    run = planted(slower={0: 1.08, 1: 0.92}, cells=3, noise=0.005)
    there = [verdict.word for verdict in latency(run)]
    back = [verdict.word for verdict in latency(swapped(run))]
    assert ["REGRESSED", "IMPROVED", "EQUIVALENT"] == there
    assert ["IMPROVED", "REGRESSED", "EQUIVALENT"] == back
    for forth, turned in zip(latency(run), latency(swapped(run)), strict=True):
        assert 1 / forth.ratio == pytest.approx(turned.ratio)
        assert (1 / forth.high, 1 / forth.low) == pytest.approx((turned.low, turned.high))


@pytest.mark.parametrize("side", ["base", "head"])
@pytest.mark.parametrize("status", ["crashed", "oom", "timed out"])
def test_a_side_that_fails_is_invalid(side, status):
    run = changed(
        planted(cells=2, noise=0.005),
        lambda visit: visit.side == side and visit.cell == 1,
        status=status,
        error="no such operator",
        samples_ns=(),
        peak_bytes=None,
    )
    found = [(verdict.metric, verdict.word, verdict.why) for verdict in judge(run)]
    why = f"{side} {status}: no such operator"
    assert [
        ("latency", "EQUIVALENT", "within 3.0%"),
        ("latency", "INVALID", why),
        ("memory", "EQUIVALENT", "the same"),
        ("memory", "INVALID", why),
    ] == found
    assert 3 == exit_status(judge(run))


def test_one_failure_that_was_made_up_for_is_no_matter():
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
    half = without(run, lambda visit: (visit.pair, visit.side) == (4, "base"))
    verdict = only(half)
    assert ("INVALID", "5 of 6 pairs were measured") == (verdict.word, verdict.why)
    slow = planted(slower=1.08)
    needed = to_confirm(slow)[0]
    for count in (0, 1, needed - 1):
        part = without(slow, lambda visit, at=count: visit.stage == "confirm" and visit.pair >= at)
        verdict = only(part)
        assert "INVALID" == verdict.word
        assert f"{count} of {needed} pairs were measured" == verdict.why


def test_no_visits_are_invalid():
    run = without(planted(cells=2), lambda visit: True)
    assert ["INVALID"] * 4 == [verdict.word for verdict in judge(run)]
    assert {} == to_confirm(run)


@pytest.mark.parametrize("sample", ["NaN", "Infinity", "0", "-5", "1.5"])
def test_a_sample_that_is_no_time_is_refused(sample):
    text = planted().model_dump_json()
    sane = json.loads(text)["visits"][-1]["samples_ns"][0]
    with pytest.raises(ValidationError, match="samples_ns"):
        Run.model_validate_json(text.replace(str(sane), sample))


def test_the_same_verdicts_from_the_file_alone():
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
    # what a test of single samples makes of the same
    assert fooled > 15


@pytest.mark.parametrize(("slower", "word"), [(1.0, "EQUIVALENT"), (1.08, "REGRESSED")])
def test_drift_from_pair_to_pair_changes_nothing(slower, word):
    def pair(place):
        return place.stage, place.pair

    for seed in range(10):
        walk = drift(seed, correlation=0.9, step=0.1, of=pair)
        assert {word: 1} == words(planted(slower=slower, noise=0.004, disturbed=walk, seed=seed))


@pytest.mark.parametrize(("slower", "word"), [(1.0, "EQUIVALENT"), (1.08, "REGRESSED")])
def test_a_machine_that_slows_down_in_the_middle_changes_nothing(slower, word):
    rule = Rule(screen_pairs=12)
    throttled = when(lambda place: place.pair >= 7, 1.3)
    for seed in range(10):
        run = planted(slower=slower, noise=0.005, disturbed=throttled, rule=rule, seed=seed)
        assert {word: 1} == words(run)


def test_whoever_comes_second_is_slower_and_that_is_no_verdict():
    late = when(lambda place: place.second, 1.1)
    found = words(*(planted(cells=10, disturbed=late, seed=seed) for seed in range(4)))
    assert {"INCONCLUSIVE"} == set(found)


def test_a_clock_with_two_speeds_is_no_regression():
    found = words(*(planted(cells=10, disturbed=storm(0.5, 1.2, n), seed=n) for n in range(6)))
    assert 60 == found["INCONCLUSIVE"] + found["EQUIVALENT"]


def test_a_storm_of_outliers_is_no_regression():
    found = words(*(planted(cells=10, disturbed=storm(0.15, 2, n), seed=n) for n in range(6)))
    assert 60 == found["INCONCLUSIVE"] + found["EQUIVALENT"]


@pytest.mark.parametrize(
    ("share", "slower", "least"), [(0.02, 1.2, 45), (0.05, 1.5, 54), (0.15, 3, 57)]
)
def test_a_regression_is_found_in_a_storm(share, slower, least):
    # the storm doubles a process' time
    runs = [
        planted(slower=slower, disturbed=storm(share, 2, seed), seed=seed) for seed in range(60)
    ]
    found = words(*runs)
    assert found["REGRESSED"] >= least
    # what is not found is not denied
    assert 60 == found["REGRESSED"] + found["INCONCLUSIVE"]


# screen and confirm


def test_the_fresh_pairs_alone_decide():
    def slow_at(stage):
        return when(lambda place: (place.stage, place.side) == (stage, "head"), 1.08)

    screened = planted(noise=0.005, disturbed=slow_at("screen"))
    assert [0] == list(to_confirm(screened))
    verdict = only(screened)
    assert "EQUIVALENT" == verdict.word
    assert verdict.p > 0.5


def test_a_row_that_the_screen_clears_is_not_asked_again():
    cleared = planted(noise=0.005)
    slow = planted(slower=1.08)
    later = tuple(visit for visit in slow.visits if visit.stage == "confirm")
    both = cleared.model_copy(update={"visits": (*cleared.visits, *later)})
    assert {} == to_confirm(both)
    assert only(cleared) == only(both)


@pytest.mark.parametrize(("factor", "word"), [(1.08, "REGRESSED"), (1 / 1.08, "IMPROVED")])
def test_a_suspicion_may_be_given_up_early_but_not_confirmed(factor, word):
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


def test_more_pairs_are_asked_for_where_there_is_more_noise():
    asked = [
        to_confirm(planted(slower=1.06, noise=noise, rule=BY_HAND))[0]
        for noise in (0.001, 0.022, 0.04)
    ]
    assert 12 == asked[0] < asked[1] < asked[2] == 40


def test_one_row_of_thirty_is_found():
    run = planted(cells=30, noise=0.03, slower={17: 1.3}, seed=3)
    verdicts = latency(run)
    assert ["row-17"] == [verdict.subject for verdict in verdicts if verdict.word == "REGRESSED"]
    asked = to_confirm(run)
    assert len(asked) > 3
    # the least p is multiplied by how many were confirmed
    raw = sign_flip_p(evidence(run, "confirm")[17].log_ratios, math.log(1.03))
    assert len(asked) * raw == pytest.approx(verdicts[17].p)


def test_all_of_many_rows_are_found():
    # 2^-12 for each, times 45, would pass the level: 13 pairs are needed
    run = planted(cells=45, slower=1.3, noise=0.002, rule=BY_HAND)
    assert {13} == set(to_confirm(run).values())
    assert {"REGRESSED": 45} == words(run)


# memory


@pytest.mark.parametrize(
    ("base", "more", "word"),
    [
        (31 * MIB, 0, "EQUIVALENT"),
        (31 * MIB, 0.9 * MIB, "EQUIVALENT"),
        (31 * MIB, MIB, "EQUIVALENT"),
        (31 * MIB, MIB + 1, "REGRESSED"),
        (31 * MIB, 1.1 * MIB, "REGRESSED"),
        (31 * MIB, -0.9 * MIB, "EQUIVALENT"),
        (31 * MIB, -1.1 * MIB, "IMPROVED"),
        (GIB, 0.009 * GIB, "EQUIVALENT"),
        (GIB, 0.011 * GIB, "REGRESSED"),
        (GIB, -0.011 * GIB, "IMPROVED"),
        (0, MIB, "EQUIVALENT"),
        (0, 1.1 * MIB, "REGRESSED"),
    ],
)
def test_memory_may_grow_by_a_percent_or_a_mebibyte(base, more, word):
    run = planted(noise=0.001, peaks=(base, base + int(more)))
    verdict = only(run, "memory")
    assert (word, base, base + int(more)) == (verdict.word, verdict.base, verdict.head)
    assert exit_status(judge(run)) == (1 if word == "REGRESSED" else 0)
    assert "EQUIVALENT" == only(run).word


@pytest.mark.parametrize("peaks", [(None, 7), (7, None)])
def test_memory_that_nobody_measured_is_invalid(peaks):
    assert "INVALID" == only(planted(peaks=peaks), "memory").word


# exit statuses


@pytest.mark.parametrize(
    ("found", "complete", "incomplete"),
    [
        ("", 3, 3),
        ("EQUIVALENT", 0, 3),
        ("IMPROVED", 0, 3),
        ("INCONCLUSIVE", 0, 3),
        ("EQUIVALENT IMPROVED INCONCLUSIVE", 0, 3),
        ("INVALID", 3, 3),
        ("EQUIVALENT IMPROVED INCONCLUSIVE INVALID", 3, 3),
        ("REGRESSED", 1, 1),
        ("EQUIVALENT REGRESSED", 1, 1),
        ("INVALID REGRESSED", 1, 1),
        ("EQUIVALENT IMPROVED INCONCLUSIVE INVALID REGRESSED", 1, 1),
    ],
)
def test_exit_status(found, complete, incomplete):
    verdicts = [Verdict(subject="a", metric="latency", word=word) for word in found.split()]
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


def test_the_level_holds_without_a_margin():
    # everything is confirmed, nothing but the test itself is in the way of an alarm
    bare = BY_HAND.model_copy(
        update={"margin": 1e-9, "noise_factor": 0.0, "screen_level": 0.99, "find": 0.5}
    )
    alarms, unadjusted = 0, 0
    for seed in range(300):
        run = planted(cells=5, noise=0.02, rule=bare, seed=seed)
        verdicts = latency(run)
        assert [12] * 5 == [verdict.pairs for verdict in verdicts]
        alarms += any(verdict.word == "REGRESSED" for verdict in verdicts)
        unadjusted += any(
            sign_flip_p(found.log_ratios) <= bare.confirm_level
            for found in evidence(run, "confirm")
        )
    most = 0.01 + 3 * math.sqrt(0.01 * 0.99 / 300)
    assert alarms / 300 <= most < unadjusted / 300


def test_5_percent_are_found_19_times_in_20():
    runs = (planted(slower=1.05, seed=seed) for seed in range(100))
    assert words(*runs)["REGRESSED"] >= 95


def test_a_change_that_is_proven_to_be_large_needs_fewer_pairs():
    pairs = to_confirm(planted(cells=2, noise=0.02, slower={0: 1.06, 1: 1.4}, seed=1))
    assert pairs[0] > Rule().confirm_pairs == pairs[1]
    faster = to_confirm(planted(cells=2, noise=0.02, slower={0: 0.94, 1: 0.6}, seed=1))
    assert faster[0] > Rule().confirm_pairs == faster[1]

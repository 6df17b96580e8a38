"""Verdicts on planted samples, and how often they are wrong."""

import json
import math
import re
from collections import Counter

import numpy as np
import pytest
from pydantic import ValidationError

from vidcost.bench.gate.judge import judge, judged
from vidcost.bench.gate.record import (
    Bounds,
    Result,
    Rule,
    Run,
    SampleComparison,
    Samples,
    Verdict,
    exit_status,
    hides,
)

from .planted import MIB, is_confirmed, planted, to_confirm, without

GIB = 1 << 30


def latency(run):
    return [verdict for verdict in judge(run) if verdict.metric == "latency"]


def words(*runs):
    """How often each verdict was given on latency."""
    return Counter(verdict.word for run in runs for verdict in latency(run))


def only(run, metric="latency"):
    """The verdict on a run of one cell."""
    (verdict,) = (verdict for verdict in judge(run) if verdict.metric == metric)
    return verdict


def verdict(word, target, **known):
    return Verdict(target=target, metric="latency", word=word, **known)


def when(condition, factor):
    return lambda place: factor if condition(place) else 1.0


def test_a_row_8_percent_slower_has_regressed():
    run = planted(slower=1.08)
    verdict = only(run)
    assert ("row-0", "REGRESSED", 1) == (verdict.target, verdict.word, judged(run).status)
    assert 1.03 < verdict.low < 1.08 < verdict.high < 1.1
    found = (verdict.ratio, verdict.base, verdict.head)
    assert pytest.approx((1.08, 0.1, 0.108), rel=0.01) == found
    assert (0.03, to_confirm(run)[0]) == (verdict.margin, verdict.pairs)
    assert verdict.p <= 0.01


def test_swapped_sides_invert_the_verdict():
    run = planted(slower={0: 1.08, 1: 0.92}, cells=3, noise=0.005)
    other = {"base": "head", "head": "base"}
    swapped = [v.model_copy(update={"side": other[v.side]}) for v in run.visits]
    forward, backward = latency(run), latency(run.model_copy(update={"visits": swapped}))
    assert ["REGRESSED", "IMPROVED", "EQUIVALENT"] == [verdict.word for verdict in forward]
    assert ["IMPROVED", "REGRESSED", "EQUIVALENT"] == [verdict.word for verdict in backward]
    for one, other in zip(forward, backward, strict=True):
        assert 1 / one.ratio == pytest.approx(other.ratio)
        assert (1 / one.high, 1 / one.low) == pytest.approx((other.low, other.high))


@pytest.mark.parametrize("side", ["base", "head"])
def test_a_side_that_fails_is_invalid(side):
    crash = {"status": "crashed", "error": "no such operator", "samples_ns": (), "peak_bytes": None}
    run = planted(cells=2, noise=0.005)
    visits = [
        v.model_copy(update=crash) if (v.side, v.cell) == (side, 1) else v for v in run.visits
    ]
    run = run.model_copy(update={"visits": visits})
    why = f"{side} crashed: no such operator"
    assert [
        ("latency", "EQUIVALENT", "within 3.0%"),
        ("latency", "INVALID", why),
        ("memory", "EQUIVALENT", "the same"),
        ("memory", "INVALID", why),
    ] == [(verdict.metric, verdict.word, verdict.why) for verdict in judge(run)]
    assert 3 == judged(run).status


def test_missing_pairs_are_invalid():
    run = planted(noise=0.005)
    verdict = only(without(run, lambda visit: (visit.pair, visit.side) == (4, "base")))
    assert ("INVALID", "7 of 8 pairs were measured") == (verdict.word, verdict.why)
    slow = planted(slower=1.08)
    needed = to_confirm(slow)[0]
    for count in (0, 1, needed - 1):
        part = without(slow, lambda visit, at=count: visit.stage == "confirm" and visit.pair >= at)
        assert f"{count} of {needed} pairs were measured" == only(part).why
    nothing = without(planted(cells=2), lambda visit: True)
    assert ["INVALID"] * 4 == [verdict.word for verdict in judge(nothing)]
    assert {} == to_confirm(nothing)


@pytest.mark.parametrize("sample", ["NaN", "-5"])
def test_a_record_with_a_sample_that_is_no_time_or_another_rule_is_rejected(sample):
    text = planted().model_dump_json()
    sane = json.loads(text)["visits"][-1]["samples_ns"][0]
    with pytest.raises(ValidationError, match="samples_ns"):
        Run.model_validate_json(text.replace(str(sane), sample))
    with pytest.raises(ValueError, match=r"^row-0: find 0.05 must lie between margin 0.08 and 1"):
        judge(planted().model_copy(update={"rule": Rule(margin=0.08)}))


def test_the_file_alone_gives_the_same_verdicts():
    run = planted(cells=6, slower={0: 1.08, 1: 0.92}, disturbed=storm(0))
    shuffled = run.model_copy(update={"visits": run.visits[::-1]})
    assert judge(run) == judge(shuffled)
    stored = compared((CALM, times(1.05)), (CALM[:1], CALM[:1]), base_bytes=(7,))
    for result in (judged(run), judged(stored)):
        assert result == Result.model_validate_json(result.model_dump_json())
        assert result == judged(result.measured)


def storm(seed):
    """Some processes take twice as long."""
    generator = np.random.default_rng([seed, 1])
    return lambda place: 2 if generator.random() < 0.15 else 1.0


def walk(seed):
    """Samples are a random walk, so that those of one process are alike."""
    generator, state = np.random.default_rng([seed, 2]), [0.0]

    def disturbed(_):
        state.append(0.97 * state[-1] + 0.01 * generator.standard_normal())
        return math.exp(state[-1])

    return disturbed


@pytest.mark.parametrize(
    ("disturbed", "slower", "expected"),
    [
        (storm, 1.0, {"EQUIVALENT", "INCONCLUSIVE"}),
        (walk, 1.0, {"EQUIVALENT", "INCONCLUSIVE"}),
        # the second process is slower; the machine slows down, both sides alike
        (lambda _: when(lambda place: place.second, 1.1), 1.0, {"EQUIVALENT", "INCONCLUSIVE"}),
        (lambda _: when(lambda place: place.pair >= 7, 1.3), 1.0, {"EQUIVALENT"}),
        (lambda _: when(lambda place: place.pair >= 7, 1.3), 1.08, {"REGRESSED"}),
    ],
)
def test_disturbances_change_nothing(disturbed, slower, expected):
    for seed in range(10):
        known = {"noise": 0.005, "disturbed": disturbed(seed), "seed": seed, "samples": 10}
        assert set(words(planted(slower=slower, cells=3, **known))) <= expected


@pytest.mark.parametrize(("factor", "word"), [(1.08, "REGRESSED"), (1 / 1.08, "IMPROVED")])
def test_confirmation_stops_early_only_if_nothing_is_seen(factor, word):
    def first(count, run):
        return without(run, lambda visit: visit.stage == "confirm" and visit.pair >= count)

    # more than twice 14 pairs are needed, and half of them are enough
    rule = Rule(most_pairs=1000)
    in_screen = when(lambda place: (place.stage, place.side) == ("screen", "head"), factor)
    calm = planted(noise=0.018, disturbed=in_screen, rule=rule, seed=6)
    slow = planted(noise=0.018, slower=factor, rule=rule, seed=6)
    needed = to_confirm(calm)[0]
    assert 28 < needed == to_confirm(slow)[0]
    half = math.ceil(needed / 2)
    finished = {half - 1: [False, False], half: [True, False], needed: [True, True]}
    for count, both in finished.items():
        assert both == [is_confirmed(first(count, run)) for run in (calm, slow)]
    # only the fresh pairs decide
    stopped = only(first(half, calm))
    assert (half, "EQUIVALENT", word) == (stopped.pairs, stopped.word, only(slow).word)
    unfinished = first(half - 1, calm), first(needed - 1, slow)
    assert ["INVALID"] * 2 == [only(run).word for run in unfinished]


def test_more_noise_needs_more_pairs_and_a_larger_change_fewer():
    few, more, most = (
        to_confirm(planted(slower=1.06, noise=noise))[0] for noise in (0.001, 0.014, 0.04)
    )
    assert 14 == few < more < most == 40
    bought = planted(slower=1.06, noise=0.04, rule=Rule(most_pairs=1000))
    assert 100 < to_confirm(bought)[0]
    pairs = to_confirm(planted(cells=2, noise=0.02, slower={0: 1.06, 1: 1.4}, seed=1))
    assert pairs[0] > 15 == pairs[1]


@pytest.mark.parametrize(("cells", "pairs"), [(2, 15), (5, 17), (20, 20)])
def test_power_under_holm(cells, pairs):
    """One disturbed pair of each row leaves its adjusted p below the level."""
    outlier = when(
        lambda place: (place.stage, place.pair, place.side) == ("confirm", place.cell, "head"), 0.5
    )
    run = planted(cells=cells, slower=1.2, noise=0.004, disturbed=outlier)
    assert {pairs} == set(to_confirm(run).values())
    assert {"REGRESSED": cells} == words(run)


def test_the_margin_is_fixed_before_the_run():
    """Pair noise that is skewed to the right does not widen the permitted regression."""

    def skewed(place):
        generator = np.random.default_rng([place.pair, 3])
        return math.exp(generator.exponential(0.07)) if place.side == "head" else 1.0

    verdict = only(planted(slower=1.10, noise=0.004, disturbed=skewed))
    assert verdict.high - verdict.ratio > 1.2 * (verdict.ratio - verdict.low)
    assert ("REGRESSED", 0.03) == (verdict.word, verdict.margin)


def test_targets_have_bounds_of_their_own():
    own = Bounds(test="row-[12]", margin="8%"), Bounds(test="row-2", find="30%")
    rule = Rule(own=own)
    assert [(0.03, 0.05), (0.08, 0.1), (0.08, 0.3)] == [
        (each.margin, each.find) for each in map(rule.of, ("row-0", "row-1", "row-2"))
    ]
    run = planted(cells=3, slower=1.05, noise=0.02, rule=rule, seed=4)
    verdicts = latency(run)
    assert ["REGRESSED", "EQUIVALENT", "EQUIVALENT"] == [verdict.word for verdict in verdicts]
    assert [0.03, 0.08, 0.08] == [verdict.margin for verdict in verdicts]
    # as many pairs as each one's find needs: the last is far from it, and needs no fresh ones
    assert set(to_confirm(run)) >= {0}
    assert 2 not in to_confirm(run)
    assert judged(run) == Result.model_validate_json(judged(run).model_dump_json())
    # whether an inconclusive one fails depends on its own find
    noisy = [verdict("INCONCLUSIVE", n, find=0.2) for n in ("row-0", "row-2")]
    assert [True, False] == [hides(each, rule) for each in noisy]
    # stored benchmarks too
    stored = compared((CALM, times(1.05)), (CALM, times(1.05)))
    looser = stored.model_copy(update={"rule": Rule(own=(Bounds(test="1", margin=0.08),))})
    assert ["REGRESSED", "EQUIVALENT"] == [verdict.word for verdict in judge(looser)]


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"margin": "8%", "find": "5%"}, "a::b: find 0.05 must lie between margin 0.08 and 1"),
        ({"margin": "99%"}, "a::b: find 1.01 must lie between margin 0.99 and 1"),
        ({"margin": "eight"}, "a::b: @pytest.mark.vidcost: margin: Input should be a valid number"),
        ({"margins": "8%"}, "a::b: @pytest.mark.vidcost: margins: Extra inputs are not"),
        ({"args": ("8%",)}, "a::b: @pytest.mark.vidcost: args: Extra inputs are not"),
    ],
)
def test_a_marker_goes_over_overrides_and_makes_sense(given, said):
    rule = Rule(own=(Bounds(test="a::*", margin=0.2), Bounds(test="a::b[7]", margin=0.1)))
    marked = rule.with_marks({"a::b": {"margin": "8%"}, "a::c": {}, "a::b[7]": {}})
    assert [0.08, 0.2, 0.1] == [marked.of(test).margin for test in ("a::b", "a::c", "a::b[7]")]
    with pytest.raises(ValueError, match=f"^{re.escape(said)}"):
        rule.with_marks({"a::b": given})


def test_silent_green():
    """A verdict says which slow-down it excludes, and fails if that is more than was asked for."""
    noisy = planted(noise=0.06, slower=1.05, seed=2)
    verdict = only(noisy)
    assert ("INCONCLUSIVE", 40) == (verdict.word, verdict.pairs)
    assert 0.05 < verdict.find == pytest.approx(verdict.high - 1)
    assert f"excludes a slow-down above {verdict.find:.1%} only, not 5.0%" == verdict.why

    def status(**rule):
        return judged(noisy.model_copy(update={"rule": Rule(**rule)})).status

    assert (3, 0, 0) == (status(), status(inconclusive="warn"), status(find=0.2))
    # less noise: not shown to be equal, but 5% would have been found
    calm = planted(noise=0.025, seed=2)
    assert ("INCONCLUSIVE", 0) == (only(calm).word, judged(calm).status)
    assert only(calm).find < 0.05


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
    assert judged(run).status == (1 if word == "REGRESSED" else 0)
    assert "EQUIVALENT" == only(run).word
    assert "INVALID" == only(planted(peaks=(None, 7)), "memory").word


def test_exit_status():
    statuses = {
        "": (3, 3),
        "EQUIVALENT IMPROVED": (0, 3),
        "EQUIVALENT IMPROVED INCONCLUSIVE": (3, 3),
        "EQUIVALENT IMPROVED INVALID": (3, 3),
        "EQUIVALENT IMPROVED INCONCLUSIVE INVALID REGRESSED": (1, 1),
    }
    for words, expected in statuses.items():
        found = [Verdict(target="a", metric="latency", word=word) for word in words.split()]
        both = exit_status(found[::-1], Rule()), exit_status(found, Rule(), complete=False)
        assert expected == both


CALM = [0.1, 0.1003, 0.0998, 0.1001, 0.0997, 0.1002, 0.0999, 0.1004]
"""Eight medians within 0.4%."""
STORM = [0.1, 0.13, 0.09, 0.11, 0.085, 0.12, 0.095, 0.14]


def times(factor, medians=CALM):
    # in another order and a little off, so that no value ties
    return [factor * 1.00001 * median for median in reversed(medians)]


def compared(*sides, **known):
    """Stored benchmarks with these medians of base and head."""
    samples = tuple(
        Samples(target=f"{n}", base=tuple(base), head=tuple(head), **known)
        for n, (base, head) in enumerate(sides)
    )
    return SampleComparison(vidcost="1", base="b", head="h", rule=Rule(), samples=samples)


@pytest.mark.parametrize(
    ("base", "head", "word", "status"),
    [
        (CALM, times(2.0), "REGRESSED", 1),
        (CALM, times(1.05), "REGRESSED", 1),
        (CALM, times(0.5), "IMPROVED", 0),
        (CALM, times(1.02), "EQUIVALENT", 0),
        # not within 3% and not above
        (CALM, times(1.03), "INCONCLUSIVE", 0),
        # 5% slower, but processes differ by as much
        (STORM, times(1.05, STORM), "INCONCLUSIVE", 3),
        # one process of head was disturbed
        (CALM, [*times(1.0)[:7], 0.2], "EQUIVALENT", 0),
        # two speeds on both sides, as of a clock with two states
        ([0.1, 0.13] * 4, [0.1001, 0.1301] * 4, "INCONCLUSIVE", 3),
        (CALM, (), "INVALID", 3),
        ((), CALM, "INVALID", 3),
    ],
)
def test_words_on_stored_benchmarks(base, head, word, status):
    result = judged(compared((base, head)))
    assert (word, status) == (result.verdicts[0].word, result.status)


def test_a_verdict_on_stored_benchmarks_says_what_it_rests_on():
    first, second = judge(compared(*[(CALM, times(2.0))] * 2))
    assert "slower by more than 3.0%; processes: 8 of base, 8 of head" == first.why
    assert first.low < first.ratio < first.high
    # all of head above all of base: one way of 16 over 8, for each of two benchmarks
    assert pytest.approx(2 / 12870) == first.p == second.p
    assert pytest.approx((0.10005, 0.200102001)) == (first.base, first.head)
    # of 4 + 3 there are 35 ways: no p is below 1%
    (verdict,) = judge(compared((CALM[:4], times(2.0)[:3])))
    assert "INCONCLUSIVE" == verdict.word
    assert "processes: 4 of base, 3 of head; 5 of each are needed (run " in verdict.why
    assert (None, None, None) == (verdict.low, verdict.high, verdict.find)
    # 1 in 252 is more than 1% for each of three
    found = [(CALM[:5], times(2.0)[:5])] * 3
    assert ["REGRESSED"] * 2 == [v.word for v in judge(compared(*found[:2]))]
    assert ["INCONCLUSIVE"] * 3 == [v.word for v in judge(compared(*found))]
    assert "6 of each are needed" in judge(compared(*found))[0].why

"""Verdicts on stored benchmarks: planted medians of processes."""

from __future__ import annotations

import pytest

from vidcost.bench.gate.judge import judge_samples
from vidcost.bench.gate.record import Rule, SampleComparison, Samples, exit_status

CALM = [0.1, 0.1003, 0.0998, 0.1001, 0.0997, 0.1002, 0.0999, 0.1004]
"""Eight medians within 0.4%."""
STORM = [0.1, 0.13, 0.09, 0.11, 0.085, 0.12, 0.095, 0.14]


def times(factor, medians=CALM):
    # in another order and a little off, so that no value ties
    return [factor * 1.00001 * median for median in reversed(medians)]


def samples(base, head, target="a"):
    return Samples(target=target, base=tuple(base), head=tuple(head))


def comparison(*found, rule=None, **known):
    return SampleComparison(
        vidcost="1", base="base", head="head", rule=rule or Rule(), samples=found, **known
    )


def judged(base, head, **known):
    (verdict,) = judge_samples(comparison(samples(base, head), **known))
    return verdict


@pytest.mark.parametrize(
    ("base", "head", "word"),
    [
        (CALM, times(2.0), "REGRESSED"),
        (CALM, times(1.05), "REGRESSED"),
        (CALM, times(0.5), "IMPROVED"),
        (CALM, times(1.02), "EQUIVALENT"),
        # not within 3% and not above
        (CALM, times(1.03), "INCONCLUSIVE"),
        # 5% slower, but processes differ by as much
        (STORM, times(1.05, STORM), "INCONCLUSIVE"),
        # one process of head was disturbed
        (CALM, [*times(1.0)[:7], 0.2], "EQUIVALENT"),
        # two speeds on both sides, as of a clock with two states
        ([0.1, 0.13] * 4, [0.1001, 0.1301] * 4, "INCONCLUSIVE"),
    ],
)
def test_words(base, head, word):
    assert word == judged(base, head).word


def test_a_verdict_says_what_it_rests_on():
    verdict = judged(CALM, times(2.0))
    assert "slower by more than 3.0%; 8 processes of base, 8 of head" == verdict.why
    assert verdict.low < verdict.ratio < verdict.high
    assert pytest.approx(2.0, rel=1e-3) == verdict.ratio
    assert 0.03 == verdict.margin
    # all of head above all of base: one way of 16 over 8
    assert pytest.approx(1 / 12870) == verdict.p
    assert pytest.approx((0.10005, 0.200102001)) == (verdict.base, verdict.head)
    assert judged(CALM, times(0.5)).p <= Rule().confirm_level


def test_p_is_adjusted_for_all_benchmarks():
    found = judge_samples(
        comparison(samples(CALM, times(2.0), "a"), samples(CALM, times(2.0), "b"))
    )
    assert [("a", pytest.approx(2 / 12870)), ("b", pytest.approx(2 / 12870))] == [
        (verdict.target, verdict.p) for verdict in found
    ]


def test_too_few_processes():
    # of 4 + 3 there are 35 ways: no p is below 1%
    verdict = judged(CALM[:4], times(2.0)[:3])
    assert "INCONCLUSIVE" == verdict.word
    assert verdict.why.startswith("4 processes of base, 3 of head: 5 of each are needed (run ")
    assert (None, None, None) == (verdict.low, verdict.high, verdict.p)
    assert pytest.approx(2.0, rel=1e-2) == verdict.ratio


def test_more_benchmarks_need_more_processes():
    found = [samples(CALM[:5], times(2.0)[:5], name) for name in "abc"]
    assert ["REGRESSED"] * 2 == [v.word for v in judge_samples(comparison(*found[:2]))]
    three = judge_samples(comparison(*found))
    # 1 in 252 is more than 1% for each of three
    assert ["INCONCLUSIVE"] * 3 == [verdict.word for verdict in three]
    assert "6 of each are needed" in three[0].why


def test_a_benchmark_on_one_side_only():
    found = judge_samples(
        comparison(samples(CALM, (), "a"), samples((), CALM, "b"), samples(CALM, times(1), "c"))
    )
    assert [("INVALID", "only in base"), ("INVALID", "only in head")] == [
        (verdict.word, verdict.why) for verdict in found[:2]
    ]
    assert "EQUIVALENT" == found[2].word
    assert 3 == exit_status(found)


def test_the_file_alone_gives_the_same_verdicts():
    found = comparison(samples(CALM, times(1.05), "a"), samples(STORM, times(1.1, STORM), "b"))
    again = SampleComparison.model_validate_json(found.model_dump_json())
    assert found == again
    assert judge_samples(found) == judge_samples(again)

"""Verdicts on stored records: planted medians, and what is said of them."""

from __future__ import annotations

import math
from random import Random

import pytest

from vidcost.bench.gate.record import Rule
from vidcost.bench.gate.sample_comparison import SampleComparison, SideSamples, SubjectSamples
from vidcost.bench.gate.samples import judge_samples
from vidcost.bench.gate.verdict import exit_status

MIB = 1 << 20
CALM = [0.1, 0.1003, 0.0998, 0.1001, 0.0997, 0.1002, 0.0999, 0.1004]
"""Eight medians within 0.4%."""
STORM = [0.1, 0.13, 0.09, 0.11, 0.085, 0.12, 0.095, 0.14]


def times(factor, medians=CALM):
    # in another order and a little off, so that no value ties
    return [factor * 1.00001 * median for median in reversed(medians)]


def subject(base, head, name="a", of_base=None, of_head=None):
    return SubjectSamples(
        subject=name,
        base=SideSamples(medians_s=tuple(base), **(of_base or {})),
        head=SideSamples(medians_s=tuple(head), **(of_head or {})),
    )


def comparison(*subjects, kind="vidcost timings", rule=None, **known):
    return SampleComparison(
        vidcost="1",
        base="base",
        head="head",
        kind=kind,
        rule=rule or Rule(),
        subjects=subjects,
        **known,
    )


def judged(base, head, **known):
    (verdict,) = judge_samples(comparison(subject(base, head), **known))
    return verdict


@pytest.mark.parametrize(
    ("base", "head", "word"),
    [
        (CALM, times(2.0), "REGRESSED"),
        (CALM, times(1.05), "REGRESSED"),
        (CALM, times(0.5), "IMPROVED"),
        (CALM, times(1.0), "EQUIVALENT"),
        (CALM, times(1.02), "EQUIVALENT"),
        # not within 3% and not above
        (CALM, times(1.03), "INCONCLUSIVE"),
        (STORM, times(1.0, STORM), "INCONCLUSIVE"),
        # 5% slower, where processes differ by as much
        (STORM, times(1.05, STORM), "INCONCLUSIVE"),
        # one process of head was disturbed
        (CALM, [*times(1.0)[:7], 0.2], "EQUIVALENT"),
        # two speeds on either side, as of a clock with two states
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


def test_noise_widens_the_margin():
    verdict = judged(STORM, times(1.0, STORM))
    assert pytest.approx(math.expm1(3 * verdict.noise)) == verdict.margin
    assert verdict.margin > 0.1


def test_p_is_adjusted_for_all_subjects():
    found = judge_samples(
        comparison(subject(CALM, times(2.0), "a"), subject(CALM, times(2.0), "b"))
    )
    assert [pytest.approx(2 / 12870)] * 2 == [verdict.p for verdict in found]
    assert ["a", "b"] == [verdict.subject for verdict in found]


@pytest.mark.parametrize(
    ("kind", "how"),
    [
        ("vidcost timings", "`vidcost time --no-resume` adds one"),
        ("pytest-benchmark", "run pytest several times, with --benchmark-json into one folder"),
    ],
)
def test_too_few_processes(kind, how):
    # of 4 + 3 there are 35 ways: no p is below 1%
    verdict = judged(CALM[:4], times(2.0)[:3], kind=kind)
    assert "INCONCLUSIVE" == verdict.word
    assert (
        f"4 processes of base, 3 of head: 5 of each are needed ({how}), "
        "or the noise of a process from an A/A study (--noise)"
    ) == verdict.why
    assert (None, None, None) == (verdict.low, verdict.high, verdict.p)
    assert pytest.approx(2.0, rel=1e-2) == verdict.ratio


def test_more_subjects_need_more_processes():
    subjects = [subject(CALM[:5], times(2.0)[:5], name) for name in "abc"]
    assert ["REGRESSED"] * 2 == [v.word for v in judge_samples(comparison(*subjects[:2]))]
    three = judge_samples(comparison(*subjects))
    # 1 in 252 is more than 1% for each of three
    assert ["INCONCLUSIVE"] * 3 == [verdict.word for verdict in three]
    assert "6 of each are needed" in three[0].why


def test_one_process_with_more_on_the_other_side():
    assert "REGRESSED" == judged(CALM, [0.2, 0.2001, 0.2002, 0.2003]).word
    assert "1 process of base, 8 of head" in judged([0.1], times(2.0)).why


@pytest.mark.parametrize(
    ("factor", "word"),
    [
        # noise 0.5%: error 0.71%, margin 3%; 1.645% more reach 1%
        (1.045, "INCONCLUSIVE"),
        (1.05, "REGRESSED"),
        (0.96, "INCONCLUSIVE"),
        (0.95, "IMPROVED"),
        (1.01, "EQUIVALENT"),
        (1.02, "INCONCLUSIVE"),
    ],
)
def test_single_processes_whose_noise_is_known(factor, word):
    verdict = judged([0.1], [0.1 * factor], noise=0.005)
    assert word == verdict.word
    assert verdict.why.endswith("1 process of base, 1 of head, their noise of 0.50% was given")
    assert pytest.approx(factor) == verdict.ratio


def test_known_noise_of_many_processes_is_less():
    few, many = (judged([0.1] * n, [0.104] * n, noise=0.005) for n in (1, 25))
    assert pytest.approx(5) == few.noise / many.noise
    assert ("INCONCLUSIVE", "REGRESSED") == (few.word, many.word)


def test_one_process_in_a_storm_is_no_regression_by_known_noise():
    assert "INCONCLUSIVE" == judged(CALM[:5], [*times(1.0)[:4], 0.15], noise=0.005).word


def test_missing_rows():
    found = judge_samples(
        comparison(subject(CALM, (), "a"), subject((), CALM, "b"), subject(CALM, times(1), "c"))
    )
    assert [("INVALID", "only in base"), ("INVALID", "only in head")] == [
        (verdict.word, verdict.why) for verdict in found[:2]
    ]
    assert "EQUIVALENT" == found[2].word
    assert 3 == exit_status(found)


def test_a_side_that_fails():
    failed = subject(CALM, (), of_head={"failures": ("killed: 9", "oom: 7 GB")})
    (verdict,) = judge_samples(comparison(failed))
    assert ("INVALID", "head oom: 7 GB") == (verdict.word, verdict.why)


def test_a_failure_beside_processes_that_did_not_fail_is_told():
    (verdict,) = judge_samples(
        comparison(subject(CALM, times(1), of_base={"failures": ("killed: 9",)}))
    )
    assert "EQUIVALENT" == verdict.word
    assert verdict.why.endswith("8 of head; 1 more of base failed")


@pytest.mark.parametrize(
    ("base", "head", "word"),
    [
        # 1 MiB is more than 1% of 61 MB
        (61_000_000, 61_000_000 + MIB, "EQUIVALENT"),
        (61_000_000, 61_000_001 + MIB, "REGRESSED"),
        (61_000_001 + MIB, 61_000_000, "IMPROVED"),
        # and less than 1% of 700 MB
        (700_000_000, 707_000_000, "EQUIVALENT"),
        (700_000_000, 707_000_001, "REGRESSED"),
        (0, 2 * MIB, "REGRESSED"),
    ],
)
def test_memory(base, head, word):
    # the least peak of a side counts
    latency, memory = judge_samples(
        comparison(
            subject(
                CALM,
                times(1),
                of_base={"peaks_bytes": (base + 5, base)},
                of_head={"peaks_bytes": (head, head + 7)},
            )
        )
    )
    assert ("latency", "EQUIVALENT") == (latency.metric, latency.word)
    assert ("memory", word) == (memory.metric, memory.word)
    assert (base, head) == (memory.base, memory.head)


def test_memory_of_one_side_alone():
    _, memory = judge_samples(comparison(subject(CALM, CALM, of_head={"peaks_bytes": (7,)})))
    assert ("memory", "INVALID", "base says no peak") == (memory.metric, memory.word, memory.why)


def test_verdicts_are_computed_again_from_the_file():
    found = comparison(
        subject(
            CALM, times(1.05), "a", of_base={"peaks_bytes": (3,)}, of_head={"peaks_bytes": (5,)}
        ),
        subject(STORM, times(1.1, STORM), "b"),
        noise=0.1 / 3,
    )
    again = SampleComparison.model_validate_json(found.model_dump_json())
    assert found == again
    assert judge_samples(found) == judge_samples(again)


def test_no_subject_is_not_clean():
    assert 3 == exit_status(judge_samples(comparison()))


def test_false_alarms_of_many_subjects_stay_below_their_level():
    random = Random(13)
    rule = Rule(margin=1e-9, noise_factor=0, confirm_level=0.2)

    def side():
        return [0.1 * math.exp(random.gauss(0, 0.02)) for _ in range(6)]

    runs = 20
    alarms = 0
    for _ in range(runs):
        subjects = [subject(side(), side(), name) for name in "abc"]
        words = {verdict.word for verdict in judge_samples(comparison(*subjects, rule=rule))}
        alarms += "REGRESSED" in words
    assert 0 < alarms <= runs * 0.2 + 2 * math.sqrt(runs * 0.2 * 0.8)


@pytest.mark.parametrize("factor", [2.0, 0.5])
def test_the_p_of_a_verdict_is_that_of_what_it_says(factor):
    assert judged(CALM, times(factor)).p <= Rule().confirm_level

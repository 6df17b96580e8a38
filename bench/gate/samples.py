"""Verdicts on stored records: a pure function of what two sides hold.

A process is one value, its median: samples inside a process are correlated and are never tested.
The sides were not measured in pairs, so the test is one of two samples.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping

from vidcost.bench.gate.decision import decide
from vidcost.bench.gate.memory import memory_verdict
from vidcost.bench.gate.processes import Kind
from vidcost.bench.gate.record import Rule
from vidcost.bench.gate.sample_comparison import SampleComparison, SideSamples, SubjectSamples
from vidcost.bench.gate.statistics import CONFIDENCE, holm_adjusted
from vidcost.bench.gate.two_samples import (
    Shift,
    least_p,
    shift_by_noise,
    shift_by_ranks,
    values_needed,
)
from vidcost.bench.gate.verdict import Verdict, Word

_MORE: Mapping[Kind, str] = {
    "vidcost timings": "`vidcost time --no-resume` adds one",
    "pytest-benchmark": "run pytest several times, with --benchmark-json into one folder",
}


def judge_samples(comparison: SampleComparison) -> list[Verdict]:
    """The verdicts on latency, then on memory where it was measured, in the subjects' order."""
    rule, noise = comparison.rule, comparison.noise
    both = [s for s in comparison.subjects if s.base.medians_s and s.head.medians_s]
    level = _level(rule, len(both))
    shifts = {s.subject: _shift(s, noise) for s in both if noise is not None or _enough(s, level)}
    limits = {name: math.log1p(rule.margin_at(shift.error)) for name, shift in shifts.items()}
    slower = _adjusted({name: shift.p_above(limits[name]) for name, shift in shifts.items()})
    faster = _adjusted({name: shift.p_below(limits[name]) for name, shift in shifts.items()})
    latency = []
    for each in comparison.subjects:
        name = each.subject
        if name in shifts:
            verdict = _latency_verdict(
                each, comparison, shifts[name], slower=slower[name], faster=faster[name]
            )
        elif each in both:
            verdict = _too_few(each, comparison, level)
        else:
            verdict = _invalid(each)
        latency.append(verdict)
    return latency + [
        memory for each in both if (memory := _memory_verdict(each, rule)) is not None
    ]


def _level(rule: Rule, subjects: int) -> float:
    """What the test of a subject must be able to reach: Holm's level, and the interval's."""
    return min(rule.confirm_level / max(1, subjects), (1 - CONFIDENCE) / 2)


def _enough(subject: SubjectSamples, level: float) -> bool:
    return least_p(len(subject.base.medians_s), len(subject.head.medians_s)) <= level


def _shift(subject: SubjectSamples, noise: float | None) -> Shift:
    base, head = (
        [math.log(median) for median in side.medians_s] for side in (subject.base, subject.head)
    )
    return shift_by_ranks(base, head) if noise is None else shift_by_noise(base, head, noise)


def _adjusted(p_values: Mapping[str, float]) -> dict[str, float]:
    return dict(zip(p_values, holm_adjusted(list(p_values.values())), strict=True))


def _latency_verdict(
    subject: SubjectSamples,
    comparison: SampleComparison,
    shift: Shift,
    *,
    slower: float,
    faster: float,
) -> Verdict:
    rule = comparison.rule
    margin = rule.margin_at(shift.error)
    known = math.expm1((shift.high - shift.low) / 2)
    word, why = decide(
        shift.low,
        shift.high,
        rule,
        margin=margin,
        slower=slower,
        faster=faster,
        undecided=f"the ratio is only known to ±{known:.1%}",
    )
    return _described(subject, f"{why}; {_basis(subject, comparison)}", word).model_copy(
        update={
            "ratio": math.exp(shift.center),
            "low": math.exp(shift.low),
            "high": math.exp(shift.high),
            "margin": margin,
            "noise": shift.error,
            "p": faster if word == "IMPROVED" else slower,
        }
    )


def _basis(subject: SubjectSamples, comparison: SampleComparison) -> str:
    said = _counts(subject)
    if comparison.noise is not None:
        said += f", their noise of {comparison.noise:.2%} was given"
    failed = [
        f"{len(side.failures)} more of {name} failed"
        for name, side in (("base", subject.base), ("head", subject.head))
        if side.failures
    ]
    return "; ".join([said, *failed])


def _counts(subject: SubjectSamples) -> str:
    base, head = len(subject.base.medians_s), len(subject.head.medians_s)
    return f"{base} {'process' if base == 1 else 'processes'} of base, {head} of head"


def _too_few(subject: SubjectSamples, comparison: SampleComparison, level: float) -> Verdict:
    why = (
        f"{_basis(subject, comparison)}: {values_needed(level)} of each are needed "
        f"({_MORE[comparison.kind]}), or the noise of a process from an A/A study (--noise)"
    )
    ratio = math.exp(_shift(subject, None).center)
    return _described(subject, why, "INCONCLUSIVE").model_copy(update={"ratio": ratio})


def _described(subject: SubjectSamples, why: str, word: Word) -> Verdict:
    return Verdict(
        subject=subject.subject,
        metric="latency",
        word=word,
        why=why,
        base=statistics.median(subject.base.medians_s),
        head=statistics.median(subject.head.medians_s),
    )


def _invalid(subject: SubjectSamples) -> Verdict:
    whys = [
        f"{name} {side.failures[-1]}"
        for name, side in (("base", subject.base), ("head", subject.head))
        if side.failures and not side.medians_s
    ]
    why = "; ".join(whys) or f"only in {'head' if subject.base == SideSamples() else 'base'}"
    return Verdict(subject=subject.subject, metric="latency", word="INVALID", why=why)


def _memory_verdict(subject: SubjectSamples, rule: Rule) -> Verdict | None:
    base, head = (min(s.peaks_bytes, default=None) for s in (subject.base, subject.head))
    if base is None and head is None:
        return None
    if base is None or head is None:
        why = f"{'base' if base is None else 'head'} says no peak"
        return Verdict(subject=subject.subject, metric="memory", word="INVALID", why=why)
    return memory_verdict(subject.subject, base, head, rule)

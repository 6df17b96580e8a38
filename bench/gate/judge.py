"""Verdicts as pure functions of what was measured: of a run, of pairs, of stored benchmarks."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Literal

from vidcost.bench.gate.record import (
    Result,
    Rule,
    Run,
    SampleComparison,
    Samples,
    Side,
    Stage,
    Verdict,
    Visit,
    Word,
    exit_status,
)
from vidcost.bench.gate.statistics import (
    CONFIDENCE,
    Shift,
    center,
    holm_adjusted,
    interval,
    least_p,
    pairs_needed,
    shift_by_ranks,
    sign_flip_p,
    standard_error,
    u_test_p,
    values_needed,
)


@dataclass(frozen=True)
class Pairs:
    """The pairs of processes of one cell at one stage.

    ``base`` and ``head`` are medians of the processes in seconds. ``log_ratios``: by pair, the
    median over its turns of log(head / base), positive if head was slower.
    """

    base: tuple[float, ...] = ()
    head: tuple[float, ...] = ()
    log_ratios: tuple[float, ...] = ()


def judged(measured: Run | SampleComparison) -> Result:
    """The verdicts on what was measured, with the exit status."""
    if isinstance(measured, Run):
        verdicts, complete = judge(measured), measured.complete
    else:
        verdicts, complete = judge_samples(measured), True
    status = exit_status(verdicts, complete=complete)
    return Result(status=status, verdicts=tuple(verdicts), measured=measured)


def judge(run: Run) -> list[Verdict]:
    """The verdicts on latency, then on memory, in the order of the cells."""
    latency = judge_pairs(pairs_of(run, "screen"), pairs_of(run, "confirm"), run.rule)
    verdicts = []
    for number, (cell, verdict) in enumerate(zip(run.cells, latency, strict=True)):
        visits = [visit for visit in run.visits if visit.cell == number]
        why = _failure(visits) if verdict.word == "INVALID" else ""
        verdicts.append(
            verdict.model_copy(update={"target": cell.target, "why": why or verdict.why})
        )
    return verdicts + [_memory_verdict(run, number) for number in range(len(run.cells))]


def pairs_of(run: Run, stage: Stage) -> list[Pairs]:
    """The pairs of each cell at ``stage``; pairs with a failure are left out."""
    visits: dict[int, dict[int, dict[Side, Visit]]] = defaultdict(lambda: defaultdict(dict))
    for visit in run.visits:
        if visit.stage == stage:
            visits[visit.cell][visit.pair][visit.side] = visit
    return [_pairs(visits[cell]) for cell in range(len(run.cells))]


def _pairs(visits: Mapping[int, Mapping[Side, Visit]]) -> Pairs:
    good = [
        (pair["base"], pair["head"])
        for pair in visits.values()
        if len(pair) == 2
        and all(visit.status == "ok" and visit.samples_ns for visit in pair.values())
    ]
    return Pairs(
        base=tuple(median(base.samples_ns) / 1e9 for base, _ in good),
        head=tuple(median(head.samples_ns) / 1e9 for _, head in good),
        log_ratios=tuple(_log_ratio(base, head) for base, head in good),
    )


def _log_ratio(base: Visit, head: Visit) -> float:
    """Turn by turn, because what slows a machine down lasts longer than a turn and hits both."""
    turns = zip(_turns(base), _turns(head), strict=False)
    return median(math.log(theirs / ours) for ours, theirs in turns)


def _turns(visit: Visit) -> list[float]:
    samples, size = visit.samples_ns, visit.turn_samples
    return [median(samples[start : start + size]) for start in range(0, len(samples), size)]


# screen and confirm


def to_confirm(run: Run) -> dict[int, int]:
    """Cells that the screen does not clear, with how many pairs are to confirm them."""
    return _planned(pairs_of(run, "screen"), run.rule)


def still_to_confirm(run: Run, planned: Mapping[int, int]) -> dict[int, int]:
    """Those of ``planned``, which :func:`to_confirm` returned, that still need pairs."""
    confirmed = pairs_of(run, "confirm")
    return {
        cell: pairs
        for cell, pairs in planned.items()
        if not _is_settled(confirmed[cell].log_ratios, pairs, run.rule)
    }


def _planned(screened: Sequence[Pairs], rule: Rule) -> dict[int, int]:
    doubtful = {}
    for cell, pairs in enumerate(screened):
        logs = pairs.log_ratios
        if len(logs) < rule.screen_pairs or _is_equal(*interval(logs), rule):
            continue
        if min(sign_flip_p(logs), sign_flip_p([-log for log in logs])) <= rule.screen_level:
            doubtful[cell] = logs
    return {
        cell: _pairs_to_confirm(logs, rule, together=len(doubtful))
        for cell, logs in doubtful.items()
    }


def _pairs_to_confirm(logs: Sequence[float], rule: Rule, *, together: int) -> int:
    """Fewer pairs are needed if the screen already proves a change larger than ``find``."""
    low, high = interval(logs)
    shift = max(math.log1p(rule.find), low, -high)
    distance = shift - math.log1p(rule.margin)
    needed = (
        pairs_needed(logs, distance=distance, level=rule.confirm_level / together, power=rule.power)
        if distance > 0
        else rule.most_pairs
    )
    # with fewer the adjusted p cannot reach the level, even if head is slower in every pair
    fewest = math.ceil(math.log2(together / rule.confirm_level))
    return max(rule.confirm_pairs, fewest, min(rule.most_pairs, needed))


def _is_settled(logs: Sequence[float], pairs: int, rule: Rule) -> bool:
    """Whether a cell has all its ``pairs``, or after ``confirm_pairs`` shows no change.

    Stopping early because nothing is seen can only prevent an alarm.
    """
    if len(logs) >= pairs:
        return True
    return len(logs) >= rule.confirm_pairs and abs(center(logs)) <= math.log1p(rule.margin)


# latency


def judge_pairs(screened: Sequence[Pairs], confirmed: Sequence[Pairs], rule: Rule) -> list[Verdict]:
    """The verdicts on latency, in the order of the cells, without names of targets."""
    planned = _planned(screened, rule)
    slower = _adjusted_p(confirmed, planned, rule, sign=1)
    faster = _adjusted_p(confirmed, planned, rule, sign=-1)
    verdicts = []
    for cell in range(len(screened)):
        if cell in planned:
            pairs, needed = confirmed[cell], planned[cell]
            enough = _is_settled(pairs.log_ratios, needed, rule)
        else:
            pairs, needed = screened[cell], rule.screen_pairs
            enough = len(pairs.base) >= needed
        if enough:
            verdict = _pairs_verdict(pairs, rule, slower=slower.get(cell), faster=faster.get(cell))
        else:
            verdict = _invalid("", "latency", "", len(pairs.base), needed)
        verdicts.append(verdict)
    return verdicts


def _adjusted_p(
    confirmed: Sequence[Pairs], planned: Mapping[int, int], rule: Rule, *, sign: Literal[1, -1]
) -> dict[int, float]:
    """Holm-adjusted one-sided p by cell; H0: head is slower (faster) by at most the margin."""
    p_values = []
    for cell, pairs in planned.items():
        logs = [sign * log for log in confirmed[cell].log_ratios]
        margin = rule.margin_at(standard_error(logs))
        settled = _is_settled(logs, pairs, rule)
        p_values.append(sign_flip_p(logs, math.log1p(margin)) if settled else 1.0)
    return dict(zip(planned, holm_adjusted(p_values), strict=True))


def _pairs_verdict(
    pairs: Pairs, rule: Rule, *, slower: float | None, faster: float | None
) -> Verdict:
    """The verdict on enough pairs; ``slower`` and ``faster`` are None if the screen cleared it."""
    logs = pairs.log_ratios
    low, high = interval(logs)
    margin = rule.margin_at(standard_error(logs))
    where = f"{math.expm1(low):+.1%} to {math.expm1(high):+.1%}"
    undecided = (
        f"{where}: too noisy to show that nothing changed; no change was seen"
        if slower is None
        else f"{where} on fresh pairs: not shown to differ by more than {margin:.1%}"
    )
    word, why = _decided(low, high, rule, margin, slower, faster, undecided)
    return Verdict(
        target="",
        metric="latency",
        word=word,
        why=why,
        ratio=math.exp(center(logs)),
        low=math.exp(low),
        high=math.exp(high),
        margin=margin,
        standard_error=standard_error(logs),
        pairs=len(logs),
        p=faster if word == "IMPROVED" else slower,
        base=median(pairs.base),
        head=median(pairs.head),
    )


def _decided(
    low: float,
    high: float,
    rule: Rule,
    margin: float,
    slower: float | None,
    faster: float | None,
    undecided: str,
) -> tuple[Word, str]:
    """The word on the interval ``low`` to ``high`` of a log ratio, and why.

    ``slower`` and ``faster`` are adjusted p values; H0: head is slower (faster) by at most
    ``margin``; None if that was not tested.
    """
    if slower is not None and slower <= rule.confirm_level:
        return "REGRESSED", f"slower by more than {margin:.1%}"
    if faster is not None and faster <= rule.confirm_level:
        return "IMPROVED", f"faster by more than {margin:.1%}"
    if _is_equal(low, high, rule):
        return "EQUIVALENT", f"within {rule.margin:.1%}"
    return "INCONCLUSIVE", undecided


def _is_equal(low: float, high: float, rule: Rule) -> bool:
    """Whether the interval of a log ratio lies within the margin."""
    return -math.log1p(rule.margin) <= low and high <= math.log1p(rule.margin)


# memory


def _memory_verdict(run: Run, number: int) -> Verdict:
    """By the least peak of each side: allocations do not vary as latencies do."""
    target, rule = run.cells[number].target, run.rule
    visits = [visit for visit in run.visits if visit.stage == "memory" and visit.cell == number]
    base, head = (
        min(
            (v.peak_bytes for v in visits if v.side == side and v.peak_bytes is not None),
            default=None,
        )
        for side in ("base", "head")
    )
    if base is None or head is None:
        return _invalid(target, "memory", _failure(visits), 0, 1)
    allowed = max(rule.memory_margin * base, rule.memory_bytes)
    word: Word
    if head - base > allowed:
        word, why = "REGRESSED", f"{head - base:+,} bytes, {allowed:,.0f} are allowed"
    elif base - head > allowed:
        word, why = "IMPROVED", f"{head - base:+,} bytes"
    else:
        word, why = "EQUIVALENT", f"{head - base:+,} bytes" if head != base else "the same"
    return Verdict(
        target=target,
        metric="memory",
        word=word,
        why=why,
        ratio=head / base if base else None,
        margin=allowed / base if base else None,
        pairs=1,
        base=base,
        head=head,
    )


def _failure(visits: Sequence[Visit]) -> str:
    """The last failure of ``visits`` in words; empty if there is none."""
    failed = [visit for visit in visits if visit.status != "ok"]
    return f"{failed[-1].side} {failed[-1].status}: {failed[-1].error}" if failed else ""


def _invalid(
    target: str, metric: Literal["latency", "memory"], why: str, pairs: int, needed: int
) -> Verdict:
    why = why or f"{pairs} of {needed} pairs were measured"
    return Verdict(target=target, metric=metric, word="INVALID", why=why, pairs=pairs)


# stored benchmarks


def judge_samples(comparison: SampleComparison) -> list[Verdict]:
    """The verdicts on stored benchmarks, in their order.

    A process is one value, its median: samples within a process are correlated. The sides were not
    measured in pairs, so the test is one of two samples.
    """
    rule = comparison.rule
    both = [each for each in comparison.samples if each.base and each.head]
    # the level that one test must be able to reach: Holm's first, and the interval's
    level = min(rule.confirm_level / max(1, len(both)), (1 - CONFIDENCE) / 2)
    tested = [each for each in both if least_p(len(each.base), len(each.head)) <= level]
    slower: list[float] = []
    faster: list[float] = []
    for each in tested:
        base, head = _logs(each)
        limit = math.log1p(rule.margin_at(shift_by_ranks(base, head).error))
        slower.append(u_test_p(base, head, limit))
        faster.append(u_test_p(head, base, limit))
    adjusted = zip(tested, holm_adjusted(slower), holm_adjusted(faster), strict=True)
    verdicts = {
        each.target: _samples_verdict(each, rule, more, less) for each, more, less in adjusted
    }
    return [
        verdicts.get(each.target) or (_too_few(each, level) if each in both else _one_sided(each))
        for each in comparison.samples
    ]


def _logs(samples: Samples) -> tuple[list[float], list[float]]:
    return [math.log(value) for value in samples.base], [math.log(value) for value in samples.head]


def _samples_verdict(samples: Samples, rule: Rule, slower: float, faster: float) -> Verdict:
    shift = shift_by_ranks(*_logs(samples))
    margin = rule.margin_at(shift.error)
    undecided = f"the ratio is only known to ±{math.expm1((shift.high - shift.low) / 2):.1%}"
    word, why = _decided(shift.low, shift.high, rule, margin, slower, faster, undecided)
    return _on_samples(samples, word, f"{why}; {_counts(samples)}", shift).model_copy(
        update={
            "low": math.exp(shift.low),
            "high": math.exp(shift.high),
            "margin": margin,
            "standard_error": shift.error,
            "p": faster if word == "IMPROVED" else slower,
        }
    )


def _too_few(samples: Samples, level: float) -> Verdict:
    why = (
        f"{_counts(samples)}: {values_needed(level)} of each are needed (run pytest several times, "
        "with --benchmark-json into one folder)"
    )
    return _on_samples(samples, "INCONCLUSIVE", why, shift_by_ranks(*_logs(samples)))


def _counts(samples: Samples) -> str:
    base, head = len(samples.base), len(samples.head)
    return f"{base} {'process' if base == 1 else 'processes'} of base, {head} of head"


def _on_samples(samples: Samples, word: Word, why: str, shift: Shift) -> Verdict:
    return Verdict(
        target=samples.target,
        metric="latency",
        word=word,
        why=why,
        ratio=math.exp(shift.center),
        base=median(samples.base),
        head=median(samples.head),
    )


def _one_sided(samples: Samples) -> Verdict:
    why = f"only in {'base' if samples.base else 'head'}"
    return Verdict(target=samples.target, metric="latency", word="INVALID", why=why)

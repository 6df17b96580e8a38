"""Verdicts on a run: a pure function of what was measured."""

from __future__ import annotations

import math
import statistics as plain
from collections.abc import Mapping, Sequence
from typing import Literal

from vidcost.bench.gate.decision import decide, is_equal
from vidcost.bench.gate.evidence import Evidence, evidence
from vidcost.bench.gate.memory import memory_verdict
from vidcost.bench.gate.record import Rule, Run, Visit
from vidcost.bench.gate.statistics import (
    center,
    holm_adjusted,
    interval,
    noise,
    pairs_needed,
    sign_flip_p,
)
from vidcost.bench.gate.verdict import Verdict


def to_confirm(run: Run) -> dict[int, int]:
    """Cells that the screen does not clear, with the pairs that they are to be confirmed on."""
    doubtful = {}
    for cell, screened in enumerate(evidence(run, "screen")):
        logs = screened.log_ratios
        if len(logs) < run.rule.screen_pairs or is_equal(*interval(logs), run.rule):
            continue
        either = min(sign_flip_p(logs), sign_flip_p(_turned(logs)))
        if either <= run.rule.screen_level:
            doubtful[cell] = logs
    return {
        cell: _pairs_to_confirm(logs, run.rule, together=len(doubtful))
        for cell, logs in doubtful.items()
    }


def still_to_confirm(run: Run, planned: Mapping[int, int]) -> dict[int, int]:
    """Those of ``planned``, which is :func:`to_confirm`'s, that need more pairs yet."""
    confirmed = evidence(run, "confirm")
    return {
        cell: pairs
        for cell, pairs in planned.items()
        if not _is_settled(confirmed[cell].log_ratios, pairs, run.rule)
    }


def judge(run: Run) -> list[Verdict]:
    """The verdicts on latency, then on memory, in the order of the cells."""
    planned = to_confirm(run)
    screened, confirmed = evidence(run, "screen"), evidence(run, "confirm")
    slower = _adjusted(confirmed, planned, run.rule, sign=1)
    faster = _adjusted(confirmed, planned, run.rule, sign=-1)
    latency = []
    for number, cell in enumerate(run.cells):
        failures = tuple(
            visit for visit in run.visits if visit.cell == number and visit.status != "ok"
        )
        if number in planned:
            found, needed = confirmed[number], planned[number]
            enough = _is_settled(found.log_ratios, needed, run.rule)
        else:
            found, needed = screened[number], run.rule.screen_pairs
            enough = len(found.base) >= needed
        if not enough:
            verdict = _invalid(cell.subject, failures, len(found.base), needed)
        else:
            verdict = latency_verdict(
                cell.subject, found, run.rule, slower=slower.get(number), faster=faster.get(number)
            )
        latency.append(verdict)
    return latency + [_memory_verdict(run, number) for number in range(len(run.cells))]


def latency_verdict(
    subject: str, found: Evidence, rule: Rule, *, slower: float | None, faster: float | None
) -> Verdict:
    """The verdict on pairs, of which there are enough.

    ``slower`` and ``faster`` are the adjusted p that head is not so by more than the margin; None
    if that was not asked, because the screen had no doubt.
    """
    logs = found.log_ratios
    low, high = interval(logs)
    margin = rule.margin_at(noise(logs))
    word, why = decide(
        low,
        high,
        rule,
        margin=margin,
        slower=slower,
        faster=faster,
        undecided=_undecided(low, high, margin, confirmed=slower is not None),
    )
    return Verdict(
        subject=subject,
        metric="latency",
        word=word,
        why=why,
        ratio=math.exp(center(logs)),
        low=math.exp(low),
        high=math.exp(high),
        margin=margin,
        noise=noise(logs),
        pairs=len(logs),
        p=faster if word == "IMPROVED" else slower,
        base=plain.median(found.base),
        head=plain.median(found.head),
    )


def _undecided(low: float, high: float, margin: float, *, confirmed: bool) -> str:
    where = f"{math.expm1(low):+.1%} to {math.expm1(high):+.1%}"
    if confirmed:
        return f"{where} on fresh pairs: not shown to differ by more than {margin:.1%}"
    return f"{where}: too noisy to show that nothing changed; no change was seen"


def _pairs_to_confirm(logs: Sequence[float], rule: Rule, *, together: int) -> int:
    """What is shown to have changed by more than ``find`` already needs the fewer pairs for it."""
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
    """Whether a cell has all its ``pairs``, or after the first ones no sign of any change.

    To give up a suspicion early can only prevent an alarm.
    """
    if len(logs) >= pairs:
        return True
    return len(logs) >= rule.confirm_pairs and abs(center(logs)) <= math.log1p(rule.margin)


def _adjusted(
    confirmed: Sequence[Evidence], planned: Mapping[int, int], rule: Rule, *, sign: Literal[1, -1]
) -> dict[int, float]:
    """By cell the p that it is not slower (faster) by its margin, adjusted for all of them."""
    p_values = []
    for cell, pairs in planned.items():
        logs = [sign * log for log in confirmed[cell].log_ratios]
        settled = _is_settled(logs, pairs, rule)
        margin = rule.margin_at(noise(logs))
        p_values.append(sign_flip_p(logs, math.log1p(margin)) if settled else 1.0)
    return dict(zip(planned, holm_adjusted(p_values), strict=True))


def _turned(logs: Sequence[float]) -> list[float]:
    return [-log for log in logs]


def _memory_verdict(run: Run, number: int) -> Verdict:
    """Of what a pass allocates, which does not vary as its time does: the least of each side."""
    subject = run.cells[number].subject
    visits = [visit for visit in run.visits if visit.stage == "memory" and visit.cell == number]
    peaks = {
        side: min(
            (v.peak_bytes for v in visits if v.side == side and v.peak_bytes is not None),
            default=None,
        )
        for side in ("base", "head")
    }
    base, head = peaks["base"], peaks["head"]
    if base is None or head is None:
        failures = tuple(visit for visit in visits if visit.status != "ok")
        return _invalid(subject, failures, 0, 1).model_copy(update={"metric": "memory"})
    return memory_verdict(subject, base, head, run.rule)


def _invalid(subject: str, failures: Sequence[Visit], pairs: int, needed: int) -> Verdict:
    why = (
        f"{failures[-1].side} {failures[-1].status}: {failures[-1].error}"
        if failures
        else f"{pairs} of {needed} pairs were measured"
    )
    return Verdict(subject=subject, metric="latency", word="INVALID", why=why, pairs=pairs)

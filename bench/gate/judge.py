"""Verdicts as pure functions of what was measured: of a run, of pairs, of stored benchmarks.

Pairs of processes and processes measured apart differ in the test alone: both become
:class:`Evidence`, and one function gives the word.
"""

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from statistics import median
from typing import NamedTuple

from vidcost.bench.gate.record import (
    SIDES,
    Metric,
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
    Estimate,
    holm_adjusted,
    least_p,
    of_pairs,
    of_two_samples,
    pairs_needed,
    sign_flip_p,
    u_test_p,
    values_needed,
)


class Pair(NamedTuple):
    """A pair of processes at one cell.

    ``base_s`` and ``head_s`` are their medians in seconds, ``log_ratio`` the median over their
    turns of log(head / base), positive if head was slower.
    """

    base_s: float
    head_s: float
    log_ratio: float


Pairs = Sequence[Pair]
"""Of one cell at one stage."""


class Evidence(NamedTuple):
    """How the latency of one target compares.

    ``base`` and ``head`` are medians of processes in seconds; ``estimate`` is of the log ratio.
    ``p`` are one-sided, None if nothing was tested; H0: head is slower, or is faster, by at most
    the margin. ``invalid`` says why there is no verdict, ``said`` is added to its reason.
    """

    target: str
    base: Sequence[float] = ()
    head: Sequence[float] = ()
    estimate: Estimate = Estimate(0.0, -math.inf, math.inf)
    pairs: int = 0
    p: tuple[float, float] | None = None
    invalid: str = ""
    said: str = ""


def judged(measured: Run | SampleComparison) -> Result:
    """The verdicts on what was measured, with the exit status."""
    verdicts = judge(measured)
    complete = not isinstance(measured, Run) or measured.complete
    status = exit_status(verdicts, measured.rule, complete=complete)
    return Result(status=status, verdicts=tuple(verdicts), measured=measured)


def judge(measured: Run | SampleComparison) -> list[Verdict]:
    """The verdicts on latency, then on memory, in the order of the cells or benchmarks."""
    if isinstance(measured, SampleComparison):
        both = sum(bool(each.base and each.head) for each in measured.samples)
        return _verdicts(
            [_of_processes(s, measured.rule.of(s.target), both) for s in measured.samples],
            measured.rule,
        ) + [
            _memory(each.target, each.base_bytes, each.head_bytes, measured.rule)
            for each in measured.samples
            if each.base and each.head and (each.base_bytes or each.head_bytes)
        ]
    screened, confirmed = pairs_of(measured, "screen"), pairs_of(measured, "confirm")
    targets = [cell.target for cell in measured.cells]
    failures = _failures(measured.visits)
    return [
        *judge_pairs(targets, screened, confirmed, measured.rule, failures),
        *(_memory_of(measured, cell) for cell in range(len(targets))),
    ]


def pairs_of(run: Run, stage: Stage) -> list[list[Pair]]:
    """The pairs of each cell at ``stage``; pairs with a failure are left out."""
    pairs: dict[tuple[int, int], dict[Side, Visit]] = defaultdict(dict)
    for visit in run.visits:
        if visit.stage == stage and visit.status == "ok" and visit.samples_ns:
            pairs[visit.cell, visit.pair][visit.side] = visit
    measured: list[list[Pair]] = [[] for _ in run.cells]
    for (cell, _), pair in pairs.items():
        if len(pair) == len(SIDES):
            base_s, head_s = (median(pair[side].samples_ns) / 1e9 for side in SIDES)
            measured[cell].append(Pair(base_s, head_s, _log_ratio(pair["base"], pair["head"])))
    return measured


def logs_of(pairs: Pairs) -> list[float]:
    """The logarithms of their ratios."""
    return [pair.log_ratio for pair in pairs]


def _log_ratio(base: Visit, head: Visit) -> float:
    """Turn by turn, because what slows a machine down lasts longer than a turn and hits both."""
    turns = zip(_turns(base), _turns(head), strict=False)
    return median(math.log(theirs / ours) for ours, theirs in turns)


def _turns(visit: Visit) -> list[float]:
    samples, size = visit.samples_ns, visit.turn_samples
    return [median(samples[start : start + size]) for start in range(0, len(samples), size)]


# screen and confirm


class Plan(NamedTuple):
    """How many pairs a cell needs, and how many are the fewest before it may be left."""

    pairs: int
    fewest: int


def planned(targets: Sequence[str], screened: Sequence[Pairs], rule: Rule) -> dict[int, Plan]:
    """The cells, of ``targets``, that the screen does not clear, with their plans to confirm them.

    Fewer pairs are needed if the screen already proves a change larger than ``find``.
    """
    doubtful = {
        cell: logs_of(pairs)
        for cell, (target, pairs) in enumerate(zip(targets, screened, strict=True))
        if len(pairs) >= rule.screen_pairs and _is_doubtful(logs_of(pairs), rule.of(target))
    }
    plans = {}
    for cell, logs in doubtful.items():
        own, (_, low, high) = rule.of(targets[cell]), of_pairs(logs)
        distance = max(math.log1p(own.find), low, -high) - math.log1p(own.margin)
        level = rule.confirm_level / len(doubtful)
        needed = pairs_needed(logs, distance=distance, level=level, power=rule.power)
        needed = max(rule.confirm_pairs, needed)
        fewest = max(rule.confirm_pairs, math.ceil(needed / 2))
        plans[cell] = Plan(min(rule.most_pairs, needed), fewest)
    return plans


def _is_doubtful(logs: Sequence[float], rule: Rule) -> bool:
    """Whether a change is seen, or a slow-down by ``find`` is not excluded."""
    estimate = of_pairs(logs)
    if _is_equal(estimate, rule):
        return False
    seen = min(sign_flip_p(logs), sign_flip_p([-log for log in logs])) <= rule.screen_level
    return seen or estimate.high >= math.log1p(rule.find)


def is_settled(logs: Sequence[float], plan: Plan, rule: Rule) -> bool:
    """Whether a cell has all its pairs, or half of those that it needs and nothing is seen.

    A slow-down by ``find`` then hides behind the margin once in some hundred times, and stopping
    because nothing is seen can only prevent an alarm.
    """
    if len(logs) >= plan.pairs:
        return True
    if len(logs) < plan.fewest:
        return False
    center, _, high = of_pairs(logs)
    return abs(center) <= math.log1p(rule.margin) and high < math.log1p(rule.find)


# latency


def judge_pairs(
    targets: Sequence[str],
    screened: Sequence[Pairs],
    confirmed: Sequence[Pairs],
    rule: Rule,
    failures: Mapping[int, str] = {},
) -> list[Verdict]:
    """The verdicts on the latency of ``targets``, in their order; why pairs of one are missing."""
    plans = planned(targets, screened, rule)
    found = []
    for cell, target in enumerate(targets):
        own = rule.of(target)
        limit = math.log1p(own.margin)
        plan = plans.get(cell, Plan(rule.screen_pairs, rule.screen_pairs))
        pairs = (confirmed if cell in plans else screened)[cell]
        logs, base, head = logs_of(pairs), [p.base_s for p in pairs], [p.head_s for p in pairs]
        each = Evidence(target, base, head, pairs=len(logs))
        if is_settled(logs, plan, own):
            each = each._replace(estimate=of_pairs(logs))
            p = sign_flip_p(logs, limit), sign_flip_p([-log for log in logs], limit)
        else:
            why = failures.get(cell, f"{len(logs)} of {plan.pairs} pairs were measured")
            each = each._replace(invalid=why)
            # it was to be confirmed, and counts in the adjustment
            p = 1.0, 1.0
        found.append(each._replace(p=p) if cell in plans else each)
    return _verdicts(found, rule)


def _of_processes(samples: Samples, rule: Rule, together: int) -> Evidence:
    """A process is one value, its median: samples within a process are correlated.

    The sides were not measured in pairs, so the test is one of two samples.
    """
    if not samples.base or not samples.head:
        side = "base" if samples.base else "head"
        return Evidence(samples.target, invalid=f"only in {side}")
    base, head = ([math.log(each) for each in side] for side in (samples.base, samples.head))
    limit = math.log1p(rule.margin)
    said = f"processes: {len(base)} of base, {len(head)} of head"
    # what one test must be able to reach: Holm's first, and the interval's tail
    level = min(rule.confirm_level / together, (1 - CONFIDENCE) / 2)
    if least_p(len(base), len(head)) > level:
        said += (
            f"; {values_needed(level)} of each are needed (run pytest several times, with "
            "--benchmark-json into one folder)"
        )
    return Evidence(
        samples.target,
        samples.base,
        samples.head,
        of_two_samples(base, head),
        p=(u_test_p(base, head, limit), u_test_p(head, base, limit)),
        invalid=samples.invalid,
        said=said,
    )


def _verdicts(found: Sequence[Evidence], rule: Rule) -> list[Verdict]:
    """The one judge of latencies: Holm's adjustment over all that was tested, and the words."""
    tested = [each.p for each in found if each.p is not None]
    slower, faster = (iter(holm_adjusted([p[side] for p in tested])) for side in (0, 1))
    return [
        _verdict(each, rule.of(each.target), (next(slower), next(faster)) if each.p else None)
        for each in found
    ]


def _verdict(each: Evidence, rule: Rule, adjusted: tuple[float, float] | None) -> Verdict:
    if each.invalid:
        return _invalid(each.target, "latency", each.invalid, each.pairs)
    center, low, high = each.estimate
    known = math.isfinite(low) and math.isfinite(high)
    find = max(0.0, math.expm1(high)) if known else None
    slower, faster = adjusted or (1.0, 1.0)
    word: Word = "INCONCLUSIVE"
    if slower <= rule.confirm_level:
        word, why = "REGRESSED", f"slower by more than {rule.margin:.1%}"
    elif faster <= rule.confirm_level:
        word, why = "IMPROVED", f"faster by more than {rule.margin:.1%}"
    elif _is_equal(each.estimate, rule):
        word, why = "EQUIVALENT", f"within {rule.margin:.1%}"
    elif find is None:
        why = "too few values: no slow-down could have been found"
    else:
        only = f" only, not {rule.find:.1%}" if find > rule.find else ""
        why = f"excludes a slow-down above {find:.1%}{only}"
    return Verdict(
        target=each.target,
        metric="latency",
        word=word,
        why=f"{why}; {each.said}" if each.said else why,
        ratio=math.exp(center),
        low=math.exp(low) if known else None,
        high=math.exp(high) if known else None,
        margin=rule.margin,
        find=find,
        pairs=each.pairs,
        p=adjusted and adjusted[word == "IMPROVED"],
        base=median(each.base),
        head=median(each.head),
    )


def _is_equal(estimate: Estimate, rule: Rule) -> bool:
    """Whether the interval of a log ratio lies within the margin."""
    return -math.log1p(rule.margin) <= estimate.low and estimate.high <= math.log1p(rule.margin)


# memory


def _memory_of(run: Run, cell: int) -> Verdict:
    visits = [visit for visit in run.visits if visit.stage == "memory" and visit.cell == cell]
    peaks = [(visit.side, visit.peak_bytes) for visit in visits if visit.peak_bytes is not None]
    base, head = ([peak for each, peak in peaks if each == side] for side in SIDES)
    return _memory(run.cells[cell].target, base, head, run.rule, _failures(visits).get(cell, ""))


def _memory(
    target: str, peaks: Sequence[int], head_peaks: Sequence[int], rule: Rule, why: str = ""
) -> Verdict:
    """By the least peak of each side: allocations do not vary as latencies do."""
    if not peaks or not head_peaks:
        return _invalid(target, "memory", why or f"{'head' if peaks else 'base'} has no peak")
    base, head = min(peaks), min(head_peaks)
    allowed = max(rule.memory_margin * base, rule.memory_bytes)
    more = f"{head - base:+,} bytes"
    word: Word
    if head - base > allowed:
        word, why = "REGRESSED", f"{more}, {allowed:,.0f} are allowed"
    elif base - head > allowed:
        word, why = "IMPROVED", more
    else:
        word, why = "EQUIVALENT", more if head != base else "the same"
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


def _failures(visits: Sequence[Visit]) -> dict[int, str]:
    """The last failure of each cell that has one, in words."""
    return {v.cell: f"{v.side} {v.status}: {v.error}" for v in visits if v.status != "ok"}


def _invalid(target: str, metric: Metric, why: str, pairs: int = 0) -> Verdict:
    return Verdict(target=target, metric=metric, word="INVALID", why=why, pairs=pairs)

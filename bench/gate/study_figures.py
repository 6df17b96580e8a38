"""Figures of a study: how often each rule raises an alarm, and how noisy the machine was."""

from __future__ import annotations

import math
import statistics
import warnings
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats
from statsmodels.stats.proportion import proportion_confint

from vidcost.bench.gate.evidence import evidence
from vidcost.bench.gate.judge import judge
from vidcost.bench.gate.record import Run, Visit
from vidcost.bench.gate.statistics import CONFIDENCE, pooled_deviation
from vidcost.bench.gate.trial import Trial
from vidcost.bench.gate.usual_rules import USUAL_RULES
from vidcost.bench.gate.verdict import Verdict, Word
from vidcost.bench.timing.cell import Cell

OURS = "vidcost gate"
RULES = (OURS, *(rule.name for rule in USUAL_RULES))
SAME = 1.0
"""The factor of an A/A trial."""

FEWEST_FOR_CORRELATION = 20
"""The correlation of neighbours in a few samples is biased by about one over their number."""


@dataclass(frozen=True)
class Rate:
    """``hits`` in ``of`` comparisons, and what is known of the rate by Clopper and Pearson (1934).

    Exact if the comparisons are independent. Of no comparisons nothing is known.
    """

    hits: int
    of: int

    @property
    def share(self) -> float | None:
        """The rate that was seen; None if nothing was compared."""
        return self.hits / self.of if self.of else None

    @property
    def at_least(self) -> float:
        """One-sided lower bound, at 95%."""
        return self._interval(2 * CONFIDENCE - 1)[0]

    @property
    def at_most(self) -> float:
        """One-sided upper bound, at 95%."""
        return self._interval(2 * CONFIDENCE - 1)[1]

    @property
    def interval(self) -> tuple[float, float]:
        """At 95% on both sides together."""
        return self._interval(CONFIDENCE)

    def _interval(self, confidence: float) -> tuple[float, float]:
        if not self.of:
            return 0.0, 1.0
        low, high = proportion_confint(self.hits, self.of, alpha=1 - confidence, method="beta")
        return float(low), float(high)


@dataclass(frozen=True)
class Comparison:
    """What the rules say of one cell in one trial, whose place in the study is ``trial``.

    ``alarms`` has True by rule where head is called slower, None where a rule could not judge.
    """

    trial: int
    factor: float
    cell: Cell
    latency: Verdict
    memory: Verdict
    alarms: Mapping[str, bool | None]


@dataclass(frozen=True)
class Noise:
    """How a cell varies where both sides are the same code; logarithms, so about shares.

    ``pair_ratios`` is the standard deviation of the log ratios of pairs, ``medians`` that of the
    log medians of the processes on one side in one trial, and ``medians_if_independent`` what the
    latter would be if the samples of a process were independent. ``neighbours`` is the rank
    correlation of consecutive samples, the median over processes. None where there is too little.
    """

    cell: Cell
    processes: int
    samples: float
    seconds: float
    pair_ratios: float | None
    medians: float | None
    medians_if_independent: float | None
    neighbours: float | None


def compare(trials: Iterable[Trial]) -> list[Comparison]:
    """Judge every cell of every trial by every rule; takes some 30 ms a confirmed cell."""
    found = []
    for number, trial in enumerate(trials):
        verdicts = judge(trial.run)
        latency, memory = (
            [verdict for verdict in verdicts if verdict.metric == metric]
            for metric in ("latency", "memory")
        )
        for cell, (pair, word) in enumerate(zip(_as_usual(trial.run), latency, strict=True)):
            alarms = {
                rule.name: None if pair is None else rule.slower(*pair) for rule in USUAL_RULES
            }
            ours = None if word.word == "INVALID" else word.word == "REGRESSED"
            found.append(
                Comparison(
                    trial=number,
                    factor=trial.factor,
                    cell=trial.run.cells[cell],
                    latency=word,
                    memory=memory[cell],
                    alarms={OURS: ours} | alarms,
                )
            )
    return found


def factors(comparisons: Iterable[Comparison]) -> list[float]:
    """By how much head was slower, each once, from small to large; without A/A."""
    return sorted({each.factor for each in comparisons} - {SAME})


def alarm_rate(comparisons: Iterable[Comparison], rule: str, factor: float) -> Rate:
    """How often ``rule`` calls head slower where it is slower by ``factor``.

    Where a rule could not judge, it has not found a slow-down, nor can it have raised a false
    alarm: of A/A only what was judged is counted.
    """
    answers = [each.alarms[rule] for each in comparisons if each.factor == factor]
    of = sum(answer is not None for answer in answers) if factor == SAME else len(answers)
    return Rate(sum(answer is True for answer in answers), of)


def memory_alarm_rate(comparisons: Iterable[Comparison]) -> Rate:
    """How often more memory was seen in the same code, of the comparisons that were judged."""
    words = [each.memory.word for each in comparisons if each.factor == SAME]
    return Rate(words.count("REGRESSED"), len(words) - words.count("INVALID"))


def trial_alarm_rate(comparisons: Iterable[Comparison], rule: str) -> Rate:
    """How many A/A trials have any false alarm: a maintainer sees a trial, not a row."""
    trials: dict[int, list[bool]] = defaultdict(list)
    for each in comparisons:
        answer = each.alarms[rule]
        if each.factor == SAME and answer is not None:
            trials[each.trial].append(answer)
    return Rate(sum(map(any, trials.values())), len(trials))


def words(comparisons: Iterable[Comparison], factor: float) -> Counter[Word]:
    """How often the gate gave each verdict on latency."""
    return Counter(each.latency.word for each in comparisons if each.factor == factor)


def median_of(
    comparisons: Iterable[Comparison], factor: float, what: Callable[[Verdict], float | None]
) -> float | None:
    """The median of a figure over the valid verdicts on latency; None if there are none."""
    values = [
        value
        for each in comparisons
        if each.factor == factor and each.latency.word != "INVALID"
        if (value := what(each.latency)) is not None
    ]
    return statistics.median(values) if values else None


def measured_s(trials: Iterable[Trial]) -> float:
    """All samples of a study together."""
    return sum(sum(visit.samples_ns) for trial in trials for visit in trial.run.visits) / 1e9


def noise(trials: Iterable[Trial]) -> list[Noise]:
    """How each cell varied over the screens of the A/A trials, in the order of the cells."""
    pairs: dict[Cell, list[float]] = defaultdict(list)
    sides: dict[Cell, list[Sequence[float]]] = defaultdict(list)
    visits: dict[Cell, list[Visit]] = {}
    for run in (trial.run for trial in trials if trial.kind == "A/A"):
        for cell, found in zip(run.cells, evidence(run, "screen"), strict=True):
            pairs[cell] += found.log_ratios
            sides[cell] += [np.log(side).tolist() for side in (found.base, found.head)]
            visits.setdefault(cell, [])
        for visit in run.visits:
            if visit.stage == "screen" and visit.samples_ns:
                visits[run.cells[visit.cell]].append(visit)
    return [
        _noise(cell, pairs[cell], sides[cell], [np.array(v.samples_ns) / 1e9 for v in found])
        for cell, found in visits.items()
        if found
    ]


def _noise(
    cell: Cell,
    pairs: Sequence[float],
    sides: Sequence[Sequence[float]],
    processes: Sequence[np.ndarray[tuple[int], np.dtype[np.float64]]],
) -> Noise:
    # the median of n independent normal samples varies by sqrt(pi / 2n) of their own deviation
    expected = [
        math.pi / 2 / len(samples) * float(stats.median_abs_deviation(logs, scale="normal")) ** 2
        for samples in processes
        if len(samples) > 1
        for logs in (np.log(samples),)
    ]
    neighbours = [
        correlation for samples in processes if (correlation := _neighbours(samples)) is not None
    ]
    return Noise(
        cell=cell,
        processes=len(processes),
        samples=statistics.median(map(len, processes)),
        seconds=statistics.median(float(np.median(samples)) for samples in processes),
        pair_ratios=pooled_deviation([pairs]),
        # a trial has its own hour: what differs between trials is not noise within one
        medians=pooled_deviation(sides),
        medians_if_independent=math.sqrt(statistics.fmean(expected)) if expected else None,
        neighbours=statistics.median(neighbours) if neighbours else None,
    )


def _neighbours(samples: np.ndarray[tuple[int], np.dtype[np.float64]]) -> float | None:
    if len(samples) < FEWEST_FOR_CORRELATION:
        return None
    with warnings.catch_warnings():
        # a clock too coarse for the samples: all are one, and nothing correlates
        warnings.simplefilter("ignore", stats.ConstantInputWarning)
        found = float(stats.spearmanr(samples[:-1], samples[1:]).statistic)
    return None if math.isnan(found) else found


def _as_usual(run: Run) -> list[tuple[tuple[int, ...], tuple[int, ...]] | None]:
    """By cell the raw samples of one process of base and one of head, as other tools have them.

    They measure one version after the other, so base is the first process of the screen that has
    samples, and head that of the pair after it, never two processes that took turns.
    """
    samples: dict[tuple[int, str], dict[int, tuple[int, ...]]] = defaultdict(dict)
    for visit in run.visits:
        if visit.stage == "screen" and visit.samples_ns:
            samples[visit.cell, visit.side][visit.pair] = visit.samples_ns
    found: list[tuple[tuple[int, ...], tuple[int, ...]] | None] = []
    for cell in range(len(run.cells)):
        base, head = samples[cell, "base"], samples[cell, "head"]
        first = next((pair for pair in sorted(base) if pair + 1 in head), None)
        found.append(None if first is None else (base[first], head[first + 1]))
    return found

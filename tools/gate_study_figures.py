"""Trials of the gate with a known answer, and how often each rule raises an alarm on them."""

from __future__ import annotations

import json
import math
import statistics
import warnings
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, NonNegativeInt
from scipy import stats

from vidcost.bench import files
from vidcost.bench.gate.judge import Pairs, judge_pairs, pairs_of
from vidcost.bench.gate.record import Rule, Run, Stage, Verdict
from vidcost.bench.gate.statistics import CONFIDENCE
from vidcost.bench.timing.cell import Cell
from vidcost.bench.timing.record import Machine

OURS = "vidcost gate"
SAME = 1.0
"""The factor of an A/A trial."""

FEWEST_FOR_CORRELATION = 20
"""The correlation of neighbours in a few samples is biased by about one over their number."""

Array = np.ndarray[tuple[int], np.dtype[np.float64]]


# trials


class Pair(NamedTuple):
    """Medians of the two processes of a pair, and the median of log(head / base) over its turns."""

    base_s: float
    head_s: float
    log_ratio: float


class Process(NamedTuple):
    """The samples of one process in figures.

    ``deviation`` is the robust standard deviation of their logarithms, ``neighbours`` the rank
    correlation of consecutive samples; None if there are too few.
    """

    samples: int
    seconds: float
    deviation: float | None
    neighbours: float | None


class Found(BaseModel):
    """What a trial found at one cell: its pairs, its processes, and alarms of the usual rules.

    ``processes`` are those of the screen. ``alarms``: by rule, whether it calls head slower; empty
    if no two processes succeeded.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    screen: tuple[Pair, ...]
    confirm: tuple[Pair, ...] = ()
    processes: tuple[Process, ...] = ()
    alarms: dict[str, bool] = {}


class Trial(BaseModel):
    """One run of the gate with equal code on both sides, reduced to its pairs.

    Every pass of head was delayed so that head is slower by ``factor``; 1 in an A/A trial.
    ``number`` counts the trials of a factor. ``load`` is the load average before the trial,
    ``samples_s`` the sum of all samples.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    factor: float = Field(ge=1, allow_inf_nan=False)
    number: NonNegativeInt
    load: float
    started: str
    vidcost: str
    commit: str
    machine: Machine
    rule: Rule
    visit_s: float
    visit_turns: int
    samples_s: float
    cells: tuple[Cell, ...]
    found: tuple[Found, ...]

    def verdicts(self) -> list[Verdict]:
        """The gate's verdicts on latency."""
        screened, confirmed = (
            [Pairs(*map(tuple, zip(*pairs, strict=True))) for pairs in stage]
            for stage in ([f.screen for f in self.found], [f.confirm for f in self.found])
        )
        return judge_pairs(screened, confirmed, self.rule)


def reduced(run: Run, *, factor: float, number: int, load: float) -> Trial:
    """The trial of a complete run."""
    machine = run.head.machine
    assert machine is not None
    usual = _two_processes(run)
    pairs: dict[Stage, list[tuple[Pair, ...]]] = {
        stage: [
            tuple(map(Pair, found.base, found.head, found.log_ratios))
            for found in pairs_of(run, stage)
        ]
        for stage in ("screen", "confirm")
    }
    return Trial(
        factor=factor,
        number=number,
        load=load,
        started=run.started,
        vidcost=run.vidcost,
        commit=run.head.commit,
        machine=machine,
        rule=run.rule,
        visit_s=run.visit_s,
        visit_turns=run.visit_turns,
        samples_s=sum(sum(visit.samples_ns) for visit in run.visits) / 1e9,
        cells=run.cells,
        found=tuple(
            Found(
                screen=pairs["screen"][cell],
                confirm=pairs["confirm"][cell],
                processes=tuple(
                    _process(np.array(visit.samples_ns) / 1e9)
                    for visit in run.visits
                    if (visit.stage, visit.cell) == ("screen", cell) and visit.samples_ns
                ),
                alarms={
                    name: slower(*usual[cell])
                    for name, (_, slower) in USUAL_RULES.items()
                    if usual[cell]
                },
            )
            for cell in range(len(run.cells))
        ),
    )


def _process(samples: Array) -> Process:
    logs = np.log(samples)
    neighbours = None
    if len(samples) >= FEWEST_FOR_CORRELATION:
        with warnings.catch_warnings():
            # a clock too coarse for the samples: all are equal
            warnings.simplefilter("ignore", stats.ConstantInputWarning)
            found = float(stats.spearmanr(samples[:-1], samples[1:]).statistic)
        neighbours = None if math.isnan(found) else round(found, 5)
    deviation = float(stats.median_abs_deviation(logs, scale="normal"))
    return Process(
        len(samples),
        float(np.median(samples)),
        round(deviation, 8) if len(samples) > 1 else None,
        neighbours,
    )


def _two_processes(run: Run) -> list[tuple[tuple[int, ...], ...]]:
    """By cell the raw samples of one process of base and one of head, as other tools have them.

    They measure one version after the other, so base is the first process of the screen and head
    that of the next pair, never two interleaved processes. Empty if there are no such two.
    """
    samples: dict[tuple[int, str], dict[int, tuple[int, ...]]] = defaultdict(dict)
    for visit in run.visits:
        if visit.stage == "screen" and visit.samples_ns:
            samples[visit.cell, visit.side][visit.pair] = visit.samples_ns
    found: list[tuple[tuple[int, ...], ...]] = []
    for cell in range(len(run.cells)):
        base, head = samples[cell, "base"], samples[cell, "head"]
        first = next((pair for pair in sorted(base) if pair + 1 in head), None)
        found.append(() if first is None else (base[first], head[first + 1]))
    return found


def read(path: Path) -> list[Trial]:
    """The trials of a study; none if there is no file.  Raises: ValueError if it is damaged."""
    if not path.exists():
        return []
    trials = []
    for number, line in enumerate(path.read_bytes().splitlines(), start=1):
        try:
            trials.append(Trial.model_validate_json(line))
        except ValueError:
            raise ValueError(f"{path}, line {number} is damaged: remove it") from None
    if len({(trial.factor, trial.number) for trial in trials}) < len(trials):
        raise ValueError(f"{path} holds a trial twice: remove one of the two")
    return trials


def write(path: Path, trials: Iterable[Trial]) -> None:
    """Write the whole file or nothing.  Raises: ValueError if it cannot be written."""
    lines = []
    for trial in trials:
        known = trial.model_dump(mode="json", exclude_defaults=True)
        # whole, because the verdicts depend on it
        known["rule"] = trial.rule.model_dump()
        lines.append(json.dumps(known, separators=(",", ":")))
    files.write(path, "".join(f"{line}\n" for line in lines))


# the rules of the usual tools: each is given the raw samples of one process of each version


Samples = Sequence[int]


def above(
    base: Samples, head: Samples, *, figure: Callable[[Samples], float], percent: float
) -> bool:
    """Whether head's ``figure`` is more than ``percent`` above base's."""
    return figure(head) / figure(base) * 100 - 100 > percent


def welch(base: Samples, head: Samples, *, level: float) -> bool:
    """Whether Welch's t-test is significant, two-sided, and head's mean is higher.

    It takes samples for independent and normal. One sample on a side is no test.
    """
    if min(len(base), len(head)) < 2 or statistics.fmean(head) <= statistics.fmean(base):
        return False
    if np.ptp(base) == np.ptp(head) == 0:
        # scipy divides by the variance; samples that do not vary differ with certainty
        return True
    return bool(stats.ttest_ind(head, base, equal_var=False).pvalue < level)


def u_test(base: Samples, head: Samples, *, level: float) -> bool:
    """Whether the U-test is significant, two-sided, and head's median is higher.

    It takes samples for independent.
    """
    if statistics.median(head) <= statistics.median(base):
        return False
    return bool(stats.mannwhitneyu(head, base, alternative="two-sided").pvalue < level)


USUAL_RULES: Mapping[str, tuple[str, Callable[[Samples, Samples], bool]]] = {
    "mean:10%": (
        "pytest-benchmark, --benchmark-compare-fail=mean:10%",
        partial(above, figure=statistics.fmean, percent=10),
    ),
    "min:5%": (
        "pytest-benchmark, --benchmark-compare-fail=min:5%",
        partial(above, figure=min, percent=5),
    ),
    "flat 7%": ("medians, a common choice", partial(above, figure=statistics.median, percent=7)),
    "t-test 0.05": ("Welch's, on samples, a common choice", partial(welch, level=0.05)),
    "U-test 0.05": (
        "Mann-Whitney's, on samples; the test and default level of Go's benchstat",
        partial(u_test, level=0.05),
    ),
    "U-test 0.002": (
        "the same at a stricter level, a common choice",
        partial(u_test, level=0.002),
    ),
}
"""By name their source, and whether they call head slower."""

RULES = (OURS, *USUAL_RULES)


# figures


@dataclass(frozen=True)
class Rate:
    """``hits`` in ``of`` comparisons, and exact bounds by Clopper and Pearson (1934).

    They take comparisons for independent.
    """

    hits: int
    of: int

    @property
    def fraction(self) -> float | None:
        """The observed rate; None if nothing was compared."""
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
        """Two-sided, at 95%."""
        return self._interval(CONFIDENCE)

    def _interval(self, confidence: float) -> tuple[float, float]:
        if not self.of:
            return 0.0, 1.0
        found = stats.binomtest(self.hits, self.of).proportion_ci(confidence, method="exact")
        return float(found.low), float(found.high)


@dataclass(frozen=True)
class Comparison:
    """What the rules say of one cell in one trial, whose place in the study is ``trial``.

    ``alarms``: by rule, whether it calls head slower; None if it could not judge.
    """

    trial: int
    factor: float
    cell: Cell
    latency: Verdict
    alarms: Mapping[str, bool | None]


def compare(trials: Iterable[Trial]) -> list[Comparison]:
    """Judge every cell of every trial by every rule."""
    return [
        Comparison(
            trial=number,
            factor=trial.factor,
            cell=cell,
            latency=verdict,
            alarms={OURS: None if verdict.word == "INVALID" else verdict.word == "REGRESSED"}
            | {name: found.alarms.get(name) for name in USUAL_RULES},
        )
        for number, trial in enumerate(trials)
        for cell, found, verdict in zip(trial.cells, trial.found, trial.verdicts(), strict=True)
    ]


def factors(comparisons: Iterable[Comparison]) -> list[float]:
    """The injected factors, each once, in rising order; without A/A."""
    return sorted({each.factor for each in comparisons} - {SAME})


def alarm_rate(comparisons: Iterable[Comparison], rule: str, factor: float) -> Rate:
    """How often ``rule`` calls head slower in trials of ``factor``.

    A rule that could not judge has missed a slow-down, but cannot have raised a false alarm: of
    A/A only judged comparisons are counted.
    """
    answers = [each.alarms[rule] for each in comparisons if each.factor == factor]
    of = sum(answer is not None for answer in answers) if factor == SAME else len(answers)
    return Rate(sum(answer is True for answer in answers), of)


def trial_alarm_rate(comparisons: Iterable[Comparison], rule: str) -> Rate:
    """How many A/A trials have any false alarm: a maintainer sees a trial, not a row."""
    trials: dict[int, list[bool]] = defaultdict(list)
    for each in comparisons:
        answer = each.alarms[rule]
        if each.factor == SAME and answer is not None:
            trials[each.trial].append(answer)
    return Rate(sum(map(any, trials.values())), len(trials))


@dataclass(frozen=True)
class Noise:
    """How a cell varies in A/A trials; standard deviations of logarithms.

    ``pair_ratios`` is that of the log ratios of pairs, ``medians`` that of process medians on one
    side in one trial, ``medians_if_independent`` the latter if the samples of a process were
    independent. ``neighbours`` is the median over processes. None if there is too little.
    """

    cell: Cell
    samples: float
    seconds: float
    pair_ratios: float | None
    medians: float | None
    medians_if_independent: float | None
    neighbours: float | None


def noise(trials: Iterable[Trial]) -> list[Noise]:
    """How each cell varied over the screens of the A/A trials, in the order of the cells."""
    by_cell: dict[Cell, list[Found]] = defaultdict(list)
    for trial in trials:
        if trial.factor == SAME:
            for cell, found in zip(trial.cells, trial.found, strict=True):
                by_cell[cell].append(found)
    return [_noise(cell, found) for cell, found in by_cell.items()]


def _noise(cell: Cell, found: Sequence[Found]) -> Noise:
    processes = [process for each in found for process in each.processes]
    # the median of n independent normal samples varies by sqrt(pi / 2n) of their own deviation
    expected = [
        math.pi / 2 / process.samples * process.deviation**2
        for process in processes
        if process.deviation is not None
    ]
    neighbours = [each.neighbours for each in processes if each.neighbours is not None]
    sides = [
        np.log([getattr(pair, side) for pair in each.screen]).tolist()
        for each in found
        for side in ("base_s", "head_s")
    ]
    return Noise(
        cell=cell,
        samples=statistics.median(process.samples for process in processes),
        seconds=statistics.median(process.seconds for process in processes),
        pair_ratios=pooled_deviation([[p.log_ratio for each in found for p in each.screen]]),
        # each trial around its own mean: a difference between trials is not noise within one
        medians=pooled_deviation(sides),
        medians_if_independent=math.sqrt(statistics.fmean(expected)) if expected else None,
        neighbours=statistics.median(neighbours) if neighbours else None,
    )


def pooled_deviation(groups: Sequence[Sequence[float]]) -> float | None:
    """The standard deviation within groups, each around its own mean; None of single values."""
    squares = sum(len(group) * float(np.var(group)) for group in groups if len(group) > 1)
    freedom = sum(len(group) - 1 for group in groups if group)
    return math.sqrt(squares / freedom) if freedom else None

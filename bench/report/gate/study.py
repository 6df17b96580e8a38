"""The figures of a study of the gate in tables."""

from __future__ import annotations

from collections.abc import Sequence

from vidcost.bench.gate.study_figures import (
    OURS,
    RULES,
    SAME,
    Comparison,
    Noise,
    Rate,
    alarm_rate,
    factors,
    median_of,
    memory_alarm_rate,
    trial_alarm_rate,
    words,
)
from vidcost.bench.gate.usual_rules import USUAL_RULES
from vidcost.bench.gate.verdict import Word
from vidcost.bench.report.table import Column, Table, integer
from vidcost.bench.timing.cell import Cell

GOAL_FACTOR = 1.05
"""The slow-down that the gate is to find."""


def same_table(comparisons: Sequence[Comparison]) -> Table:
    """False alarms of the gate where both sides are the same code."""
    said = words(comparisons, SAME)
    lines = [
        _rate_line("latency, a row", alarm_rate(comparisons, OURS, SAME)) | dict(said),
        _rate_line("latency, any row of a trial", trial_alarm_rate(comparisons, OURS)),
    ]
    memory = memory_alarm_rate(comparisons)
    # its own stage, which a study of latency leaves out
    if memory.of:
        lines.append(_rate_line("memory, a row", memory))
    return Table(
        title="A/A: false alarms of the gate",
        columns=(
            Column("what", "Gated"),
            Column("of", "Judged", integer),
            Column("hits", "False alarms", integer),
            Column("share", "Rate", fine),
            Column("at_most", "At most", fine),
            Column("IMPROVED", "IMPROVED", integer),
            Column("EQUIVALENT", "EQUIVALENT", integer),
            Column("INCONCLUSIVE", "INCONCLUSIVE", integer),
            Column("INVALID", "INVALID", integer),
        ),
        lines=[line | {word: line.get(word, 0) for word in _words(line)} for line in lines],
        legend=(
            "A false alarm is REGRESSED; IMPROVED is wrong too, but fails nobody's change. At "
            "most: exact one-sided 95% bound (Clopper and Pearson). INVALID is not among those "
            "judged.",
        ),
    )


def power_table(comparisons: Sequence[Comparison]) -> Table:
    """What the gate says of each injected slow-down."""
    lines = []
    for factor in factors(comparisons):
        said = words(comparisons, factor)
        rate = alarm_rate(comparisons, OURS, factor)
        lines.append(
            {
                "slower": factor - 1,
                "measured": _less_one(median_of(comparisons, factor, lambda v: v.ratio)),
                "of": rate.of,
                "hits": rate.hits,
                "share": rate.share,
                "at_least": rate.at_least,
                "pairs": median_of(comparisons, factor, lambda v: v.pairs),
            }
            | {word: said[word] for word in _OTHER_WORDS}
        )
    return Table(
        title="Injected delays: slow-downs found by the gate",
        columns=(
            Column("slower", "Injected", whole),
            Column("measured", "Measured, median", coarse),
            Column("of", "Comparisons", integer),
            Column("hits", "Found", integer),
            Column("share", "Rate", coarse),
            Column("at_least", "At least", coarse),
            *(Column(word, word, integer) for word in _OTHER_WORDS),
            Column("pairs", "Pairs, median", _number),
        ),
        lines=lines,
        legend=(
            "Found: REGRESSED; a comparison that is INVALID found nothing. At least: exact "
            "one-sided 95% bound. Measured: head over base less one, as the verdicts give it. "
            "Pairs: those that a verdict rests on.",
        ),
    )


def rules_table(comparisons: Sequence[Comparison]) -> Table:
    """False alarms and slow-downs found, of the gate and of the usual rules."""
    sources = {rule.name: rule.source for rule in USUAL_RULES} | {OURS: "pairs of processes"}
    lines = []
    for rule in RULES:
        same, trials = alarm_rate(comparisons, rule, SAME), trial_alarm_rate(comparisons, rule)
        lines.append(
            {
                "rule": rule,
                "source": sources[rule],
                "false": of(same),
                "share": same.share,
                "at_most": same.at_most if same.of else None,
                "trials": of(trials),
            }
            | {
                f"{factor:g}": alarm_rate(comparisons, rule, factor).share
                for factor in factors(comparisons)
            }
        )
    return Table(
        title="Every rule on the same raw data",
        columns=(
            Column("rule", "Rule"),
            Column("source", "From"),
            Column("false", "False alarms"),
            Column("share", "Rate", coarse),
            Column("at_most", "At most", fine),
            Column("trials", "Trials with any"),
            *(
                Column(f"{factor:g}", f"{whole(factor - 1)} found", coarse)
                for factor in factors(comparisons)
            ),
        ),
        lines=lines,
        legend=(
            "The usual rules judge the samples of one process of base and one of head that did not "
            "take turns with it, from the first two pairs that the gate screened: what these tools "
            "see. The gate judges all pairs, so it takes longer.",
        ),
    )


def noise_table(noises: Sequence[Noise], comparisons: Sequence[Comparison]) -> Table:
    """How every row varied in A/A trials, and how the gate did on it."""
    lines = []
    for each in noises:
        own = [comparison for comparison in comparisons if comparison.cell == each.cell]
        lines.append(
            {
                "row": _with_clip(each.cell),
                "ms": each.seconds * 1e3,
                "samples": each.samples,
                "pairs": each.pair_ratios,
                "medians": each.medians,
                "independent": each.medians_if_independent,
                "neighbours": each.neighbours,
                "false": of(alarm_rate(own, OURS, SAME)),
                "found": of(alarm_rate(own, OURS, GOAL_FACTOR)),
            }
        )
    return Table(
        title="Noise by row, in A/A trials",
        columns=(
            Column("row", "Row"),
            Column("ms", "ms", lambda value: f"{value:.3g}"),
            Column("samples", "Samples of a process", _number),
            Column("pairs", "SD of pair ratios", fine),
            Column("medians", "SD of process medians", fine),
            Column("independent", "the same, were samples independent", fine),
            Column("neighbours", "Correlation of neighbours", lambda value: f"{value:+.2f}"),
            Column("false", "False alarms"),
            Column("found", f"{whole(GOAL_FACTOR - 1)} found"),
        ),
        lines=lines,
        legend=(
            "SD: standard deviation of logarithms, so a share. Correlation of neighbours: rank "
            "correlation of consecutive samples, the median over processes of 20 samples or more. "
            "Where process medians vary well more than independent samples would have them, or "
            "neighbours correlate, a test that takes samples for independent believes to know "
            "more than it does.",
        ),
    )


def _with_clip(cell: Cell) -> str:
    """A study's networks are at small clips, where they take a fraction of their usual time."""
    clip = [f"{cell.frames} frames"] if cell.frames else []
    clip += [f"{cell.size}x{cell.size}"] if cell.size else []
    return ", ".join([cell.subject, *clip])


def of(rate: Rate) -> str:
    """3 of 7."""
    return f"{rate.hits} of {rate.of}"


def whole(share: float) -> str:
    """0.05 -> 5%."""
    return f"{share:.0%}"


def coarse(share: float) -> str:
    """0.0512 -> 5.1%."""
    return f"{share:.1%}"


def fine(share: float) -> str:
    """0.00994 -> 0.99%."""
    return f"{share:.2%}"


_OTHER_WORDS: tuple[Word, ...] = ("EQUIVALENT", "INCONCLUSIVE", "IMPROVED", "INVALID")


def _words(line: dict[str, object]) -> tuple[Word, ...]:
    """Verdicts are counted of latencies, row by row."""
    return _OTHER_WORDS if line["what"] == "latency, a row" else ()


def _rate_line(what: str, rate: Rate) -> dict[str, object]:
    return {
        "what": what,
        "of": rate.of,
        "hits": rate.hits,
        "share": rate.share,
        "at_most": rate.at_most if rate.of else None,
    }


def _less_one(value: float | None) -> float | None:
    return None if value is None else value - 1


def _number(value: float) -> str:
    return f"{value:g}"

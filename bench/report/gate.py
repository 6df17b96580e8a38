"""Tables and lines of the gates: counts that differ, verdicts on timings, what was compared."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from decimal import Decimal
from pathlib import Path
from typing import Any

from vidcost.bench.count.record import COUNTS
from vidcost.bench.gate.counts import HISTORY, Acceptance, Comparison, Figure
from vidcost.bench.gate.record import Run, SampleComparison, Verdict, Version, Word
from vidcost.bench.report.table import Column, Table, integer, percent
from vidcost.bench.report.timing import machine_in_words, megabytes, milliseconds
from vidcost.bench.timing.record import UNKNOWN

# counts


def change_table(comparison: Comparison | Acceptance) -> Table:
    """A line for each figure that differs from the baseline."""
    advice = (
        'If the change is intended: `vidcost gate accept --reason "..."`, which asks the other '
        "counters about the changed rows and keeps the reason."
    )
    if isinstance(comparison, Comparison) and comparison.broken:
        advice = (
            f"Mend first: {', '.join(comparison.broken)}. A row that cannot be counted, or whose "
            "closed form does not give the count (before: by closed form), is not accepted."
        )
    return Table(
        title="Counts that differ from the baseline",
        columns=(
            Column("row", "Row"),
            Column("field", "Field"),
            Column("before", "Before", _figure),
            Column("after", "After", _figure),
            Column("percent", "Percent", _percent),
        ),
        lines=[asdict(change) | {"percent": change.percent} for change in comparison.changes],
        legend=(
            "Before: the baseline, with the answers of fvcore and thop on real tensors. After: "
            "counted now, and for the other counters computed from their conventions, without "
            "running them. An improvement fails as well. An en dash: no such figure.",
            advice,
        ),
    )


def summary_line(comparison: Comparison, results: Path) -> str:
    """How much was compared, and how much differs."""
    compared = f"{comparison.rows:,} rows, {comparison.figures:,} figures compared"
    if not comparison.changes:
        return f"{compared}: all as in {results / COUNTS}"
    return (
        f"{compared}: {len(comparison.changes):,} differences from {results / COUNTS} in "
        f"{len(comparison.changed_rows):,} rows"
    )


def accepted_line(acceptance: Acceptance, results: Path) -> str:
    """What was accepted and written, and which commands to run next."""
    rows = len({change.row for change in acceptance.changes})
    return (
        f"{len(acceptance.changes):,} differences in {rows:,} rows accepted. Written: "
        f"{results / COUNTS}, {results / HISTORY}. Now run `vidcost tables`, `vidcost explain` and "
        "`vidcost audit`, which derive their files from the counts, and commit all of them."
    )


def _figure(figure: Figure) -> str:
    return f"{figure:,}" if isinstance(figure, int) else figure


def _percent(percent: float) -> str:
    """Three digits, never an exponent: 1 of 7,842,568 is +0.0000128%."""
    return f"{Decimal(f'{percent:.3g}'):+,f}%"


# verdicts on timings

_MEANINGS: Mapping[Word, str] = {
    "REGRESSED": "slower, or needs more memory, by more than the margin",
    "INVALID": "not measured as planned, which says nothing about the change",
    "INCONCLUSIVE": "shown neither to differ by more than the margin nor to be equal",
    "IMPROVED": "faster, or needs less memory, by more than the margin",
    "EQUIVALENT": "shown not to differ by more than is allowed",
}
"""In the order of the table: first what needs an action."""

_FEW = 8
"""So many unchanged memory verdicts are listed; of more the table gives only the number."""


def change(ratio: float) -> str:
    """1.0623 -> +6.2%."""
    return f"{ratio - 1:+z.1%}"


_COLUMNS = (
    Column("target", "Target"),
    Column("metric", "Metric"),
    Column("word", "Verdict"),
    Column("ratio", "Head/base", change),
    Column("low", "95% from", change),
    Column("high", "to", change),
    Column("margin", "Margin", percent),
    Column("pairs", "Pairs", integer),
    Column("base_s", "Base, ms", milliseconds),
    Column("head_s", "Head, ms", milliseconds),
    Column("base_bytes", "Base, MB", megabytes),
    Column("head_bytes", "Head, MB", megabytes),
    Column("why", "Why"),
)
_IF_ANY = ("pairs", "base_s", "head_s", "base_bytes", "head_bytes")


def verdict_table(
    verdicts: Sequence[Verdict], *, ran: Sequence[str] = (), everything: bool = False
) -> Table:
    """A line for each verdict, the worst first, otherwise in the order given.

    ``ran``, of :func:`what_ran`, is part of the legend. If memory is unchanged for many targets,
    the table gives only their number, unless ``everything`` is wanted, for data.
    """
    ordered = sorted(verdicts, key=lambda verdict: list(_MEANINGS).index(verdict.word))
    unchanged = [v for v in ordered if v.metric == "memory" and v.word == "EQUIVALENT"]
    folded = unchanged if len(unchanged) > _FEW and not everything else []
    lines = [_line(verdict) for verdict in ordered if verdict not in folded]
    filled = {key for line in lines for key, value in line.items() if value is not None}
    return Table(
        title=f"Gate: {_tally(ordered)}",
        columns=[c for c in _COLUMNS if c.key not in _IF_ANY or c.key in filled],
        lines=lines,
        legend=[
            *([f"Not in the table: {_tally(folded)} in memory."] if folded else []),
            *ran,
            *_meanings(verdicts),
        ],
    )


def sentence(verdict: Verdict) -> str:
    """The reason and the figures of a verdict, without its target."""
    said = [" ".join(verdict.why.split())]
    if verdict.ratio is not None:
        interval = ""
        if verdict.low is not None and verdict.high is not None:
            interval = f" (95%: {change(verdict.low)} to {change(verdict.high)})"
        said.append(f"head over base {change(verdict.ratio)}{interval}")
    if verdict.base is not None and verdict.head is not None:
        if verdict.metric == "latency":
            base, head = milliseconds(verdict.base), milliseconds(verdict.head)
            said.append(f"base {base} ms, head {head} ms")
        else:
            said.append(f"base {verdict.base:,.0f} bytes, head {verdict.head:,.0f} bytes")
    if verdict.pairs > 1:
        said.append(f"{verdict.pairs} pairs")
    return "; ".join(filter(None, said))


def _line(verdict: Verdict) -> dict[str, Any]:
    line = verdict.model_dump(exclude={"base", "head", "p"})
    if verdict.metric == "latency":
        sides = {"base_s": verdict.base, "head_s": verdict.head}
    elif verdict.base is not None and verdict.head is not None:
        sides = {"base_bytes": int(verdict.base), "head_bytes": int(verdict.head)}
    else:
        sides = {}
    words = {"pairs": verdict.pairs or None, "why": " ".join(verdict.why.split()) or None}
    return line | dict.fromkeys(_IF_ANY) | sides | words


def _tally(verdicts: Iterable[Verdict]) -> str:
    numbers = Counter(verdict.word for verdict in verdicts)
    return ", ".join(f"{numbers[w]:,} {w}" for w in _MEANINGS if w in numbers) or "nothing judged"


def _meanings(verdicts: Iterable[Verdict]) -> list[str]:
    words = {verdict.word for verdict in verdicts}
    said = "; ".join(f"{word}: {text}" for word, text in _MEANINGS.items() if word in words)
    if not said:
        return []
    return [
        f"{said}. Head/base: how much slower (+) or faster (-) head is, or how much more or less "
        "memory it needs, with the 95% interval. Pairs: those that the verdict rests on. Latency: "
        "medians of processes; memory: the peak above the weights."
    ]


# what was compared


def what_ran(measured: Run | SampleComparison) -> tuple[str, ...]:
    """The two sides, the machine, the number of pairs, and what is missing."""
    notes = [f"Note: {note}." for note in measured.notes]
    if isinstance(measured, SampleComparison):
        sides = f"Base: {measured.base}. Head: {measured.head}. vidcost {measured.vidcost}."
        conditions = measured.conditions.items()
        known = ", ".join(f"{field} {value}" for field, value in conditions if value != UNKNOWN)
        return (sides, f"Conditions: {known}.", *notes)
    rule = measured.rule
    confirmed = len({visit.cell for visit in measured.visits if visit.stage == "confirm"})
    if not measured.complete:
        notes.append("Incomplete: pairs are still to be measured.")
    return (
        f"Base: {_version(measured.base)}. Head: {_version(measured.head)}. Started "
        f"{measured.started}, seed {measured.seed}, vidcost {measured.vidcost}.",
        machine_in_words(measured.machine),
        f"Pairs of processes, base and head in random order: {rule.screen_pairs} for each of "
        f"{len(measured.cells):,} targets; {confirmed:,} of them again on {rule.confirm_pairs} to "
        f"{rule.most_pairs} fresh ones.",
        *notes,
    )


def _version(version: Version) -> str:
    short = version.commit[:12]
    return short if version.ref == version.commit else f"{version.ref} ({short})"

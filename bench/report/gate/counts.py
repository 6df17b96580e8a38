"""Tables and lines of the gate of exact counts."""

from dataclasses import asdict
from decimal import Decimal
from pathlib import Path

from vidcost.bench.count.record import COUNTS
from vidcost.bench.gate.counts import HISTORY, Acceptance, Comparison, Figure
from vidcost.bench.report.table import Column, Table

_LEGEND = (
    "Before: the baseline, with the answers of fvcore and thop on real tensors. After: counted "
    "now, and for the other counters computed from their conventions, without running them. An "
    "improvement fails as well. An en dash: no such figure."
)
_ACCEPT = (
    'If the change is intended: `vidcost gate accept --reason "..."`, which asks the other '
    "counters about the changed rows and keeps the reason."
)


def change_table(comparison: Comparison | Acceptance) -> Table:
    """A line for each figure that differs from the baseline."""
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
        legend=(_LEGEND, _advice(comparison)),
    )


def _advice(comparison: Comparison | Acceptance) -> str:
    broken = comparison.broken if isinstance(comparison, Comparison) else ()
    if not broken:
        return _ACCEPT
    return (
        f"Mend first: {', '.join(broken)}. A row that cannot be counted, or whose closed form does "
        "not give the count (before: by closed form), is not accepted."
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

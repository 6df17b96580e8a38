"""The gate of exact counts for people."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path

from vidcost.bench.count.record import COUNTS
from vidcost.bench.gate.baseline import HISTORY, Acceptance
from vidcost.bench.gate.count_changes import Change, Comparison, Figure
from vidcost.bench.report.table import Column, Table

_LEGEND = (
    "Before: the baseline, with what fvcore and thop answered on real tensors. After: counted now, "
    "and for the other counters what our account of their convention gives, without running them. "
    "An improvement fails as well. An en dash: no such figure.",
    'If the change is meant: `vidcost gate accept --reason "..."`, which asks the other counters '
    "about the changed rows and keeps the reason.",
)


def change_table(changes: Sequence[Change]) -> Table:
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
        lines=[
            {
                "row": change.row,
                "field": change.field,
                "before": change.before,
                "after": change.after,
                "percent": change.percent,
            }
            for change in changes
        ],
        legend=_LEGEND,
    )


def summary_line(comparison: Comparison, results: Path) -> str:
    """How much was compared, and how much of it differs."""
    compared = f"{comparison.rows:,} rows, {comparison.figures:,} figures compared"
    if not comparison.changes:
        return f"{compared}: all as in {results / COUNTS}"
    return (
        f"{compared}: {len(comparison.changes):,} differences from {results / COUNTS} in "
        f"{len(comparison.changed_rows):,} rows"
    )


def accepted_line(acceptance: Acceptance, results: Path) -> str:
    """What was accepted and written, and what is to be written anew."""
    rows = len({change.row for change in acceptance.changes})
    return (
        f"{len(acceptance.changes):,} differences in {rows:,} rows accepted. Written: "
        f"{results / COUNTS}, {results / HISTORY}. Now `vidcost tables`, `vidcost explain` and "
        "`vidcost audit` write anew what is made of the counts; commit it with them."
    )


def _figure(figure: Figure) -> str:
    return f"{figure:,}" if isinstance(figure, int) else figure


def _percent(percent: float) -> str:
    """Three digits, never an exponent: 1 of 7,842,568 is +0.0000128%."""
    return f"{Decimal(f'{percent:.3g}'):+,f}%"

"""What stands on the page, section by section."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace

from vidcost.bench.audit import Verdict, judge_claims
from vidcost.bench.report.audit import claim_table, figure_table, findings, verdict_counts
from vidcost.bench.report.formulas import formula_claims
from vidcost.bench.report.page.accounts import steps
from vidcost.bench.report.page.accuracy import axes, points
from vidcost.bench.report.page.accuracy_plot import accuracy_plot
from vidcost.bench.report.page.gathered import Gathered
from vidcost.bench.report.page.growth_plot import growth_plot
from vidcost.bench.report.page.html_table import (
    HtmlTable,
    anchor,
    html_table,
    without_empty_columns,
)
from vidcost.bench.report.page.latency_plot import latency_plot
from vidcost.bench.report.page.ledger_plot import ledger_plot
from vidcost.bench.report.page.measured import Device
from vidcost.bench.report.page.plot import Plot
from vidcost.bench.report.page.provenance import Source
from vidcost.bench.report.page.roofline import Roofline
from vidcost.bench.report.page.roofline_plot import roofline_plot
from vidcost.bench.report.page.row_table import row_table
from vidcost.bench.report.paper import paper_table
from vidcost.bench.report.reconciliation import reconciliation_table, term_table
from vidcost.bench.report.table import Column, Table
from vidcost.bench.report.timing import contribution_table, timing_table
from vidcost.papers.catalog import every_row, rows_of

NO_TIMINGS = (
    "No timings are stored yet: `vidcost time` makes them, on a GPU with `--device cuda`, and "
    "`vidcost run` times what two minutes on this CPU allow."
)


@dataclass(frozen=True)
class Prose:
    """A paragraph under a heading; ``items`` are more of them, ``code`` commands below.

    ``is_quiet``: small print.
    """

    text: str
    heading: str = ""
    items: tuple[str, ...] = ()
    code: tuple[str, ...] = ()
    is_quiet: bool = False


Part = Prose | Plot | HtmlTable


@dataclass(frozen=True)
class Section:
    """A section of the page, under the id ``name``; ``nav`` are its words in the navigation."""

    name: str
    nav: str
    title: str
    parts: tuple[Part, ...]


@dataclass(frozen=True)
class Headline:
    """A number at the top of the page, what it is, and the section that it comes from."""

    number: str
    words: str
    section: str


class Sections:
    """Builds the sections from what was gathered."""

    def __init__(self, found: Gathered) -> None:
        """``found`` is all there is to show."""
        self._found = found
        self._rows = dict.fromkeys((*(row.name for row in rows_of()), *found.records))

    def all(self) -> list[Section]:
        """Every section, in order.

        Raises: ValueError if the audit's findings cannot be rendered.
        """
        return [
            Section("accuracy", "Accuracy", "Accuracy against cost", (self._accuracy(),)),
            Section("tables", "Tables", "The paper's tables, counted", tuple(self._tables())),
            Section("growth", "Growth", "How cost grows with N", tuple(self._growth())),
            Section("ledger", "Ledger", "What each counter prints, explained", self._ledger()),
            Section("timings", "Timings", "Timings", tuple(self._timings())),
            Section("audit", "Audit", "What the audit found", tuple(self._audit())),
            Section("rows", "Rows", "Every row", (self._every_row(),)),
            Section("sources", "Sources", "Where every number comes from", tuple(self._sources())),
        ]

    def headlines(self) -> list[Headline]:
        """The numbers at the top."""
        found = self._found
        verdicts = verdict_counts(found.judged)
        balanced = sum(entry.balanced for entry in found.entries)
        return [
            Headline(
                str(len(found.records)), "networks counted exactly, operator by operator", "rows"
            ),
            Headline(
                f"{verdicts[Verdict.EXACT]} of {len(found.judged)}",
                f"printed figures met to their precision; {verdicts[Verdict.CLOSE]} more within 1%",
                "audit",
            ),
            Headline(
                f"{balanced} of {len(found.entries)}",
                "accounts of other counters explained to the last digit",
                "ledger",
            ),
        ]

    def _table(self, name: str, table: Table, anchored_by: str | None = None) -> HtmlTable:
        return html_table(name, table, self._rows, anchored_by=anchored_by)

    def _every_row(self) -> HtmlTable:
        return self._table("row", row_table(self._found.records), "row")

    def _accuracy(self) -> Plot:
        found = self._found
        timed = [device for device, _ in found.devices]
        return accuracy_plot(points(found.paper, found.records, timed), axes(timed))

    def _tables(self) -> Iterator[Part]:
        found = self._found
        known = every_row()
        first = paper_table(1, found.paper, known, found.records)
        yield Prose("", items=tuple(first.legend), is_quiet=True)
        for number in found.paper.titles:
            table = paper_table(number, found.paper, known, found.records)
            top1 = next(place for place, c in enumerate(table.columns) if c.key == "top1")
            columns = list(table.columns)
            columns.insert(top1 + 1, Column("top5", "Top-5 printed"))
            # the legend is that of all six, and stands above the first
            shown = without_empty_columns(replace(table, columns=columns, legend=()))
            if not any(column.key == "flops_printed" for column in shown.columns):
                none = "The paper prints no parameters and no FLOPs in this table."
                shown = replace(shown, legend=(none,))
            yield self._table(f"table-{number}", shown, "row")

    def _growth(self) -> Iterator[Part]:
        yield growth_plot(self._found.sizes)
        yield self._table("formula-claims", formula_claims(self._found.paper))

    def _ledger(self) -> tuple[Part, ...]:
        entries = self._found.entries
        return (
            ledger_plot(steps(entries)),
            self._table("ledger-rows", reconciliation_table(entries)),
            self._table("ledger-terms", term_table(entries)),
        )

    def _timings(self) -> Iterator[Part]:
        if not self._found.devices:
            yield Prose(NO_TIMINGS)
        for device, found in self._found.devices:
            yield from self._timings_of(device, found)

    def _timings_of(self, device: Device, found: Roofline) -> Iterator[Part]:
        name = anchor(device.name)
        drawn = (latency_plot(device), roofline_plot(device, found))
        yield Prose("", heading=device.name, items=(*device.notes, *found.left_out), is_quiet=True)
        yield from (plot for plot in drawn if plot is not None)
        alone = [timing for timing in device.timings if not timing.cell.is_pair]
        known = every_row()
        # of a share the network without its blocks is counted, which runs no code of users here
        shares = [
            t
            for t in device.timings
            if t.cell.contribution and t.cell.row in known and not t.cell.code
        ]
        if alone:
            yield self._table(f"timings-{name}", timing_table(alone))
        if shares:
            yield self._table(f"shares-{name}", contribution_table(shares))

    def _audit(self) -> Iterator[Part]:
        found = self._found
        for number, each in enumerate(findings(found.paper, found.judged), start=1):
            words = [re.sub(r"^(Equal|Differs):", r"**\1:**", text) for text in each.paragraphs]
            mark = (f"**{each.mark}**",) if each.mark else ()
            yield Prose("", f"{number}. {each.title}", (*mark, *words), each.commands)
        yield self._table("audit-figures", figure_table(found.judged))
        yield self._table("audit-claims", claim_table(judge_claims(found.paper)))

    def _sources(self) -> Iterator[Part]:
        yield self._table("sources-table", _source_table(self._found.sources))


def _source_table(found: tuple[Source, ...]) -> Table:
    return Table(
        title="Sources",
        columns=(
            Column("what", "What"),
            Column("command", "Made by"),
            Column("where", "Stored in"),
            Column("versions", "With"),
            Column("device", "On"),
            Column("date", "Date"),
        ),
        lines=[{key: value or None for key, value in vars(source).items()} for source in found],
        legend=(
            "Date: when it was measured; of a file that does not say it, when it was committed.",
        ),
    )

"""The sections of the page: prose, plots and tables, in order."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import torch

from vidcost.bench.audit.verdicts import Verdict
from vidcost.bench.report.audit.claims import judge_claims
from vidcost.bench.report.audit.findings import findings
from vidcost.bench.report.audit.tables import claim_table, figure_table, verdict_counts
from vidcost.bench.report.formulas import value_table, verdict_table
from vidcost.bench.report.page.data import Data, Device, sources
from vidcost.bench.report.page.html_table import (
    HtmlTable,
    anchor,
    html_table,
    without_empty_columns,
)
from vidcost.bench.report.paper import REFERENCE_COUNTERS, paper_table
from vidcost.bench.report.plots.accuracy import accuracy_plot
from vidcost.bench.report.plots.growth import growth_plot
from vidcost.bench.report.plots.latency import latency_plot
from vidcost.bench.report.plots.plot import Plot
from vidcost.bench.report.plots.reconciliation import reconciliation_plot
from vidcost.bench.report.plots.roofline import roofline, roofline_plot
from vidcost.bench.report.reconciliation import reconciliation_table, term_table
from vidcost.bench.report.table import Column, Table, billions, integer, millions
from vidcost.bench.report.timing import contribution_table, timing_table
from vidcost.papers.catalog import printed_rows, rows_beside, tables_of

NO_TIMINGS = (
    "No timings are stored yet: `vidcost time` makes them, on a GPU with `--device cuda`, and "
    "`vidcost run` times as much as two minutes on this CPU allow."
)


@dataclass(frozen=True)
class Prose:
    """Paragraphs under a heading, with commands below; ``is_quiet`` is small print."""

    paragraphs: tuple[str, ...]
    heading: str = ""
    commands: tuple[str, ...] = ()
    is_quiet: bool = False


Part = Prose | Plot | HtmlTable


@dataclass(frozen=True)
class Section:
    """A section of the page, under the id ``name``; ``nav`` are its words in the navigation."""

    name: str
    nav: str
    title: str
    parts: tuple[Part, ...]

    @property
    def plots(self) -> list[Plot]:
        """The plots among its parts."""
        return [part for part in self.parts if isinstance(part, Plot)]


@dataclass(frozen=True)
class Headline:
    """A number at the top of the page, its words, and the section that it comes from."""

    number: str
    words: str
    section: str


class Sections:
    """Builds the sections from the gathered data."""

    def __init__(self, data: Data) -> None:
        """``data`` is all that is shown."""
        self._data = data
        self._known = {row.name: row for row in rows_beside(data.records)}
        self._rows = dict.fromkeys((*self._known, *data.records))

    def all(self) -> list[Section]:
        """Every section, in order.

        Raises: FindingGone if a finding of the audit no longer holds.
        """
        return [
            self._section("accuracy", "Accuracy", "Accuracy against cost", self._accuracy()),
            self._section("tables", "Tables", "The paper's tables, counted", self._tables()),
            self._section("growth", "Growth", "How cost grows with N", self._growth()),
            self._section(
                "reconciliation",
                "Reconciliation",
                "What each counter prints, explained",
                self._reconciliation(),
            ),
            self._section("timings", "Timings", "Timings", self._timings()),
            self._section("audit", "Audit", "What the audit found", self._audit()),
            self._section("rows", "Rows", "Every row", self._every_row()),
            self._section("sources", "Sources", "Where every number comes from", self._sources()),
        ]

    def headlines(self) -> list[Headline]:
        """The numbers at the top."""
        data = self._data
        verdicts = verdict_counts(data.judged)
        balanced = sum(entry.balanced for entry in data.entries)
        return [
            Headline(
                str(len(data.records)), "networks counted exactly, operator by operator", "rows"
            ),
            Headline(
                f"{verdicts[Verdict.EXACT]} of {len(data.judged)}",
                f"printed figures met to their precision; {verdicts[Verdict.CLOSE]} more within 1%",
                "audit",
            ),
            Headline(
                f"{balanced} of {len(data.entries)}",
                "figures of other counters explained to the last digit",
                "reconciliation",
            ),
        ]

    def _section(self, name: str, nav: str, title: str, parts: Iterable[Part | None]) -> Section:
        return Section(name, nav, title, tuple(part for part in parts if part is not None))

    def _table(self, name: str, table: Table, anchored_by: str | None = None) -> HtmlTable:
        return html_table(name, table, self._rows, anchored_by=anchored_by)

    def _accuracy(self) -> Iterator[Part | None]:
        data = self._data
        yield accuracy_plot(data.paper, data.records, data.devices)

    def _tables(self) -> Iterator[Part]:
        data = self._data
        rows = printed_rows(data.paper.name)
        tables = {
            number: paper_table(number, data.paper, rows, data.records)
            for number in data.paper.titles
        }
        # one legend for all
        yield Prose(tuple(next(iter(tables.values())).legend), is_quiet=True)
        for number, table in tables.items():
            columns = list(table.columns)
            top1 = next(place for place, each in enumerate(columns) if each.key == "top1")
            columns.insert(top1 + 1, Column("top5", "Top-5 printed"))
            shown = without_empty_columns(replace(table, columns=columns, legend=()))
            if not any(column.key == "flops_printed" for column in shown.columns):
                none = "The paper prints no parameters and no FLOPs in this table."
                shown = replace(shown, legend=(none,))
            yield self._table(f"table-{number}", shown, "row")

    def _growth(self) -> Iterator[Part]:
        if self._data.paper.growth:
            yield growth_plot(self._data.paper.growth)
        with torch.device("meta"):
            yield self._table("formula-values", value_table())
            yield self._table("formula-claims", verdict_table())

    def _reconciliation(self) -> Iterator[Part | None]:
        entries = self._data.entries
        yield reconciliation_plot(entries, self._data.paper.shown_first)
        yield self._table("reconciliation-rows", reconciliation_table(entries))
        yield self._table("reconciliation-terms", term_table(entries))

    def _timings(self) -> Iterator[Part | None]:
        if not self._data.devices:
            yield Prose((NO_TIMINGS,))
        for device in self._data.devices:
            yield from self._timings_of(device)

    def _timings_of(self, device: Device) -> Iterator[Part | None]:
        name = anchor(device.name)
        reached = roofline(device)
        notes = (*device.notes, *reached.left_out)
        yield Prose(notes, heading=device.name, is_quiet=True)
        yield latency_plot(device)
        yield roofline_plot(device, reached)
        alone = [timing for timing in device.timings if not timing.cell.is_pair]
        # a contribution is counted without its blocks, and the page runs no code of users
        contributions = [
            t
            for t in device.timings
            if t.cell.contribution and t.cell.row in self._known and not t.cell.code
        ]
        if alone:
            yield self._table(f"timings-{name}", timing_table(alone))
        if contributions:
            yield self._table(f"contributions-{name}", contribution_table(contributions))

    def _audit(self) -> Iterator[Part]:
        data = self._data
        for number, each in enumerate(findings(data.paper, data.judged), start=1):
            words = tuple(
                re.sub(r"^(Equal|Differs):", r"**\1:**", text)
                for text in (each.equal, each.differs)
            )
            yield Prose(words, f"{number}. {each.title}", each.commands)
        yield self._table("audit-figures", figure_table(data.judged))
        yield self._table("audit-claims", claim_table(judge_claims(data.paper)))

    def _every_row(self) -> Iterator[Part]:
        yield self._table("row", self._row_table(), "row")

    def _row_table(self) -> Table:
        """A line for each row that is stored or known, also one that cannot be built."""
        footnotes = {}
        lines: list[dict[str, Any]] = []
        for index, name in enumerate(self._rows):
            row, record = self._known.get(name), self._data.records.get(name)
            if row and row.note:
                footnotes[index, "row"] = row.note
            tables = ", ".join(map(str, tables_of(name)))
            line: dict[str, Any] = {"row": name, "tables": tables or None}
            if record:
                keys = ("classes", "params", "macs", "matmul", "norm", "closed_forms")
                line |= {key: getattr(record, key) for key in keys}
                line |= {
                    "inputs": " + ".join("×".join(map(str, clip)) for clip in record.inputs),
                    **{
                        name: answer.flops
                        for name in REFERENCE_COUNTERS
                        if (answer := record.reference_counters.get(name))
                    },
                }
            lines.append(line)
        return Table(
            title="Every row",
            columns=(
                Column("row", "Row"),
                Column("tables", "In Table"),
                Column("inputs", "Input, C×T×H×W"),
                Column("classes", "Classes", integer),
                Column("params", "Params", millions),
                Column("macs", "MACs", billions),
                Column("matmul", "of which attention", billions),
                *(Column(name, name, billions) for name in REFERENCE_COUNTERS),
                Column("norm", "Normalised elements", integer),
                Column("closed_forms", "Closed forms equal", integer),
            ),
            lines=lines,
            footnotes=footnotes,
            legend=(
                "Closed forms equal: modules whose count is the integer that the block's own "
                "formula gives. `vidcost count ROW` counts one anew.",
            ),
        )

    def _sources(self) -> Iterator[Part]:
        table = Table(
            title="Sources",
            columns=(
                Column("what", "Numbers"),
                Column("command", "Made by"),
                Column("where", "Stored in"),
                Column("versions", "With"),
                Column("device", "On"),
                Column("date", "Date"),
            ),
            lines=sources(self._data),
            legend=("Date: when it was measured; of a file without dates, when it was committed.",),
        )
        yield self._table("sources-table", table)

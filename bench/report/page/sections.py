"""The sections of the page: prose, plots and tables, in order."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace

from vidcost.bench.audit import Verdict, judge_claims
from vidcost.bench.report.audit import claim_table, figure_table, findings, verdict_counts
from vidcost.bench.report.blocks import impl_table, is_pair_of_implementations
from vidcost.bench.report.counts import count_table, list_table
from vidcost.bench.report.formulas import formula_claims
from vidcost.bench.report.page.data import Data, Device, sources
from vidcost.bench.report.page.html_table import (
    HtmlTable,
    anchor,
    html_table,
    without_empty_columns,
)
from vidcost.bench.report.paper import paper_table
from vidcost.bench.report.plots.accuracy import accuracy_plot
from vidcost.bench.report.plots.device import latency_plot, roofline_plot
from vidcost.bench.report.plots.growth import growth_plot
from vidcost.bench.report.plots.plot import Plot
from vidcost.bench.report.plots.reconciliation import reconciliation_plot
from vidcost.bench.report.reconciliation import reconciliation_table, term_table
from vidcost.bench.report.table import Column, Table
from vidcost.bench.report.timing import contribution_table, timing_table
from vidcost.papers.catalog import printed_rows, rows_beside

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
    """A section of the page, under its name in lower case as id."""

    name: str
    title: str
    parts: tuple[Part, ...]

    @property
    def plots(self) -> list[Plot]:
        """The plots among its parts."""
        return [part for part in self.parts if isinstance(part, Plot)]


@dataclass(frozen=True)
class Headline:
    """A number at the top of the page, its words, and the id of the section it comes from."""

    number: str
    words: str
    section: str


def headlines(data: Data) -> list[Headline]:
    """The numbers at the top."""
    verdicts = verdict_counts(data.judged)
    exact = f"{verdicts[Verdict.EXACT]} of {len(data.judged)}"
    met = f"printed figures met to their precision; {verdicts[Verdict.CLOSE]} more within 1%"
    balanced = f"{sum(entry.balanced for entry in data.entries)} of {len(data.entries)}"
    explained = "figures of other counters explained to the last digit"
    counted = "networks counted exactly, operator by operator"
    return [
        Headline(str(len(data.records)), counted, "rows"),
        Headline(exact, met, "audit"),
        Headline(balanced, explained, "reconciliation"),
    ]


def sections(data: Data) -> list[Section]:
    """Every section, in order.

    Raises: ValueError if there is something that does not go into one table.
    """
    known = {row.name: row for row in rows_beside(data.records)}
    rows = dict.fromkeys((*known, *data.records))

    def table(name: str, table: Table, anchored_by: str | None = None) -> HtmlTable:
        return html_table(name, table, rows, anchored_by=anchored_by)

    def accuracy() -> Iterator[Part | None]:
        yield accuracy_plot(data.paper, data.records, data.devices)

    def tables() -> Iterator[Part]:
        printed = printed_rows(data.paper)
        for place, number in enumerate(data.paper.titles):
            each = paper_table(number, data.paper, printed, data.records)
            if place == 0:
                # one legend for all
                yield Prose(tuple(each.legend), is_quiet=True)
            columns = list(each.columns)
            top1 = [column.key for column in columns].index("top1")
            columns.insert(top1 + 1, Column("top5", "Top-5 printed"))
            shown = without_empty_columns(replace(each, columns=columns, legend=()))
            if number not in data.paper.cost_tables:
                none = "The paper prints no parameters and no FLOPs in this table."
                shown = replace(shown, legend=(none,))
            yield table(f"table-{number}", shown, "row")

    def growth() -> Iterator[Part]:
        if data.paper.growth:
            yield growth_plot(data.paper.growth)
        yield table("formula-claims", formula_claims(data.paper))

    def reconciliation() -> Iterator[Part | None]:
        yield reconciliation_plot(data.entries, data.paper.shown_first)
        yield table("reconciliation-rows", reconciliation_table(data.entries))
        yield table("reconciliation-terms", term_table(data.entries))

    def timings() -> Iterator[Part | None]:
        if not data.devices:
            yield Prose((NO_TIMINGS,))
        for device in data.devices:
            yield from of_device(device)

    def of_device(device: Device) -> Iterator[Part | None]:
        name = anchor(device.name)
        yield Prose(device.notes, heading=device.name, is_quiet=True)
        yield latency_plot(device)
        yield roofline_plot(device)
        alone = [timing for timing in device.timings if not timing.cell.is_pair]
        if alone:
            yield table(f"timings-{name}", timing_table(alone))
        implementations = [*filter(is_pair_of_implementations, device.timings)]
        if implementations:
            yield table(f"implementations-{name}", impl_table(implementations))
        # a contribution is counted without its blocks, and the page runs no code of users
        pairs = [t for t in device.timings if t.cell.contribution and not t.cell.code]
        pairs = [timing for timing in pairs if timing.cell.row in known]
        if pairs:
            yield table(f"contributions-{name}", contribution_table(pairs))

    def audit() -> Iterator[Part]:
        for number, each in enumerate(findings(data.paper, data.judged), start=1):
            words = [re.sub(r"^(Equal|Differs):", r"**\1:**", text) for text in each.paragraphs]
            mark = (f"**{each.mark}**",) if each.mark else ()
            yield Prose((*mark, *words), f"{number}. {each.title}", each.commands)
        yield table("audit-figures", figure_table(data.judged))
        yield table("audit-claims", claim_table(judge_claims(data.paper)))

    def every_row() -> Iterator[Part]:
        counts = count_table([*data.records.values()])
        lines = [*counts.lines, *({"row": name} for name in rows if name not in data.records)]
        yield table("row", replace(counts, lines=lines), "row")
        yield table("inputs", list_table(known.values()))

    def provenance() -> Iterator[Part]:
        legend = "Date: when it was measured; of a file without dates, when it was committed."
        columns = (
            Column("what", "Numbers"),
            Column("command", "Made by"),
            Column("where", "Stored in"),
            Column("versions", "With"),
            Column("device", "On"),
            Column("date", "Date"),
        )
        yield table("sources-table", Table("Sources", columns, sources(data), legend=(legend,)))

    parts = {
        ("Accuracy", "Accuracy against cost"): accuracy,
        ("Tables", "The paper's tables, counted"): tables,
        ("Growth", "How cost grows with N"): growth,
        ("Reconciliation", "What each counter prints, explained"): reconciliation,
        ("Timings", "Timings"): timings,
        ("Audit", "What the audit found"): audit,
        ("Rows", "Every row"): every_row,
        ("Sources", "Where every number comes from"): provenance,
    }
    return [
        Section(name, title, tuple(part for part in make() if part is not None))
        for (name, title), make in parts.items()
    ]

"""The page: stored results as one HTML file that works offline and needs nothing beside it."""

import datetime
import re
import urllib.parse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

import jinja2
import vl_convert
from markupsafe import Markup, escape

from vidcost.bench.audit import Judged, judge, judge_claims
from vidcost.bench.count import record
from vidcost.bench.count.reconcile import Entry, reconcile, with_stored_answers
from vidcost.bench.count.record import Record
from vidcost.bench.report.audit import Finding, claim_table, figure_table, findings
from vidcost.bench.report.plots import Plot, accuracy_plot, anchor
from vidcost.bench.report.reconciliation import reconciliation_table
from vidcost.bench.report.table import MISSING, Column, Table, billions, millions, percent
from vidcost.bench.report.timing import timing_table
from vidcost.bench.timing.record import Timing
from vidcost.bench.timing.store import stored_by_device
from vidcost.papers import catalog
from vidcost.papers.figures import Paper

_NUMBER = re.compile(r">?(?P<digits>-?[\d,]+(?:\.\d+)?)(?P<unit>[kMGT%]?)")
_UNITS = {"": 1.0, "k": 1e3, "M": 1e6, "G": 1e9, "T": 1e12, "%": 1.0}
_CODE = re.compile(r"`([^`]+)`")
_POWER = re.compile(r"\^(\d+|[A-Za-z]|\(.+?\))")
_STRONG = re.compile(r"\*\*(.+?)\*\*|^(Equal|Differs):")


@dataclass(frozen=True)
class Data:
    """The data of a page; ``devices`` are the timings by the name of the device."""

    paper: Paper
    records: Mapping[str, Record]
    entries: Sequence[Entry]
    devices: Mapping[str, Sequence[Timing]]
    judged: Sequence[Judged]


def gather(results: Path) -> Data:
    """Count every row, and read from ``results`` the answers of other counters and timings.

    No other counter is asked, nothing is timed.
    Raises: ValueError if a file is damaged; ClosedFormMismatch; UncountedOperator.
    """
    stored = record.read(results)
    rows = [row for row in catalog.rows_beside(stored) if row.build]
    examined = [with_stored_answers(row, stored) for row in rows]
    paper = catalog.paper()
    return Data(
        paper=paper,
        records={each.record.row: each.record for each in examined},
        entries=[entry for each in examined for entry in reconcile(each)],
        devices=stored_by_device(results),
        judged=judge(paper),
    )


@dataclass(frozen=True)
class Shown:
    """A table of the page. ``name`` is its id; ``anchored``: its lines are where links lead."""

    name: str
    table: Table
    anchored: bool = False


Part = Finding | Plot | Shown


@dataclass(frozen=True)
class Section:
    """A section of the page; its name in lower case is its id. ``is_folded``: closed at first.

    ``text`` stands in it if it has no parts.
    """

    name: str
    title: str
    parts: Sequence[Part]
    is_folded: bool = False
    text: str = ""


def sections(data: Data) -> list[Section]:
    """Four sections that everybody reads, then those for a question, folded.

    Raises: ValueError if there is something that does not go into one table.
    """
    accuracy = accuracy_plot(data.paper, data.records, data.devices)
    timed = {name: timing_table(each) for name, each in data.devices.items()}
    latencies = [Shown(anchor(n), replace(t, title=n)) for n, t in timed.items() if t.lines]
    reconciled = [Shown("reconciliation-rows", reconciliation_table(data.entries))]
    audit = (
        Shown("audit-figures", figure_table(data.judged)),
        Shown("audit-claims", claim_table(judge_claims(data.paper))),
    )
    return [
        Section("Findings", "What the audit found", findings(data.paper, data.judged)),
        Section("Accuracy", "Accuracy against cost", [accuracy] if accuracy else []),
        Section("Networks", "Every network", [Shown("row", _networks(data), anchored=True)]),
        Section("Timings", "Latency", latencies, text="No timings: `vidcost time` makes them."),
        Section("Audit", "Every printed figure and claim", audit, is_folded=True),
        Section("Reconciliation", "What each counter prints", reconciled, is_folded=True),
    ]


def _networks(data: Data) -> Table:
    """Every row once: as counted, and as its paper last prints it."""
    figures = sorted(data.paper.figures, key=lambda figure: figure.flops is not None)
    printed = {figure.row: figure for figure in figures}
    lines = []
    footnotes = {}
    for index, row in enumerate(catalog.rows_beside(data.records)):
        line: dict[str, Any] = {"row": row.name}
        if row.note:
            footnotes[index, "row"] = row.note
        line["input"] = " + ".join("x".join(map(str, clip)) for clip in row.inputs)
        record, figure = data.records.get(row.name), printed.get(row.name)
        if record is not None:
            line |= {"params": record.params, "macs": record.macs}
            line["attention"] = record.matmul / record.macs
        if figure is not None:
            line |= {"top1": figure.top1, "flops_printed": figure.flops and figure.flops.printed}
        lines.append(line)
    return Table(
        title="",
        columns=(
            Column("row", "Network"),
            Column("input", "Input"),
            Column("params", "Params", millions),
            Column("macs", "MACs", billions),
            Column("attention", "of which attention", percent),
            Column("flops_printed", "FLOPs printed", str),
            Column("top1", "Top-1 printed", str),
        ),
        lines=lines,
        footnotes=footnotes,
        legend=("One clip, batch 1. Attention: the products of two activations.",),
    )


def page(sections: Sequence[Section], data: Data) -> str:
    """The HTML of the page; every text in it stays text."""
    environment = jinja2.Environment(
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        loader=jinja2.FunctionLoader(_asset),
    )
    environment.filters |= {"marked": marked, "powers": powers}
    environment.tests["plot"] = lambda part: isinstance(part, Plot)
    environment.tests["finding"] = lambda part: isinstance(part, Finding)
    return environment.get_template("report.html.j2").render(
        sections=sections,
        rows={row.name for row in catalog.rows_beside(data.records)},
        anchor=anchor,
        cell=_cell,
        data_url=lambda plot: "data:text/csv;charset=utf-8," + urllib.parse.quote(plot.csv),
        paper=data.paper.paper,
        made=f"{datetime.datetime.now(datetime.UTC):%Y-%m-%d %H:%M UTC}",
        style=Markup(_asset("report.css")),
        scripts=[script(_vega()), script(_asset("report.js"))],
    )


def _cell(
    table: Table, index: int, column: Column, notes: list[str], rows: set[str]
) -> dict[str, Any]:
    """A cell for the template: its text, sort key, row that it links to, and number of a note."""
    line = table.lines[index]
    value = line.get(column.key)
    note = table.footnotes.get((index, column.key))
    # a method is a row as the paper prints it
    row = line.get("row") if column.key == "method" else value
    return {
        "text": MISSING if value is None else column.format(value),
        "sort": sort_value(value),
        "title": f"{value:,}" if isinstance(value, int) else "",
        "equal": (index, column.key) in table.equal,
        "note": notes.index(note) + 1 if note else None,
        "row": row if isinstance(row, str) and row in rows else "",
    }


def sort_value(value: Any) -> float | None:
    """The sort key of a number, also of a printed one, such as 11.176G or 78.35%; else None."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        return float(value)
    if isinstance(value, str) and (match := _NUMBER.fullmatch(value)):
        return float(match["digits"].replace(",", "")) * _UNITS[match["unit"]]
    return None


def marked(text: str) -> Markup:
    """Text with `code` and **strong** words; all else in it stays as it is."""
    with_code = _CODE.sub(r"<code>\1</code>", str(escape(text)))
    return Markup(
        _STRONG.sub(lambda match: f"<strong>{match[1] or match[2] + ':'}</strong>", with_code)
    )


def powers(text: str) -> Markup:
    """Text with exponents, as in 2C^3N, set high."""
    return Markup(_POWER.sub(r"<sup>\1</sup>", str(escape(text))))


def script(code: str) -> Markup:
    """JavaScript for a page: nothing in it ends the element."""
    return Markup(re.sub(r"</(?=script)|<(?=!--)", r"\\x3c", code, flags=re.IGNORECASE))


def _asset(name: str) -> str:
    return (files("vidcost.bench.report") / "assets" / name).read_text(encoding="utf-8")


@cache
def _vega() -> str:
    return vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;")

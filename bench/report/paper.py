"""The paper's tables with our counts beside the printed figures."""

from collections.abc import Iterable, Mapping
from typing import Any, get_args

from vidcost.bench.audit import CONVENTIONS
from vidcost.bench.count.record import Record
from vidcost.bench.report.table import Cell, Column, Table, billions, integer, millions, words
from vidcost.papers import catalog
from vidcost.papers.figures import Kind, Paper, PrintedRow
from vidcost.papers.row import Row
from vidcost.papers.source import files, source

_REFERENCE_COUNTERS = CONVENTIONS[1:]
_COLUMNS = (
    Column("method", "Method"),
    Column("top1", "Top-1 printed", is_wide=True),
    Column("params_printed", "Params printed", str),
    Column("params", "Params", millions),
    Column("flops_printed", "FLOPs printed", str),
    Column("fvcore", "fvcore", billions, is_wide=True),
    Column("thop", "thop", billions, is_wide=True),
    Column("thop-2020", "thop 2020 rebuilt", billions, is_wide=True),
    Column("macs", "MACs", billions),
    Column("equal", "Met by", words),
    Column("matmul", "of which attention", billions, is_wide=True),
)


def paper_table(
    number: int | str, paper: Paper, rows: Mapping[str, Row], records: Mapping[str, Record]
) -> Table:
    """Table ``number`` of the paper: as printed, and as counted.

    ``records`` must hold every row of the table that can be built.
    Raises: ValueError if there is no such table.
    """
    lines: list[dict[str, Any]] = []
    equal: set[Cell] = set()
    footnotes: dict[Cell, str] = {}
    for index, printed in enumerate(paper.table(number)):
        row, record = rows[printed.row], records.get(printed.row)
        met = met_by(printed, record) if record else []
        equal |= {(index, key) for key in met}
        line = {
            "table": printed.table,
            "method": printed.label,
            "row": printed.row,
            "top1": printed.top1,
            "top5": printed.top5,
            "params_printed": printed.params and printed.params.printed,
            "flops_printed": printed.flops and printed.flops.printed,
            **_ours(record),
            "equal": sorted(met),
        }
        lines.append(line)
        if row.note:
            footnotes[index, "method"] = row.note
        for kind in get_args(Kind):
            note, column = getattr(printed.note, kind), f"{kind}_printed"
            if note or line[column] is None:
                footnotes[index, column] = note or "the paper prints no such figure"
        if record is None:
            footnotes |= {(index, key): row.note for key in ("params", "matmul", *CONVENTIONS)}
        else:
            footnotes |= {
                (index, name): f"{name} {answer.status}: {answer.error}"
                for name, answer in record.reference_counters.items()
                if answer.error
            }
    return Table(
        title=f"Table {number}: {paper.titles[number]}",
        columns=_COLUMNS,
        lines=lines,
        equal=frozenset(equal),
        footnotes=footnotes,
        legend=_legend(records.values()),
    )


def papers_table() -> Table:
    """The papers, how many rows each has and claims; sources, and what each prints of networks."""
    papers: list[dict[str, Any]] = [
        {
            "paper": paper.name,
            "source": paper.paper,
            "tables": ", ".join(map(str, paper.titles)),
            "printed": sum(len([*each.figures()]) for each in paper.figures),
            "rows": len(catalog.rows_of(paper.name)),
            "claims": len(paper.claims),
        }
        for paper in map(catalog.paper, catalog.folders())
    ]
    sources: list[dict[str, Any]] = [
        {
            "paper": each.name,
            "source": each.source,
            "printed": sum(bool(p.params) + bool(p.flops) for p in each.prints()),
            "rows": len(catalog.rows_of(each.name)) if each.name in catalog.with_rows() else None,
        }
        for each in map(source, files())
    ]
    return Table(
        title="Papers and published tables",
        columns=(
            Column("paper", "Name"),
            Column("tables", "Tables"),
            Column("printed", "Costs printed", integer),
            Column("rows", "Rows", integer),
            Column("claims", "Claims", integer),
            Column("source", "Source", is_wide=True),
        ),
        lines=papers + sources,
    )


def met_by(printed: PrintedRow, record: Record) -> list[str]:
    """The columns of ours that equal a printed figure to its precision.

    ``params`` is compared with the printed parameters, each convention with the printed FLOPs.
    """
    ours = _ours(record)
    compared = ((printed.params, ("params",)), (printed.flops, CONVENTIONS))
    return [
        key
        for figure, keys in compared
        for key in keys
        if figure is not None and (value := ours[key]) is not None and figure.equals(value)
    ]


def _ours(record: Record | None) -> dict[str, int | None]:
    ours = {key: getattr(record, key, None) for key in ("params", "macs", "matmul")}
    answers = record.reference_counters if record else {}
    return ours | {c: answers[c].flops if c in answers else None for c in _REFERENCE_COUNTERS}


def _legend(records: Iterable[Record]) -> list[str]:
    versions = {
        f"{name} {answer.version}"
        for record in records
        for name, answer in record.reference_counters.items()
        if name in _REFERENCE_COUNTERS
    }
    return [
        "✓ equals the printed figure to its precision. Batch 1. MACs: multiply-accumulates of "
        "convolutions, linear layers and matrix products, exact; attention: the products of two "
        "activations among them. fvcore and thop: as they print, each in its own convention "
        f"({', '.join(sorted(versions))}); thop 2020: that of May 2020, re-implemented. "
        "An en dash: no figure."
    ]

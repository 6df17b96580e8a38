"""The table of all rows: where each stands, what it costs, what is assumed of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from vidcost.bench.count.record import Record
from vidcost.bench.report.paper import REFERENCE_COUNTERS
from vidcost.bench.report.table import Column, Table, billions, integer, millions
from vidcost.papers.catalog import rows_of, tables_of


def row_table(records: Mapping[str, Record]) -> Table:
    """A line for each row that is stored or known, also one that cannot be built."""
    known = {row.name: row for row in rows_of()}
    footnotes = {}
    lines: list[dict[str, Any]] = []
    for index, name in enumerate(dict.fromkeys((*known, *records))):
        row, record = known.get(name), records.get(name)
        if row and row.note:
            footnotes[index, "row"] = row.note
        line: dict[str, Any] = {
            "row": name,
            "tables": ", ".join(map(str, tables_of(name))) or None,
        }
        if record:
            line |= {
                "inputs": " + ".join("×".join(map(str, clip)) for clip in record.inputs),
                "classes": record.classes,
                "params": record.params,
                "macs": record.macs,
                "matmul": record.matmul,
                "norm": record.norm,
                "closed_forms": record.closed_forms,
            } | {
                name: answer.flops
                for name in REFERENCE_COUNTERS
                if (answer := record.reference_counters.get(name)) is not None
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
            Column("fvcore", "fvcore", billions),
            Column("thop", "thop", billions),
            Column("thop-2020", "thop 2020", billions),
            Column("norm", "Normalised elements", integer),
            Column("closed_forms", "Closed forms equal", integer),
        ),
        lines=lines,
        footnotes=footnotes,
        legend=(
            "Closed forms equal: modules whose count is the integer that the block's own formula "
            "gives. `vidcost count ROW` counts one anew, `vidcost show ROW` its modules.",
        ),
    )

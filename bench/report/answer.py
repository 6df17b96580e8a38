"""The answer to a question in SQL: as a table, as JSON, as CSV."""

from __future__ import annotations

import csv
import datetime
import io
import json
import math
from decimal import Decimal
from typing import Any

from vidcost.bench.query.connection import Answer
from vidcost.bench.query.views import VIEWS
from vidcost.bench.report.table import Column, Table, text


def answer_table(answer: Answer) -> Table:
    """The answer for people."""
    written = [number if numeric else _words for numeric in answer.numeric]
    return Table(
        title="",
        columns=[
            Column(name, name, text if format_ is _words else format_)
            for name, format_ in zip(answer.columns, written, strict=True)
        ],
        lines=[
            {
                name: value if value is None or numeric else _words(value)
                for name, numeric, value in zip(answer.columns, answer.numeric, line, strict=True)
            }
            for line in answer.lines
        ],
    )


def answer_json(answer: Answer) -> str:
    """A list of objects; what JSON has no word for is text, NaN and infinity are null."""
    lines = [dict(zip(answer.columns, map(_plain, line), strict=True)) for line in answer.lines]
    return json.dumps(lines, indent=2, ensure_ascii=False) + "\n"


def answer_csv(answer: Answer) -> str:
    """A heading and the lines; a missing value is empty, a list or struct is JSON."""
    written = io.StringIO()
    to = csv.writer(written, lineterminator="\n")
    to.writerow(answer.columns)
    to.writerows([None if v is None else _words(v) for v in line] for line in answer.lines)
    return written.getvalue()


def view_table() -> Table:
    """The views with their columns, types and meanings."""
    keys = {"view": "View", "column": "Column", "type": "Type", "meaning": "Meaning"}
    return Table(
        title="Views",
        columns=[Column(key, heading) for key, heading in keys.items()],
        lines=[
            {"view": view.name, "column": c.name, "type": c.type, "meaning": c.meaning}
            for view in VIEWS
            for c in view.columns
        ],
        legend=[f"{view.name}: a line is {view.line}." for view in VIEWS],
    )


def export_table(lines: list[dict[str, Any]]) -> Table:
    """What was exported: by view the file, its lines and bytes."""
    return Table(
        title="Written",
        columns=(
            Column("view", "View"),
            Column("file", "File"),
            Column("lines", "Lines", number),
            Column("bytes", "Bytes", number),
        ),
        lines=lines,
    )


def number(value: float | Decimal) -> str:
    """7842568 -> 7,842,568; 0.0123456789 -> 0.0123457: six digits, and all before the point."""
    if isinstance(value, int):
        return f"{value:,}"
    value = float(value)
    return f"{value:,.0f}" if 1e6 <= abs(value) < 1e15 else f"{value:,.6g}"


def _plain(value: Any) -> Any:
    """A value as JSON has it."""
    match value:
        case None | bool() | int() | str():
            return value
        case float():
            return value if math.isfinite(value) else None
        case Decimal():
            return int(value) if value == value.to_integral_value() else float(value)
        case datetime.datetime() | datetime.date() | datetime.time():
            return value.isoformat()
        case list() | tuple():
            return [_plain(each) for each in value]
        case dict():
            return {str(_plain(key)): _plain(each) for key, each in value.items()}
        case bytes():
            return value.hex()
        case _:
            return str(value)


def _words(value: Any) -> str:
    """A value in a cell."""
    if isinstance(value, float):
        return repr(value)
    plain = _plain(value)
    return plain if isinstance(plain, str) else json.dumps(plain, ensure_ascii=False)

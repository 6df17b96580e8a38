"""The answer to an SQL query as a table."""

from __future__ import annotations

from vidcost.bench.query import Answer
from vidcost.bench.report.table import Column, Table, text


def answer_table(answer: Answer) -> Table:
    """The columns and rows of ``answer``."""
    return Table(
        title="",
        columns=[
            Column(name, name, number if numeric else text)
            for name, numeric in zip(answer.columns, answer.numeric, strict=True)
        ],
        lines=[dict(zip(answer.columns, row, strict=True)) for row in answer.rows],
    )


def number(value: float) -> str:
    """7842568 -> 7,842,568; 0.0123456789 -> 0.0123457: six digits, and all before the point."""
    if isinstance(value, int):
        return f"{value:,}"
    return f"{value:,.0f}" if 1e6 <= abs(value) < 1e15 else f"{value:,.6g}"

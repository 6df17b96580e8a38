"""A table as HTML: sortable raw values behind the text that people read."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from typing import Any

from vidcost.bench.report.table import MISSING, Column, Table

_NUMBER = re.compile(r">?(?P<digits>-?[\d,]+(?:\.\d+)?)(?P<unit>[kMGT%]?)")
_UNITS = {"": 1.0, "k": 1e3, "M": 1e6, "G": 1e9, "T": 1e12, "%": 1.0}
ROW_KEYS = ("row", "target", "largest_row")
"""Columns whose value may be the name of a row."""
LABEL_KEYS = ("method", "label")
"""Columns whose value is a label of the line's ``row``."""


@dataclass(frozen=True)
class HtmlCell:
    """A cell: its text, its sort key, whether it equals the printed figure, its notes' numbers.

    ``sort`` is None for text that is no number. ``link`` is an anchor, empty for none.
    """

    text: str
    sort: float | None
    equal: bool
    note: int | None
    link: str


@dataclass(frozen=True)
class HtmlTable:
    """A table for the page. ``anchors`` are the ids of its lines, empty for none.

    ``headings`` are the columns' headings, with whether they are set flush left.
    """

    name: str
    title: str
    headings: tuple[tuple[str, bool], ...]
    lines: tuple[tuple[HtmlCell, ...], ...]
    anchors: tuple[str, ...]
    notes: tuple[str, ...]
    legend: tuple[str, ...]


def anchor(*words: str) -> str:
    """An id for a link: letters, digits, dots, dashes and underscores."""
    return re.sub(r"[^\w.-]+", "-", "-".join(words), flags=re.ASCII)


def html_table(
    name: str, table: Table, rows: Collection[str], *, anchored_by: str | None = None
) -> HtmlTable:
    """``table`` under the id ``name``; names among ``rows`` are links to their row.

    ``anchored_by`` is the key whose value, after ``name``, is the id of a line.
    """
    notes = table.distinct_notes()
    anchors: list[str] = []
    for line in table.lines:
        own = anchor(name, str(line[anchored_by])) if anchored_by else ""
        # an id stands for the first of several lines of one row
        anchors.append("" if own in anchors else own)
    return HtmlTable(
        name=name,
        title=table.title,
        headings=tuple((column.heading, column.is_text) for column in table.columns),
        lines=tuple(
            tuple(_cell(table, index, column, notes, rows) for column in table.columns)
            for index in range(len(table.lines))
        ),
        anchors=tuple(anchors),
        notes=tuple(notes),
        legend=tuple(table.legend),
    )


def without_empty_columns(table: Table) -> Table:
    """The table without the columns in which no line has a value, and their footnotes."""
    filled = {key for line in table.lines for key, value in line.items() if value is not None}
    return replace(
        table,
        columns=[column for column in table.columns if column.key in filled],
        footnotes={cell: note for cell, note in table.footnotes.items() if cell[1] in filled},
    )


def sort_value(value: Any) -> float | None:
    """The sort key of a number, also of a printed one, such as 11.176G or 78.35%; else None."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        return float(value)
    if isinstance(value, str) and (match := _NUMBER.fullmatch(value)):
        return float(match["digits"].replace(",", "")) * _UNITS[match["unit"]]
    return None


def _cell(
    table: Table, index: int, column: Column, notes: list[str], rows: Collection[str]
) -> HtmlCell:
    line: Mapping[str, Any] = table.lines[index]
    value = line.get(column.key)
    note = table.footnotes.get((index, column.key))
    is_row = column.key in ROW_KEYS
    named = value if is_row else line.get("row") if column.key in LABEL_KEYS else None
    return HtmlCell(
        text=MISSING if value is None else column.format(value),
        sort=sort_value(value),
        equal=(index, column.key) in table.equal,
        note=notes.index(note) + 1 if note else None,
        link=anchor("row", str(named)) if named in rows else "",
    )

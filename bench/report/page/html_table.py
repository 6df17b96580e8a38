"""A table of the bench as HTML shows it: sortable raw values behind what people read."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from vidcost.bench.report.table import MISSING, Column, Table

_NUMBER = re.compile(r">?(?P<digits>-?[\d,]+(?:\.\d+)?)(?P<unit>[kMGT%]?)")
_UNITS = {"": 1.0, "k": 1e3, "M": 1e6, "G": 1e9, "T": 1e12, "%": 1.0}
ROW_KEYS = ("row", "target", "series", "largest_row")
"""Columns whose value may be the name of a row."""
LABEL_KEYS = ("method", "label")
"""Columns that say in words what a line's ``row`` is."""


@dataclass(frozen=True)
class HtmlCell:
    """What is read, what it is sorted by, whether it equals the printed figure, its notes.

    ``sort`` is a number, or None for text, which is sorted as it is read. ``link`` is the anchor
    that it leads to, empty for none.
    """

    text: str
    sort: float | None
    equal: bool = False
    notes: tuple[int, ...] = ()
    link: str = ""


@dataclass(frozen=True)
class HtmlTable:
    """A table ready for the page. ``anchors`` are the ids of its lines, empty for none."""

    name: str
    title: str
    headings: tuple[tuple[str, bool], ...]
    """A column's words, and whether it is set flush left."""
    lines: tuple[tuple[HtmlCell, ...], ...]
    anchors: tuple[str, ...]
    notes: tuple[str, ...]
    legend: tuple[str, ...]


def anchor(*words: str) -> str:
    """An id that a link can lead to: letters, digits, dots, dashes and underscores."""
    return re.sub(r"[^\w.-]+", "-", "-".join(words), flags=re.ASCII)


def html_table(
    name: str, table: Table, rows: Collection[str], *, anchored_by: str | None = None
) -> HtmlTable:
    """``table`` under the id ``name``; names among ``rows`` lead to their row.

    ``anchored_by`` is the key whose value, after ``name``, is the id of a line.
    """
    notes = _distinct(table)
    numbers = {note: number for number, note in enumerate(notes, start=1)}
    lines = []
    anchors: list[str] = []
    for index, line in enumerate(table.lines):
        lines.append(
            tuple(_cell(table, index, line, column, numbers, rows) for column in table.columns)
        )
        own = anchor(name, str(line[anchored_by])) if anchored_by else ""
        # an id stands for the first of several lines of one row
        anchors.append("" if own in anchors else own)
    return HtmlTable(
        name=name,
        title=table.title,
        headings=tuple((column.heading, column.is_text) for column in table.columns),
        lines=tuple(lines),
        anchors=tuple(anchors),
        notes=tuple(notes),
        legend=tuple(table.legend),
    )


def without_empty_columns(table: Table) -> Table:
    """The table without the columns in which no line has a value, and their footnotes."""
    kept = [
        column
        for column in table.columns
        if any(line.get(column.key) is not None for line in table.lines)
    ]
    keys = {column.key for column in kept}
    return replace(
        table,
        columns=kept,
        footnotes={cell: note for cell, note in table.footnotes.items() if cell[1] in keys},
    )


def sort_value(value: Any) -> float | None:
    """What a value is sorted by: a number, also one that is printed, such as 11.176G or 78.35%."""
    if isinstance(value, bool):
        return None
    if isinstance(value, int | float):
        return float(value)
    if isinstance(value, str) and (match := _NUMBER.fullmatch(value)):
        return float(match["digits"].replace(",", "")) * _UNITS[match["unit"]]
    return None


def _cell(
    table: Table,
    index: int,
    line: Mapping[str, Any],
    column: Column,
    numbers: Mapping[str, int],
    rows: Collection[str],
) -> HtmlCell:
    value = line.get(column.key)
    note = table.footnotes.get((index, column.key))
    named = value if column.key in ROW_KEYS else None
    if column.key in LABEL_KEYS:
        named = line.get("row")
    return HtmlCell(
        text=MISSING if value is None else column.format(value),
        sort=sort_value(value),
        equal=(index, column.key) in table.equal,
        notes=(numbers[note],) if note else (),
        link=anchor("row", str(named)) if named in rows else "",
    )


def _distinct(table: Table) -> Sequence[str]:
    order = {column.key: place for place, column in enumerate(table.columns)}
    cells = sorted(
        (cell for cell in table.footnotes if cell[1] in order),
        key=lambda cell: (cell[0], order[cell[1]]),
    )
    return list(dict.fromkeys(note for cell in cells if (note := table.footnotes[cell])))

"""Tables: raw values as JSON or CSV, formatted text as Markdown or on a terminal."""

from __future__ import annotations

import csv
import io
import json
import math
import re
import textwrap
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import rich.box
import rich.table
from rich.console import Console
from rich.markup import escape
from rich.text import Text
from tabulate import tabulate

Format = Callable[[Any], str]
Cell = tuple[int, str]
"""Line and column."""

KEPT = ("status", "verdict", "remainder")
"""Columns that are shown however narrow a table is."""
MISSING = "–"
EQUAL = " ✓"
WIDTH = 100
"""Columns of text in a pipe."""
LONGEST = 32
"""Characters of a name that are shown, if not all."""
# paths and ids of tests stay whole
_WRAPPED = textwrap.TextWrapper(WIDTH, break_long_words=False, break_on_hyphens=False)
_SUPERSCRIPTS = str.maketrans("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹")


def text(value: Any) -> str:
    """The value as text."""
    return str(value)


def end(value: str) -> str:
    """The value, or its end: what names of files and tests differ in."""
    return value if len(value) <= LONGEST else f"…{value[1 - LONGEST :]}"


def words(values: Iterable[Any]) -> str:
    """Several values as text, with commas between them."""
    return ", ".join(map(str, values)) or MISSING


def integer(value: int) -> str:
    """7842568 -> 7,842,568."""
    return f"{value:,}"


def integer_or_words(value: int | str) -> str:
    """An integer as above, or the words that stand in its place."""
    return integer(value) if isinstance(value, int) else value


def millions(value: int) -> str:
    """7842568 -> 7.843M."""
    return f"{value / 1e6:.3f}M"


def billions(value: int) -> str:
    """11176355840 -> 11.176G; a true zero is 0."""
    return f"{value / 1e9:.3f}G" if value else "0"


def compact(value: int) -> str:
    """8138248 -> 8.138M: three decimals in M, G or T; a number below a million as it is."""
    for unit, size in (("T", 1e12), ("G", 1e9), ("M", 1e6)):
        if abs(value) >= 0.9995 * size:
            return f"{value / size:.3f}{unit}"
    return integer(value)


def number(value: float) -> str:
    """7842568 -> 7,842,568; 0.0123456789 -> 0.0123457: six digits, and all before the point."""
    if isinstance(value, int):
        return integer(value)
    return f"{value:,.0f}" if 1e6 <= abs(value) < 1e15 else f"{value:,.6g}"


def percent(value: float) -> str:
    """0.0758 -> 7.6%."""
    return f"{value:.1%}"


def checked(value: int) -> str:
    """The number of modules with a closed form, in words if there are none."""
    return integer(value) if value else "not checked"


@dataclass(frozen=True)
class Column:
    """A column: key in the data, heading, and the function that formats a value.

    In a wide table ``exact`` formats instead, if it is given. ``is_wide`` columns are only there.
    """

    key: str
    heading: str
    format: Format = text
    exact: Format | None = None
    is_wide: bool = False

    @property
    def is_text(self) -> bool:
        """Whether the column is aligned left."""
        return self.format in (text, end, words)


@dataclass(frozen=True)
class Table:
    """A table: raw values, and how to print them.

    ``lines`` are the raw values by key; None is a missing value. ``equal`` are the cells marked as
    equal to the printed precision; ``footnotes`` are texts by cell, ``legend`` the lines below the
    table. Keys without a column appear only in JSON and CSV.
    """

    title: str
    columns: Sequence[Column]
    lines: Sequence[Mapping[str, Any]]
    equal: frozenset[Cell] = frozenset()
    footnotes: Mapping[Cell, str] = field(default_factory=dict)
    legend: Sequence[str] = ()

    def wide(self) -> Table:
        """The same table with every column, and exact numbers."""
        columns = [
            replace(each, format=each.exact or each.format, is_wide=False) for each in self.columns
        ]
        return replace(self, columns=columns)

    @property
    def shown(self) -> list[Column]:
        """The columns that are printed: not those of a wide table."""
        return [column for column in self.columns if not column.is_wide]

    def within(self, width: int, measure: Callable[[Table], int]) -> Table:
        """The same without its last columns, as many as are too many for ``width``.

        ``measure`` is how wide a table is. Two columns always stay, and so does one of statuses.
        """
        columns, dropped = self.shown, list[Column]()
        while len(columns) > 2 and measure(replace(self, columns=columns)) > width:
            last = next(each for each in reversed(columns) if each.key not in KEPT)
            dropped.insert(0, last)
            columns = [each for each in columns if each is not last]
        more = f"Too wide for {width} columns: {', '.join(each.heading for each in dropped)}."
        legend = [*self.legend, *([f"{more} `--wide` shows them."] if dropped else [])]
        return replace(self, columns=columns, legend=legend)

    def markdown(self) -> str:
        """Title, table, footnotes and legend in GitHub's Markdown."""
        table = self._tabulated("pipe", _inert)
        # these sentences quote code
        below = [_inert(line, keep="`") for line in (*self._notes(), *self.legend)]
        above = [f"**{_inert(self.title)}**"] if self.title else []
        return "\n\n".join([*above, table, *below]) + "\n"

    def latex(self) -> str:
        """The table alone in LaTeX, for the package booktabs."""
        return self._tabulated("latex_booktabs", str) + "\n"

    def _tabulated(self, style: str, write: Callable[[str], str]) -> str:
        return tabulate(
            [[write(cell) for cell in cells] for cells in self._cells()],
            headers=[write(column.heading) for column in self.shown],
            tablefmt=style,
            colalign=["left" if column.is_text else "right" for column in self.shown],
            disable_numparse=True,
        )

    def rich(self) -> rich.table.Table:
        """The table for a terminal, of :attr:`least_width` or more. No number wraps."""
        table = rich.table.Table(
            title=escape(self.title) or None,
            box=rich.box.SIMPLE_HEAD,
            show_edge=False,
            pad_edge=False,
            padding=(0, 1, 0, 0),
        )
        for column in self.shown:
            table.add_column(
                escape("\n".join(_words_of(column))),
                justify="left" if column.is_text else "right",
                overflow="fold",
                no_wrap=not column.is_text,
            )
        for cells in self._cells():
            table.add_row(*map(Text, cells))
        return table

    @property
    def least_width(self) -> int:
        """The least width of a terminal for it, with two characters between columns."""
        lines, width = self._cells(), -1
        for place, column in enumerate(self.shown):
            longest = max((len(cells[place]) for cells in lines), default=1)
            room = longest if not column.is_text else min(longest, 10 if place else 15)
            width += max(room, *map(len, _words_of(column) or "-")) + 2
        return width

    def json(self) -> str:
        """The raw values: a list of objects, all with the same keys."""
        keys = self._keys()
        lines = [{key: _plain(line.get(key)) for key in keys} for line in self.lines]
        return json.dumps(lines, indent=2, ensure_ascii=False, default=str) + "\n"

    def csv(self) -> str:
        """The raw values; a missing one is empty."""
        written = io.StringIO()
        writer = csv.DictWriter(written, self._keys(), lineterminator="\n")
        writer.writeheader()
        writer.writerows(self.lines)
        return written.getvalue()

    def _keys(self) -> list[str]:
        return list(dict.fromkeys(key for line in self.lines for key in line))

    def _cells(self) -> list[list[str]]:
        numbers = {note: number for number, note in enumerate(self.distinct_notes(), start=1)}
        lines = []
        for index, line in enumerate(self.lines):
            cells = []
            for column in self.shown:
                value = line.get(column.key)
                cell = MISSING if value is None else column.format(value)
                if (index, column.key) in self.equal:
                    cell += EQUAL
                if note := self.footnotes.get((index, column.key)):
                    cell += _superscript(numbers[note])
                cells.append(cell)
            lines.append(cells)
        return lines

    def distinct_notes(self) -> list[str]:
        """The footnotes in the order of their cells, each once."""
        order = {column.key: position for position, column in enumerate(self.shown)}
        shown = [cell for cell in self.footnotes if cell[1] in order]
        cells = sorted(shown, key=lambda cell: (cell[0], order[cell[1]]))
        return list(dict.fromkeys(self.footnotes[cell] for cell in cells))

    def _notes(self) -> list[str]:
        return [
            f"{_superscript(number)} {note}"
            for number, note in enumerate(self.distinct_notes(), start=1)
        ]


def table_of(columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> Table:
    """The rows of an answer; columns that hold nothing but numbers are aligned right."""
    shown = []
    for index, name in enumerate(columns):
        kinds = {type(row[index]) for row in rows} - {type(None)}
        shown.append(Column(name, name, number if kinds and kinds <= {int, float} else text))
    return Table("", shown, [dict(zip(columns, row, strict=True)) for row in rows])


def show(table: Table, console: Console, *, is_whole: bool = False) -> None:
    """Print a table: drawn on a terminal, as Markdown into a pipe or file.

    Columns that do not fit are left out, unless it ``is_whole``.
    """
    if not console.is_terminal:
        fitting = table if is_whole else table.within(WIDTH, _markdown_width)
        lines = fitting.markdown().splitlines()
        short = [each if each.startswith("|") else _WRAPPED.fill(each) for each in lines]
        console.file.write("\n".join(short) + "\n\n")
        return
    fitting = table if is_whole else table.within(console.width, lambda table: table.least_width)
    terminal = console.width
    # a whole table may be wider
    console.width = max(fitting.least_width, terminal)
    console.print(fitting.rich(), crop=False)
    console.width = terminal
    for line in (*fitting._notes(), *fitting.legend):
        console.print(Text(line))
    console.print()


def _words_of(column: Column) -> list[str]:
    """The lines of a heading, which may also break at hyphens of long words."""
    words = re.sub(r"(?<=\w)-(?=\w{8})", "- ", column.heading)
    return words.split()


def _markdown_width(table: Table) -> int:
    return max(map(len, table._tabulated("pipe", _inert).splitlines()))


def _plain(value: Any) -> Any:
    """A value in JSON, which has no number for NaN and infinity."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    if isinstance(value, Mapping):
        return {key: _plain(each) for key, each in value.items()}
    return value


def _superscript(number: int) -> str:
    return str(number).translate(_SUPERSCRIPTS)


def _inert(cell: str, *, keep: str = "") -> str:
    """``cell`` with the characters escaped that have a meaning in Markdown."""
    # an underscore inside a word has no meaning
    return re.sub(
        r"[\\|*`<&]|(?<!\w)_|_(?!\w)", lambda c: c[0] if c[0] in keep else f"\\{c[0]}", cell
    )

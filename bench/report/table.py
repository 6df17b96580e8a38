"""Tables for people: the only place, with the report, where numbers become text."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import rich.box
import rich.table
from rich.console import Console, Group
from rich.markup import escape
from rich.text import Text
from tabulate import tabulate

if TYPE_CHECKING:
    import pandas as pd

Format = Callable[[Any], str]
Cell = tuple[int, str]
"""Line and column."""

MISSING = "–"
EQUAL = " ✓"
_SUPERSCRIPTS = str.maketrans("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹")


def text(value: Any) -> str:
    """A value as it is."""
    return str(value)


def integer(value: int) -> str:
    """7842568 -> 7,842,568."""
    return f"{value:,}"


def millions(value: int) -> str:
    """7842568 -> 7.843M."""
    return f"{value / 1e6:.3f}M"


def billions(value: int) -> str:
    """11176355840 -> 11.176G; a true zero is 0."""
    return f"{value / 1e9:.3f}G" if value else "0"


@dataclass(frozen=True)
class Column:
    """A column: its key in the data, its heading, how a value is written."""

    key: str
    heading: str
    format: Format = text

    @property
    def is_text(self) -> bool:
        """Whether the column is set flush left."""
        return self.format is text


@dataclass(frozen=True)
class Table:
    """A table: raw values, and how people see them.

    ``lines`` are the raw values by key; None is a missing one. ``equal`` are the cells that carry
    the mark for "equal to the printed precision", ``footnotes`` the texts below, by cell.
    ``legend`` stands under the table, ``title``, if there is one, above it. Keys
    without a column appear only in json and csv.
    """

    title: str
    columns: Sequence[Column]
    lines: Sequence[Mapping[str, Any]]
    equal: frozenset[Cell] = frozenset()
    footnotes: Mapping[Cell, str] = field(default_factory=dict)
    legend: Sequence[str] = ()

    def markdown(self) -> str:
        """Title, table, footnotes and legend in GitHub's markdown."""
        table = tabulate(
            [[_inert(cell) for cell in cells] for cells in self._cells()],
            headers=[_inert(column.heading) for column in self.columns],
            tablefmt="pipe",
            colalign=["left" if column.is_text else "right" for column in self.columns],
            disable_numparse=True,
        )
        # our own sentences: what they quote as code stays code
        below = [_inert(line, keep="`") for line in (*self._notes(), *self.legend)]
        above = [f"**{_inert(self.title)}**"] if self.title else []
        return "\n\n".join([*above, table, *below]) + "\n"

    def rich(self) -> Group:
        """The same for a terminal."""
        table = rich.table.Table(title=escape(self.title) or None, box=rich.box.SIMPLE_HEAD)
        for column in self.columns:
            table.add_column(
                escape(column.heading),
                justify="left" if column.is_text else "right",
                overflow="fold",
            )
        for cells in self._cells():
            table.add_row(*map(Text, cells))
        return Group(table, *(Text(line) for line in (*self._notes(), *self.legend)), Text())

    def json(self) -> str:
        """The raw values: a list of objects."""
        return self._frame().to_json(orient="records", indent=2, force_ascii=False) + "\n"

    def csv(self) -> str:
        """The raw values; a missing one is empty."""
        return str(self._frame().to_csv(index=False))

    def _frame(self) -> pd.DataFrame:
        # a seventh of a second, which a table drawn for people should not pay
        import pandas as pd

        # object, or a column with a gap would turn its integers into floats
        return pd.DataFrame(list(self.lines), dtype=object)

    def _cells(self) -> list[list[str]]:
        numbers = {note: number for number, note in enumerate(self._distinct_notes(), start=1)}
        lines = []
        for index, line in enumerate(self.lines):
            cells = []
            for column in self.columns:
                value = line.get(column.key)
                cell = MISSING if value is None else column.format(value)
                if (index, column.key) in self.equal:
                    cell += EQUAL
                if note := self.footnotes.get((index, column.key)):
                    cell += _superscript(numbers[note])
                cells.append(cell)
            lines.append(cells)
        return lines

    def _distinct_notes(self) -> list[str]:
        order = {column.key: position for position, column in enumerate(self.columns)}
        cells = sorted(self.footnotes, key=lambda cell: (cell[0], order[cell[1]]))
        return list(dict.fromkeys(self.footnotes[cell] for cell in cells))

    def _notes(self) -> list[str]:
        return [
            f"{_superscript(number)} {note}"
            for number, note in enumerate(self._distinct_notes(), start=1)
        ]


def show(table: Table, console: Console) -> None:
    """Print a table: drawn on a terminal, markdown into a pipe or file."""
    if console.is_terminal:
        console.print(table.rich())
    else:
        console.file.write(table.markdown() + "\n")


def _superscript(number: int) -> str:
    return str(number).translate(_SUPERSCRIPTS)


def _inert(cell: str, *, keep: str = "") -> str:
    """Text that markdown shows as it is."""
    return "".join(f"\\{c}" if c in "\\|*_`<&" and c not in keep else c for c in cell)

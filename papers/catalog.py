"""Papers and their rows, found by folder: each folder here with a figures.toml is a paper."""

from __future__ import annotations

import difflib
import fnmatch
from collections.abc import Iterable, Sequence
from functools import cache
from importlib import import_module
from pathlib import Path

from vidcost import models, papers
from vidcost.papers.figures import Paper, load
from vidcost.papers.row import Row

DEFAULT = "pnl2020"
"""The paper that commands take when none is named."""


def names() -> tuple[str, ...]:
    """All papers, in alphabetical order."""
    folders = (file.parent.name for root in papers.__path__ for file in _figures(Path(root)))
    return tuple(sorted(folders))


@cache
def paper(name: str = DEFAULT) -> Paper:
    """The figures that a paper prints.  Raises: ValueError if there is no such paper."""
    for root in papers.__path__:
        for file in _figures(Path(root)):
            if file.parent.name == name:
                return load(file)
    raise ValueError(f"no paper {name!r}: there are {', '.join(names())}")


@cache
def rows_of(name: str = DEFAULT) -> tuple[Row, ...]:
    """The rows of a paper.  Raises: ValueError if there is no such paper."""
    paper(name)
    rows: tuple[Row, ...] = import_module(f"vidcost.papers.{name}.rows").ROWS
    return rows


@cache
def every_row() -> dict[str, Row]:
    """The rows of all papers by name.  Raises: ValueError if two papers use one name."""
    found: dict[str, tuple[str, Row]] = {}
    for name in names():
        for row in rows_of(name):
            if row.name in found:
                both = f"{found[row.name][0]} and {name}"
                raise ValueError(f"two rows are named {row.name!r}, of {both}: rename one")
            found[row.name] = (name, row)
    return {row.name: row for _, row in found.values()}


def row_files() -> list[Path]:
    """The source files that define rows and the networks that they build."""
    networks = (file for root in models.__path__ for file in Path(root).rglob("*.py"))
    patterns = ("*.py", "*/__init__.py", "*/rows.py")
    rows = (file for root in papers.__path__ for each in patterns for file in Path(root).glob(each))
    return [*sorted(networks), *sorted(rows)]


def _figures(root: Path) -> list[Path]:
    return sorted(root.glob("*/figures.toml"))


def select(
    patterns: Sequence[str] = (), *, paper_name: str | None = None, table: int | None = None
) -> tuple[Row, ...]:
    """Rows whose names match any of ``patterns`` (names or globs), in order.

    Patterns choose among the rows of all papers, or of ``paper_name``. No pattern means all rows
    of that paper, or of DEFAULT; so does ``table``, a table of it, with what it prints alone.
    The name of any row with such blocks and -optimized behind it is a row too, after all others.
    Raises: ValueError if a pattern matches nothing, with the nearest name, there is no such paper
            or table, or none of its rows matches.
    """
    chosen_paper = paper_name or DEFAULT
    if table is not None:
        paper(chosen_paper).table(table)
    everything = patterns and paper_name is None and table is None
    base = every_row().values() if everything else rows_of(chosen_paper)
    rows = (*base, *_optimized_by_name(patterns, base))
    names = [row.name for row in rows]
    for pattern in patterns:
        if not fnmatch.filter(names, pattern):
            near = difflib.get_close_matches(pattern, names, n=1, cutoff=0.4)
            hint = f"did you mean {near[0]!r}? " if near else ""
            raise ValueError(f"no row {pattern!r}: {hint}`vidcost list` shows all rows")
    chosen = tuple(
        row
        for row in rows
        if (table is None or table in row.tables)
        and (not patterns or any(fnmatch.fnmatchcase(row.name, p) for p in patterns))
    )
    if not chosen:
        raise ValueError(f"no row of Table {table} matches {' or '.join(patterns)}")
    return chosen


def _optimized_by_name(names: Sequence[str], rows: Iterable[Row]) -> list[Row]:
    """Optimized variants of ``rows`` that are asked for by name and are none of them."""
    known = {row.name for row in rows}
    bases = {
        f"{row.name}-optimized": row for row in rows if row.has_blocks and not row.is_optimized
    }
    return [
        bases[name].optimized()
        for name in dict.fromkeys(names)
        if name in bases and name not in known
    ]

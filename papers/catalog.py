"""Papers and their rows, found by folder: each folder here with a figures.toml is a paper."""

import difflib
import fnmatch
from collections.abc import Iterable, Sequence
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType

from vidcost import models, papers
from vidcost.papers.figures import Paper, load
from vidcost.papers.row import Row

DEFAULT = "pnl2020"
"""The paper that commands take when none is named."""


def folders() -> dict[str, Path]:
    """The folders of all papers by name, in alphabetical order."""
    files = (file for root in papers.__path__ for file in Path(root).glob("*/figures.toml"))
    return dict(sorted((file.parent.name, file.parent) for file in files))


@cache
def paper(name: str | None = None) -> Paper:
    """All that a paper prints, by default DEFAULT.  Raises: ValueError if there is none."""
    found, name = folders(), name or DEFAULT
    if name not in found:
        raise ValueError(f"no paper {name!r}: {_near(name, found)}there are {', '.join(found)}")
    return load(found[name] / "figures.toml")


def module_of(name: str, part: str) -> ModuleType | None:
    """A module in a paper's folder, such as its ``claims``; None if the paper has none."""
    full = f"vidcost.papers.{name}.{part}"
    return import_module(full) if find_spec(full) else None


@cache
def rows_of(name: str = DEFAULT) -> tuple[Row, ...]:
    """The rows of a paper, or of a source.  Raises: ValueError if there is none, or no rows."""
    rows = getattr(module_of(name, "rows"), "ROWS", None) if name in with_rows() else None
    if not rows:
        paper(name)
        raise ValueError(f"paper {name} has no rows: define ROWS in {folders()[name]}/rows.py")
    return tuple(rows)


def with_rows() -> list[str]:
    """The folders with rows; that of the default paper comes first."""
    found = (file.parent.name for root in papers.__path__ for file in Path(root).glob("*/rows.py"))
    return sorted(found, key=lambda name: (name != DEFAULT, name))


@cache
def every_row() -> dict[str, Row]:
    """The rows of all papers by name.  Raises: ValueError if two papers use one name."""
    found: dict[str, Row] = {}
    for name in with_rows():
        for row in rows_of(name):
            if row.name in found:
                raise ValueError(
                    f"paper {name} has a row {row.name!r}, as another has: rename one of them"
                )
            found[row.name] = row
    return found


def rows_beside(stored: Iterable[str]) -> tuple[Row, ...]:
    """The rows of the default paper, and of each paper that a stored row belongs to."""
    wanted = {DEFAULT, *(owner.name for name in stored if (owner := paper_of(name)))}
    return tuple(row for name in with_rows() if name in wanted for row in rows_of(name))


def paper_of(row: str) -> Paper | None:
    """The paper that a row belongs to; None for a row of no paper."""
    owners = (name for name in folders() if any(row == own.name for own in rows_of(name)))
    return next(map(paper, owners), None)


def tables_of(row: str) -> tuple[int | str, ...]:
    """The tables of its paper that a row stands in; none for a variant."""
    owner = paper_of(row)
    return () if owner is None else owner.tables_of(row)


def printed_rows(printed: Paper) -> dict[str, Row]:
    """The rows that a paper's figures are about, by name; they may be another paper's.

    Raises: ValueError if no paper has such a row.
    """
    try:
        return {figure.row: select([figure.row])[0] for figure in printed.figures}
    except ValueError as error:
        raise ValueError(f"papers/{printed.name}/figures.toml: {error}") from None


def rows_with_costs(name: str = DEFAULT) -> list[Row]:
    """The rows for which a paper prints a table of costs and that can be built."""
    tables = {*paper(name).cost_tables}
    return [row for row in rows_of(name) if row.build and tables & {*tables_of(row.name)}]


def select(
    patterns: Sequence[str] = (), *, paper_name: str | None = None, table: int | str | None = None
) -> tuple[Row, ...]:
    """Rows whose names match any of ``patterns`` (names or globs), in order.

    The rows are those of ``paper_name``, else of DEFAULT. Without ``paper_name`` and ``table`` a
    pattern that matches none of them chooses among the rows of all papers.
    The name of any row with such blocks and -optimized behind it is a row too, after all others,
    and one with a slash names a network of a package.
    Raises: ValueError if a pattern matches nothing, with the nearest name, there is no such paper
            or table, or none of its rows matches.
    """
    own = {row.name: row for row in rows_of(paper_name or DEFAULT)}
    among_all = bool(patterns) and paper_name is None and table is None
    rows = dict(every_row() if among_all else own)
    bases = {f"{name}-optimized": row for name, row in rows.items() if row.has_blocks}
    rows |= {each: bases[each].optimized() for each in patterns if each in {*bases} - {*rows}}
    if named := [each for each in patterns if "/" in each]:
        from vidcost.atlas import packages

        own |= {each: packages.row(each) for each in named}
    rows |= own
    chosen = set() if patterns else {*rows}
    for pattern in patterns:
        names = fnmatch.filter(own, pattern) or fnmatch.filter(rows, pattern)
        if not names:
            near = _near(pattern, rows, cutoff=0.4)
            raise ValueError(f"no row {pattern!r}: {near}`vidcost list` shows all rows")
        chosen |= {*names}
    if table is not None:
        chosen &= {each.row for each in paper(paper_name or DEFAULT).table(table)}
    if not chosen:
        raise ValueError(f"no row of Table {table} matches {' or '.join(patterns)}")
    return tuple(row for name, row in rows.items() if name in chosen)


def row_files() -> list[Path]:
    """The source files that define rows and the networks that they build."""
    networks = (file for root in models.__path__ for file in Path(root).rglob("*.py"))
    patterns = ("*.py", "*/__init__.py", "*/rows.py", "*/source.toml")
    rows = (file for root in papers.__path__ for each in patterns for file in Path(root).glob(each))
    return [*sorted(networks), *sorted(rows)]


def _near(word: str, known: Iterable[str], *, cutoff: float = 0.6) -> str:
    near = difflib.get_close_matches(word, list(known), n=1, cutoff=cutoff)
    return f"did you mean {near[0]!r}? " if near else ""

"""A connection on which the views can be asked, and nothing else can be done."""

from __future__ import annotations

import contextlib
import re
import tempfile
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from vidcost.bench.query import copies, records, tables
from vidcost.bench.query.sql import quoted
from vidcost.bench.query.views import MEASURED, SAMPLES, SHARES, TIMINGS, VIEWS, View
from vidcost.bench.timing import store

if TYPE_CHECKING:
    import duckdb

_SETTINGS: dict[str, str | bool | int | float | list[str]] = {
    "autoinstall_known_extensions": "false",
    "autoload_known_extensions": "false",
    # or a name in SQL could be a variable of this program
    "python_enable_replacements": "false",
}
_NUMBER = re.compile(r"U?(TINY|SMALL|BIG|HUGE)INT|U?INTEGER|FLOAT|DOUBLE|DECIMAL\(.*\)")


class Answer(NamedTuple):
    """Names of columns, whether each is of numbers, and the lines."""

    columns: tuple[str, ...]
    numeric: tuple[bool, ...]
    lines: list[tuple[Any, ...]]


class Views:
    """The views, to be asked in SQL."""

    def __init__(self, con: duckdb.DuckDBPyConnection) -> None:
        self._con = con

    def ask(self, sql: str) -> Answer:
        """What one SELECT in DuckDB's SQL gives.

        Raises: ValueError, in one line, if it is anything else or cannot be carried out.
        """
        with _explained():
            statements = self._con.extract_statements(sql)
            kinds = [str(each.type).rpartition(".")[2] for each in statements]
            if kinds != ["SELECT"]:
                what = " and ".join(kinds) or "nothing"
                raise ValueError(f"only questions can be asked: give one SELECT, not {what}")
            return self._interruptible(lambda: self._answered(statements[0]))

    def _interruptible(self, ask: Callable[[], Answer]) -> Answer:
        """What ``ask`` gives; on Ctrl-C, for which DuckDB itself may never look, it is ended."""
        said: Future[Answer] = Future()

        def run() -> None:
            try:
                said.set_result(ask())
            except BaseException as error:
                said.set_exception(error)

        other = threading.Thread(target=run, daemon=True)
        try:
            other.start()
            return said.result()
        except KeyboardInterrupt:
            # what comes before the question has begun is forgotten
            while other.is_alive():
                self._con.interrupt()
                other.join(0.05)
            raise

    def _answered(self, statement: duckdb.Statement) -> Answer:
        cursor = self._con.execute(statement)
        described = cursor.description or []
        return Answer(
            _distinct([name for name, *_ in described]),
            tuple(_NUMBER.fullmatch(str(kind)) is not None for _, kind, *_ in described),
            cursor.fetchall(),
        )

    def write(self, view: View, path: Path) -> int:
        """Write a view as a Parquet file; returns the number of lines.

        Raises: ValueError if it cannot be written.
        """
        with _explained():
            sql = f"copy {view.name} to {quoted(path)} (format parquet, compression zstd)"
            written = self._con.execute(sql).fetchone()
        assert written is not None
        return int(written[0])


@contextlib.contextmanager
def over_results(
    results: Path, *, sql: str | None = None, note: Callable[[str], None] = lambda what: None
) -> Iterator[Views]:
    """The views of a results folder.

    ``sql`` is all that will be asked: then files outside are out of reach, and timings are read
    only if it needs them. Without it anything can be asked, and views be written.
    ``note`` is told what a user should know, such as a line that was cut short.
    Raises: ValueError if there is no such folder, a file in it is damaged, or DuckDB is missing.
    """
    if not results.is_dir():
        raise ValueError(f"no folder {results}: choose the folder of the results with --results")
    with _connected() as (con, workspace), _explained():
        con.execute("create schema stored")
        for file in tables.FILES:
            _define(con, file.view, tables.load(con, file, results))
        named = sql is None or any(view.name in sql.casefold() for view in MEASURED)
        read = []
        if named:
            paths = sorted((results / store.TIMINGS).glob("*.jsonl"))
            read = [
                copies.source(con, path, f"timings{number}", workspace=workspace, note=note)
                for number, path in enumerate(paths)
            ]
        _define_measured(con, [source.sql for source in read], workspace, read_at_all=named)
        if sql is not None:
            _lock(con, [source.parquet for source in read if source.parquet])
        yield Views(con)


@contextlib.contextmanager
def over_parquet(folder: Path) -> Iterator[Views]:
    """The views as ``vidcost export`` wrote them to ``folder``.

    Raises: ValueError if one is missing or DuckDB is.
    """
    paths = {view: folder / f"{view.name}.parquet" for view in VIEWS}
    for path in paths.values():
        if not path.is_file():
            raise ValueError(f"no {path}: `vidcost export --parquet {folder}` writes it")
    with _connected() as (con, _), _explained():
        for view, path in paths.items():
            _define(con, view, f"from read_parquet({quoted(path)})")
        _lock(con, list(paths.values()))
        yield Views(con)


@contextlib.contextmanager
def _connected() -> Iterator[tuple[duckdb.DuckDBPyConnection, Path]]:
    """A database in memory, and a folder for what does not fit."""
    try:
        import duckdb
    except ModuleNotFoundError as error:
        if error.name != "duckdb":
            raise
        raise ValueError("this needs DuckDB: `pip install duckdb` adds it") from None
    with (
        # DuckDB would spill into the current folder
        tempfile.TemporaryDirectory(prefix="vidcost-query-") as workspace,
        duckdb.connect(config=_SETTINGS | {"temp_directory": workspace}) as con,
    ):
        yield con, Path(workspace)


@contextlib.contextmanager
def _explained() -> Iterator[None]:
    """Have what DuckDB raises raised as ValueError, in one line."""
    import duckdb

    try:
        yield
    except duckdb.Error as error:
        said = str(error).partition("\n\nLINE ")[0]
        if isinstance(error, duckdb.CatalogException) and said.startswith("Catalog Error: Table"):
            # DuckDB may suggest tables of its own
            said = f"{said.splitlines()[0]} The views are {', '.join(v.name for v in VIEWS)}"
        raise ValueError(said) from None


def _define(con: duckdb.DuckDBPyConnection, view: View, sql: str) -> None:
    # as documented, whatever the file has: the order and the types
    columns = ", ".join(f'cast("{c.name}" as {c.type}) as "{c.name}"' for c in view.columns)
    con.execute(f"create view {view.name} as select {columns} from ({sql})")


def _define_measured(
    con: duckdb.DuckDBPyConnection, sources: list[str], workspace: Path, *, read_at_all: bool
) -> None:
    """Define the views of ``sources``; if they were not read, so that asking them is an error."""
    if not sources:
        con.execute(f"create table stored.none as {records.none(con, workspace)}")
        sources = ["from stored.none"]
        if not read_at_all:
            # of no line: an empty answer would be a wrong one
            sources = [
                "select none.* from (select error('name timings, shares or samples') as unread) "
                "left join stored.none on true where unread is null"
            ]
    every = " union all by name ".join(f"({sql})" for sql in sources)
    _define(con, TIMINGS, f"from ({every}) where not share and not in_turns")
    _define(con, SHARES, f"from ({every}) where share")
    _define(con, SAMPLES, records.samples(every))


def _lock(con: duckdb.DuckDBPyConnection, readable: list[Path]) -> None:
    """Leave no way to any file but those that views read, and no way back."""
    con.execute("set allowed_paths=?", [[str(path) for path in readable]])
    con.execute("set enable_external_access=false")
    con.execute("set lock_configuration=true")


def _distinct(names: list[str]) -> tuple[str, ...]:
    """Names, of which each is another: the second ``row`` is ``row_1``."""
    found: list[str] = []
    for name in names:
        number, other = 0, name
        while other in found:
            number += 1
            other = f"{name}_{number}"
        found.append(other)
    return tuple(found)

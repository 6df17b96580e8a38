"""Stored counts, timings, reconciliation and audit as tables in DuckDB, to be queried in SQL."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from vidcost.bench import files
from vidcost.bench.count import record
from vidcost.bench.extras import require
from vidcost.bench.timing.figures import contribution_figures, figures
from vidcost.bench.timing.record import Timing
from vidcost.bench.timing.store import TIMINGS, Store

if TYPE_CHECKING:
    import duckdb

TABLES = ("counts", "timings", "contributions", "reconciliation", "audit")
"""A table of these has columns only once there are records."""


class Answer(NamedTuple):
    """The result of a query: column names, whether each holds numbers, and the rows."""

    columns: tuple[str, ...]
    numeric: tuple[bool, ...]
    rows: list[tuple[Any, ...]]


def query(
    sql: str,
    results: Path,
    *,
    parquet: Path | None = None,
    note: Callable[[str], None] = lambda warning: None,
) -> Answer:
    """Run one SELECT on the tables of a results folder.

    Nothing else can be read or written: DuckDB's file access is off, except for ``parquet``, which
    receives the answer. ``note`` is told of a line that was cut short.
    Raises: ValueError, in one line, if it is not one SELECT or fails, a file in the folder is
        damaged, or the extra is not installed.
    """
    require("query")
    import duckdb

    if not results.is_dir():
        raise ValueError(f"no folder {results}: choose the folder of the results with --results")
    config: dict[str, str | bool | int | float | list[str]] = {
        "autoinstall_known_extensions": "false",
        "autoload_known_extensions": "false",
        # otherwise a name in SQL could be a variable of this program
        "python_enable_replacements": "false",
    }
    with (
        files.replaced(parquet) if parquet else contextlib.nullcontext() as draft,
        duckdb.connect(config=config) as connection,
    ):
        _register(connection, results, note)
        connection.execute("set allowed_paths=?", [[str(draft)] if draft else []])
        connection.execute("set enable_external_access=false")
        connection.execute("set lock_configuration=true")
        with _one_line_errors():
            statements = connection.extract_statements(sql)
            kinds = [str(each.type).rpartition(".")[2] for each in statements]
            if kinds != ["SELECT"]:
                raise ValueError(f"give one SELECT, not {' and '.join(kinds) or 'nothing'}")
            asked = statements[0].query.strip().rstrip(";")
            if draft:
                # without a temporary file, which would be a second path
                options = "(format parquet, use_tmp_file false)"
                connection.execute(f"copy ({asked}) to {_quoted(draft)} {options}")
            return _answer(connection.sql(asked))


def _register(
    connection: duckdb.DuckDBPyConnection, results: Path, note: Callable[[str], None]
) -> None:
    """Register a DataFrame for each table that has records."""
    import pandas as pd

    timings = list(_timings(results / TIMINGS, note))
    tables: dict[str, Iterable[Mapping[str, Any]]] = {
        "counts": map(_counts, record.read(results).values()),
        "timings": (
            figures(each) | {"samples_s": each.samples_s.get("latency", ())}
            for each in timings
            if not each.cell.is_pair
        ),
        "contributions": (contribution_figures(each) for each in timings if each.cell.contribution),
        "reconciliation": _lines(results / "reconciliation.jsonl", "vidcost explain"),
        "audit": (
            {"paper": path.stem, **line}
            for path in sorted((results / "audits").glob("*.jsonl"))
            for line in _lines(path, f"vidcost audit {path.stem}")
        ),
    }
    for name, lines in tables.items():
        plain = [{key: _plain(value) for key, value in line.items()} for line in lines]
        if plain:
            # by way of object, or a column with a gap would turn its integers into floats
            frame = pd.DataFrame(plain, dtype=object).convert_dtypes()
            connection.register(name, frame)


def _counts(counted: record.Record) -> dict[str, Any]:
    """A row's counts, with a column for each figure of each reference counter."""
    line = counted.model_dump(exclude={"reference_counters"}) | {"macs": counted.macs}
    for name, answer in counted.reference_counters.items():
        counter = name.replace("-", "_")
        line |= {f"{counter}_flops": answer.flops, f"{counter}_params": answer.params}
    return line


def _timings(folder: Path, note: Callable[[str], None]) -> Iterator[Timing]:
    for path in sorted(folder.glob("*.jsonl")):
        contents = Store(path).load()
        if contents.warning:
            note(contents.warning)
        yield from contents.records.values()


def _lines(path: Path, command: str) -> list[dict[str, Any]]:
    """The lines of a file below its header; none if there is no file.

    Raises: ValueError if it is damaged.
    """
    if not path.is_file():
        return []
    try:
        header, *lines = [json.loads(line) for line in path.read_text("utf-8").splitlines()]
        if header["records"] == len(lines) and all(isinstance(line, dict) for line in lines):
            return lines
    except (OSError, ValueError, TypeError, KeyError):
        pass
    raise ValueError(f"{path} is damaged: `{command}` writes the file anew")


def _plain(value: Any) -> Any:
    """A value with a type in SQL: numbers, text, and lists of numbers; the rest as JSON text."""
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, list | tuple) and all(isinstance(each, float) for each in value):
        return list(value)
    return json.dumps(value, default=str)


def _answer(relation: duckdb.DuckDBPyRelation) -> Answer:
    columns = tuple(relation.columns)
    for name in columns:
        if columns.count(name) > 1:
            raise ValueError(f"two columns are named {name}: rename one with AS")
    rows = [tuple(map(_number, row)) for row in relation.fetchall()]
    numeric = tuple(
        all(isinstance(value, int | float | None) for value in column)
        and not any(isinstance(value, bool) for value in column)
        for column in zip(*rows, strict=True)
    )
    return Answer(columns, numeric or (False,) * len(columns), rows)


def _quoted(path: Path) -> str:
    return "'" + str(path).replace("'", "''") + "'"


def _number(value: Any) -> Any:
    """DuckDB's decimals as int or float."""
    if isinstance(value, Decimal):
        return int(value) if value == value.to_integral_value() else float(value)
    return value


@contextlib.contextmanager
def _one_line_errors() -> Iterator[None]:
    """Raise DuckDB's errors as ValueError, in one line."""
    import duckdb

    try:
        yield
    except duckdb.Error as error:
        said = str(error).partition("\n\nLINE ")[0]
        if isinstance(error, duckdb.CatalogException) and said.startswith("Catalog Error: Table"):
            said = (
                f"{said.splitlines()[0]} The tables are {', '.join(TABLES)}, as far as "
                "`vidcost run`, `time`, `time --contribution`, `explain` and `audit` have written "
                "records"
            )
        raise ValueError(said) from None

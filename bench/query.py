"""Stored counts, timings, reconciliation and audit as tables in DuckDB, to be queried in SQL."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterable, Mapping
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vidcost.bench import files
from vidcost.bench.count import record
from vidcost.bench.extras import require
from vidcost.bench.timing.figures import figures, pair_figures
from vidcost.bench.timing.record import Timing
from vidcost.bench.timing.store import stores

if TYPE_CHECKING:
    import duckdb

TABLES: Mapping[str, str] = {
    "counts": "run",
    "timings": "time",
    "contributions": "time --contribution",
    "reconciliation": "explain",
    "audit": "audit",
    "atlas": "atlas",
}
"""The tables, each with the command that writes its records."""


def query(
    sql: str,
    results: Path,
    *,
    parquet: Path | None = None,
    note: Callable[[str], None] = lambda warning: None,
) -> tuple[tuple[str, ...], list[tuple[Any, ...]]]:
    """The columns and rows of one SELECT on the tables of a results folder.

    Nothing else can be read or written: DuckDB's file access is off, except for ``parquet``, which
    receives the answer. ``note`` is told of a line that was cut short.
    Raises: ValueError, in one line, if it is not one SELECT or fails, there are no records, a file
        in the folder is damaged, or the extra is not installed.
    """
    require("query")
    import duckdb

    if not results.is_dir():
        raise ValueError(f"no folder {results}: choose the folder of the results with --results")
    with (
        files.replaced(parquet) if parquet else contextlib.nullcontext() as draft,
        # or a name in SQL could be a variable of this program
        duckdb.connect(config={"python_enable_replacements": "false"}) as connection,
    ):
        if not _register(connection, results, note):
            commands = ", ".join(f"`vidcost {command}`" for command in TABLES.values())
            raise ValueError(f"no records in {results}: {commands} write some")
        # DuckDB writes Parquet to a temporary file first
        allowed = [draft, draft.with_name(f"tmp_{draft.name}")] if draft else []
        connection.execute("set allowed_paths=?", [list(map(str, allowed))])
        connection.execute("set enable_external_access=false")
        connection.execute("set lock_configuration=true")
        try:
            statements = connection.extract_statements(sql)
            kinds = [str(each.type).rpartition(".")[2] for each in statements]
            if kinds != ["SELECT"]:
                raise ValueError(f"give one SELECT, not {' and '.join(kinds) or 'nothing'}")
            relation = connection.sql(statements[0].query)
            columns = tuple(relation.columns)
            if repeated := [name for name in columns if columns.count(name) > 1]:
                raise ValueError(f"two columns are named {repeated[0]}: rename one with AS")
            if draft:
                relation.write_parquet(str(draft))
            rows = [tuple(map(_number, row)) for row in relation.fetchall()]
        except duckdb.Error as error:
            message = str(error).partition("\n\nLINE ")[0]
            if message.startswith("Catalog Error: Table"):
                tables = f"The tables with records are of {', '.join(TABLES)}"
                message = f"{message.splitlines()[0]} {tables}"
            raise ValueError(message) from None
    return columns, rows


def _register(
    connection: duckdb.DuckDBPyConnection, results: Path, note: Callable[[str], None]
) -> bool:
    """Register a DataFrame for each table that has records; whether there are any."""
    import pandas as pd

    timings: list[Timing] = []
    for store in stores(results):
        timings += store.read().values()
        if store.warning:
            note(store.warning)
    tables: dict[str, Iterable[Mapping[str, Any]]] = {
        "counts": map(_counts, record.read(results).values()),
        "timings": (
            figures(each) | {"samples_s": each.samples_s.get("latency", ())}
            for each in timings
            if each.cell.against is None
        ),
        "contributions": (pair_figures(each) for each in timings if each.cell.is_contribution),
        "reconciliation": files.stored_lines(results / "reconciliation.jsonl", "vidcost explain"),
        "audit": (
            {"paper": path.stem, **line}
            for path in sorted((results / "audits").glob("*.jsonl"))
            for line in files.stored_lines(path, f"vidcost audit {path.stem}")
        ),
        "atlas": files.stored_lines(results / files.ATLAS, "vidcost atlas"),
    }
    found = {name: list(lines) for name, lines in tables.items()}
    for name, lines in found.items():
        if lines:
            plain = [{key: _plain(value) for key, value in line.items()} for line in lines]
            # by way of object, or a column with a gap would turn its integers into floats
            connection.register(name, pd.DataFrame(plain, dtype=object).convert_dtypes())
    return any(found.values())


def _counts(counted: record.Record) -> dict[str, Any]:
    """A row's counts, with a column for each figure of each reference counter."""
    line = counted.model_dump(exclude={"reference_counters"}) | {"macs": counted.macs}
    for name, answer in counted.reference_counters.items():
        counter = name.replace("-", "_")
        line |= {f"{counter}_flops": answer.flops, f"{counter}_params": answer.params}
    return line


def _plain(value: Any) -> Any:
    """A value with a type in SQL: numbers, text, and lists of numbers; the rest as JSON text."""
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, list | tuple) and all(isinstance(each, float) for each in value):
        return list(value)
    return json.dumps(value, default=str)


def _number(value: Any) -> Any:
    """DuckDB's decimals as int or float."""
    if isinstance(value, Decimal):
        return int(value) if value == value.to_integral_value() else float(value)
    return value

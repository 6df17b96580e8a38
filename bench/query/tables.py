"""The files that commands write whole – counts, ledger, audit – as tables of DuckDB."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from vidcost.bench.query.views import AUDIT, COUNTS, LEDGER, View

if TYPE_CHECKING:
    import duckdb


@dataclass(frozen=True)
class File:
    """A file of lines in results/, the command that writes it, and what of it is the view.

    Of each line the fields in ``fields`` are read, by name and DuckDB's type, of which the first is
    never missing; ``changed`` are columns of the view that are no fields, in SQL.
    """

    view: View
    name: str
    command: str
    fields: Mapping[str, str]
    changed: Mapping[str, str]


def _of(view: View, *but: str) -> dict[str, str]:
    return {column.name: column.type for column in view.columns if column.name not in but}


_ANSWERS = {
    f"{name.replace('-', '_')}_{quantity}": f"reference_counters['{name}'].{quantity}"
    for name in ("fvcore", "thop", "thop-2020", "torch")
    for quantity in ("flops", "params")
}
FILES = (
    File(
        COUNTS,
        "counts.jsonl",
        "vidcost run",
        {
            **_of(COUNTS, "macs", "inputs", *_ANSWERS),
            "inputs": "BIGINT[][]",
            "reference_counters": "MAP(VARCHAR, STRUCT(flops BIGINT, params BIGINT))",
        },
        {
            "macs": "conv + linear + matmul",
            "inputs": "array_to_string(list_transform(inputs, "
            "lambda clip: array_to_string(clip, 'x')), ' + ')",
            **_ANSWERS,
        },
    ),
    File(
        LEDGER,
        "reconciliation.jsonl",
        "vidcost explain",
        _of(LEDGER, "kind"),
        {"kind": "case when what in ('ours', 'printed', 'remainder') then what else 'term' end"},
    ),
    File(
        AUDIT,
        "audit.jsonl",
        "vidcost audit",
        {"table": "BIGINT", **_of(AUDIT, "paper_table")},
        {"paper_table": '"table"'},
    ),
)


def load(con: duckdb.DuckDBPyConnection, file: File, results: Path) -> str:
    """Read ``file`` into stored.<view>, empty if there is none; returns SQL of the view.

    Raises: ValueError if it is damaged.
    """
    import duckdb

    path = results / file.name
    name = f"stored.{file.view.name}"
    if path.is_file():
        found = None
        try:
            with path.open("rb") as lines:
                expected = int(json.loads(lines.readline())["records"])
            first = next(iter(file.fields))
            con.execute(
                f"create table {name} as from read_json(?, columns=?, "
                f"format='newline_delimited') where \"{first}\" is not null",
                [str(path), dict(file.fields)],
            )
            found = con.execute(f"select count(*) from {name}").fetchone()
        except (KeyError, TypeError, ValueError, duckdb.Error):
            expected = -1
        if found != (expected,):
            raise ValueError(f"{path} is damaged: `{file.command}` writes the file anew")
    else:
        columns = ", ".join(f'"{field}" {kind}' for field, kind in file.fields.items())
        con.execute(f"create table {name} ({columns})")
    made = {field: f'"{field}"' for field in file.fields} | dict(file.changed)
    columns = ", ".join(f'{made[column.name]} as "{column.name}"' for column in file.view.columns)
    return f"select {columns} from {name}"

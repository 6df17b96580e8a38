"""The command that queries stored results in SQL."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from vidcost.bench.cli.options import As, Json, Results, Wide
from vidcost.bench.cli.output import complain, print_table

query_app = typer.Typer()


@query_app.command(
    "query",
    epilog="Example: `vidcost query \"select row, macs from counts where row like 'mfnet%'\"`",
)
def query(
    sql: Annotated[
        str,
        typer.Argument(
            metavar="SQL", help="One SELECT in DuckDB's SQL; - reads it from standard input."
        ),
    ],
    results: Results = Path("results"),
    parquet: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Also write the answer to this Parquet file."),
    ] = None,
    as_: As = None,
    wide: Wide = False,
    json: Json = False,
) -> None:
    """Query the stored counts, timings, contributions, reconciliation and audit in SQL.

    Each is a table of that name; `vidcost query "describe counts"` lists its columns. Nothing can
    be changed, and no other file can be read.
    """
    from vidcost.bench import query
    from vidcost.bench.report.answer import answer_table

    asked = sys.stdin.read() if sql == "-" else sql
    answer = query.query(asked, results, parquet=parquet, note=complain)
    print_table(answer_table(answer), as_)

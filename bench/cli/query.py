"""Commands that ask what is stored, in SQL, and write it as Parquet."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from vidcost.bench import files
from vidcost.bench.cli.options import As, Format, Json, Results
from vidcost.bench.cli.output import complain, print_table

query_app = typer.Typer()

FROM_INPUT = "-"


@query_app.command(
    "query",
    epilog="Example: `vidcost query \"select row, macs from counts where row like 'mfnet%'\"`",
)
def query(
    sql: Annotated[
        str | None,
        typer.Argument(
            metavar="SQL", help="One SELECT in DuckDB's SQL; - reads it from standard input."
        ),
    ] = None,
    views: Annotated[
        bool, typer.Option("--views", help="List the views and their columns.")
    ] = False,
    results: Results = Path("results"),
    parquet: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Ask what `vidcost export` wrote there, not results."),
    ] = None,
    as_: As = None,
    json: Json = False,
) -> None:
    """Ask the stored counts, timings, ledger and audit in SQL.

    Views: counts, timings, shares, samples, ledger, audit. Nothing can be written or changed, and
    no other file be read.
    """
    from vidcost.bench.query.connection import over_parquet, over_results
    from vidcost.bench.report.answer import answer_csv, answer_json, answer_table, view_table

    if views:
        if sql is not None:
            raise ValueError("--views takes no SQL: give one of them")
        print_table(view_table(), as_)
        return
    if sql is None:
        raise ValueError('say what to ask: `vidcost query "select ..."`; --views lists the views')
    if sql == FROM_INPUT:
        sql = sys.stdin.read()
    opened = (
        over_results(results, sql=sql, note=complain) if parquet is None else over_parquet(parquet)
    )
    with opened as asked:
        answer = asked.ask(sql)
    if as_ is Format.JSON:
        sys.stdout.write(answer_json(answer))
    elif as_ is Format.CSV:
        sys.stdout.write(answer_csv(answer))
    else:
        print_table(answer_table(answer), as_)


@query_app.command("export", epilog="Example: `vidcost export --parquet parquet`")
def export(
    parquet: Annotated[
        Path, typer.Option(metavar="DIR", help="Folder for a Parquet file of each view.")
    ],
    results: Results = Path("results"),
    as_: As = None,
    json: Json = False,
) -> None:
    """Write each view as a Parquet file, for other tools and for `vidcost query --parquet`."""
    from vidcost.bench.query.connection import over_results
    from vidcost.bench.query.views import VIEWS
    from vidcost.bench.report.answer import export_table

    lines = []
    with over_results(results, note=complain) as asked:
        for view in VIEWS:
            path = parquet / f"{view.name}.parquet"
            with files.replaced(path) as draft:
                written = asked.write(view, draft)
            size = path.stat().st_size
            lines.append({"view": view.name, "file": str(path), "lines": written, "bytes": size})
    print_table(export_table(lines), as_)

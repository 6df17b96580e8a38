"""The command that shows what changed over time."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from vidcost.bench.cli import completion
from vidcost.bench.cli.options import As, Json, Results
from vidcost.bench.cli.output import complain, print_table

history_app = typer.Typer()


@history_app.command("history", epilog="Example: `vidcost history 'mfnet-pnl*' --series`")
def show_history(
    rows: Annotated[
        list[str] | None,
        typer.Argument(
            help="Rows or blocks, names or globs, also of rows that are no more.",
            autocompletion=completion.rows,
        ),
    ] = None,
    branch: Annotated[
        str | None,
        typer.Option(help="Read along first parents; default: main, else master, else HEAD."),
    ] = None,
    series: Annotated[
        bool,
        typer.Option("--series", help="The series themselves, a sparkline each, not what changed."),
    ] = False,
    results: Results = Path("results"),
    as_: As = None,
    json: Json = False,
) -> None:
    """Show what changed in the committed counts and timings: for people, never for gating."""
    from vidcost.bench.history.series import history
    from vidcost.bench.report.history import change_table, series_table

    found = history(results, branch, rows or ())
    for warning in found.warnings:
        complain(warning)
    print_table((series_table if series else change_table)(found), as_)

"""The command that removes the kept answers of reference counters."""

from __future__ import annotations

import typer

from vidcost.bench.cli.options import Format, Json
from vidcost.bench.cli.output import print_table
from vidcost.bench.report.table import Table

cache_app = typer.Typer(help="The kept answers of reference counters.", no_args_is_help=True)


@cache_app.command("clear", epilog="Example: `vidcost cache clear`")
def clear_cache(json: Json = False) -> None:
    """Remove the kept answers of reference counters."""
    from vidcost.bench.count.references.asking import answers_folder, clear_answers

    removed, folder = clear_answers(), answers_folder()
    if json:
        line = {"removed": removed, "folder": str(folder)}
        print_table(Table(title="", columns=(), lines=[line]), Format.JSON)
    else:
        typer.echo(f"{removed} {'answer' if removed == 1 else 'answers'} removed from {folder}")

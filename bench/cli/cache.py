"""Commands about the answers of other counters that are kept."""

from __future__ import annotations

import typer

from vidcost.bench.cli.options import Format, Json
from vidcost.bench.cli.output import print_table
from vidcost.bench.count import cache
from vidcost.bench.tables.table import Table

cache_app = typer.Typer(help="The answers of fvcore and thop that are kept.", no_args_is_help=True)


@cache_app.command("clear", epilog="Example: `vidcost cache clear`")
def clear_cache(json: Json = False) -> None:
    """Forget the answers of fvcore and thop."""
    answers = cache.clear()
    if json:
        line = {"removed": answers, "folder": str(cache.folder())}
        print_table(Table(title="", columns=(), lines=[line]), Format.JSON)
        return
    typer.echo(f"{answers} {'answer' if answers == 1 else 'answers'} removed from {cache.folder()}")

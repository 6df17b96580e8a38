"""Commands about what is kept in the cache folder: other counters' answers, copies of timings."""

from __future__ import annotations

import typer

from vidcost.bench.cli.options import Format, Json
from vidcost.bench.cli.output import print_table
from vidcost.bench.report.table import Table

cache_app = typer.Typer(
    help="The answers of fvcore and thop that are kept, and copies of large files of timings.",
    no_args_is_help=True,
)


@cache_app.command("clear", epilog="Example: `vidcost cache clear`")
def clear_cache(json: Json = False) -> None:
    """Forget the answers of fvcore and thop, and remove the copies of large files of timings."""
    from vidcost.bench.count.references import asking
    from vidcost.bench.query import copies

    answers, copied = asking.clear_answers(), copies.clear()
    if json:
        line = {
            "removed": answers,
            "folder": str(asking.answers_folder()),
            "copies_removed": copied,
        }
        print_table(Table(title="", columns=(), lines=[line]), Format.JSON)
        return
    typer.echo(
        f"{answers} {'answer' if answers == 1 else 'answers'} removed from {asking.answers_folder()}"
    )
    if copied:
        what = "copy of timings" if copied == 1 else "copies of timings"
        typer.echo(f"{copied} {what} removed from {copies.folder()}")

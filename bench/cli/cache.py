"""Commands about the answers of other counters that are kept."""

from __future__ import annotations

import typer

from vidcost.bench.count import cache

cache_app = typer.Typer(help="The answers of fvcore and thop that are kept.", no_args_is_help=True)


@cache_app.command("clear", epilog="Example: `vidcost cache clear`")
def clear_cache() -> None:
    """Forget the answers of fvcore and thop."""
    answers = cache.clear()
    typer.echo(f"{answers} {'answer' if answers == 1 else 'answers'} removed from {cache.folder()}")

"""The rows a command is about, and what is counted of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager

import typer
from rich.console import Console

from vidcost.bench.count.reconcile import Examined, measure, steps
from vidcost.bench.progress import bar
from vidcost.papers.catalog import select
from vidcost.papers.row import Row


def buildable(
    patterns: Sequence[str] | None = None,
    *,
    table: int | str | None = None,
    paper_name: str | None = None,
) -> list[Row]:
    """The chosen rows that can be built; one asked for by name must be."""
    chosen = select(patterns or (), table=table, paper_name=paper_name)
    for row in chosen:
        if row.build is None:
            if row.name in (patterns or ()):
                raise ValueError(f"{row.name} cannot be built: {row.note}")
            typer.echo(f"{row.name} left out: {row.note}", err=True)
    return [row for row in chosen if row.build is not None]


def at(rows: Iterable[Row], classes: int | None, frames: int | None, size: int | None) -> list[Row]:
    """The rows at another clip or number of classes; ``None`` keeps the row's own."""
    return [row.at(classes=classes, frames=frames, size=size) for row in rows]


def measured(rows: Sequence[Row], *, use_cache: bool) -> list[Examined]:
    """What was counted for ``rows``, with the counters' answers, under a bar on a terminal."""
    with progress(steps(rows)) as advance:
        return measure(rows, use_cache=use_cache, advance=advance)


@contextmanager
def progress(total: int) -> Iterator[Callable[[str], None]]:
    """A bar on a terminal, which what is yielded moves by one and labels."""
    with bar(Console(stderr=True), "counting", total) as (drawn, task):
        yield lambda what: drawn.update(task, advance=1, description=what)

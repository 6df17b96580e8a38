"""The rows a command is about, and what is counted of them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import typer

from vidcost.bench.count.reconcile import Examined, measure, steps
from vidcost.bench.count.references.asking import DEFAULT
from vidcost.bench.count.references.reference import Convention
from vidcost.bench.progress import progress
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


def measured(
    rows: Sequence[Row], counters: tuple[Convention, ...] = DEFAULT, *, use_cache: bool
) -> list[Examined]:
    """What was counted for ``rows``, with the counters' answers, with progress."""
    with progress("counting", steps(rows, counters)) as advance:
        return measure(rows, counters, use_cache=use_cache, advance=advance)

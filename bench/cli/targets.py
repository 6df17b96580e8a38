"""The rows and the users' networks that a command is about, and what is counted of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import typer

from vidcost.bench.cli.options import seconds
from vidcost.bench.cli.output import unanswered
from vidcost.bench.progress import progress
from vidcost.bench.user.reference import is_reference

if TYPE_CHECKING:
    from vidcost.bench.count.reconcile import Examined
    from vidcost.bench.count.references.reference import Convention
    from vidcost.bench.inspection.counted import Counted
    from vidcost.bench.timing.cell import Cell
    from vidcost.papers.row import Row


def buildable(
    patterns: Sequence[str] | None = None,
    *,
    table: int | str | None = None,
    paper_name: str | None = None,
    clip: Mapping[str, int | None] = {},
) -> list[Row]:
    """The chosen rows that can be built, at ``clip`` as for ``Row.at``; one named must be."""
    from vidcost.papers.catalog import select

    chosen = select(patterns or (), table=table, paper_name=paper_name)
    for row in chosen:
        if row.build is None:
            if row.name in (patterns or ()):
                raise ValueError(f"{row.name} cannot be built: {row.note}")
            typer.echo(f"{row.name} left out: {row.note}", err=True)
    return [row.at(**clip) for row in chosen if row.build is not None]


def measured(
    rows: Sequence[Row], counters: tuple[Convention, ...] = (), *, use_cache: bool
) -> list[Examined]:
    """What was counted for ``rows``, with the answers of ``counters``, or the usual; progress."""
    from vidcost.bench.count.reconcile import measure, steps
    from vidcost.bench.count.references.asking import DEFAULT

    counters = counters or DEFAULT
    with progress("counting", steps(rows, counters)) as advance:
        return measure(rows, counters, use_cache=use_cache, advance=advance)


def parted(words: Sequence[str] | None) -> tuple[list[str] | None, list[str]]:
    """Rows and references among ``words``; None for rows if none was asked for at all."""
    if words is None:
        return None, []
    references = [word for word in words if is_reference(word)]
    return [word for word in words if word not in references], references


def targets(words: Sequence[str], inputs: Sequence[str] | None) -> list[dict[str, Any]]:
    """Rows and networks in the order of ``words``, as fields of cells."""
    from vidcost.bench.timing.plan import network_fields, row_fields

    found: list[dict[str, Any]] = []
    for word in words:
        if is_reference(word):
            found.append(network_fields(word, inputs or ()))
        else:
            found += map(row_fields, buildable([word]))
    return found


def network_cells(references: Sequence[str], inputs: Sequence[str] | None) -> list[Cell]:
    """The networks at their inputs.

    Raises: ValueError if one is not there, or its inputs are none.
    """
    from vidcost.bench.timing.cell import checked_cell
    from vidcost.bench.timing.plan import network_fields

    check_options(references, inputs)
    return [checked_cell(network_fields(each, inputs or ())) for each in references]


def check_options(references: Sequence[str], inputs: Sequence[str] | None) -> None:
    """Raises: ValueError for inputs without a network of the user's."""
    if inputs and not references:
        raise ValueError("--input is for a network of your own: name one as my_net.py:make_model")


def limit_s(time_limit: str) -> float:
    """Seconds of --time-limit.  Raises: ValueError if it is no time."""
    found = seconds(time_limit)
    if not found:
        raise ValueError(f"--time-limit {time_limit} is no time: give more than 0s")
    return found


def failures(networks: Iterable[Counted]) -> list[str]:
    """What went wrong with each, in a line."""
    lines = []
    for each in networks:
        target = each.cell.target
        if each.status != "ok":
            lines.append(f"{target}: {each.status}: {each.error}")
        lines += unanswered(target, each.answers)
    return lines

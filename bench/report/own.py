"""One network of the user's as a table, made where its code runs: only there torch is imported."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from vidcost.bench.isolation import Failed, isolated

if TYPE_CHECKING:
    from vidcost.bench.report.table import Table


def own_table(
    limit_s: float,
    network: str,
    inputs: Sequence[str],
    *,
    training: bool,
    depth: int | None,
    views: int,
) -> tuple[Table, list[str]]:
    """The count of ``network``, or its modules down to ``depth``; and lines on what failed.

    Raises: ValueError if there is no such network, or its inputs are none.
    """
    asked = (network, inputs, training, depth, views)
    try:
        return isolated(limit_s, _own_table, *asked)
    except Failed as failed:
        return _own_table(*asked, failed)


def _own_table(
    network: str,
    inputs: Sequence[str],
    training: bool,
    depth: int | None,
    views: int,
    failed: Failed | None = None,
) -> tuple[Table, list[str]]:
    from vidcost.bench.inspection.counted import Counted, counted_here
    from vidcost.bench.report.counts import counted_table, modules_table
    from vidcost.bench.timing.cell import checked_cell
    from vidcost.bench.timing.plan import network_fields

    cell = checked_cell(network_fields(network, inputs))
    if failed:
        found = Counted(cell, status=failed.status, error=str(failed))
    else:
        found = counted_here(cell, training=training)
    table = counted_table([found], views) if depth is None else modules_table(found, depth, views)
    return table, [] if found.status == "ok" else [f"{network}: {found.status}: {found.error}"]

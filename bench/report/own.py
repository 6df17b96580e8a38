"""One network of the user's as a table, made where its code runs: only there torch is imported."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from vidcost.bench.report.table import Table


def own_table(
    network: str, inputs: Sequence[str], training: bool, depth: int | None, views: int
) -> tuple[Table, list[str]]:
    """The count of ``network``, or its modules down to ``depth``; and lines on what failed.

    Isolate it: it runs the user's code. Raises: ValueError if there is no such network or inputs.
    """
    from vidcost.bench.inspection.counted import counted_here
    from vidcost.bench.report.counts import counted_table, modules_table
    from vidcost.bench.timing.cell import checked_cell
    from vidcost.bench.timing.plan import network_fields

    found = counted_here(checked_cell(network_fields(network, inputs)), training=training)
    table = counted_table([found], views) if depth is None else modules_table(found, depth, views)
    return table, [f"{network}: {found.status}: {found.error}"] * (found.status != "ok")

"""What `vidcost compare --modes` does: ways to run networks, and the best for each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import typer
from rich.console import Console

from vidcost.bench import files
from vidcost.bench.cli.networks import parted, refuse_batch, refuse_inputs
from vidcost.bench.cli.options import Format
from vidcost.bench.cli.output import print_table, report
from vidcost.bench.cli.rows import at, buildable
from vidcost.bench.inspection import modes
from vidcost.bench.report.modes import modes_table
from vidcost.bench.session.timing import failure, take
from vidcost.bench.timing.cell import Cell
from vidcost.bench.timing.cell import checked_cell
from vidcost.bench.timing.plan import network_fields, row_fields
from vidcost.bench.timing.record import Timing

FIRST_ROUND = 0.75
"""Of the time for single changes; the rest is for what helped, together."""


def print_modes(
    networks: Sequence[str],
    inputs: Sequence[str],
    clip: Mapping[str, int | None],
    conditions: Mapping[str, Any],
    *,
    budget_s: float,
    start_up_s: float,
    results: Path,
    resume: bool,
    as_: Format | None,
) -> None:
    """Time each network with one change at a time and with all that helped, and print the table.

    Raises: ValueError for networks or conditions that do not go together, or no time at all.
    """
    if not budget_s:
        raise ValueError("--modes times: give it more than --budget 0s")
    files.check_folder(results)
    plain = _plain_cells(networks, inputs, clip, conditions)
    console, failures = Console(stderr=True), list[str]()

    def timed(cells: Sequence[Cell], share: float) -> dict[Cell, Timing]:
        taken = take(
            cells,
            results,
            console=console,
            resume=resume,
            budget_s=share * budget_s,
            start_up_s=start_up_s,
            command="vidcost compare",
        )
        for note in taken.notes:
            typer.echo(note, err=True)
        # that a device or torch cannot do something is what is asked here
        failed = (t for t in taken.timings if t.status not in ("ok", "unsupported"))
        failures.extend(map(failure, failed))
        return {timing.cell: timing for timing in taken.timings}

    ways = {cell: modes.alone(cell) for cell in plain}
    first = timed([c for found in ways.values() for c in found.values()], FIRST_ROUND)
    single = {
        cell: {name: first[c] for name, c in found.items() if c in first}
        for cell, found in ways.items()
    }
    combined = {
        cell: found for cell in plain if (found := modes.together(cell, single[cell])) is not None
    }
    second = timed([cell for _, cell in combined.values()], 1 - FIRST_ROUND) if combined else {}
    for cell, (name, way) in combined.items():
        if way in second:
            single[cell][name] = second[way]
    print_table(modes_table({cell.target: found for cell, found in single.items()}), as_)
    report(failures)


def _plain_cells(
    networks: Sequence[str],
    inputs: Sequence[str],
    clip: Mapping[str, int | None],
    conditions: Mapping[str, Any],
) -> list[Cell]:
    rows, references = parted(networks)
    if references:
        refuse_batch(conditions["batch"] != 1)
        if any(clip.values()):
            raise ValueError(
                "--classes, --frames and --size are for rows: the inputs of your own network are "
                "given by --input"
            )
    else:
        refuse_inputs(list(inputs))
    fields = [row_fields(row) for row in at(buildable(rows), *clip.values())] if rows else []
    fields += [network_fields(reference, inputs) for reference in references]
    return [checked_cell({**conditions, **each}) for each in fields]

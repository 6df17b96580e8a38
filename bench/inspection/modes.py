"""Ways to run the same network: one change at a time, then together what helped."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from vidcost.bench.timing.cell import Cell, checked_cell
from vidcost.bench.timing.figures import speed
from vidcost.bench.timing.record import Timing
from vidcost.papers.catalog import select

OPTIMIZED = "optimized"

CHANGES: Mapping[str, Mapping[str, Any]] = {
    "channels_last_3d": {"memory_format": "channels_last_3d"},
    "tf32": {"dtype": "tf32"},
    "bf16-autocast": {"dtype": "bf16-autocast"},
    "compile": {"mode": "compile"},
    "cuda-graph": {"mode": "cuda-graph"},
    OPTIMIZED: {},
}
"""The fields of a plain cell that are changed, by name; of the optimized implementation the row."""


def alone(plain: Cell) -> dict[str, Cell]:
    """Each change by itself against ``plain``; those that device, phase or network do not know not.

    ``plain`` is eager, contiguous, in fp32, with the reference implementation.
    """
    found = {}
    for name in CHANGES:
        try:
            found[name] = changed(plain, [name])
        except ValueError:
            # no TF32 on a CPU, no graph of a training step, no blocks
            continue
    return found


def together(plain: Cell, timings: Mapping[str, Timing]) -> dict[str, Cell]:
    """All changes that made ``plain`` faster, at once, by name; nothing if fewer than two did.

    Of changes of the same field the faster one.
    """
    # the faster comes later and takes the field
    helped = {next(iter(CHANGES[name]), OPTIMIZED): name for name in _faster(timings)}
    names = [name for name in CHANGES if name in helped.values()]
    if len(names) < 2:
        return {}
    return {" + ".join(names): changed(plain, names)}


def changed(plain: Cell, names: Sequence[str]) -> Cell:
    """``plain`` with these changes, against itself.

    Raises: ValueError if they contradict each other or the cell.
    """
    fields = {key: value for name in names for key, value in CHANGES[name].items()}
    if OPTIMIZED in names:
        fields |= _optimized(plain)
    return checked_cell(plain.model_dump() | fields | {"against": plain})


def _optimized(plain: Cell) -> dict[str, Any]:
    if plain.row is None or plain.blocks is not None:
        raise ValueError(f"{plain.target} has no optimized implementation of its own")
    (row,) = select([f"{plain.row}-optimized"])
    return {"row": row.name}


def best(timings: Mapping[str, Timing]) -> str | None:
    """The name of the fastest way that is faster than plain, by its interval; None if none is."""
    return next(reversed(_faster(timings)), None)


def _faster(timings: Mapping[str, Timing]) -> list[str]:
    """Those whose 95% interval of the speed lies above that of the plain cell, fastest last."""
    speeds = {
        name: of.median
        for name, timing in timings.items()
        if timing.status == "ok" and (of := speed(timing)) and of.low is not None and of.low > 1
    }
    return sorted(speeds, key=lambda name: speeds[name])

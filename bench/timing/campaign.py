"""What is measured on a GPU that is at hand for a while, in order of value."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from vidcost.bench.timing.axes import FULL, STAGES
from vidcost.bench.timing.cell import Cell
from vidcost.bench.timing.plan import cells_for, fitting, shared_shapes, swept
from vidcost.models.registry import specs
from vidcost.papers import catalog
from vidcost.papers.row import Row

BATCH = 8
"""Clips in a pass that keeps a GPU busy; with 1 it mostly waits for the next kernel."""

LARGE_BATCH = 64
"""Clips of a step as networks are trained; whether it fits into memory is a result."""

_ROWS: dict[str, tuple[dict[str, Any], ...]] = {
    "rows": (
        *({"batch": BATCH, "dtype": "fp32"}, {"batch": BATCH, "dtype": "bf16"}),
        *({"batch": 1, "dtype": "fp32"}, {"batch": BATCH, "dtype": "tf32"}),
        *({"batch": 1, "dtype": "bf16"}, {"batch": 1, "dtype": "tf32"}),
    ),
    "contributions": ({"batch": BATCH, "dtype": ["fp32", "bf16"]},),
    "training": ({"batch": BATCH, "dtype": ["fp32", "bf16-autocast"], "phase": "training"},),
    "modes": tuple(
        {"batch": batch, "dtype": dtype} | changed
        for batch, dtype in ((BATCH, "bf16"), (1, "fp32"))
        for changed in (
            {"memory_format": "channels_last_3d"},
            {"mode": "cuda-graph"},
            {"mode": "compile"},
        )
    ),
    "large": ({"batch": LARGE_BATCH, "dtype": ["fp32", "bf16"]},),
}
"""The conditions of the stages that time rows."""

_BLOCKS: tuple[dict[str, Any], ...] = (
    {"batch": BATCH, "dtype": ["fp32", "bf16", "tf32"]},
    {"batch": 1, "dtype": ["fp32", "bf16"]},
)


def campaign_cells(names: Iterable[str], device: str, paper: str = catalog.DEFAULT) -> list[Cell]:
    """The cells of the stages ``names``, or of all for :data:`FULL`, in order of value.

    Rows are those of ``paper`` with printed costs; blocks have the shapes at which its rows use
    them.
    Raises: ValueError for an unknown stage, or a CPU, which has neither TF32 nor CUDA graphs.
    """
    wanted = [name for each in names for name in (STAGES if each == FULL else (each,))]
    if unknown := [name for name in wanted if name not in STAGES]:
        raise ValueError(
            f"no campaign {unknown[0]!r}: choose {FULL} or, of its stages, {', '.join(STAGES)}"
        )
    if device == "cpu":
        raise ValueError("a campaign is for a GPU: give --device cuda too")
    cells = (
        checked
        for name in wanted
        for checked in (
            _of_rows(name, device, catalog.rows_with_costs(paper))
            if name in _ROWS
            else _of_blocks(name, device, catalog.rows_of(paper))
        )
    )
    return list(dict.fromkeys(cells))


def _of_rows(stage: str, device: str, rows: Sequence[Row]) -> Iterator[Cell]:
    for conditions in _ROWS[stage]:
        contribution = stage == "contributions"
        yield from cells_for(rows, conditions | {"device": device}, contribution=contribution)


def _of_blocks(stage: str, device: str, rows: Sequence[Row]) -> Iterator[Cell]:
    """Alone at every shape where rows use them, or on the first map in 1 to 32 frames."""
    shapes = shared_shapes(rows)
    if stage == "blocks":
        blocks, _ = fitting(specs(), shapes)
        for conditions in _BLOCKS:
            yield from cells_for((), conditions | {"device": device}, blocks=blocks)
        return
    blocks, _ = fitting(specs(), swept(shapes[:1]))
    conditions = {"device": device, "dtype": ["fp32", "bf16"]}
    yield from (cell for cell in cells_for((), conditions, blocks=blocks) if not cell.cold)

"""What is measured on a GPU that is at hand for a while: everything, the most telling first."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace

from vidcost.bench.timing.cell import Cell
from vidcost.bench.timing.choices import FULL, STAGES
from vidcost.bench.timing.plan import (
    Conditions,
    cells_for,
    fitting,
    shared_shapes,
    swept,
)
from vidcost.models.registry import specs
from vidcost.papers.catalog import rows_of, rows_with_costs

BATCH = 8
"""Clips of a pass that keeps a GPU busy; with 1 it mostly waits for the next kernel."""

PAPER_BATCH = 64
"""Clips of a step, as the paper trains: section 4.1."""


def campaign_cells(names: Iterable[str], device: str) -> list[Cell]:
    """The cells of the stages ``names``, or of all for :data:`FULL`, in order of value.

    Raises: ValueError for an unknown stage, or a CPU, which has neither TF32 nor CUDA graphs.
    """
    wanted = [name for each in names for name in (STAGES if each == FULL else (each,))]
    if unknown := [name for name in wanted if name not in STAGES]:
        raise ValueError(
            f"no campaign {unknown[0]!r}: choose {FULL} or, of its stages, {', '.join(STAGES)}"
        )
    if device == "cpu":
        raise ValueError("a campaign is for a GPU: give --device cuda too")
    cells = (cell for name in wanted for cell in _CELLS[name](Conditions(device=device)))
    return list(dict.fromkeys(cells))


def _rows(common: Conditions) -> Iterator[Cell]:
    for batch, dtype in (
        (BATCH, "fp32"),
        (BATCH, "bf16"),
        (1, "fp32"),
        (BATCH, "tf32"),
        (1, "bf16"),
        (1, "tf32"),
    ):
        yield from cells_for(rows_with_costs(), replace(common, batch=(batch,), dtype=(dtype,)))


def _contributions(common: Conditions) -> Iterator[Cell]:
    conditions = replace(common, batch=(BATCH,), dtype=("fp32", "bf16"))
    yield from cells_for(rows_with_costs(), conditions, contribution=True)


def _blocks(common: Conditions) -> Iterator[Cell]:
    """Alone at every shape where rows use them, with what they read in the cache and without."""
    blocks, _ = fitting(specs(), shared_shapes(rows_of()))
    for batch, dtypes in ((BATCH, ("fp32", "bf16", "tf32")), (1, ("fp32", "bf16"))):
        yield from cells_for((), replace(common, batch=(batch,), dtype=dtypes), blocks=blocks)


def _sweep(common: Conditions) -> Iterator[Cell]:
    """Alone on MFNet's map in 1 to 32 frames."""
    first, *_ = shared_shapes(rows_of())
    blocks, _ = fitting(specs(), swept([first]))
    conditions = replace(common, dtype=("fp32", "bf16"))
    yield from (cell for cell in cells_for((), conditions, blocks=blocks) if not cell.cold)


def _training(common: Conditions) -> Iterator[Cell]:
    conditions = replace(
        common, batch=(BATCH,), dtype=("fp32", "bf16-autocast"), phase=("training",)
    )
    yield from cells_for(rows_with_costs(), conditions)


def _modes(common: Conditions) -> Iterator[Cell]:
    for batch, dtype in ((BATCH, "bf16"), (1, "fp32")):
        here = replace(common, batch=(batch,), dtype=(dtype,))
        for changed in (
            replace(here, memory_format=("channels_last_3d",)),
            replace(here, mode=("cuda-graph",)),
            replace(here, mode=("compile",)),
        ):
            yield from cells_for(rows_with_costs(), changed)


def _large(common: Conditions) -> Iterator[Cell]:
    """The paper's batch; that it does not fit is a result."""
    conditions = replace(common, batch=(PAPER_BATCH,), dtype=("fp32", "bf16"))
    yield from cells_for(rows_with_costs(), conditions)


_OF_STAGES = (_rows, _blocks, _contributions, _sweep, _training, _modes, _large)
_CELLS = dict(zip(STAGES, _OF_STAGES, strict=True))

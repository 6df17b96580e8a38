"""The cells that set the fast path of blocks against the textbook's."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from vidcost.bench.block_spec import fast
from vidcost.bench.timing.cell import Cell
from vidcost.bench.timing.plan import Shape, checked_cell, code_of, fitting

SPECS = (
    "nl",
    "nl:pairwise=gaussian",
    "nl:pairwise=dot-product",
    "nl:pairwise=concatenation",
    "cgnl",
    "cgd",
    "pnl:n=2",
    "pnl:n=3",
    "pnl:n=4",
)

SHAPES: tuple[Shape, ...] = tuple((384, frames, 14, 14) for frames in (2, 8, 32, 128))
"""The map of MFNet's conv4, where rows have a block, in so many frames that N is 392 to 25,088."""

TRIED = {
    "vidcost.models.tried:NonLocalInSlices": "nl:path=fast",
    "vidcost.models.tried:PNLMixedSmall:n=4": "pnl:n=4,path=fast",
    "vidcost.models.tried:PNLStacked:n=4": "pnl:n=4,path=fast",
    "vidcost.models.tried:CGDInOnePass": "cgd:path=fast",
    "vidcost.models.tried:CGNLStacked": "cgnl:path=fast",
}
"""What was tried and not taken, and the fast path that it is set against."""

TRIED_ON_GPU = {
    "vidcost.models.tried:NonLocalInTwoProducts": "nl:path=fast",
    "vidcost.models.tried:PNLInTwoProducts:n=4": "pnl:n=4,path=fast",
}
"""The same where the fast path takes other operators than on a CPU."""

TRIED_SHAPES = SHAPES[1:3]


def fast_cells(
    specs: Sequence[str], shapes: Iterable[Shape], conditions: Mapping[str, Any], *, phase: str
) -> tuple[list[Cell], list[str]]:
    """The fast path against the textbook's, shape by shape, and why what was left out was.

    Raises: ValueError for an unknown block, conditions that contradict each other, or if no block
            fits any shape.
    """
    pairs = {spec: fast(spec) for spec in specs}
    found, reasons = fitting(list(pairs), shapes)
    common = {**conditions, "phase": phase}
    return [_against(pairs[spec], spec, shape, common) for spec, shape in found], reasons


def tried_cells(conditions: Mapping[str, Any]) -> list[Cell]:
    """What was tried against the fast path, at inference."""
    on_cpu = conditions.get("device", "cpu") == "cpu"
    return [
        _against(spec, reference, shape, {**conditions, "phase": "inference"})
        for shape in TRIED_SHAPES
        for spec, reference in (TRIED if on_cpu else TRIED | TRIED_ON_GPU).items()
    ]


def _against(spec: str, reference: str, shape: Shape, common: Mapping[str, Any]) -> Cell:
    other = checked_cell({**common, "block": reference, "shape": shape})
    fields = {**common, "block": spec, "shape": shape, "code": code_of([spec]), "against": other}
    return checked_cell(fields)

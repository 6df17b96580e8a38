"""How the cost of a block grows with the positions it relates: closed form and count."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch

from vidcost.bench.block_spec import block_factory
from vidcost.bench.count.closed_form import verify
from vidcost.bench.count.counter import count
from vidcost.models.registry import specs

CHANNELS, FRAMES = 384, 8
"""Those of MFNet's conv4, where the paper puts its module."""
PAPER_SIDE = 14
COUNTED_SIDES = (8, 14, 20, 28, 40, 56, 80, 112)
"""From the smallest map that has room for four scales."""
STEP = 2
"""Sides of the closed form's curve: maps of video networks have even sides, but for the last."""

QUANTITIES: Mapping[str, str] = {
    "macs": "MACs",
    "matmul": "MACs of attention, products of two activations",
}


@dataclass(frozen=True)
class Size:
    """A block on maps of ``side`` x ``side``: what its closed form says, and what was counted.

    ``positions`` is N = frames x side x side. Not every size of the curve is counted.
    """

    block: str
    quantity: str
    side: int
    positions: int
    formula: int
    counted: int | None


def growth() -> list[Size]:
    """Every block and quantity over the sides, at batch 1.

    Raises: ClosedFormMismatch if a count is not what the closed form says.
    """
    sides = sorted({*range(COUNTED_SIDES[0], COUNTED_SIDES[-1] + 1, STEP), *COUNTED_SIDES})
    return [
        size
        for block in specs()
        for side in sides
        for size in _sizes(block, side, counted=side in COUNTED_SIDES)
    ]


def _sizes(block: str, side: int, *, counted: bool) -> list[Size]:
    shape = (1, CHANNELS, FRAMES, side, side)
    with torch.device("meta"):
        module: Any = block_factory(block)(CHANNELS)
    cost = module.cost(shape)
    found = None
    if counted:
        of_all = count(module, torch.empty(shape, device="meta"))
        verify(f"{block} at {'x'.join(map(str, shape))}", module, of_all)
        found = of_all.total
    return [
        Size(
            block=block,
            quantity=quantity,
            side=side,
            positions=FRAMES * side * side,
            formula=getattr(cost, quantity),
            counted=None if found is None else getattr(found, quantity),
        )
        for quantity in QUANTITIES
    ]

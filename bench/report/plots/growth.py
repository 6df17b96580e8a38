"""How the cost of a block grows with N, the positions that it relates."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import altair as alt
import torch

from vidcost.bench.block_spec import block_factory
from vidcost.bench.count.closed_form import verify
from vidcost.bench.count.counter import count
from vidcost.bench.report.plots.plot import COLORS, MUTED, Choice, Plot, tooltips
from vidcost.bench.report.table import Column, Table, integer

COUNTED_SIDES = (8, 14, 20, 28, 40, 56, 80, 112)
"""From the smallest map that has room for four scales."""
STEP = 2
"""Between sides of the closed form's curve: maps of video networks have even sides."""
QUANTITIES: Mapping[str, str] = {
    "macs": "MACs",
    "matmul": "MACs of attention, products of two activations",
}
_CHOICE = Choice("quantity", "Cost", QUANTITIES, "macs", is_filed=True)


def growth_lines(blocks: Sequence[str], channels: int, frames: int) -> list[dict[str, Any]]:
    """Closed forms of every block and quantity over the sides, at batch 1, and counts of some.

    Raises: ClosedFormMismatch if a count is not what the closed form says.
    """
    sides = sorted({*range(COUNTED_SIDES[0], COUNTED_SIDES[-1] + 1, STEP), *COUNTED_SIDES})
    return [
        line
        for block in blocks
        for side in sides
        for line in _lines(block, (1, channels, frames, side, side))
    ]


def growth_plot(blocks: Sequence[str], shape: tuple[int, int, int, int], where: str) -> Plot:
    """Closed forms as curves with counts on them; ``shape``, (C, T, H, W), is that of ``where``.

    Raises: ClosedFormMismatch if a count is not what the closed form says.
    """
    channels, frames, height, width = shape
    lines = growth_lines(blocks, channels, frames)
    flat = _flat(lines)
    constant = "".join(
        f" {block} needs {integer(macs)} MACs at every N and is not drawn."
        for block, macs in flat.items()
    )
    lines = [line | {"drawn": line["formula"] > 0 and line["block"] not in flat} for line in lines]
    return Plot(
        name="growth",
        title="What a block costs as N grows",
        caption=(
            f"One block at {channels} channels and {frames} frames on maps of growing size, "
            "N = T·H·W positions, one forward pass of one clip. Curves are closed forms; points "
            f"are counted from the operators and equal them as integers.{constant}"
        ),
        chart=_chart(
            [block for block in blocks if block not in flat], frames * height * width, where
        ),
        data=Table(
            title="MACs by N",
            columns=(
                Column("block", "Block"),
                Column("cost", "Cost"),
                Column("side", "H = W", integer),
                Column("positions", "N", integer),
                Column("formula", "Closed form", integer),
                Column("counted", "Counted", integer),
            ),
            lines=lines,
        ),
        choices=(_CHOICE,),
    )


def _lines(block: str, shape: tuple[int, int, int, int, int]) -> Iterator[dict[str, Any]]:
    _, _, frames, side, _ = shape
    with torch.device("meta"):
        module: Any = block_factory(block)(shape[1])
    cost = module.cost(shape)
    counted = None
    if side in COUNTED_SIDES:
        found = count(module, torch.empty(shape, device="meta"))
        verify(f"{block} at {'x'.join(map(str, shape))}", module, found)
        counted = found.total
    for quantity, words in QUANTITIES.items():
        yield {
            "block": block,
            "quantity": quantity,
            "cost": words,
            "side": side,
            "positions": frames * side * side,
            "formula": getattr(cost, quantity),
            "counted": None if counted is None else getattr(counted, quantity),
        }


def _flat(lines: Sequence[Mapping[str, Any]]) -> dict[str, int]:
    """Blocks whose MACs do not depend on N, and their MACs."""
    macs: dict[str, set[int]] = {}
    for line in lines:
        if line["quantity"] == "macs":
            macs.setdefault(line["block"], set()).add(line["formula"])
    return {block: min(values) for block, values in macs.items() if len(values) == 1}


def _chart(blocks: Sequence[str], at: int, where: str) -> alt.LayerChart:
    x = (
        alt.X("positions:Q")
        .scale(type="log", nice=False)
        .axis(
            title="N, positions (log scale)",
            values=[1000, 10_000, 100_000],
            format=",",
            grid=False,
        )
    )
    y = (
        alt.Y("formula:Q")
        .scale(type="log", nice=False)
        .axis(
            title=None,
            labelExpr="format(datum.value, '~s')",
            values=[10**power for power in range(4, 14)],
        )
    )
    color = alt.Color("block:N").scale(domain=list(blocks), range=COLORS[: len(blocks)])
    base = alt.Chart().transform_filter(_CHOICE.filter).transform_filter("datum.drawn")
    mark = alt.Chart(alt.Data(values=[{"positions": at, "text": f"{where}: N = {at:,}"}]))
    return alt.layer(
        mark.mark_rule(color=MUTED, strokeDash=[2, 3]).encode(x=x),
        mark.mark_text(align="left", baseline="bottom", dx=6, color=MUTED).encode(
            x=x, y=alt.value("height"), text="text:N"
        ),
        base.mark_line(strokeWidth=1.8).encode(x=x, y=y, color=color),
        base.transform_filter("isValid(datum.counted)")
        .mark_point(filled=True, size=46, opacity=1)
        .encode(
            x=x,
            y=y,
            color=color,
            tooltip=tooltips(
                ("block", "Block"),
                ("side", "H = W"),
                ("positions", "N", ","),
                ("formula", "Closed form", ","),
                ("counted", "Counted", ","),
            ),
        ),
    ).properties(height=420, title=alt.Title(_CHOICE.words, anchor="start"))

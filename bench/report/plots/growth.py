"""How the cost of a block grows with N, the positions that it relates."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import altair as alt
import torch

from vidcost.bench.block_spec import block_factory
from vidcost.bench.count.counter import count
from vidcost.bench.count.modules import verify
from vidcost.bench.report.plots.plot import MUTED, Choice, Color, Plot, log
from vidcost.bench.report.table import integer
from vidcost.papers.figures import Growth

COUNTED_SIDES = (8, 14, 20, 28, 40, 56, 80, 112)
"""From the smallest map that has room for four scales."""
STEP = 2
"""Between sides of the closed form's curve: maps of video networks have even sides."""
QUANTITIES: Mapping[str, str] = {
    "macs": "MACs",
    "matmul": "MACs of attention, products of two activations",
}
_CHOICE = Choice("quantity", "Cost", QUANTITIES, "macs", is_filed=True)


def growth_plot(of: Growth) -> Plot:
    """Closed forms of the paper's blocks as curves, with counts on them.

    Raises: ClosedFormMismatch if a count is not what the closed form says.
    """
    lines = growth_lines(of.blocks, of.channels, of.frames)
    constant = "".join(
        f" {block} needs {integer(macs)} MACs at every N and is not drawn."
        for block, macs in _flat(lines).items()
    )
    return Plot(
        name="growth",
        title="What a block costs as N grows",
        caption=(
            f"One block at {of.channels} channels and {of.frames} frames on maps of growing size, "
            "N = T·H·W positions, one forward pass of one clip. Curves are closed forms; points "
            f"are counted from the operators and equal them as integers.{constant}"
        ),
        chart=_chart(of),
        lines=lines,
        choices=(_CHOICE,),
    )


def growth_lines(blocks: Sequence[str], channels: int, frames: int) -> list[dict[str, Any]]:
    """Closed forms of every block and quantity over the sides, at batch 1, and counts of some."""
    sides = sorted({*range(COUNTED_SIDES[0], COUNTED_SIDES[-1] + 1, STEP), *COUNTED_SIDES})
    shapes = [(1, channels, frames, side, side) for side in sides]
    lines = [line for block in blocks for shape in shapes for line in _lines(block, shape)]
    flat = _flat(lines)
    return [line | {"drawn": line["formula"] > 0 and line["block"] not in flat} for line in lines]


def _lines(block: str, shape: tuple[int, ...]) -> Iterator[dict[str, Any]]:
    _, channels, frames, side, _ = shape
    with torch.device("meta"):
        module: Any = block_factory(block)(channels)
    cost = module.cost(shape)
    total = None
    if side in COUNTED_SIDES:
        counted = count(module, torch.empty(shape, device="meta"))
        verify(f"{block} at {'x'.join(map(str, shape))}", module, counted)
        total = counted.total
    for quantity, words in QUANTITIES.items():
        yield {
            "block": block,
            "quantity": quantity,
            "cost": words,
            "side": side,
            "positions": frames * side * side,
            "formula": getattr(cost, quantity),
            "counted": total and getattr(total, quantity),
        }


def _flat(lines: Sequence[Mapping[str, Any]]) -> dict[str, int]:
    """Blocks whose MACs do not depend on N, and their MACs."""
    macs: dict[str, set[int]] = {}
    for line in lines:
        if line["quantity"] == "macs":
            macs.setdefault(line["block"], set()).add(line["formula"])
    return {block: min(values) for block, values in macs.items() if len(values) == 1}


def _chart(of: Growth) -> alt.LayerChart:
    at = of.frames * of.side**2
    base = (
        alt.Chart()
        .transform_filter(_CHOICE.filter)
        .transform_filter("datum.drawn")
        .encode(
            log(alt.X("positions:Q"), "N, positions", values=[10**k for k in range(9)], format=","),
            log(alt.Y("formula:Q"), None, values=[10**k for k in range(20)], format="~s"),
            alt.Color("block:N").sort(list(of.blocks)).scale(range=list(Color)),
        )
    )
    points = base.transform_filter("isValid(datum.counted)").mark_point(size=46)
    tooltip = ["block:N", "side:N", "positions:Q", "formula:Q", "counted:Q"]
    mark = alt.Chart(alt.InlineData(values=[{"positions": at}])).encode(x="positions:Q")
    words = mark.mark_text(
        text=f"the paper: N = {at:,}", align="left", baseline="bottom", dx=6, color=MUTED
    )
    return alt.LayerChart(
        layer=[
            mark.mark_rule(color=MUTED, strokeDash=[2, 3]),
            words.encode(y=alt.value("height")),
            base.mark_line(strokeWidth=1.8),
            points.encode(y="counted:Q", tooltip=tooltip),
        ],
        height=420,
        title=_CHOICE.title(anchor="start"),
    )

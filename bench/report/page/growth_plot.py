"""The plot of how blocks' costs grow with N."""

from __future__ import annotations

from collections.abc import Sequence

from vidcost.bench.report.page.growth import CHANNELS, FRAMES, PAPER_SIDE, QUANTITIES, Size
from vidcost.bench.report.page.labels import INK
from vidcost.bench.report.page.plot import (
    BLUE,
    GREEN,
    GREY,
    MUTED,
    ORANGE,
    PURPLE,
    SKY,
    Control,
    Plot,
    Spec,
    parameter,
)
from vidcost.bench.report.table import Column, Table, integer

COLORS = {
    "nl": ORANGE,
    "pnl:n=2": SKY,
    "pnl:n=3": BLUE,
    "pnl:n=4": PURPLE,
    "cgnl": GREEN,
    "cgd": GREY,
}
WORDS = {
    "nl": "NL",
    "pnl:n=2": "PNL, n = 2",
    "pnl:n=3": "PNL, n = 3",
    "pnl:n=4": "PNL, n = 4",
    "cgnl": "CGNL",
    "cgd": "CGD",
}
APART = 1.55
"""Labels at the ends of curves stand at least this factor apart, or they lie on one another."""


def growth_plot(sizes: Sequence[Size]) -> Plot:
    """Closed forms as curves, counts as points on them."""
    flat = _flat(sizes)
    drawn = [size for size in sizes if size.block not in flat]
    at = FRAMES * PAPER_SIDE**2
    constant = "".join(
        f" {WORDS[block]} needs {integer(macs)} MACs at every N and is not drawn."
        for block, macs in flat.items()
    )
    return Plot(
        name="growth",
        title="What a block costs as N grows",
        caption=(
            f"One block at {CHANNELS} channels and {FRAMES} frames on maps of growing size, "
            "N = T·H·W positions, one forward pass of one clip. Curves are closed forms, points "
            "are counted from the operators, and equal them as integers."
            f"{constant}"
        ),
        spec=_spec(sorted({size.block for size in drawn}, key=list(COLORS).index), at),
        data=_data(sizes, flat),
        controls=(Control("quantity", "Cost", tuple(QUANTITIES.items()), "macs"),),
        filed=("quantity",),
    )


def _flat(sizes: Sequence[Size]) -> dict[str, int]:
    """Blocks whose MACs do not depend on N, and what they are."""
    macs: dict[str, set[int]] = {}
    for size in sizes:
        if size.quantity == "macs":
            macs.setdefault(size.block, set()).add(size.formula)
    return {block: min(values) for block, values in macs.items() if len(values) == 1}


def _data(sizes: Sequence[Size], flat: dict[str, int]) -> Table:
    ends = _ends(sizes, flat)
    return Table(
        title="MACs by N",
        columns=(
            Column("block", "Block"),
            Column("cost", "Cost"),
            Column("side", "H = W", integer),
            Column("positions", "N", integer),
            Column("formula", "Closed form", integer),
            Column("counted", "Counted", integer),
        ),
        lines=[
            {
                "block": size.block,
                "words": WORDS[size.block],
                "quantity": size.quantity,
                "cost": QUANTITIES[size.quantity],
                "side": size.side,
                "positions": size.positions,
                "formula": size.formula,
                "counted": size.counted,
                "label_at": ends.get((size.block, size.quantity, size.positions)),
                "drawn": size.formula > 0 and size.block not in flat,
            }
            for size in sizes
        ],
    )


def _ends(sizes: Sequence[Size], flat: dict[str, int]) -> dict[tuple[str, str, int], float]:
    """The last point of each curve, and the height of its label, from the bottom up."""
    last = max(size.positions for size in sizes)
    found = {}
    for quantity in QUANTITIES:
        below = 0.0
        for size in sorted(
            (
                size
                for size in sizes
                if (size.quantity, size.positions) == (quantity, last)
                and size.formula
                and size.block not in flat
            ),
            key=lambda size: size.formula,
        ):
            below = max(float(size.formula), below * APART)
            found[size.block, quantity, last] = below
    return found


def _spec(blocks: Sequence[str], at: int) -> Spec:
    x = {
        "field": "positions",
        "type": "quantitative",
        # room for the labels at the ends of the curves
        "scale": {
            "type": "log",
            "domainMin": 450,
            "domainMax": {"expr": "width < 420 ? 1600000 : 450000"},
            "nice": False,
        },
        "axis": {
            "title": "N, positions (log scale)",
            "values": [1000, 10000, 100000],
            "format": ",",
            "grid": False,
        },
    }
    y = {
        "field": "formula",
        "type": "quantitative",
        "scale": {"type": "log", "nice": False},
        "axis": {
            "title": {
                "expr": " : ".join(f"quantity === {k!r} ? {w!r}" for k, w in QUANTITIES.items())
                + " : ''"
            },
            "labelExpr": "format(datum.value, '~s')",
            "values": [10**power for power in range(4, 14)],
        },
    }
    color = {
        "field": "block",
        "type": "nominal",
        "scale": {"domain": list(blocks), "range": [COLORS[block] for block in blocks]},
        "legend": None,
    }
    tooltip = [
        {"field": "words", "title": "Block"},
        {"field": "side", "title": "H = W"},
        {"field": "positions", "title": "N", "format": ","},
        {"field": "formula", "title": "Closed form", "format": ","},
        {"field": "counted", "title": "Counted", "format": ","},
    ]
    return {
        "height": 420,
        "transform": [parameter("quantity"), {"filter": "datum.drawn"}],
        "layer": [
            {
                "data": {"values": [{"at": at, "text": f"MFNet conv4: N = {at:,}"}]},
                "layer": [
                    {
                        "mark": {"type": "rule", "color": MUTED, "strokeDash": [2, 3]},
                        "encoding": {"x": x | {"field": "at"}},
                    },
                    {
                        "mark": {
                            "type": "text",
                            "align": "left",
                            "baseline": "bottom",
                            "dx": 6,
                            "color": MUTED,
                        },
                        "encoding": {
                            "x": x | {"field": "at"},
                            "y": {"value": "height"},
                            "text": {"field": "text"},
                        },
                    },
                ],
            },
            {
                "mark": {"type": "line", "strokeWidth": 1.8},
                "encoding": {"x": x, "y": y, "color": color},
            },
            {
                "transform": [{"filter": "isValid(datum.counted)"}],
                "mark": {"type": "point", "filled": True, "size": 46, "opacity": 1},
                "encoding": {
                    "x": x,
                    "y": y | {"field": "counted"},
                    "color": color,
                    "tooltip": tooltip,
                },
            },
            {
                "transform": [{"filter": "isValid(datum.label_at)"}],
                "mark": {"type": "text", "align": "left", "dx": 9, "color": INK},
                "encoding": {
                    "x": x,
                    "y": y | {"field": "label_at"},
                    "text": {"field": "words"},
                },
            },
        ],
    }

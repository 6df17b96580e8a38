"""What blocks add to a network against the swept length or side of its clip."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import altair as alt
import vl_convert

from vidcost.bench import files
from vidcost.bench.inspection.comparison import Compared
from vidcost.bench.report.plots.plot import CONFIG, Color, log

_QUANTITIES = {
    "added_macs": (1e-9, "added MACs, G"),
    "added_s": (1e3, "added latency, ms"),
    "added_peak_bytes": (1e-6, "added peak memory, MB"),
}


def write_sweep(compared: Sequence[Compared], path: Path, *, title: str, axis: str) -> None:
    """Write the plot to ``path``, by its suffix as SVG or PNG.

    Raises: ValueError with the path if it cannot be written.
    """
    vega = sweep_chart(compared, title=title, axis=axis).to_dict(format="vega")
    is_svg = path.suffix == ".svg"
    files.write(
        path, vl_convert.vega_to_svg(vega) if is_svg else vl_convert.vega_to_png(vega, scale=2)
    )


def sweep_chart(compared: Sequence[Compared], *, title: str, axis: str) -> alt.HConcatChart:
    """What each block adds: MACs, and latency and memory where they were measured.

    Both axes are logarithmic: a straight line is a power of the swept value. An amount that is not
    above 0 has no place there and is left out; so is an interval that reaches below 0.
    """
    lines = {quantity: list(_lines(compared, quantity)) for quantity in _QUANTITIES}
    panels = [_panel(lines[each], each, axis) for each in lines if lines[each]]
    look = alt.Config(**{**CONFIG, "background": "white", "padding": 16})
    return alt.HConcatChart(hconcat=panels, title=f"What a block adds to {title}", config=look)


def _lines(compared: Sequence[Compared], quantity: str) -> Iterator[dict[str, Any]]:
    factor, _ = _QUANTITIES[quantity]
    for each in compared:
        amount = getattr(each, quantity)
        if not each.variant.block or amount is None or amount <= 0:
            continue
        line = {"block": each.variant.block, "value": each.variant.value, "amount": factor * amount}
        low, high = each.added_low_s, each.added_high_s
        if quantity == "added_s" and low is not None and high is not None and low > 0:
            line |= {"low": factor * low, "high": factor * high}
        yield line


def _panel(lines: Sequence[Mapping[str, Any]], quantity: str, axis: str) -> alt.LayerChart:
    values = sorted({line["value"] for line in lines})
    base = alt.Chart(alt.InlineData(values=[dict(line) for line in lines])).encode(
        log(alt.X("value:Q"), axis, padding=12, values=values),
        log(alt.Y("amount:Q"), _QUANTITIES[quantity][1], padding=12, format="~g", tickCount=5),
        alt.Color("block:N", sort=None).scale(range=list(Color)),
    )
    layers = [base.mark_line(), base.mark_point().encode(alt.Shape("block:N", sort=None))]
    if any("low" in line for line in lines):
        layers.append(base.mark_rule().encode(y="low:Q", y2="high:Q"))
    return alt.LayerChart(layer=layers, width=260, height=260)

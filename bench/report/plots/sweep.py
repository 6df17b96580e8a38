"""What blocks add to a network against the swept length or side of its clip."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import altair as alt
import vl_convert

from vidcost.bench import files
from vidcost.bench.inspection.comparison import PLAIN
from vidcost.bench.report.plots.plot import CONFIG, Color, log

_QUANTITIES = {
    "added_macs": (1e-9, "added MACs, G"),
    "added_s": (1e3, "added latency, ms"),
    "added_peak_bytes": (1e-6, "added peak memory, MB"),
}


def write_sweep(
    compared: Sequence[Mapping[str, Any]], path: Path, *, title: str, axis: str
) -> None:
    """Write the plot to ``path``, by its suffix as SVG or PNG.

    Raises: ValueError with the path if it cannot be written.
    """
    vega = sweep_chart(compared, title=title, axis=axis).to_dict(format="vega")
    is_svg = path.suffix == ".svg"
    files.write(
        path, vl_convert.vega_to_svg(vega) if is_svg else vl_convert.vega_to_png(vega, scale=2)
    )


def sweep_chart(
    compared: Sequence[Mapping[str, Any]], *, title: str, axis: str
) -> alt.HConcatChart:
    """What each block adds: MACs, and latency and memory where they were measured.

    Both axes are logarithmic: a straight line is a power of the swept value. An amount that is not
    above 0 has no place there and is left out; so is an interval that reaches below 0.
    """
    panels = []
    for quantity, (factor, words) in _QUANTITIES.items():
        lines = []
        for each in compared:
            amount, low, high = each[quantity], each["added_low_s"], each["added_high_s"]
            if each["block"] == PLAIN or amount is None or amount <= 0:
                continue
            line = {"block": each["block"], "value": each[axis], "amount": factor * amount}
            if quantity == "added_s" and low is not None and low > 0:
                line |= {"low": factor * low, "high": factor * high}
            lines.append(line)
        if lines:
            panels.append(_panel(lines, words, axis))
    look = alt.Config(**{**CONFIG, "background": "white", "padding": 16})
    return alt.HConcatChart(hconcat=panels, title=f"What a block adds to {title}", config=look)


def _panel(lines: Sequence[Mapping[str, Any]], words: str, axis: str) -> alt.LayerChart:
    values = sorted({line["value"] for line in lines})
    base = alt.Chart(alt.InlineData(values=lines)).encode(
        log(alt.X("value:Q"), axis, padding=12, values=values),
        log(alt.Y("amount:Q"), words, padding=12, format="~g", tickCount=5),
        alt.Color("block:N", sort=None).scale(range=list(Color)),
    )
    layers = [base.mark_line(), base.mark_point().encode(alt.Shape("block:N", sort=None))]
    if any("low" in line for line in lines):
        layers.append(base.mark_rule().encode(y="low:Q", y2="high:Q"))
    return alt.LayerChart(layer=layers, width=260, height=260)

"""A plot: its data, its Vega-Lite spec, and what can be chosen in it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import vl_convert

from vidcost.bench.report.page import labels
from vidcost.bench.report.page.labels import FONT, INK
from vidcost.bench.report.table import Table

Spec = dict[str, Any]
"""A Vega-Lite or Vega spec, as JSON has it."""

VEGA_LITE = "6.1"
STATIC_WIDTH = 760
PNG_SCALE = 1.5
MUTED, GRID = "#59616b", "#e3e6ea"
# of Okabe and Ito (2008), which people with any colour vision tell apart
BLUE, ORANGE, GREEN, PURPLE = "#0072b2", "#d55e00", "#009e73", "#aa4f8b"
SKY, GREY = "#3aa0d8", "#767d86"

CONFIG: Spec = {
    "font": FONT,
    "background": None,
    "view": {"stroke": None},
    "axis": {
        "labelColor": MUTED,
        "titleColor": MUTED,
        "labelFontSize": 12,
        "titleFontSize": 12,
        "titleFontWeight": "normal",
        "gridColor": GRID,
        "domain": False,
        "ticks": False,
        "labelPadding": 6,
        "titlePadding": 10,
        "labelOverlap": "greedy",
    },
    "axisY": {
        "titleAngle": 0,
        "titleAlign": "left",
        "titleAnchor": "end",
        "titleBaseline": "bottom",
        "titleX": 0,
        "titleY": -10,
    },
    "legend": {
        "orient": "top",
        "title": None,
        "labelColor": INK,
        "labelFontSize": 12,
        "symbolSize": 80,
        "offset": 34,
    },
    "text": {"fontSize": 12, "color": INK},
}


@dataclass(frozen=True)
class Control:
    """A choice in a plot: the name of its parameter, its label, and values with their words."""

    name: str
    label: str
    options: tuple[tuple[str, str], ...]
    chosen: str


def conditions_control(of_points: Iterable[str]) -> Control:
    """A choice of the conditions that points have, at first those of most."""
    points = Counter(of_points)
    options = tuple((words, words) for words in points)
    return Control("conditions", "Conditions", options, max(points, key=lambda each: points[each]))


@dataclass(frozen=True)
class Plot:
    """A plot with its data.

    ``name`` is the stem of its files. ``spec`` is Vega-Lite without data, width and controls, whose
    names are parameters in it; the data are the lines of ``data``. ``said`` is what stands in
    place of the plot for a choice (one value for each control, in order) that has nothing to
    draw. ``filed`` are the controls of which every value becomes a file, not only the first.
    """

    name: str
    title: str
    caption: str
    spec: Spec
    data: Table
    controls: tuple[Control, ...] = ()
    said: Mapping[tuple[str, ...], str] = field(default_factory=dict)
    filed: tuple[str, ...] = ()

    def vega(self, *, width: int | None = None, chosen: Mapping[str, str] | None = None) -> Spec:
        """The plot in Vega, as wide as ``width`` pixels or, without, as its container.

        ``chosen`` has other values for the controls.
        """
        values = {control.name: control.chosen for control in self.controls} | dict(chosen or {})
        spec = self.spec | {
            "$schema": "https://vega.github.io/schema/vega-lite/v6.json",
            "width": width or "container",
            "data": {"name": "lines", "values": [dict(line) for line in self.data.lines]},
            "params": [
                *self.spec.get("params", ()),
                *({"name": name, "value": value} for name, value in values.items()),
            ],
            "config": CONFIG if width is None else CONFIG | {"background": "white"},
            "padding": 4 if width is None else 16,
        }
        if width is None:
            spec["autosize"] = {"type": "fit-x", "contains": "padding"}
        compiled = vl_convert.vegalite_to_vega(spec, vl_version=VEGA_LITE)
        (labels.in_browser if width is None else labels.in_file)(compiled)
        return compiled

    def svg(self, chosen: Mapping[str, str] | None = None) -> str:
        """The plot for a paper."""
        return vl_convert.vega_to_svg(self.vega(width=STATIC_WIDTH, chosen=chosen))

    def png(self, chosen: Mapping[str, str] | None = None) -> bytes:
        """The same in pixels."""
        return vl_convert.vega_to_png(self.vega(width=STATIC_WIDTH, chosen=chosen), scale=PNG_SCALE)


def parameter(name: str) -> Spec:
    """A filter for the lines whose field ``name`` is what the control of that name has."""
    return {"filter": f"datum['{name}'] === {name}"}

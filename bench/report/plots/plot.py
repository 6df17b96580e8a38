"""A plot: its data, its Altair chart, and how the chart becomes Vega, SVG and PNG."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import altair as alt
import vl_convert

from vidcost.bench.report.page.html_table import anchor
from vidcost.bench.report.table import Table

Vega = dict[str, Any]

WIDTH = 760
INK, MUTED, GRID = "#1a1d21", "#59616b", "#e3e6ea"
# Okabe and Ito (2008): distinguishable with any colour vision
BLUE, ORANGE, GREEN, PURPLE, SKY, GREY = COLORS = (
    *("#0072b2", "#d55e00", "#009e73", "#aa4f8b", "#3aa0d8", "#767d86"),
)
POINTS, LABELS = "points", "labels"
"""Names of the layers that `_place_labels` joins."""

CONFIG: Mapping[str, Any] = {
    "font": "Helvetica, Arial, sans-serif",
    "background": "transparent",
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
    "title": {"color": MUTED, "fontSize": 12, "fontWeight": "normal", "subtitleColor": MUTED},
}


@dataclass(frozen=True)
class Choice:
    """A choice that a reader makes: a parameter of the chart, its label, values with their words.

    ``is_filed``: every value becomes a file, not only the first one shown.
    """

    name: str
    label: str
    options: Mapping[str, str]
    chosen: str
    is_filed: bool = False

    @property
    def parameter(self) -> alt.Parameter:
        """The choice as a parameter of a chart, with a select element on a page."""
        select = alt.binding_select(
            options=list(self.options), labels=list(self.options.values()), name=self.label
        )
        return alt.param(name=self.name, value=self.chosen, bind=select)

    @property
    def words(self) -> alt.Expr:
        """The chosen value's words, for a chart's title: an axis's title takes no expression."""
        return alt.expr(f"({json.dumps(dict(self.options))})[{self.name}]")

    @property
    def filter(self) -> str:
        """The expression that holds for lines whose field of this name has the chosen value."""
        return f"datum['{self.name}'] === {self.name}"


@dataclass(frozen=True)
class Plot:
    """A chart without data, width and choices; ``data`` has its lines, ``name`` is a file's stem.

    ``empty`` is shown in place of the drawing for choices (a value of each, in order) without data.
    """

    name: str
    title: str
    caption: str
    chart: alt.LayerChart
    data: Table
    choices: tuple[Choice, ...] = ()
    empty: Mapping[tuple[str, ...], str] | None = None

    def vega(self, *, width: int | None = None, chosen: Mapping[str, str] | None = None) -> Vega:
        """The plot in Vega, ``width`` pixels wide or, without, as wide as its container."""
        chart = self.chart.copy()
        if self.empty:
            chart.layer = [*chart.layer, self._empty_layer()]
        chart = chart.properties(
            data=alt.Data(values=[dict(line) for line in self.data.lines]),
            width=width or "container",
            autosize=alt.AutoSizeParams(type="pad" if width else "fit-x", contains="padding"),
            padding=16 if width else 4,
        )
        chart = chart.add_params(*(choice.parameter for choice in self.choices))
        background = {"background": "white"} if width else {}
        vega: Vega = chart.configure(**{**CONFIG, **background}).to_dict(format="vega")
        for signal in vega["signals"]:
            signal["value"] = (chosen or {}).get(signal["name"], signal.get("value"))
        _place_labels(vega, has_canvas=width is None)
        return vega

    def svg(self, chosen: Mapping[str, str] | None = None) -> str:
        """The plot for a document."""
        return vl_convert.vega_to_svg(self.vega(width=WIDTH, chosen=chosen))

    def png(self, chosen: Mapping[str, str] | None = None) -> bytes:
        """The same in pixels."""
        return vl_convert.vega_to_png(self.vega(width=WIDTH, chosen=chosen), scale=2)

    def files(self) -> Iterator[tuple[str, dict[str, str]]]:
        """The stem of each file and the choices that it shows, without those that are empty."""
        first = {choice.name: choice.chosen for choice in self.choices}
        yield self.name, first
        for choice in self.choices:
            for value in choice.options if choice.is_filed else ():
                chosen = first | {choice.name: value}
                if value != choice.chosen and tuple(chosen.values()) not in (self.empty or {}):
                    yield anchor(self.name, value), chosen

    def _empty_layer(self) -> alt.Chart:
        names = [choice.name for choice in self.choices]
        lines = [
            dict(zip(names, values, strict=True)) | {"text": text}
            for values, text in (self.empty or {}).items()
        ]
        layer = alt.Chart(alt.Data(values=lines)).mark_text(color=MUTED, fontSize=14)
        for choice in self.choices:
            layer = layer.transform_filter(choice.filter)
        return layer.encode(x=alt.value("width"), y=alt.value(40), text="text:N")


def conditions_choice(of_lines: Iterable[str]) -> Choice:
    """A choice of the conditions that lines have, at first those of most."""
    lines = Counter(of_lines)
    most = max(lines, key=lambda words: lines[words])
    return Choice("conditions", "Conditions", {words: words for words in lines}, most)


def tooltips(*fields: tuple[str, str] | tuple[str, str, str]) -> Sequence[alt.Tooltip]:
    """Tooltips of fields with their titles and, where there is one, their format."""
    return [
        alt.Tooltip(f"{field}:Q", title=title, format=form[0])
        if form
        else alt.Tooltip(f"{field}:N", title=title)
        for field, title, *form in fields
    ]


def _place_labels(vega: Vega, *, has_canvas: bool) -> None:
    """Have Vega place the labels beside their points: Vega-Lite has no such transform.

    Vega needs a canvas, which a browser has and vl-convert has not, to keep them off other marks.
    """
    place = {
        "type": "label",
        "size": {"signal": "[width + 4, height + 4]"},
        "anchor": [
            *("right", "left", "top", "bottom"),
            *("top-right", "bottom-right", "top-left", "bottom-left"),
        ],
        "offset": [5, 5, 4, 4, 2, 2, 2, 2],
        "padding": 12,
        "avoidBaseMark": has_canvas,
    }
    text = {"text": {"field": "datum.label"}, "fontSize": {"value": 12}, "fill": {"value": INK}}
    # letters stay legible on the lines that they cross
    halo = {"stroke": {"value": "white"}, "strokeWidth": {"value": 4}}
    for mark in [each for each in vega["marks"] if each.get("name") == f"{LABELS}_marks"]:
        mark |= {"from": {"data": f"{POINTS}_marks"}, "transform": [place]}
        behind = mark | {"name": "halo", "encode": {"update": text | halo}}
        vega["marks"].insert(vega["marks"].index(mark), behind)
        mark["encode"] = {"update": text}

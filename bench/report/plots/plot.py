"""A plot: its data, its Altair chart, and how the chart becomes Vega and SVG."""

import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import product
from typing import Any

import altair as alt
import vl_convert

from vidcost.bench.report.table import Table

Vega = dict[str, Any]

WIDTH = 760
INK, MUTED, GRID = "#1a1d21", "#59616b", "#e3e6ea"
POINTS, LABELS = "points", "labels"
"""Names of the layers that `_place_labels` joins."""


class Color(StrEnum):
    """Colours of Okabe and Ito (2008): distinguishable with any colour vision."""

    BLUE = "#0072b2"
    ORANGE = "#d55e00"
    GREEN = "#009e73"
    PURPLE = "#aa4f8b"
    SKY = "#3aa0d8"
    GREY = "#767d86"


CONFIG: Mapping[str, Any] = {
    "font": "Helvetica, Arial, sans-serif",
    "background": "transparent",
    "numberFormat": ",",
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
        "labelSeparation": 8,
    },
    "axisX": {"grid": False, "labelBound": True},
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
        "labelLimit": 300,
        "symbolSize": 80,
        "offset": 34,
    },
    "point": {"filled": True, "size": 80, "opacity": 1},
    "text": {"fontSize": 12, "color": INK},
    "title": {"color": MUTED, "fontSize": 12, "fontWeight": "normal"},
}


@dataclass(frozen=True)
class Choice:
    """A choice of a reader: a field of the data, a label, values with their words, the first one.

    ``is_filed``: every value becomes a file, not only the first one.
    """

    field: str
    label: str
    options: Mapping[str, str]
    first: str
    is_filed: bool = False

    def title(self, behind: str = "", **where: Any) -> alt.Title:
        """The chosen value's words as a chart's title: an axis's title takes no expression."""
        words = f"({json.dumps(dict(self.options))})[{self.field}] + '{behind}'"
        return alt.Title(alt.expr(words), **where)

    @property
    def filter(self) -> str:
        """The expression that holds for lines with the chosen value."""
        return f"datum['{self.field}'] === {self.field}"

    def select(self, value: str) -> alt.Parameter:
        """A parameter of a chart that has ``value``, with a select element on a page."""
        options, labels = list(self.options), list(self.options.values())
        select = alt.binding_select(options=options, labels=labels, name=self.label)
        return alt.param(name=self.field, value=value, bind=select)


@dataclass(frozen=True)
class Plot:
    """A chart without width and choices, and its data; ``name`` is a file's stem.

    Choices without a line are said to have no data.
    """

    name: str
    title: str
    caption: str
    chart: alt.LayerChart
    lines: Sequence[Mapping[str, Any]]
    choices: tuple[Choice, ...] = ()

    @property
    def data(self) -> Table:
        """The data as they are."""
        return Table(self.title, (), self.lines)

    def vega(self, *, width: int | None = None, chosen: Mapping[str, str] | None = None) -> Vega:
        """The plot in Vega, ``width`` pixels wide or, without, as wide as its container."""
        chart = self.chart.copy()
        chart.layer = [*chart.layer, self._no_data()]
        chart = chart.properties(
            data=alt.InlineData(values=[dict(line) for line in self.lines]),
            width=width or "container",
            autosize=alt.AutoSizeParams(type="pad" if width else "fit-x", contains="padding"),
            padding=16 if width else 4,
        )
        values = {choice.field: choice.first for choice in self.choices} | dict(chosen or {})
        chart = chart.add_params(*(each.select(values[each.field]) for each in self.choices))
        background = {"background": "white"} if width else {}
        vega: Vega = chart.configure(**{**CONFIG, **background}).to_dict(format="vega")
        _place_labels(vega, has_canvas=width is None)
        return vega

    def svg(self, chosen: Mapping[str, str] | None = None) -> str:
        """The plot for a document."""
        return vl_convert.vega_to_svg(self.vega(width=WIDTH, chosen=chosen))

    def files(self) -> Iterator[tuple[str, dict[str, str]]]:
        """The stem of each file and the choices that it shows, but for those without data."""
        first = {choice.field: choice.first for choice in self.choices}
        yield self.name, first
        for choice in self.choices:
            for value in choice.options if choice.is_filed else ():
                chosen = first | {choice.field: value}
                if value != choice.first and tuple(chosen.values()) not in self._empty():
                    yield anchor(self.name, value), chosen

    def _empty(self) -> set[tuple[str, ...]]:
        """The choices, a value of each in order, without data."""
        fields = [choice.field for choice in self.choices]
        drawn = {tuple(line[field] for field in fields) for line in self.lines}
        return set(product(*(choice.options for choice in self.choices))) - drawn

    def _no_data(self) -> Any:
        fields = [choice.field for choice in self.choices]
        lines = [dict(zip(fields, values, strict=True)) for values in sorted(self._empty())]
        layer = alt.Chart(alt.InlineData(values=lines)).mark_text(
            color=MUTED, text="no data stored"
        )
        for choice in self.choices:
            layer = layer.transform_filter(choice.filter)
        return layer.encode(x=alt.value("width"), y=alt.value(40))


def anchor(*words: str) -> str:
    """An id for a link or a file: letters, digits, dots, dashes and underscores."""
    return re.sub(r"[^\w.-]+", "-", "-".join(words), flags=re.ASCII)


def conditions_choice(of_lines: Iterable[str]) -> Choice:
    """A choice of the conditions that lines have, at first those of most."""
    lines = Counter(of_lines)
    first = lines.most_common(1)[0][0]
    return Choice("conditions", "Conditions", {words: words for words in lines}, first)


def log(channel: Any, title: str | None, *, padding: int = 0, **axis: Any) -> Any:
    """A position on a logarithmic scale, with ``padding`` pixels at its ends."""
    scaled = channel.scale(type="log", nice=False, padding=padding)
    return scaled.axis(title=title and f"{title} (log scale)", **axis)


def _place_labels(vega: Vega, *, has_canvas: bool) -> None:
    """Have Vega place the labels beside their points: Vega-Lite has no such transform.

    Vega needs a canvas, which a browser has and vl-convert has not, to keep them off other points.
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
    for mark in list(vega["marks"]):
        if mark.get("name") == f"{POINTS}_marks":
            # above the halo
            mark["zindex"] = 1
        if mark.get("name") == f"{LABELS}_marks":
            mark |= {"from": {"data": f"{POINTS}_marks"}, "transform": [place]}
            vega["marks"].append(mark | {"name": "halo", "encode": {"update": text | halo}})
            mark |= {"encode": {"update": text}, "zindex": 2}

"""The plot of accuracy against cost, drawn by Altair."""

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import altair as alt
import vl_convert

from vidcost.bench import files
from vidcost.bench.count.record import Record
from vidcost.bench.report.table import Table
from vidcost.bench.report.timing import is_row_by_default
from vidcost.bench.timing.cell import in_words
from vidcost.bench.timing.figures import figures
from vidcost.bench.timing.record import Timing
from vidcost.papers.figures import Paper, PrintedRow

Vega = dict[str, Any]
Devices = Mapping[str, Sequence[Timing]]
"""Timings by the name of the device."""

WIDTH = 760
INK, MUTED, GRID = "#1a1d21", "#59616b", "#e3e6ea"
POINTS, LABELS = "points", "labels"
"""Names of the layers that `_place_labels` joins."""


COLORS = "#0072b2", "#d55e00", "#009e73", "#aa4f8b", "#3aa0d8", "#767d86"
"""Colours of Okabe and Ito (2008): distinguishable with any colour vision."""

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
    """A choice of a reader: a field of the data, a label, its values with their words."""

    field: str
    label: str
    options: Mapping[str, str]
    first: str

    @property
    def filter(self) -> str:
        """The expression that holds for lines with the chosen value."""
        return f"datum['{self.field}'] === {self.field}"

    @property
    def parameter(self) -> alt.Parameter:
        """A parameter of a chart, with a select element on a page."""
        options, labels = list(self.options), list(self.options.values())
        select = alt.binding_select(options=options, labels=labels, name=self.label)
        return alt.param(name=self.field, value=self.first, bind=select)


@dataclass(frozen=True)
class Plot:
    """A chart without width and choices, and its data; ``name`` is a file's stem."""

    name: str
    title: str
    caption: str
    chart: alt.LayerChart
    lines: Sequence[Mapping[str, Any]]
    choices: tuple[Choice, ...]

    @property
    def csv(self) -> str:
        """The data as they are."""
        return Table(self.title, (), self.lines).csv()

    def vega(self, *, width: int | None = None) -> Vega:
        """The plot in Vega, ``width`` pixels wide or, without, as wide as its container."""
        chart = self.chart.copy()
        chart = chart.properties(
            data=alt.InlineData(values=[dict(line) for line in self.lines]),
            width=width or "container",
            autosize=alt.AutoSizeParams(type="pad" if width else "fit-x", contains="padding"),
            padding=16 if width else 4,
        )
        chart = chart.add_params(*(choice.parameter for choice in self.choices))
        background = {"background": "white"} if width else {}
        vega: Vega = chart.configure(**{**CONFIG, **background}).to_dict(format="vega")
        _place_labels(vega, has_canvas=width is None)
        return vega

    def svg(self) -> str:
        """The plot for a document, with the first of all choices."""
        return vl_convert.vega_to_svg(self.vega(width=WIDTH))


def anchor(*words: str) -> str:
    """An id for a link or a file: letters, digits, dots, dashes and underscores."""
    return re.sub(r"[^\w.-]+", "-", "-".join(words), flags=re.ASCII)


def write_figures(parts: Iterable[object], folder: Path) -> list[Path]:
    """Write every plot of a page into ``folder`` as SVG, and its data as CSV: the paths.

    Raises: ValueError with the path if one cannot be written.
    """
    written = []
    for plot in (part for part in parts if isinstance(part, Plot)):
        for suffix, content in (("csv", plot.csv), ("svg", plot.svg())):
            written.append(folder / f"{plot.name}.{suffix}")
            files.write(written[-1], content)
    return written


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


# accuracy against cost

_CITATION = re.compile(r"\s*\[\d+\]$")
_PERCENT = re.compile(r"\d+(\.\d+)?%?")
_MEASURED = {
    "latency": ("median_s", "Latency, ms", 1e-3),
    "memory": ("peak_bytes", "Peak memory above the weights, MB", 1e6),
    "energy": ("energy_j_per_clip", "Energy per clip, J", 1),
}
"""Measured costs: a key in ``figures``, words, and the unit."""


def accuracy_plot(paper: Paper, records: Mapping[str, Record], devices: Devices) -> Plot | None:
    """Top-1 as printed against a cost that can be chosen; None if no row has an accuracy."""
    lines = accuracy_lines(paper, records, devices)
    if not lines:
        return None
    sets = {line["set"]: line["set"] for line in lines}
    axes = {line["axis"]: line["cost_words"] for line in lines}
    # the paper's families first, in its order
    families = [*dict.fromkeys((*paper.families, *(line["family"] for line in lines)))]
    choices = (Choice("set", "Rows", sets, next(iter(sets))), Choice("axis", "Cost", axes, "macs"))
    return Plot(
        name="accuracy",
        title="Top-1 as printed, and the Pareto front",
        caption=(
            "Top-1 as the paper prints it; costs as counted, printed or timed. The dashed line is "
            "the Pareto front: no row shown is as accurate at a lower cost. A click on a point "
            "leads to its row. `vidcost time` adds timings, on a GPU with energy."
        ),
        chart=_accuracy_chart(choices, families),
        lines=lines,
        choices=choices,
    )


def accuracy_lines(
    paper: Paper, records: Mapping[str, Record], devices: Devices
) -> list[dict[str, Any]]:
    """Every printed accuracy beside every known cost, by dataset or, without any, by table.

    On the front of a set and cost is a row that no other row beats.
    """
    timings = {
        device: {t.cell.row: t for t in of_device if t.status == "ok" and is_row_by_default(t)}
        for device, of_device in devices.items()
    }
    sets = paper.datasets or {
        f"Table {number}: {title}": (number,) for number, title in paper.titles.items()
    }
    lines: list[dict[str, Any]] = []
    for name, tables in sets.items():
        rows = [row for number in tables for row in paper.table(number)]
        points = [
            {
                "set": name,
                "axis": axis,
                "cost_words": words,
                "row": printed.row,
                "label": _CITATION.sub("", printed.label),
                "family": paper.family(printed.row),
                "top1": float(str(printed.top1).rstrip("%")),
                "cost": cost,
                "source": source,
            }
            # one network with one accuracy once, by its last table
            for printed in {(row.row, row.top1): row for row in rows}.values()
            if _PERCENT.fullmatch(printed.top1 or "")
            for axis, words, cost, source in _costs(printed, records, timings)
        ]
        lines += [point | {"front": _is_on_front(point, points)} for point in points]
    return lines


def _costs(
    printed: PrintedRow,
    records: Mapping[str, Record],
    timings: Mapping[str, Mapping[str | None, Timing]],
) -> Iterator[tuple[str, str, float, str]]:
    """Every known cost of a row: its key, its words, its value in that unit, its source."""
    record = records.get(printed.row)
    if record is not None:
        yield "params", "Parameters, millions", record.params / 1e6, "counted"
        yield "macs", "MACs, billions", record.macs / 1e9, "counted"
    # a bound does not say where the figure lies
    if printed.flops is not None and not printed.flops.is_bound:
        source = f"printed in Table {printed.table}"
        yield "flops_printed", "FLOPs as printed, billions", printed.flops.value / 1e9, source
    for device, of_device in timings.items():
        if (timing := of_device.get(printed.row)) is None:
            continue
        for key, (figure, words, unit) in _MEASURED.items():
            if value := figures(timing)[figure]:
                source = f"timed on {device}, {in_words([timing.cell])}"
                yield f"{key}@{device}", f"{words} ({device})", value / unit, source


def _is_on_front(point: Mapping[str, Any], points: Sequence[Mapping[str, Any]]) -> str:
    is_beaten = any(
        other["cost"] <= point["cost"]
        and other["top1"] >= point["top1"]
        and (other["cost"], other["top1"]) != (point["cost"], point["top1"])
        for other in points
        if other["axis"] == point["axis"]
    )
    return "no" if is_beaten else "yes"


def _accuracy_chart(choices: Sequence[Choice], families: Sequence[str]) -> alt.LayerChart:
    base = alt.Chart().encode(
        log(alt.X("cost:Q"), None, padding=40, format="~g", tickCount=8),
        alt.Y("top1:Q")
        .scale(zero=False, padding=18)
        .axis(title="Top-1 accuracy as printed, %", tickCount=6),
    )
    for choice in choices:
        base = base.transform_filter(choice.filter)
    front = base.transform_filter("datum.front === 'yes'").mark_line(
        interpolate="step-after", color=INK, strokeWidth=1.2, strokeDash=[4, 3], opacity=0.7
    )
    points = base.transform_calculate(href="'#row-' + datum.row").mark_point()
    # an axis's title takes no expression
    words = f"({json.dumps(dict(choices[1].options))})[axis] + ' (log scale)'"
    color = alt.Scale(domain=families, range=list(COLORS[: len(families)]))
    tooltip = ["label:N", "row:N", "top1:Q", "cost_words:N", "cost:Q", "source:N"]
    return alt.LayerChart(
        layer=[
            front.encode(order="cost:Q"),
            points.encode(
                color=alt.Color("family:N").scale(color),
                shape=alt.Shape("family:N").scale(domain=families),
                href="href:N",
                tooltip=tooltip,
            ).properties(name=POINTS),
            base.mark_text().encode(text="label:N").properties(name=LABELS),
        ],
        height=400,
        title=alt.Title(alt.expr(words), orient="bottom", offset=12),
    )

"""The plot of accuracy against cost."""

from __future__ import annotations

from collections.abc import Sequence

from vidcost.bench.report.page.accuracy import SETS, Axis, Point
from vidcost.bench.report.page.labels import INK, LABELS, LINE, POINTS
from vidcost.bench.report.page.plot import BLUE, GREY, ORANGE, Control, Plot, Spec, parameter
from vidcost.bench.report.table import Column, Table

FAMILIES = {
    "MFNet": (BLUE, "circle"),
    "ResNet-50": (ORANGE, "square"),
    "other networks": (GREY, "triangle-up"),
}


def accuracy_plot(points: Sequence[Point], axes: Sequence[Axis]) -> Plot:
    """Top-1 as printed against a cost that can be chosen."""
    drawn = {(point.set, point.axis) for point in points}
    return Plot(
        name="accuracy",
        title="Top-1 as printed, and the Pareto front",
        caption=(
            "Top-1 as the paper prints it; costs as counted, printed or timed. The line is the "
            "Pareto front: no row of the set is as accurate at a lower cost. A point leads to its "
            "row."
        ),
        spec=_spec({axis.key: axis.words for axis in axes}),
        data=_data(points, axes),
        controls=(
            Control(
                "set",
                "Rows",
                tuple((name, words) for name, (words, _) in SETS.items()),
                "table-5",
            ),
            Control("axis", "Cost", tuple((axis.key, axis.words) for axis in axes), "macs"),
        ),
        said={
            (name, axis.key): f"Nothing to draw: {axis.missing}."
            for name in SETS
            for axis in axes
            if (name, axis.key) not in drawn
        },
        filed=("set", "axis"),
    )


def _data(points: Sequence[Point], axes: Sequence[Axis]) -> Table:
    words = {axis.key: axis.words for axis in axes}
    return Table(
        title="Accuracy and cost",
        columns=(
            Column("label", "Method"),
            Column("row", "Row"),
            Column("set_words", "Rows of"),
            Column("axis_words", "Cost"),
            Column("cost", "there", lambda value: f"{value:,.3f}"),
            Column("top1", "Top-1, %", lambda value: f"{value:.2f}"),
            Column("front", "On the front"),
            Column("source", "The cost was"),
        ),
        lines=[
            {
                "set": point.set,
                "set_words": SETS[point.set][0],
                "axis": point.axis,
                "axis_words": words[point.axis],
                "row": point.row,
                "label": point.label,
                "family": point.family,
                "table": point.table,
                "top1": point.top1,
                "cost": point.cost,
                "front": "yes" if point.on_front else "no",
                "source": point.source,
            }
            for point in points
        ],
    )


def _spec(words: dict[str, str]) -> Spec:
    of_axis = " : ".join(f"axis === {key!r} ? {text!r}" for key, text in words.items()) + " : ''"
    x = {
        "field": "cost",
        "type": "quantitative",
        "scale": {"type": "log", "nice": False, "padding": 40},
        "axis": {
            "title": {"expr": f"({of_axis}) + ' (log scale)'"},
            "format": "~g",
            "tickCount": 8,
            "labelSeparation": 8,
            "labelBound": True,
            "grid": False,
        },
    }
    y = {
        "field": "top1",
        "type": "quantitative",
        "scale": {"zero": False, "padding": 18},
        "axis": {"title": "Top-1 accuracy as printed, %", "tickCount": 6},
    }
    color = {
        "field": "family",
        "type": "nominal",
        "scale": {
            "domain": list(FAMILIES),
            "range": [color for color, _ in FAMILIES.values()],
        },
    }
    shape = {
        "field": "family",
        "type": "nominal",
        "scale": {
            "domain": list(FAMILIES),
            "range": [shape for _, shape in FAMILIES.values()],
        },
    }
    return {
        "height": 400,
        "transform": [parameter("set"), parameter("axis")],
        "layer": [
            {
                "name": LINE,
                "transform": [{"filter": "datum.front === 'yes'"}],
                "mark": {
                    "type": "line",
                    "interpolate": "step-after",
                    "color": INK,
                    "strokeWidth": 1.2,
                    "strokeDash": [4, 3],
                    "opacity": 0.7,
                },
                "encoding": {"x": x, "y": y, "order": {"field": "cost"}},
            },
            {
                "name": POINTS,
                "mark": {"type": "point", "filled": True, "size": 90, "opacity": 1},
                "encoding": {
                    "x": x,
                    "y": y,
                    "color": color,
                    "shape": shape,
                    "cursor": {"value": "pointer"},
                    "tooltip": [
                        {"field": "label", "title": "Method"},
                        {"field": "row", "title": "Row"},
                        {"field": "top1", "title": "Top-1, %"},
                        {"field": "axis_words", "title": "Cost"},
                        {"field": "cost", "title": "there", "format": ",.4~r"},
                        {"field": "source", "title": "The cost was"},
                    ],
                },
            },
            {
                "name": LABELS,
                "mark": {"type": "text"},
                "encoding": {"x": x, "y": y, "text": {"field": "label"}},
            },
        ],
    }

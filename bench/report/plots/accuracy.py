"""Accuracy as printed against what a network costs, and the Pareto front."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import altair as alt

from vidcost.bench.count.record import Record
from vidcost.bench.published import Paper, PrintedRow
from vidcost.bench.report.page.data import Device, conditions
from vidcost.bench.report.plots.plot import (
    BLUE,
    GREEN,
    GREY,
    INK,
    LABELS,
    ORANGE,
    POINTS,
    Choice,
    Plot,
    tooltips,
)
from vidcost.bench.report.table import Column, Table
from vidcost.bench.timing.figures import figures
from vidcost.bench.timing.record import Timing
from vidcost.models.rows import ROWS

OTHER = "other networks"
STYLES = ((BLUE, "circle"), (ORANGE, "square"), (GREEN, "diamond"))
"""Colour and shape of the networks with most rows; all others are grey triangles."""
_CITATION = re.compile(r"\s*\[\d+\]$")
_MEASURED: Mapping[str, tuple[str, str, float]] = {
    "latency": ("median_s", "Latency, ms", 1e-3),
    "memory": ("peak_bytes", "Peak memory above the weights, MB", 1e6),
    "energy": ("energy_j_per_clip", "Energy per clip, J", 1),
}
"""A measured cost: its key in ``figures``, its words and its unit."""


@dataclass(frozen=True)
class Axis:
    """A cost: its key, its words and unit, what a raw value is divided by, and how to get it."""

    key: str
    words: str
    unit: float
    missing: str


COUNTED = (
    Axis("params", "Parameters, millions", 1e6, "`vidcost run` counts them"),
    Axis("macs", "MACs, billions", 1e9, "`vidcost run` counts them"),
    Axis("flops_printed", "FLOPs as printed, billions", 1e9, "the paper prints none here"),
)


def axes(devices: Sequence[Device]) -> tuple[Axis, ...]:
    """Every cost; measured ones once for each device, or once if there is none."""
    measured = []
    for key, (_, words, unit) in _MEASURED.items():
        missing = "no row is stored that was timed at its own clip: " + (
            "only a GPU reports its energy, `vidcost time --device cuda` stores it"
            if key == "energy"
            else "`vidcost time` makes timings"
        )
        measured += [
            Axis(f"{key}@{device.name}", f"{words} ({device.name})", unit, missing)
            for device in devices
        ] or [Axis(key, words, unit, missing)]
    return (*COUNTED, *measured)


def accuracy_lines(
    paper: Paper, records: Mapping[str, Record], devices: Sequence[Device]
) -> list[dict[str, Any]]:
    """Every printed accuracy beside every known cost, with the front of each table and cost."""
    lines: list[dict[str, Any]] = []
    timings = {device.name: device.rows for device in devices}
    for number in paper.titles:
        for axis in axes(devices):
            points = [
                {
                    "table": str(number),
                    "axis": axis.key,
                    "cost_words": axis.words,
                    "row": printed.row,
                    "label": _CITATION.sub("", printed.label),
                    "family": _network(printed.row),
                    "top1": top1,
                    "cost": raw / axis.unit,
                    "source": source,
                }
                for printed in paper.table(number)
                if (top1 := _percent(printed.top1)) is not None
                for raw, source in _costs(axis, printed, records, timings)
            ]
            lines += [point | {"front": _is_on_front(point, points)} for point in points]
    return lines


def accuracy_plot(
    paper: Paper, records: Mapping[str, Record], devices: Sequence[Device]
) -> Plot | None:
    """Top-1 as printed against a cost that can be chosen; None if no row has an accuracy."""
    lines = accuracy_lines(paper, records, devices)
    if not lines:
        return None
    known = axes(devices)
    rows = Counter(line["table"] for line in lines if line["axis"] == "macs")
    drawn = {(line["table"], line["axis"]) for line in lines}
    tables = {str(number): f"Table {number}: {title}" for number, title in paper.titles.items()}
    choices = (
        Choice("table", "Rows", tables, max(rows, key=lambda table: rows[table])),
        Choice(
            "axis",
            "Cost",
            {axis.key: f"{axis.words} (log scale)" for axis in known},
            "macs",
            is_filed=True,
        ),
    )
    return Plot(
        name="accuracy",
        title="Top-1 as printed, and the Pareto front",
        caption=(
            "Top-1 as the paper prints it; costs as counted, printed or timed. The dashed line is "
            "the Pareto front: no row of the table is as accurate at a lower cost. A click on a "
            "point leads to its row."
        ),
        chart=_chart(choices, lines),
        data=Table(
            title="Accuracy and cost",
            columns=(
                Column("label", "Method"),
                Column("row", "Row"),
                Column("table", "Table"),
                Column("cost_words", "Cost"),
                Column("cost", "there", lambda value: f"{value:,.3f}"),
                Column("top1", "Top-1, %", lambda value: f"{value:.2f}"),
                Column("front", "On the front"),
                Column("source", "The cost was"),
            ),
            lines=lines,
        ),
        choices=choices,
        empty={
            (table, axis.key): f"Nothing to draw: {axis.missing}."
            for table in tables
            for axis in known
            if (table, axis.key) not in drawn
        },
    )


def _chart(choices: Sequence[Choice], lines: Sequence[Mapping[str, Any]]) -> alt.LayerChart:
    rows = Counter(line["family"] for line in lines if line["axis"] == "macs")
    rows.pop(OTHER, None)
    largest = [family for family, of in rows.most_common(len(STYLES)) if of > 1]
    families = dict(zip(largest, STYLES, strict=False)) | {OTHER: (GREY, "triangle-up")}
    colors, shapes = ([style[place] for style in families.values()] for place in (0, 1))
    base = alt.Chart().encode(
        alt.X("cost:Q")
        .scale(type="log", nice=False, padding=40)
        .axis(
            title=None,
            format="~g",
            tickCount=8,
            labelSeparation=8,
            labelBound=True,
            grid=False,
        ),
        alt.Y("top1:Q")
        .scale(zero=False, padding=18)
        .axis(title="Top-1 accuracy as printed, %", tickCount=6),
    )
    for choice in choices:
        base = base.transform_filter(choice.filter)
    family = f"indexof({largest!r}, datum.family) < 0 ? {OTHER!r} : datum.family"
    points = (
        base.transform_calculate(family=family, href="'#row-' + datum.row")
        .mark_point(filled=True, size=90, opacity=1)
        .encode(
            color=alt.Color("family:N").scale(domain=list(families), range=colors),
            shape=alt.Shape("family:N").scale(domain=list(families), range=shapes),
            href="href:N",
            tooltip=tooltips(
                ("label", "Method"),
                ("row", "Row"),
                ("top1", "Top-1, %"),
                ("cost_words", "Cost"),
                ("cost", "there", ",.4~r"),
                ("source", "The cost was"),
            ),
        )
    )
    front = (
        base.transform_filter("datum.front === 'yes'")
        .mark_line(
            interpolate="step-after", color=INK, strokeWidth=1.2, strokeDash=[4, 3], opacity=0.7
        )
        .encode(order="cost:Q")
    )
    return alt.layer(
        front,
        points.properties(name=POINTS),
        base.mark_text().encode(text="label:N").properties(name=LABELS),
    ).properties(height=400, title=alt.Title(choices[1].words, orient="bottom", offset=12))


def _network(row: str) -> str:
    """The network that a row builds; OTHER if it has no public definition."""
    builders = {each.name: each.network for each in ROWS}
    return getattr(builders.get(row), "__name__", OTHER)


def _percent(printed: str) -> float | None:
    try:
        value = float(printed.rstrip("%"))
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def _costs(
    axis: Axis,
    printed: PrintedRow,
    records: Mapping[str, Record],
    timings: Mapping[str, Mapping[str, Timing]],
) -> Iterator[tuple[float, str]]:
    """The raw cost of a row and where it comes from; nothing if it is not known."""
    if axis.key == "flops_printed":
        # a bound does not say where the figure lies
        if printed.flops is not None and not printed.flops.is_bound:
            yield printed.flops.value, f"printed in Table {printed.table}"
        return
    if axis.key in ("params", "macs"):
        if printed.row in records:
            yield getattr(records[printed.row], axis.key), "counted"
        return
    key, _, device = axis.key.partition("@")
    timing = timings.get(device, {}).get(printed.row)
    if timing is not None and (value := figures(timing)[_MEASURED[key][0]]):
        yield value, f"timed on {device}, {conditions(timing.cell)}"


def _is_on_front(point: Mapping[str, Any], points: Sequence[Mapping[str, Any]]) -> str:
    is_beaten = any(
        other["cost"] <= point["cost"]
        and other["top1"] >= point["top1"]
        and (other["cost"], other["top1"]) != (point["cost"], point["top1"])
        for other in points
    )
    return "no" if is_beaten else "yes"

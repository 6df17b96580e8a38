"""Accuracy as printed against what a network costs, and the Pareto front."""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import altair as alt

from vidcost.bench.count.record import Record
from vidcost.bench.report.page.data import Device
from vidcost.bench.report.plots.plot import INK, LABELS, POINTS, Choice, Color, Plot, log
from vidcost.bench.report.timing import conditions_in_words
from vidcost.bench.timing.figures import figures
from vidcost.bench.timing.record import Timing
from vidcost.papers.figures import Paper, PrintedRow

_CITATION = re.compile(r"\s*\[\d+\]$")
_PERCENT = re.compile(r"\d+(\.\d+)?%?")
_MEASURED = {
    "latency": ("median_s", "Latency, ms", 1e-3),
    "memory": ("peak_bytes", "Peak memory above the weights, MB", 1e6),
    "energy": ("energy_j_per_clip", "Energy per clip, J", 1),
}
"""Measured costs: a key in ``figures``, words, and the unit."""


def accuracy_plot(
    paper: Paper, records: Mapping[str, Record], devices: Sequence[Device]
) -> Plot | None:
    """Top-1 as printed against a cost that can be chosen; None if no row has an accuracy."""
    lines = accuracy_lines(paper, records, devices)
    if not lines:
        return None
    sets = {line["set"]: line["set"] for line in lines}
    axes = {line["axis"]: line["cost_words"] for line in lines}
    # the paper's families first, in its order
    families = [*dict.fromkeys((*paper.families, *(line["family"] for line in lines)))]
    choices = (
        Choice("set", "Rows", sets, next(iter(sets))),
        Choice("axis", "Cost", axes, "macs", is_filed=True),
    )
    return Plot(
        name="accuracy",
        title="Top-1 as printed, and the Pareto front",
        caption=(
            "Top-1 as the paper prints it; costs as counted, printed or timed. The dashed line is "
            "the Pareto front: no row shown is as accurate at a lower cost. A click on a point "
            "leads to its row. `vidcost time` adds timings, on a GPU with energy."
        ),
        chart=_chart(choices, families),
        lines=lines,
        choices=choices,
    )


def accuracy_lines(
    paper: Paper, records: Mapping[str, Record], devices: Sequence[Device]
) -> list[dict[str, Any]]:
    """Every printed accuracy beside every known cost, by dataset or, without any, by table.

    On the front of a set and cost is a row that no other row beats.
    """
    timings = {device.name: device.rows for device in devices}
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
    timings: Mapping[str, Mapping[str, Timing]],
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
                source = f"timed on {device}, {conditions_in_words([timing])}"
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


def _chart(choices: Sequence[Choice], families: list[str]) -> alt.LayerChart:
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
    color = alt.Scale(domain=families, range=list(Color)[: len(families)])
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
        title=choices[1].title(" (log scale)", orient="bottom", offset=12),
    )

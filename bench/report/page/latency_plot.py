"""The plot of one device's latencies with their intervals."""

from __future__ import annotations

from typing import Any

from vidcost.bench.report.page.labels import INK
from vidcost.bench.report.page.measured import Device, conditions, measured_alone
from vidcost.bench.report.page.plot import BLUE, MUTED, Plot, Spec, conditions_control, parameter
from vidcost.bench.report.table import Column, Table, integer
from vidcost.bench.report.timing import milliseconds
from vidcost.bench.timing.figures import figures
from vidcost.bench.timing.stored import slug


def latency_plot(device: Device) -> Plot | None:
    """Medians with their 95% intervals; None if nothing was timed alone."""
    lines: list[dict[str, Any]] = []
    for timing in measured_alone(device.timings):
        found = figures(timing)
        if found["median_s"] is None:
            continue
        lines.append(
            {
                "target": timing.cell.target,
                "row": timing.cell.row,
                "conditions": conditions(timing.cell),
                "median_s": found["median_s"],
                "low_s": found["ci_low_s"],
                "high_s": found["ci_high_s"],
                "median_ms": found["median_s"] * 1e3,
                "low_ms": _ms(found["ci_low_s"]),
                "high_ms": _ms(found["ci_high_s"]),
                "samples": found["n"],
                "started": timing.started,
            }
        )
    if not lines:
        return None
    return Plot(
        name=f"latency-{slug(device.machine)}",
        title=f"Latency on {device.name}",
        caption=(
            "Median of the samples; the whisker is its 95% confidence interval. "
            f"torch {device.machine.torch}."
        ),
        spec=_latency_spec(),
        data=Table(
            title=f"Latency on {device.name}",
            columns=(
                Column("target", "Target"),
                Column("conditions", "Conditions"),
                Column("median_s", "Median, ms", milliseconds),
                Column("low_s", "at least", milliseconds),
                Column("high_s", "at most", milliseconds),
                Column("samples", "Samples", integer),
                Column("started", "Started"),
            ),
            lines=lines,
        ),
        controls=(conditions_control(line["conditions"] for line in lines),),
    )


def _ms(value_s: float | None) -> float | None:
    return None if value_s is None else value_s * 1e3


def _latency_spec() -> Spec:
    y = {
        "field": "target",
        "type": "nominal",
        "sort": {"field": "median_ms", "op": "min"},
        "axis": {"title": None, "labelLimit": 170, "labelColor": INK, "grid": True},
    }
    x = {
        "field": "median_ms",
        "type": "quantitative",
        "scale": {"type": "log", "nice": False, "padding": 44},
        "axis": {
            "title": "Latency, ms (log scale)",
            "tickCount": 6,
            "format": "~g",
            "grid": False,
            "labelSeparation": 8,
        },
    }
    return {
        "height": {"step": 30},
        "transform": [parameter("conditions")],
        "layer": [
            {
                "transform": [{"filter": "isValid(datum.low_ms)"}],
                "mark": {"type": "rule", "strokeWidth": 2, "color": BLUE},
                "encoding": {"y": y, "x": x | {"field": "low_ms"}, "x2": {"field": "high_ms"}},
            },
            {
                "mark": {
                    "type": "point",
                    "filled": True,
                    "size": 80,
                    "opacity": 1,
                    "color": BLUE,
                },
                "encoding": {
                    "y": y,
                    "x": x,
                    "cursor": {"value": "pointer"},
                    "tooltip": [
                        {"field": "target", "title": "Target"},
                        {"field": "median_ms", "title": "Median, ms", "format": ",.4~r"},
                        {"field": "low_ms", "title": "at least", "format": ",.4~r"},
                        {"field": "high_ms", "title": "at most", "format": ",.4~r"},
                        {"field": "samples", "title": "Samples"},
                    ],
                },
            },
            {
                "mark": {"type": "text", "align": "left", "dx": 10, "dy": -9, "color": MUTED},
                "encoding": {
                    "y": y,
                    "x": x,
                    "text": {"field": "median_ms", "format": ",.4~r"},
                },
            },
        ],
    }

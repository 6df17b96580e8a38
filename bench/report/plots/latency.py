"""Latencies on one device with their confidence intervals."""

from __future__ import annotations

import altair as alt

from vidcost.bench.report.page.data import Device, conditions
from vidcost.bench.report.page.html_table import anchor
from vidcost.bench.report.plots.plot import (
    INK,
    MUTED,
    Choice,
    Color,
    Plot,
    conditions_choice,
    log,
    tooltips,
)
from vidcost.bench.report.table import Column, Table, integer
from vidcost.bench.report.timing import milliseconds
from vidcost.bench.timing.figures import figures


def latency_plot(device: Device) -> Plot | None:
    """Medians with their 95% intervals; None if nothing was timed alone."""
    lines = []
    for timing in device.alone:
        found = figures(timing)
        seconds = {key: found[f"{key}_s"] for key in ("median", "ci_low", "ci_high")}
        if seconds["median"] is not None:
            lines.append(
                {
                    "target": timing.cell.target,
                    "row": timing.cell.row,
                    "conditions": conditions(timing.cell),
                    **{f"{key}_s": value for key, value in seconds.items()},
                    **{f"{k}_ms": None if v is None else v * 1e3 for k, v in seconds.items()},
                    "samples": found["n"],
                    "started": timing.started,
                }
            )
    if not lines:
        return None
    choice = conditions_choice(line["conditions"] for line in lines)
    return Plot(
        name=f"latency-{anchor(device.name).lower()}",
        title=f"Latency on {device.name}",
        caption=(
            "Median of the samples; the whisker is its 95% confidence interval. "
            f"torch {device.machine.torch}."
        ),
        chart=_chart(choice),
        data=Table(
            title=f"Latency on {device.name}",
            columns=(
                Column("target", "Target"),
                Column("conditions", "Conditions"),
                Column("median_s", "Median, ms", milliseconds),
                Column("ci_low_s", "at least", milliseconds),
                Column("ci_high_s", "at most", milliseconds),
                Column("samples", "Samples", integer),
                Column("started", "Started"),
            ),
            lines=lines,
        ),
        choices=(choice,),
    )


def _chart(choice: Choice) -> alt.LayerChart:
    order = alt.EncodingSortField("median_ms", op="min")
    base = (
        alt.Chart()
        .transform_filter(choice.filter)
        .encode(
            log(alt.X("median_ms:Q"), "Latency, ms", padding=44, tickCount=6, format="~g"),
            alt.Y("target:N", sort=order).axis(
                title=None, labelLimit=170, labelColor=INK, grid=True
            ),
        )
    )
    measured = base.transform_filter("isValid(datum.ci_low_ms)")
    tooltip = tooltips(
        target="Target",
        median_ms="Median, ms|,.4~r",
        ci_low_ms="at least|,.4~r",
        ci_high_ms="at most|,.4~r",
        samples="Samples",
    )
    words = base.mark_text(align="left", dx=10, dy=-9, color=MUTED)
    return alt.LayerChart(
        layer=[
            measured.mark_rule(strokeWidth=2, color=Color.BLUE).encode(
                x="ci_low_ms:Q", x2="ci_high_ms:Q"
            ),
            base.mark_point(color=Color.BLUE).encode(tooltip=tooltip),
            words.encode(text=alt.Text("median_ms:Q", format=",.4~r")),
        ],
        height=alt.Step(30),
    )

"""Latencies on one device with their intervals, and rates below the device's ceilings."""

from collections.abc import Iterator, Sequence
from functools import cache
from typing import Any

import altair as alt

from vidcost.bench.count.traffic import Traffic, traffic
from vidcost.bench.inspection.counted import outline
from vidcost.bench.report.page.data import Device
from vidcost.bench.report.plots import plot
from vidcost.bench.report.plots.plot import Choice, Color, Plot, log
from vidcost.bench.report.timing import conditions_in_words
from vidcost.bench.timing import peak
from vidcost.bench.timing.build import DTYPES
from vidcost.bench.timing.cell import Cell
from vidcost.bench.timing.figures import figures
from vidcost.bench.timing.peak import bytes_per_s
from vidcost.bench.timing.record import Timing

LEAST_INTENSITY = 0.05
"""MACs per byte below which a rate in MACs says nothing of a device."""
MATMUL, DATA_SHEET = "large matrix product, measured", "data sheet"
Line = dict[str, Any]


def latency_plot(device: Device) -> Plot | None:
    """Medians with their 95% intervals; None if nothing was timed alone."""
    lines = []
    for timing in device.alone:
        found = figures(timing)
        line = _measured(timing) | {"samples": found["n"], "started": timing.started}
        for key in ("median", "ci_low", "ci_high"):
            line[f"{key}_ms"] = found[f"{key}_s"] and found[f"{key}_s"] * 1e3
        lines.append(line)
    if not lines:
        return None
    choice = plot.conditions_choice(line["conditions"] for line in lines)
    return Plot(
        name=f"latency-{plot.anchor(device.name).lower()}",
        title=f"Latency on {device.name}",
        caption=(
            "Median of the samples; the whisker is its 95% confidence interval. "
            f"torch {device.machine.torch}."
        ),
        chart=_latency_chart(choice),
        lines=lines,
        choices=(choice,),
    )


def roofline_plot(device: Device) -> Plot | None:
    """Rates of inference against MACs per byte, below their ceilings; None if there is no rate."""
    reached: list[Line] = []
    ceilings: dict[tuple[str, str], float] = {}
    left_out: dict[str, None] = {}
    for timing in device.alone:
        cell = timing.cell
        if cell.phase != "inference" or not figures(timing)["macs_per_s"]:
            continue
        try:
            reached.append(_reached(timing))
        except ValueError as error:
            left_out[f" {cell.target} is not drawn: {error}."] = None
            continue
        sheet = peak.macs_per_s(device.name, cell.dtype)
        for kind, limit in ((MATMUL, timing.peak_macs_per_s), (DATA_SHEET, sheet)):
            if limit and limit > ceilings.get((kind, cell.dtype), 0):
                ceilings[kind, cell.dtype] = limit
    if not reached:
        return None
    choice = plot.conditions_choice(line["conditions"] for line in reached)
    return Plot(
        name=f"roofline-{plot.anchor(device.name).lower()}",
        title=f"Roofline of {device.name}",
        caption=(
            "Rates reached against MACs per byte, if every operator read its operands and wrote "
            "its results once. Ceilings, where they are known: a large matrix product measured in "
            "the same run, the data sheet's dense peak, and its memory bandwidth."
            + "".join(left_out)
        ),
        chart=_roofline_chart(choice, reached),
        lines=[*reached, *_roofs(reached, ceilings, bytes_per_s(device.name))],
        choices=(choice,),
    )


def _measured(timing: Timing) -> Line:
    cell = timing.cell
    return {"target": cell.target, "row": cell.row, "conditions": conditions_in_words([timing])}


def _reached(timing: Timing) -> Line:
    """A measured rate.  Raises: ValueError with why it is not drawn."""
    cell = timing.cell
    if cell.code or cell.network is not None:
        raise ValueError("a report runs no code of users")
    # only fields that change how many elements one input moves
    kept = ("row", "classes", "frames", "size", "block", "shape", "blocks")
    moved = _traffic(Cell.model_validate({name: getattr(cell, name) for name in kept}))
    moved_bytes = moved.bytes(batch=cell.batch, element=DTYPES[cell.dtype].itemsize)
    macs, rate = timing.macs_total or 0, figures(timing)["macs_per_s"]
    if macs / moved_bytes < LEAST_INTENSITY:
        raise ValueError("it computes hardly any products")
    return _measured(timing) | {
        "what": "reached",
        "label": cell.target,
        "dtype": cell.dtype,
        "intensity": macs / moved_bytes,
        "gmacs_per_s": rate / 1e9,
        "macs": macs,
        "traffic_bytes": moved_bytes,
    }


@cache
def _traffic(cell: Cell) -> Traffic:
    model, inputs = outline(cell)
    return traffic(model, *inputs)


def _roofs(
    reached: Sequence[Line], ceilings: dict[tuple[str, str], float], memory: float | None
) -> Iterator[Line]:
    """The corners of every roof, which falls with the memory's bandwidth at low intensity."""
    intensities = [line["intensity"] for line in reached]
    low, high = min(intensities) / 1.6, max(intensities) * 1.6
    for (kind, dtype), limit in ceilings.items():
        knee = min(max(limit / memory, low), high) if memory else low
        for intensity in (low, knee, high):
            rate = min(limit, memory * intensity) if memory else limit
            yield {
                "what": "roof",
                "ceiling": kind,
                "dtype": dtype,
                "conditions": None,
                "intensity": intensity,
                "gmacs_per_s": rate / 1e9,
            }


def _latency_chart(choice: Choice) -> alt.LayerChart:
    order = alt.EncodingSortField("median_ms", op="min")
    y = alt.Y("target:N", sort=order).axis(
        title=None, labelLimit=170, labelColor=plot.INK, grid=True
    )
    x = log(alt.X("median_ms:Q"), "Latency, ms", padding=44, tickCount=6, format="~g")
    base = alt.Chart().transform_filter(choice.filter).encode(x, y)
    whiskers = base.transform_filter("isValid(datum.ci_low_ms)").mark_rule(strokeWidth=2)
    words = base.mark_text(align="left", dx=10, dy=-9, color=plot.MUTED)
    tooltip = ["target:N", "median_ms:Q", "ci_low_ms:Q", "ci_high_ms:Q", "samples:Q"]
    return alt.LayerChart(
        layer=[
            whiskers.encode(x="ci_low_ms:Q", x2="ci_high_ms:Q", color=alt.value(Color.BLUE)),
            base.mark_point(color=Color.BLUE).encode(tooltip=tooltip),
            words.encode(text=alt.Text("median_ms:Q", format=",.4~r")),
        ],
        height=alt.Step(30),
    )


def _roofline_chart(choice: Choice, reached: Sequence[Line]) -> alt.LayerChart:
    ticks = [10**power * step for power in range(-3, 7) for step in (1, 2, 5)]
    base = alt.Chart().encode(
        log(alt.X("intensity:Q"), "MACs per byte", tickCount=6),
        log(alt.Y("gmacs_per_s:Q"), "GMAC/s", padding=20, values=ticks, format="~g"),
    )
    roofs = base.transform_filter("datum.what === 'roof'").mark_line(strokeWidth=1.6)
    rates = base.transform_filter("datum.what === 'reached'").transform_filter(choice.filter)
    dtypes = [each for each in DTYPES if each in {line["dtype"] for line in reached}]
    color = alt.Color("dtype:N").scale(domain=dtypes, range=list(Color)[: len(dtypes)])
    dash = alt.StrokeDash("ceiling:N").scale(domain=[MATMUL, DATA_SHEET], range=[[1, 0], [5, 4]])
    tooltip = ["target:N", "conditions:N", "intensity:Q", "gmacs_per_s:Q"]
    return alt.LayerChart(
        layer=[
            roofs.encode(color=color, strokeDash=dash),
            rates.mark_point().encode(color=color, tooltip=tooltip).properties(name=plot.POINTS),
            rates.mark_text().encode(text="label:N").properties(name=plot.LABELS),
        ],
        height=400,
    )

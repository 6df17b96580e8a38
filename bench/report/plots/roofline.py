"""Rates reached on one device below its ceilings."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any

import altair as alt

from vidcost.bench.count.traffic import Traffic, traffic
from vidcost.bench.report.page.data import Device, conditions
from vidcost.bench.report.page.html_table import anchor
from vidcost.bench.report.plots.plot import (
    LABELS,
    POINTS,
    Choice,
    Color,
    Plot,
    conditions_choice,
    log,
    tooltips,
)
from vidcost.bench.report.table import Column, Table
from vidcost.bench.report.timing import digits
from vidcost.bench.timing import peak
from vidcost.bench.timing.bandwidth import bytes_per_s
from vidcost.bench.timing.build import DTYPES
from vidcost.bench.timing.cell import Cell
from vidcost.bench.timing.figures import figures
from vidcost.bench.timing.predict import outline
from vidcost.bench.timing.record import Timing

LEAST_INTENSITY = 0.05
"""MACs per byte below which a rate in MACs says nothing of a device."""
MATMUL, DATA_SHEET = "large matrix product, measured", "data sheet"


@dataclass(frozen=True)
class Roofline:
    """Lines of what was reached on a device, and ceilings in MACs per second by (kind, dtype).

    ``left_out`` says what is not drawn and why.
    """

    reached: list[dict[str, Any]]
    ceilings: dict[tuple[str, str], float]
    left_out: tuple[str, ...]


def roofline(device: Device) -> Roofline:
    """The roofline of the inference that was measured on ``device``."""
    reached: list[dict[str, Any]] = []
    ceilings: dict[tuple[str, str], float] = {}
    left_out: dict[str, None] = {}
    for timing in device.alone:
        cell = timing.cell
        if cell.phase != "inference" or not figures(timing)["macs_per_s"]:
            continue
        try:
            reached.append(_reached(timing))
        except ValueError as error:
            left_out[f"{cell.target} is not drawn: {error}"] = None
            continue
        sheet = peak.macs_per_s(device.name, cell.dtype)
        for kind, limit in ((MATMUL, timing.peak_macs_per_s), (DATA_SHEET, sheet)):
            if limit and limit > ceilings.get((kind, cell.dtype), 0):
                ceilings[kind, cell.dtype] = limit
    return Roofline(reached, ceilings, tuple(left_out))


def roofline_plot(device: Device, found: Roofline) -> Plot | None:
    """Rates reached against MACs per byte, below their ceilings; None if none was reached."""
    if not found.reached:
        return None
    memory = bytes_per_s(device.name)
    choice = conditions_choice(line["conditions"] for line in found.reached)
    return Plot(
        name=f"roofline-{anchor(device.name).lower()}",
        title=f"Roofline of {device.name}",
        caption=(
            "Rates reached against MACs per byte, if every operator read its operands and wrote "
            "its results once. The ceilings: a large matrix product measured in the same run"
            + (
                ", the data sheet's dense peak, and its memory bandwidth."
                if memory
                else "; this device's data sheet and its memory bandwidth are not known here."
            )
        ),
        chart=_chart(choice, found),
        data=Table(
            title=f"Rates on {device.name}",
            columns=(
                Column("what", "Rate"),
                Column("dtype", "Type"),
                Column("ceiling", "Ceiling"),
                Column("target", "Target"),
                Column("conditions", "Conditions"),
                Column("intensity", "MACs per byte", digits),
                Column("gmacs_per_s", "GMAC/s", digits),
            ),
            lines=[*found.reached, *_roofs(found, memory)],
        ),
        choices=(choice,),
    )


def _reached(timing: Timing) -> dict[str, Any]:
    """A measurement as a line.  Raises: ValueError with why it is not drawn."""
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
    return {
        "what": "reached",
        "target": cell.target,
        "row": cell.row,
        "label": cell.target,
        "dtype": cell.dtype,
        "conditions": conditions(cell),
        "intensity": macs / moved_bytes,
        "macs_per_s": rate,
        "gmacs_per_s": rate / 1e9,
        "macs": macs,
        "traffic_bytes": moved_bytes,
    }


@cache
def _traffic(cell: Cell) -> Traffic:
    model, inputs = outline(cell)
    return traffic(model, *inputs)


def _roofs(found: Roofline, memory: float | None) -> Iterator[dict[str, Any]]:
    """The corners of every roof, which falls with the memory's bandwidth at low intensity."""
    intensities = [line["intensity"] for line in found.reached]
    low, high = min(intensities) / 1.6, max(intensities) * 1.6
    for (kind, dtype), limit in found.ceilings.items():
        knee = min(max(limit / memory, low), high) if memory else low
        for intensity in (low, knee, high):
            rate = min(limit, memory * intensity) if memory else limit
            yield {
                "what": "roof",
                "ceiling": kind,
                "dtype": dtype,
                "conditions": None,
                "intensity": intensity,
                "macs_per_s": rate,
                "gmacs_per_s": rate / 1e9,
            }


def _chart(choice: Choice, found: Roofline) -> alt.LayerChart:
    ticks = [10**power * step for power in range(-3, 7) for step in (1, 2, 5)]
    base = alt.Chart().encode(
        log(alt.X("intensity:Q"), "MACs per byte", tickCount=6),
        log(alt.Y("gmacs_per_s:Q"), "GMAC/s", padding=20, values=ticks, format="~g"),
    )
    roofs = base.transform_filter("datum.what === 'roof'").mark_line(strokeWidth=1.6)
    reached = base.transform_filter("datum.what === 'reached'").transform_filter(choice.filter)
    dtypes = [each for each in DTYPES if each in {line["dtype"] for line in found.reached}]
    color = alt.Color("dtype:N").scale(domain=dtypes, range=list(Color)[: len(dtypes)])
    dash = alt.StrokeDash("ceiling:N").scale(domain=[MATMUL, DATA_SHEET], range=[[1, 0], [5, 4]])
    tooltip = tooltips(
        target="Target",
        conditions="Conditions",
        intensity="MACs per byte|,.4~r",
        gmacs_per_s="GMAC/s|,.4~r",
    )
    return alt.LayerChart(
        layer=[
            roofs.encode(color=color, strokeDash=dash),
            reached.mark_point().encode(color=color, tooltip=tooltip).properties(name=POINTS),
            reached.mark_text().encode(text="label:N").properties(name=LABELS),
        ],
        height=400,
    )

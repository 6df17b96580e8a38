"""Rates reached on one device below its ceilings."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import altair as alt

from vidcost.bench.count.traffic import Traffic, traffic
from vidcost.bench.report.page.data import Device, conditions
from vidcost.bench.report.page.html_table import anchor
from vidcost.bench.report.plots.plot import (
    BLUE,
    GREEN,
    GREY,
    LABELS,
    MUTED,
    ORANGE,
    POINTS,
    PURPLE,
    Choice,
    Plot,
    conditions_choice,
    tooltips,
)
from vidcost.bench.report.table import Column, Table
from vidcost.bench.report.timing import digits
from vidcost.bench.timing import peak
from vidcost.bench.timing.bandwidth import bytes_per_s
from vidcost.bench.timing.cell import Cell
from vidcost.bench.timing.figures import figures
from vidcost.bench.timing.predict import outline
from vidcost.bench.timing.record import Timing
from vidcost.bench.timing.subject import DTYPES

LEAST_INTENSITY = 0.05
"""MACs per byte below which a rate in MACs says nothing of a device."""
DTYPE_COLORS = {"fp32": BLUE, "tf32": GREEN, "bf16": ORANGE, "fp16": PURPLE}
MATMUL, DATA_SHEET = "large matmul, measured", "data sheet"


@dataclass(frozen=True)
class Roofline:
    """What was reached on a device, and its flat ceilings in MACs per second by (kind, dtype).

    ``left_out`` says what could not be drawn and why.
    """

    reached: tuple[dict[str, Any], ...]
    ceilings: dict[tuple[str, str], float]
    left_out: tuple[str, ...]


def roofline(device: Device) -> Roofline:
    """The roofline of the inference that was measured on ``device``.

    Bytes are those of :class:`Traffic`.
    """
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
            left_out[f"{cell.subject} is not drawn: {error}"] = None
            continue
        limits = {
            MATMUL: timing.peak_macs_per_s,
            DATA_SHEET: peak.macs_per_s(device.name, cell.dtype),
        }
        for kind, limit in limits.items():
            if limit:
                key = (kind, cell.dtype)
                ceilings[key] = max(limit, ceilings.get(key, 0))
    return Roofline(tuple(reached), ceilings, tuple(left_out))


def roofline_plot(device: Device, found: Roofline) -> Plot | None:
    """Rates reached against MACs per byte, below their ceilings; None if none was reached."""
    if not found.reached:
        return None
    memory = bytes_per_s(device.name)
    choice = conditions_choice(line["conditions"] for line in found.reached)
    dtypes = {line["dtype"] for line in found.reached}
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
        chart=_chart(
            choice,
            [dtype for dtype in DTYPE_COLORS if dtype in dtypes],
            {kind for kind, _ in found.ceilings},
        ),
        data=Table(
            title=f"Rates on {device.name}",
            columns=(
                Column("what", "What"),
                Column("subject", "Target"),
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
    macs, bytes_ = (
        timing.macs_total or 0,
        moved.bytes(batch=cell.batch, element=DTYPES[cell.dtype].itemsize),
    )
    if macs / bytes_ < LEAST_INTENSITY:
        raise ValueError("it computes hardly any products")
    return {
        "what": "reached",
        "subject": cell.subject,
        "row": cell.row,
        "label": cell.subject,
        "dtype": cell.dtype,
        "conditions": conditions(cell),
        "intensity": macs / bytes_,
        "macs_per_s": (rate := figures(timing)["macs_per_s"]),
        "gmacs_per_s": rate / 1e9,
        "macs": macs,
        "traffic_bytes": bytes_,
    }


def _roofs(found: Roofline, memory: float | None) -> Iterator[dict[str, Any]]:
    """The corners of every roof; below the knee it goes down with the memory's bandwidth."""
    intensities = [line["intensity"] for line in found.reached]
    low, high = min(intensities) / 1.6, max(intensities) * 1.6
    for (kind, dtype), limit in found.ceilings.items():
        corners = [low, high]
        if memory:
            corners.insert(1, min(max(limit / memory, low), high))
        for intensity in corners:
            rate = min(limit, memory * intensity) if memory else limit
            yield {
                "what": f"{dtype}, {kind}",
                "dtype": dtype,
                "conditions": None,
                "intensity": intensity,
                "macs_per_s": rate,
                "gmacs_per_s": rate / 1e9,
                "end": intensity == high,
            }


@cache
def _traffic(cell: Cell) -> Traffic:
    model, inputs = outline(cell)
    return traffic(model, *inputs)


def _chart(choice: Choice, dtypes: Sequence[str], kinds: set[str]) -> alt.LayerChart:
    is_sheet = f"indexof(datum.what, '{DATA_SHEET}') >= 0"
    colors = [DTYPE_COLORS.get(dtype, GREY) for dtype in dtypes]
    base = alt.Chart().encode(
        alt.X("intensity:Q")
        .scale(type="log", nice=False)
        .axis(title="MACs per byte (log scale)", tickCount=6, grid=False),
        alt.Y("gmacs_per_s:Q")
        .scale(type="log", nice=True)
        .axis(
            title="GMAC/s (log scale)",
            values=[10**power * step for power in range(-3, 7) for step in (1, 2, 5)],
            format="~g",
        ),
    )
    color = alt.Color("dtype:N").scale(domain=list(dtypes), range=colors)
    color = color if len(dtypes) > 1 else color.legend(None)
    roofs = base.transform_filter("datum.what !== 'reached'")
    names = [
        roofs.transform_filter(f"datum.end && {test}")
        .mark_text(align="right", dy=dy, color=MUTED)
        .encode(text="what:N")
        # the two roofs of a type lie close: one is named above its line, one below
        for kind, test, dy in ((DATA_SHEET, is_sheet, -8), (MATMUL, f"!({is_sheet})", 9))
        if kind in kinds
    ]
    reached = base.transform_filter("datum.what === 'reached'").transform_filter(choice.filter)
    points = reached.mark_point(filled=True, size=80, opacity=1).encode(
        color=color,
        tooltip=tooltips(
            ("subject", "Target"),
            ("conditions", "Conditions"),
            ("intensity", "MACs per byte", ",.4~r"),
            ("gmacs_per_s", "GMAC/s", ",.4~r"),
        ),
    )
    return alt.layer(
        roofs.mark_line(strokeWidth=1.6).encode(
            color=color,
            detail="what:N",
            strokeDash=alt.condition(is_sheet, alt.value([5, 4]), alt.value([1, 0])),
        ),
        *names,
        points.properties(name=POINTS),
        reached.mark_text().encode(text="label:N").properties(name=LABELS),
    ).properties(height=400)

"""The plot of one device's roofline."""

from __future__ import annotations

from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from typing import Any

from vidcost.bench.report.page.labels import LABELS, POINTS
from vidcost.bench.report.page.measured import Device
from vidcost.bench.report.page.plot import (
    BLUE,
    GREEN,
    GREY,
    MUTED,
    ORANGE,
    PURPLE,
    Plot,
    Spec,
    conditions_control,
    parameter,
)
from vidcost.bench.report.page.roofline import Roofline
from vidcost.bench.report.table import Column, Table
from vidcost.bench.report.timing import digits
from vidcost.bench.timing.stored import slug

_IS_DATA_SHEET = "indexof(datum.what, 'data sheet') >= 0"

DTYPE_COLORS = {"fp32": BLUE, "tf32": GREEN, "bf16": ORANGE, "fp16": PURPLE}


def roofline_plot(device: Device, found: Roofline) -> Plot | None:
    """Rates reached against MACs per byte, below their ceilings; None if none was reached."""
    if not found.reached:
        return None
    lines: list[dict[str, Any]] = [
        {
            "what": "reached",
            "target": point.target,
            "row": point.row,
            "label": point.target,
            "dtype": point.dtype,
            "conditions": point.conditions,
            "intensity": point.intensity,
            "macs_per_s": point.macs_per_s,
            "gmacs_per_s": point.macs_per_s / 1e9,
            "macs": point.macs,
            "traffic_bytes": point.traffic_bytes,
        }
        for point in found.reached
    ]
    intensities = [point.intensity for point in found.reached]
    low, high = min(intensities) / 1.6, max(intensities) * 1.6
    memory = next((c.limit for c in found.ceilings if c.kind == "memory"), None)
    dtypes = {point.dtype for point in found.reached}
    flat = [ceiling for ceiling in found.ceilings if ceiling.kind != "memory"]
    for ceiling in flat:
        # below the knee the memory is the limit, and the roof goes down with it
        knee = low if memory is None else min(max(ceiling.limit / memory, low), high)
        words = "large matmul, measured" if ceiling.kind == "matmul" else "data sheet"
        starts = [] if memory is None else [(low, min(memory * low, ceiling.limit))]
        for intensity, limit in (*starts, (knee, ceiling.limit), (high, ceiling.limit)):
            lines.append(
                {
                    "what": f"{ceiling.dtype}, {words}",
                    "dtype": ceiling.dtype,
                    "conditions": None,
                    "intensity": intensity,
                    "macs_per_s": min(limit, memory * intensity if memory else limit),
                    "gmacs_per_s": min(limit, memory * intensity if memory else limit) / 1e9,
                    "end": intensity == high,
                }
            )
    return Plot(
        name=f"roofline-{slug(device.machine)}",
        title=f"Roofline of {device.name}",
        caption=(
            "Rates reached against MACs per byte, if every operator read its operands and wrote "
            "its results once. The ceilings: a large matrix product measured in the same run"
            + (
                ", the data sheet's dense peak, and its memory bandwidth."
                if memory
                else "; no data sheet of this device is known here, so nothing is said of its "
                "memory's bandwidth."
            )
        ),
        spec=_roofline_spec(
            [each for each in DTYPE_COLORS if each in dtypes], {ceiling.kind for ceiling in flat}
        ),
        data=Table(
            title=f"Rates on {device.name}",
            columns=(
                Column("what", "What"),
                Column("target", "Target"),
                Column("conditions", "Conditions"),
                Column("intensity", "MACs per byte", digits),
                Column("gmacs_per_s", "GMAC/s", digits),
            ),
            lines=lines,
        ),
        controls=(conditions_control(point.conditions for point in found.reached),),
    )


def _roofline_spec(dtypes: Sequence[str], kinds: AbstractSet[str]) -> Spec:
    """``kinds`` are those of the flat ceilings: a layer without data would be complained of."""
    x = {
        "field": "intensity",
        "type": "quantitative",
        "scale": {"type": "log", "nice": False},
        "axis": {"title": "MACs per byte (log scale)", "tickCount": 6, "grid": False},
    }
    y = {
        "field": "gmacs_per_s",
        "type": "quantitative",
        "scale": {"type": "log", "nice": True},
        "axis": {
            "title": "GMAC/s (log scale)",
            "values": [10**power * step for power in range(-3, 7) for step in (1, 2, 5)],
            "format": "~g",
        },
    }
    color = {
        "field": "dtype",
        "type": "nominal",
        "scale": {"domain": list(dtypes), "range": [DTYPE_COLORS.get(d, GREY) for d in dtypes]},
        "legend": {"title": None} if len(dtypes) > 1 else None,
    }
    return {
        "height": 400,
        "layer": [
            {
                "transform": [{"filter": "datum.what !== 'reached'"}],
                "mark": {"type": "line", "strokeWidth": 1.6},
                "encoding": {
                    "x": x,
                    "y": y,
                    "color": color,
                    "detail": {"field": "what"},
                    "strokeDash": {
                        "condition": {
                            "test": _IS_DATA_SHEET,
                            "value": [5, 4],
                        },
                        "value": [1, 0],
                    },
                },
            },
            *(
                {
                    "transform": [{"filter": f"datum.end && {test}"}],
                    "mark": {"type": "text", "align": "right", "dy": dy, "color": MUTED},
                    "encoding": {"x": x, "y": y, "text": {"field": "what"}},
                }
                # the two roofs of a type lie close: one is named above its line, one below
                for kind, test, dy in (
                    ("data sheet", _IS_DATA_SHEET, -8),
                    ("matmul", f"!({_IS_DATA_SHEET})", 9),
                )
                if kind in kinds
            ),
            {
                "name": POINTS,
                "transform": [{"filter": "datum.what === 'reached'"}, parameter("conditions")],
                "mark": {"type": "point", "filled": True, "size": 80, "opacity": 1},
                "encoding": {
                    "x": x,
                    "y": y,
                    "color": color,
                    "cursor": {"value": "pointer"},
                    "tooltip": [
                        {"field": "target", "title": "Target"},
                        {"field": "conditions", "title": "Conditions"},
                        {"field": "intensity", "title": "MACs per byte", "format": ",.4~r"},
                        {"field": "gmacs_per_s", "title": "GMAC/s", "format": ",.4~r"},
                    ],
                },
            },
            {
                "name": LABELS,
                "transform": [{"filter": "datum.what === 'reached'"}, parameter("conditions")],
                "mark": {"type": "text"},
                "encoding": {"x": x, "y": y, "text": {"field": "label"}},
            },
        ],
    }

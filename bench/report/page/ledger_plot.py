"""The plot of one account of the ledger: from our MACs to what a counter prints."""

from __future__ import annotations

from collections.abc import Sequence

from vidcost.bench.report.page.accounts import Step
from vidcost.bench.report.page.labels import INK
from vidcost.bench.report.page.plot import (
    BLUE,
    GRID,
    MUTED,
    ORANGE,
    PURPLE,
    Control,
    Plot,
    Spec,
    parameter,
)
from vidcost.bench.report.table import Column, Table, integer

FIRST_ROW, FIRST_COUNTER = "mfnet-pnl-x5", "thop-2020"
"""What is shown first: the case in which a counter turns an order round."""

KINDS = {
    "ours": (BLUE, "ours"),
    "added": (ORANGE, "added"),
    "unseen": (PURPLE, "not seen"),
    "unexplained": ("#b00020", "not explained"),
    "printed": (INK, "printed"),
}


def ledger_plot(steps: Sequence[Step]) -> Plot:
    """The terms of one row and counter as steps, each beginning where the last one ended.

    Raises: ValueError if there are no steps.
    """
    if not steps:
        raise ValueError("no counter answered for any row: `vidcost run` asks them")
    rows = list(dict.fromkeys(step.row for step in steps))
    counters = list(dict.fromkeys(step.counter for step in steps))
    answered = {(step.row, step.counter) for step in steps}
    return Plot(
        name="ledger",
        title="From our MACs to what a counter prints",
        caption=(
            "Each term begins where the one above it ended. The scale does not begin at zero, so "
            "lengths are those of the terms alone. FLOPs as the counter books them."
        ),
        spec=_spec(),
        data=_data(steps),
        controls=(
            Control("row", "Row", tuple((row, row) for row in rows), _first(rows, FIRST_ROW)),
            Control(
                "counter",
                "Counter",
                tuple((counter, counter) for counter in counters),
                _first(counters, FIRST_COUNTER),
            ),
        ),
        said={
            (row, counter): f"{counter} gave no answer for {row}."
            for row in rows
            for counter in counters
            if (row, counter) not in answered
        },
    )


def _first(names: Sequence[str], wanted: str) -> str:
    return wanted if wanted in names else names[0]


def _data(steps: Sequence[Step]) -> Table:
    return Table(
        title="Ledger of FLOPs",
        columns=(
            Column("row", "Row"),
            Column("counter", "Counter"),
            Column("what", "What"),
            Column("amount", "Amount", integer),
            Column("end", "Running total", integer),
        ),
        lines=[
            {
                "row": step.row,
                "counter": step.counter,
                "order": step.order,
                "what": step.what,
                "kind": step.kind,
                "amount": step.amount,
                "start": step.start,
                "end": step.end,
            }
            for step in steps
        ],
    )


def _spec() -> Spec:
    # the name of a term stands above its bar, at the left, and the amount at the right
    y = {"field": "order", "type": "ordinal", "axis": None, "scale": {"padding": 0}}
    x = {
        "field": "start",
        "type": "quantitative",
        "scale": {"zero": False, "padding": 24},
        "axis": {
            "title": "FLOPs, the scale does not begin at zero",
            "labelExpr": "format(datum.value / 1e9, ',.6~g') + 'G'",
            "tickCount": 5,
            "grid": False,
            "domain": True,
            "domainColor": GRID,
            "ticks": True,
            "tickColor": GRID,
        },
    }
    color = {
        "field": "kind",
        "type": "nominal",
        "scale": {"domain": list(KINDS), "range": [color for color, _ in KINDS.values()]},
        "legend": None,
    }
    amount = (
        "datum.kind === 'ours' || datum.kind === 'printed' ? format(datum.amount, ',') "
        ": (datum.amount < 0 ? '−' : '+') + format(abs(datum.amount), ',')"
    )
    tooltip = [
        {"field": "what", "title": "Term"},
        {"field": "said", "title": "Amount"},
        {"field": "end", "title": "Running total", "format": ","},
    ]
    return {
        "height": {"step": 46},
        "transform": [
            parameter("row"),
            parameter("counter"),
            {"calculate": amount, "as": "said"},
            {"calculate": "datum.kind === 'ours' || datum.kind === 'printed'", "as": "total"},
        ],
        "layer": [
            {
                "transform": [{"filter": "!datum.total"}],
                "mark": {
                    "type": "bar",
                    "height": 12,
                    "yOffset": 9,
                },
                "encoding": {
                    "y": y,
                    "x": x,
                    "x2": {"field": "end"},
                    "color": color,
                    "tooltip": tooltip,
                },
            },
            {
                # a small term would be invisible as a bar
                "transform": [{"filter": "!datum.total"}],
                "mark": {"type": "tick", "thickness": 2.5, "size": 18, "yOffset": 9},
                "encoding": {"y": y, "x": x | {"field": "end"}, "color": color},
            },
            {
                "transform": [{"filter": "datum.total"}],
                "mark": {
                    "type": "point",
                    "shape": "diamond",
                    "filled": True,
                    "size": 130,
                    "opacity": 1,
                    "yOffset": 9,
                },
                "encoding": {"y": y, "x": x, "color": color, "tooltip": tooltip},
            },
            {
                "mark": {
                    "type": "text",
                    "align": "left",
                    "dy": -10,
                    "color": INK,
                    "limit": {"expr": "width - 125"},
                },
                "encoding": {"y": y, "x": {"value": 0}, "text": {"field": "what"}},
            },
            {
                "mark": {"type": "text", "align": "right", "dy": -10, "color": MUTED},
                "encoding": {"y": y, "x": {"value": "width"}, "text": {"field": "said"}},
            },
        ],
    }

"""The plot of a study of the gate: false alarms and slow-downs found, by rule."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from vidcost.bench.gate.study_figures import (
    OURS,
    RULES,
    SAME,
    Comparison,
    alarm_rate,
    factors,
)
from vidcost.bench.report.gate.study import whole
from vidcost.bench.report.page.labels import INK
from vidcost.bench.report.page.plot import BLUE, MUTED, ORANGE, Plot, Spec
from vidcost.bench.report.table import Column, Table, integer

FALSE, FOUND = "same code: false alarms", "slower code: found"


def gate_plot(name: str, device: str, comparisons: Sequence[Comparison]) -> Plot:
    """How often every rule raises an alarm, of the study on ``device``; ``name`` is the stem."""
    return Plot(
        name=name,
        title=f"Which rule tells a slow-down from noise? {device}",
        caption=(
            "Share of comparisons in which a rule calls head slower: of equal code (false alarms, "
            "best at 0%) and of code slowed down by the amount beside the line (found, best at "
            "100%). Whiskers are exact 95% intervals."
        ),
        spec=_spec(),
        data=_data(comparisons),
    )


def _data(comparisons: Sequence[Comparison]) -> Table:
    lines: list[dict[str, Any]] = []
    for rule in RULES:
        for place, factor in enumerate((SAME, *factors(comparisons))):
            rate = alarm_rate(comparisons, rule, factor)
            low, high = rate.interval
            lines.append(
                {
                    "rule": rule,
                    "case": FALSE if factor == SAME else f"{whole(factor - 1)} slower: found",
                    "slower": None if factor == SAME else whole(factor - 1),
                    "kind": FALSE if factor == SAME else FOUND,
                    "place": place,
                    "alarms": rate.hits,
                    "comparisons": rate.of,
                    # beyond that, platforms need not agree
                    "rate": None if rate.share is None else round(rate.share, 6),
                    "low": round(low, 6),
                    "high": round(high, 6),
                }
            )
    percent = "{:.1%}".format
    return Table(
        title="Alarms by rule",
        columns=(
            Column("rule", "Rule"),
            Column("case", "Case"),
            Column("alarms", "Alarms", integer),
            Column("comparisons", "Comparisons", integer),
            Column("rate", "Rate", percent),
            Column("low", "At least", percent),
            Column("high", "At most", percent),
        ),
        lines=lines,
    )


def _spec() -> Spec:
    y = {
        "field": "rule",
        "type": "nominal",
        "sort": list(RULES),
        "axis": {
            "title": None,
            "labelLimit": 120,
            "labelColor": INK,
            "labelFontWeight": {
                "condition": {"test": f"datum.value === '{OURS}'", "value": "bold"},
                "value": "normal",
            },
        },
    }
    offset = {"field": "place", "type": "ordinal", "scale": {"paddingOuter": 0.6}}
    x = {
        "field": "rate",
        "type": "quantitative",
        "scale": {"domain": [0, 1]},
        "axis": {"title": "Comparisons that raise an alarm", "format": ".0%", "tickCount": 5},
    }
    color = {
        "field": "kind",
        "type": "nominal",
        "scale": {"domain": [FALSE, FOUND], "range": [ORANGE, BLUE]},
    }
    return {
        "height": {"step": 15, "for": "offset"},
        "transform": [{"filter": "isValid(datum.rate)"}],
        "layer": [
            {
                "mark": {"type": "rule", "strokeWidth": 1.4, "opacity": 0.75},
                "encoding": {
                    "y": y,
                    "yOffset": offset,
                    "x": x | {"field": "low"},
                    "x2": {"field": "high"},
                    "color": color,
                },
            },
            {
                "transform": [{"filter": "isValid(datum.slower)"}],
                "mark": {
                    "type": "text",
                    "align": "right",
                    "dx": -5,
                    "fontSize": 11,
                    "color": MUTED,
                },
                "encoding": {
                    "y": y,
                    "yOffset": offset,
                    "x": x | {"field": "low"},
                    "text": {"field": "slower"},
                },
            },
            {
                "mark": {"type": "point", "filled": True, "size": 70, "opacity": 1},
                "encoding": {
                    "y": y,
                    "yOffset": offset,
                    "x": x,
                    "color": color,
                    "shape": {
                        "field": "kind",
                        "type": "nominal",
                        "scale": {"domain": [FALSE, FOUND], "range": ["square", "circle"]},
                    },
                    "tooltip": [
                        {"field": "rule", "title": "Rule"},
                        {"field": "case", "title": "Case"},
                        {"field": "alarms", "title": "Alarms"},
                        {"field": "comparisons", "title": "of"},
                        {"field": "rate", "title": "Rate", "format": ".1%"},
                    ],
                },
            },
        ],
    }

"""The study of the gate in one figure: how often each rule raises an alarm."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from vidcost.bench import files
from vidcost.bench.gate.study_figures import (
    OURS,
    RULES,
    SAME,
    Comparison,
    alarm_rate,
    factors,
)
from vidcost.bench.report import drawing
from vidcost.bench.report.gate.study import GOAL_FACTOR, coarse, whole
from vidcost.bench.report.table import Column, Table, integer

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

ACROSS = 3
_INCHES = (7.0, 5.8)
_OURS_COLOR, _OTHER_COLOR, *_ = drawing.COLORS


def power_table(comparisons: Sequence[Comparison]) -> Table:
    """What the figure shows: alarms by rule and injected slow-down, with exact 95% intervals."""
    lines = []
    for rule in RULES:
        for factor in (SAME, *factors(comparisons)):
            rate = alarm_rate(comparisons, rule, factor)
            low, high = rate.interval
            lines.append(
                {
                    "rule": rule,
                    # a factor of 1.1 less 1 is not 0.1 to the last bit
                    "slowdown_percent": round((factor - 1) * 100, 6),
                    "comparisons": rate.of,
                    "alarms": rate.hits,
                    "rate": rate.share,
                    "low": low,
                    "high": high,
                }
            )
    return Table(
        title="Alarms by rule and injected slow-down",
        columns=(
            Column("rule", "Rule"),
            Column("slowdown_percent", "Slow-down", lambda value: f"{value:g}%"),
            Column("comparisons", "Comparisons", integer),
            Column("alarms", "Alarms", integer),
            Column("rate", "Rate", coarse),
            Column("low", "Low", coarse),
            Column("high", "High", coarse),
        ),
        lines=lines,
    )


def power_figure(comparisons: Sequence[Comparison]) -> Figure:
    """A panel for each usual rule with the gate beside it; whiskers are exact 95% intervals."""
    # a fifth of a second, which only who draws should pay
    from matplotlib.figure import Figure

    others = [rule for rule in RULES if rule != OURS]
    figure = Figure(figsize=_INCHES, layout="constrained")
    panels = figure.subplots(
        -(-len(others) // ACROSS), ACROSS, sharex=True, sharey=True, squeeze=False
    )
    slower = [SAME, *factors(comparisons)]
    for panel, rule in zip(panels.flat, others, strict=False):
        _frame(panel, slower)
        _curve(panel, comparisons, OURS, slower, color=_OURS_COLOR, marker="o", shift=-0.08)
        _curve(panel, comparisons, rule, slower, color=_OTHER_COLOR, marker="s", shift=0.08)
        panel.set_title(
            f"■ {rule}", loc="left", color=_OTHER_COLOR, fontsize=11, fontweight="bold", pad=30
        )
        below = panel.annotate(
            "\n".join(_said(comparisons, rule)),
            (0, 1),
            xytext=(0, 5),
            xycoords="axes fraction",
            textcoords="offset points",
            color=drawing.GREY,
            fontsize=8.5,
        )
        # the title has left the room, and a text that asks for more would squeeze its panel
        below.set_in_layout(False)
    for panel in panels.flat[len(others) :]:
        panel.set_axis_off()
    figure.suptitle(
        f"● {OURS}: {', '.join(_said(comparisons, OURS))}",
        x=0.01,
        ha="left",
        color=_OURS_COLOR,
        fontsize=12,
        fontweight="bold",
    )
    figure.supxlabel(
        "injected slow-down, not to scale; grey: the same code, any alarm is false; "
        "whiskers: 95% intervals",
        size=8.5,
    )
    figure.supylabel("share of comparisons that raise an alarm", size=9.5)
    return figure


def write_power(comparisons: Sequence[Comparison], folder: Path) -> list[Path]:
    """Write power.svg, power.png and power.csv to ``folder``; the same bytes for the same data.

    Returns: their paths.
    Raises: ValueError with the path if one cannot be written.
    """
    figure = power_figure(comparisons)
    paths = [folder / f"power.{kind}" for kind in ("svg", "png", "csv")]
    files.write(paths[0], drawing.svg(figure))
    files.write(paths[1], drawing.png(figure))
    files.write(paths[2], power_table(comparisons).csv())
    return paths


def _frame(panel: Axes, slower: Sequence[float]) -> None:
    panel.axvspan(-0.5, 0.5, color="#E8E8E8", linewidth=0, zorder=0)
    panel.set_xlim(-0.5, len(slower) - 0.5)
    # by step, not to scale: 2, 3 and 5% would lie on one another beside 20%
    panel.set_xticks(
        range(len(slower)), ["A/A", *(f"{(factor - 1) * 100:g}%" for factor in slower[1:])]
    )
    panel.set_ylim(-0.03, 1.03)
    panel.set_yticks((0, 0.5, 1), ("0", "50%", "100%"))
    panel.set_yticks((0.25, 0.75), minor=True)
    panel.grid(axis="y", which="both", color="#DDDDDD", linewidth=0.6, zorder=0)
    panel.set_axisbelow(True)
    panel.tick_params(labelsize=9, length=0, which="both")
    panel.tick_params(labelbottom=True)
    for side in ("top", "right", "left"):
        panel.spines[side].set_visible(False)


def _curve(
    panel: Axes,
    comparisons: Sequence[Comparison],
    rule: str,
    slower: Sequence[float],
    *,
    color: str,
    marker: str,
    shift: float,
) -> None:
    points = [
        (place + shift, rate.share, *rate.interval)
        for place, rate in enumerate(alarm_rate(comparisons, rule, each) for each in slower)
        if rate.share is not None
    ]
    if not points:
        return
    places, shares, lows, highs = zip(*points, strict=True)
    panel.vlines(places, lows, highs, color=color, linewidth=1.4, zorder=3)
    # the same code is no end of the scale of slow-downs: the line goes on thinner
    panel.plot(places[:2], shares[:2], color=color, linewidth=0.8, linestyle=":", zorder=3)
    panel.plot(places[1:], shares[1:], color=color, linewidth=1.8, zorder=3)
    panel.plot(
        places,
        shares,
        color=color,
        marker=marker,
        markersize=5,
        markeredgecolor="white",
        markeredgewidth=0.6,
        linestyle="none",
        zorder=4,
        clip_on=False,
    )


def _said(comparisons: Sequence[Comparison], rule: str) -> list[str]:
    false, found = (alarm_rate(comparisons, rule, factor) for factor in (SAME, GOAL_FACTOR))
    parts = [] if false.share is None else [f"{coarse(false.share)} false alarms"]
    if found.share is not None:
        parts.append(f"{coarse(found.share)} of {whole(GOAL_FACTOR - 1)} slow-downs found")
    return parts

"""The history for people: what changed, and the series it changed in."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from decimal import Decimal
from itertools import pairwise
from typing import Any

from vidcost.bench.history.change_points import MIN_POINTS
from vidcost.bench.history.counts import MACS, CountSeries
from vidcost.bench.history.latencies import LatencySeries
from vidcost.bench.history.series import History
from vidcost.bench.report.table import Column, Table, integer
from vidcost.bench.report.timing import milliseconds
from vidcost.bench.timing.cell import Cell

BLOCKS = "▁▂▃▄▅▆▇█"
NEWEST = 24
"""So many points a sparkline shows: more would not fit beside the rest."""
LEAST_RANGE = 0.1
"""The part of its middle value that a sparkline spans at least, or noise would look like steps."""

TOO_FEW = "too few"

_FOR_PEOPLE = (
    "For people, never for gating: a latency's change point is a hint where to look, and points of "
    "other days on a machine with other company are no measurement of a change. `vidcost gate` "
    "measures one."
)


def change_table(history: History) -> Table:
    """A line for each change, oldest first."""
    return Table(
        title=f"Changes on {history.branch}",
        columns=(
            Column("date", "Date", _day),
            Column("commit", "Commit", _short),
            Column("kind", "Kind"),
            Column("series", "Series"),
            *_conditions_column(change.cell for change in history.changes),
            Column("field", "What"),
            Column("before", "Before", _amount),
            Column("after", "After", _amount),
            Column("percent", "Percent", _percent),
            Column("why", "Reason, or subject of the commit"),
        ),
        lines=[
            {
                "date": change.commit.date,
                "commit": change.commit.sha,
                "since": change.since.sha,
                "kind": change.kind,
                "series": change.series,
                "conditions": _conditions(change.cell),
                "device": change.device,
                "field": change.field,
                "before": change.before,
                "after": change.after,
                "percent": change.percent,
                "why": change.reason or change.commit.subject,
                "reason": change.reason or None,
                "subject": change.commit.subject,
            }
            for change in history.changes
        ],
        legend=(
            _FOR_PEOPLE,
            "Commit: the one that brought the first record after the change. Exact count: every "
            "difference of the baseline, in parameters, MACs or elements; an added or removed row "
            "has its name on one side. Latency: the level of the medians on either side of a "
            "change point, which PELT with a Gaussian kernel sets in about 1 of 100 series of "
            "independent noise, and more often where noise lasts for several records. Conditions: "
            "what the device's records were taken under differs from there on; latencies are not "
            "compared across it.",
        ),
    )


def series_table(history: History) -> Table:
    """A line for each row's counts, then for each cell on each device and its versions."""
    lines = [
        *(_count_line(series) for series in history.counts),
        *(_latency_line(series) for series in history.latencies),
    ]
    return Table(
        title=f"Series on {history.branch}",
        columns=(
            Column("series", "Series"),
            *_conditions_column(series.cell for series in history.latencies),
            Column("device", "Device"),
            Column("torch", "torch"),
            *([Column("driver", "Driver")] if any(line["driver"] for line in lines) else ()),
            Column("points", "Points", integer),
            Column("first", "First", _day),
            Column("last", "Last", _day),
            Column("macs", "Latest, MACs", integer),
            Column("median_s", "Latest, ms", milliseconds),
            Column("shown", "Over time"),
            Column("changes", "Changes", str),
        ),
        lines=lines,
        legend=(
            _FOR_PEOPLE,
            "Points: versions of the baseline, of which changes are those of MACs; or records of "
            "timings, ordered by when they were taken, whose change points are looked for from "
            f"{MIN_POINTS} on. Over time: the latest {NEWEST}, of which the full height is their "
            f"range or {LEAST_RANGE:.0%} of the middle one, whichever is more.",
        ),
    )


def sparkline(values: Sequence[float]) -> str:
    """The latest ``NEWEST`` values as a line of blocks; nothing of nothing.

    A range below ``LEAST_RANGE`` of the middle between the extremes is drawn around the middle
    block.
    """
    shown = values[-NEWEST:]
    if not shown:
        return ""
    low, high = min(shown), max(shown)
    middle = (low + high) / 2
    span = max(high - low, LEAST_RANGE * abs(middle))
    if not span:
        return BLOCKS[0] * len(shown)
    last = len(BLOCKS) - 1
    # half up, for the nearest even block would tear a flat line apart
    return "".join(BLOCKS[int(last * ((value - middle) / span + 0.5) + 0.5)] for value in shown)


def _count_line(series: CountSeries) -> dict[str, Any]:
    macs = [point.figures[MACS] for point in series.points if MACS in point.figures]
    return {
        "series": series.row,
        "kind": "exact count",
        "conditions": None,
        "device": None,
        "torch": None,
        "driver": None,
        "points": len(series.points),
        "first": series.points[0].commit.date,
        "last": series.points[-1].commit.date,
        "macs": macs[-1] if macs else None,
        "params": series.points[-1].figures.get("params"),
        "median_s": None,
        "shown": sparkline(macs),
        "changes": sum(before != after for before, after in pairwise(macs)),
    }


def _latency_line(series: LatencySeries) -> dict[str, Any]:
    machine, points = series.machine, series.points
    return {
        "series": series.cell.subject,
        "kind": "latency",
        "conditions": _conditions(series.cell),
        "device": machine.device,
        "torch": machine.torch,
        "driver": None if machine.driver == "not available" else machine.driver,
        "points": len(points),
        "first": points[0].started.isoformat(),
        "last": points[-1].started.isoformat(),
        "macs": None,
        "params": None,
        "median_s": points[-1].median_s,
        "shown": sparkline([point.median_s for point in points]),
        "changes": TOO_FEW if len(points) < MIN_POINTS else len(series.changes),
    }


def _conditions_column(cells: Iterable[Cell | None]) -> tuple[Column, ...]:
    """The column of what a cell was timed under, if one was under other than the default."""
    return (Column("conditions", "Conditions"),) if any(map(_conditions, cells)) else ()


def _conditions(cell: Cell | None) -> str | None:
    """In words what of a cell is not the default; None if nothing is."""
    if cell is None:
        return None
    words = []
    for name, axis in Cell.model_fields.items():
        value = getattr(cell, name)
        if name in ("row", "block", "shape") or value == axis.default:
            continue
        spoken = name.replace("_", " ")
        if value is True:
            words.append(spoken)
        else:
            words.append(value if isinstance(value, str) else f"{spoken} {value}")
    return ", ".join(words) or None


def _amount(value: float | str) -> str:
    """A count, a latency with its unit, or a version as it is."""
    if isinstance(value, str):
        return value
    return integer(value) if isinstance(value, int) else f"{milliseconds(value)} ms"


def _day(date: str) -> str:
    return date[:10]


def _short(sha: str) -> str:
    return sha[:8]


def _percent(value: float) -> str:
    """Three digits, never an exponent: 5.0321 -> +5.03%."""
    return f"{Decimal(f'{value:.3g}'):+,f}%"

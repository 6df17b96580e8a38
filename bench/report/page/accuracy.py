"""Accuracy as printed against what a network costs, and the front that none is better than."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from vidcost.bench.count.record import Record
from vidcost.bench.report.page.measured import Device, at_own_clips, conditions
from vidcost.bench.timing.figures import figures
from vidcost.bench.timing.record import Timing
from vidcost.papers.figures import Paper, PrintedRow

Family = Literal["MFNet", "ResNet-50", "other networks"]

SETS: Mapping[str, tuple[str, tuple[int, ...]]] = {
    "table-5": ("Table 5, Mini-Kinetics", (5,)),
    "table-6": ("Table 6, UCF101", (6,)),
    "mini-kinetics": ("Tables 1 to 5, Mini-Kinetics", (1, 2, 3, 4, 5)),
}
"""What may stand in one plot: accuracies of one dataset. Name, words, tables."""


@dataclass(frozen=True)
class Axis:
    """A cost: its key, its words with the unit, and by what a raw value is divided for the plot.

    ``missing`` says how to get it where a plot has none.
    """

    key: str
    words: str
    unit: float
    missing: str


@dataclass(frozen=True)
class Point:
    """A printed row: Top-1 in percent, and a cost in the axis's unit.

    ``on_front``: no other row of the set costs as little and is as accurate, or more so.
    """

    set: str
    axis: str
    row: str
    label: str
    family: Family
    table: int | str
    top1: float
    cost: float
    source: str
    on_front: bool = False


_COUNTED = (
    Axis("params", "Parameters, millions", 1e6, "`vidcost run` counts them"),
    Axis("macs", "MACs, billions", 1e9, "`vidcost run` counts them"),
    Axis("flops_printed", "FLOPs as printed, billions", 1e9, "the paper prints none here"),
)
_CITATION = re.compile(r"\s*\[\d+\]$")
_MEASURED: tuple[tuple[str, str, str, float], ...] = (
    ("median_s", "latency", "Latency, ms", 1e-3),
    ("peak_bytes", "memory", "Peak memory above the weights, MB", 1e6),
    ("energy_j_per_clip", "energy", "Energy per clip, J", 1),
)
"""A key of ``figures``, the axis's, its words, its unit."""


def axes(devices: Sequence[Device]) -> tuple[Axis, ...]:
    """Every cost that can be chosen; those that are timed once for each device, or once if none."""
    timed = []
    for _, key, words, unit in _MEASURED:
        missing = "no row is stored that was timed at its own clip: " + (
            "only a GPU reports its energy, `vidcost time --device cuda` stores it"
            if key == "energy"
            else "`vidcost time` makes timings"
        )
        names = [device.name for device in devices]
        timed += [Axis(f"{key}@{name}", f"{words} ({name})", unit, missing) for name in names] or [
            Axis(key, words, unit, missing)
        ]
    return (*_COUNTED, *timed)


def points(paper: Paper, records: Mapping[str, Record], devices: Sequence[Device]) -> list[Point]:
    """Every printed accuracy beside every known cost, with the front of each set and axis."""
    found: list[Point] = []
    timings = {device.name: at_own_clips(device.timings) for device in devices}
    for name, (_, tables) in SETS.items():
        rows = _distinct(row for table in tables for row in paper.table(table))
        for axis in axes(devices):
            drawn = [
                Point(
                    set=name,
                    axis=axis.key,
                    row=printed.row,
                    label=_CITATION.sub("", printed.label),
                    family=_family(printed.row),
                    table=printed.table,
                    top1=top1,
                    cost=raw / axis.unit,
                    source=source,
                )
                for printed in rows
                if (top1 := _percent(printed.top1)) is not None
                for raw, source in _costs(axis, printed, records, timings)
            ]
            found += _with_front(drawn)
    return found


def _distinct(rows: Iterable[PrintedRow]) -> list[PrintedRow]:
    """One network with one accuracy once, by its last table: that has the clearest label."""
    return list({(row.row, row.top1): row for row in rows}.values())


def _family(row: str) -> Family:
    if row.startswith("mfnet"):
        return "MFNet"
    return "ResNet-50" if row.startswith("r50") else "other networks"


def _percent(printed: str | None) -> float | None:
    if printed is None:
        return None
    try:
        value = float(printed.rstrip("%"))
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def _costs(
    axis: Axis,
    printed: PrintedRow,
    records: Mapping[str, Record],
    timings: Mapping[str, Mapping[str, Timing]],
) -> Iterator[tuple[float, str]]:
    """The raw cost of a row and where it comes from; nothing if it is not known."""
    if axis.key == "flops_printed":
        # of a bound no one knows where it lies
        if printed.flops is not None and not printed.flops.is_bound:
            yield printed.flops.value, f"printed in Table {printed.table}"
        return
    if axis.key in ("params", "macs"):
        if printed.row in records:
            yield getattr(records[printed.row], axis.key), "counted"
        return
    key, _, device = axis.key.partition("@")
    figure = next(name for name, short, *_ in _MEASURED if short == key)
    timing = timings.get(device, {}).get(printed.row)
    if timing is not None:
        value = figures(timing)[figure]
        if value:
            yield value, f"timed on {device}, {conditions(timing.cell)}"


def _with_front(drawn: Sequence[Point]) -> list[Point]:
    return [
        replace(
            point,
            on_front=not any(
                other.cost <= point.cost
                and other.top1 >= point.top1
                and (other.cost, other.top1) != (point.cost, point.top1)
                for other in drawn
            ),
        )
        for point in drawn
    ]

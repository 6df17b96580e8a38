"""Series of latencies over the records of timings that commits brought, and their change points."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import pairwise
from statistics import median

from pydantic_core import from_json

from vidcost.bench.history.change import Change
from vidcost.bench.history.change_points import change_points
from vidcost.bench.history.git_log import Commit
from vidcost.bench.timing.cell import Cell
from vidcost.bench.timing.record import Machine, Timing
from vidcost.bench.timing.statistics import summary

LATENCY = "latency"


@dataclass(frozen=True)
class LatencyPoint:
    """The median of a record's latencies, when it was taken, by which version of the code."""

    commit: Commit
    started: datetime
    median_s: float
    vidcost: str


@dataclass(frozen=True)
class LatencySeries:
    """The latencies of one cell on one machine under one set of versions, in order of time.

    ``machine`` is that of the latest point. Of two points all its fields are the same but the
    version of the code, which is what the series is about, and a cluster's name of the node.
    ``changes`` are positions at which a new level begins.
    """

    cell: Cell
    machine: Machine
    points: tuple[LatencyPoint, ...]
    changes: tuple[int, ...]


@dataclass(frozen=True)
class _Taken:
    cell: Cell
    machine: Machine
    point: LatencyPoint

    @property
    def conditions(self) -> Machine:
        """All that must be the same for two points to be compared."""
        # a node has another name whenever its cluster is begun
        return self.machine.model_copy(update={"vidcost": "", "node": ""})


class LatencyHistory:
    """Takes the versions of the files of timings in turn.

    A record counts from the commit that brought it, also if a later one leaves it out; whole passes
    only, for the share of a block has two sides and no latency.
    """

    def __init__(self) -> None:
        """Without any version."""
        self._known: set[bytes] = set()
        self._taken: list[_Taken] = []

    def add(self, commit: Commit, content: bytes) -> Iterator[str]:
        """Take the records that are new in a file's version; yields what was left out."""
        for number, line in enumerate(content.splitlines(), start=1):
            if line in self._known:
                continue
            self._known.add(line)
            try:
                if number == 1 and from_json(line)["file"] == "vidcost timings":
                    continue
                self._add(commit, Timing.model_validate_json(line))
            except (KeyError, TypeError, ValueError):
                yield f"line {number} is damaged and left out"

    def _add(self, commit: Commit, timing: Timing) -> None:
        samples = timing.samples_s.get("latency", ())
        if timing.status != "ok" or timing.machine is None or not samples:
            return
        median_s = summary(samples).median
        if not 0 < median_s < math.inf:
            raise ValueError("a latency is above 0")
        started = datetime.fromisoformat(timing.started) if timing.started else commit.when
        # without a time zone it is UTC, as the sweep writes it
        started = started if started.tzinfo else started.replace(tzinfo=UTC)
        point = LatencyPoint(commit, started, median_s, timing.machine.vidcost)
        self._taken.append(_Taken(timing.cell, timing.machine, point))

    def series(self) -> tuple[LatencySeries, ...]:
        """The series in order of their first points, with their change points."""
        groups: dict[tuple[Cell, Machine], list[_Taken]] = {}
        for taken in self._in_time():
            groups.setdefault((taken.cell, taken.conditions), []).append(taken)
        return tuple(
            LatencySeries(
                cell=cell,
                machine=group[-1].machine,
                points=tuple(taken.point for taken in group),
                changes=change_points([taken.point.median_s for taken in group]),
            )
            for (cell, _), group in groups.items()
        )

    def _in_time(self) -> list[_Taken]:
        return sorted(self._taken, key=lambda taken: taken.point.started)

    def changes(self) -> Iterator[Change]:
        """Changes of the level of a series, and of conditions, each of those once for all cells."""
        for series in self.series():
            yield from _level_changes(series)
        yield from dict.fromkeys(self._condition_changes())

    def _condition_changes(self) -> Iterator[Change]:
        latest: dict[tuple[Cell, str], _Taken] = {}
        seen: set[tuple[Cell, Machine]] = set()
        for taken in self._in_time():
            before = latest.get((taken.cell, taken.machine.device))
            # going back to what was there before continues that series
            if before is not None and (taken.cell, taken.conditions) not in seen:
                yield _condition_change(before, taken)
            seen.add((taken.cell, taken.conditions))
            latest[taken.cell, taken.machine.device] = taken


def _condition_change(before: _Taken, after: _Taken) -> Change:
    old, new = before.conditions.model_dump(), after.conditions.model_dump()
    differing = [name for name in old if old[name] != new[name]]
    return Change(
        kind="conditions",
        series=after.machine.device,
        field=", ".join(differing),
        before=", ".join(str(old[name]) for name in differing),
        after=", ".join(str(new[name]) for name in differing),
        commit=after.point.commit,
        since=before.point.commit,
        device=after.machine.device,
    )


def _level_changes(series: LatencySeries) -> Iterator[Change]:
    """The change points of a series, with the median of the points of either level."""
    bounds = (0, *series.changes, len(series.points))
    levels = [
        median(point.median_s for point in series.points[start:end])
        for start, end in pairwise(bounds)
    ]
    for position, (before, after) in zip(series.changes, pairwise(levels), strict=True):
        yield Change(
            kind="latency",
            series=series.cell.subject,
            field=LATENCY,
            before=before,
            after=after,
            commit=series.points[position].commit,
            since=series.points[position - 1].commit,
            cell=series.cell,
            device=series.machine.device,
        )

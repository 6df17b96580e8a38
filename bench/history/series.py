"""The history of a results folder: what its accepted records say over the commits of a branch."""

from __future__ import annotations

import difflib
import fnmatch
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from vidcost.bench.count.record import COUNTS
from vidcost.bench.history.change import Change
from vidcost.bench.history.counts import CountHistory, CountSeries
from vidcost.bench.history.git_log import Read, Step, open_log
from vidcost.bench.history.latencies import LatencyHistory, LatencySeries
from vidcost.bench.timing.cell import Cell

REASONS = "counts-history.jsonl"
TIMINGS = "timings"


@dataclass(frozen=True)
class History:
    """What changed on ``branch``, oldest first, and the series in which it did.

    ``commits`` is how many touched the records. ``warnings`` say what could not be read, one line
    each, naming commit and file.
    """

    branch: str
    commits: int
    changes: tuple[Change, ...]
    counts: tuple[CountSeries, ...]
    latencies: tuple[LatencySeries, ...]
    warnings: tuple[str, ...]


def history(folder: Path, branch: str | None = None, patterns: Sequence[str] = ()) -> History:
    """The history of the records in the results ``folder``, as git has it, for people.

    Of the first-parent line of ``branch``, by default main, else master, else what is checked out.
    ``patterns`` are names or globs of rows and blocks, also of those that are no more.
    Raises: ValueError if there is no git, repository, branch or record, the clone is shallow, or a
    pattern matches nothing.
    """
    log = open_log(folder, branch)
    steps = log.steps((COUNTS, REASONS, TIMINGS))
    if not steps:
        raise ValueError(
            f"no commit of {log.branch} touched {COUNTS} or {TIMINGS} in {folder}: choose another "
            "folder with --results, or another branch with --branch"
        )
    counts, latencies = CountHistory(), LatencyHistory()
    with log.contents() as read:
        warnings = [
            f"{step.commit.short}, {path}: {said}"
            for step in steps
            for path, said in _take(step, read, counts, latencies)
        ]
    order = {step.commit: number for number, step in enumerate(steps)}
    changes = sorted(
        (*counts.changes, *latencies.changes()), key=lambda change: order[change.commit]
    )
    every = History(
        log.branch,
        len(steps),
        tuple(changes),
        counts.series,
        latencies.series(),
        tuple(warnings),
    )
    return _chosen(every, patterns) if patterns else every


def _take(
    step: Step, read: Read, counts: CountHistory, latencies: LatencyHistory
) -> Iterator[tuple[str, str]]:
    """Take what a commit wrote; yields the path and what was left out of it."""
    # the reasons first: they are of the baseline that came with them
    order = (REASONS, COUNTS)
    for path in sorted(step.files, key=lambda path: (path not in order, path == COUNTS, path)):
        said: Iterable[str] = ()
        blob = step.files[path]
        if blob is None:
            # of timings that are removed the records stay known
            if path == COUNTS:
                said = ["removed; what comes next is compared with what it held"]
        elif path == REASONS:
            said = counts.add_reasons(read(blob))
        elif path == COUNTS:
            said = counts.add(step.commit, read(blob))
        elif path.endswith(".jsonl"):
            said = latencies.add(step.commit, read(blob))
        yield from ((path, line) for line in said)


def _chosen(every: History, patterns: Sequence[str]) -> History:
    """What of a history matches any pattern; conditions are of the device, and stay."""
    names = {
        *(series.row for series in every.counts),
        *(name for series in every.latencies for name in _names(series.cell)),
        *(name for change in every.changes for name in _row_names(change)),
    }
    for pattern in patterns:
        if not fnmatch.filter(names, pattern):
            near = difflib.get_close_matches(pattern, sorted(names), n=1, cutoff=0.4)
            hint = f": did you mean {near[0]!r}?" if near else ""
            raise ValueError(f"no row or block {pattern!r} in the history of {every.branch}{hint}")

    def matches(names: Iterable[str]) -> bool:
        return any(fnmatch.fnmatchcase(name, each) for name in names for each in patterns)

    latencies = tuple(series for series in every.latencies if matches(_names(series.cell)))
    devices = {series.machine.device for series in latencies}
    return History(
        every.branch,
        every.commits,
        tuple(
            change
            for change in every.changes
            if (
                change.device in devices
                if change.kind == "conditions"
                else matches(_names(change.cell) if change.cell else _row_names(change))
            )
        ),
        tuple(series for series in every.counts if matches([series.row])),
        latencies,
        every.warnings,
    )


def _names(cell: Cell) -> tuple[str, ...]:
    """What a cell goes by: its row, or its block with or without the shape."""
    return (cell.subject,) if cell.block is None else (cell.subject, cell.block)


def _row_names(change: Change) -> tuple[str, ...]:
    """The names of the row of an exact change; a renamed one has two."""
    if change.kind != "exact count":
        return ()
    return tuple(
        dict.fromkeys(
            name for name in (change.series, change.before, change.after) if isinstance(name, str)
        )
    )

"""The exact counts of rows over the versions of the baseline: every difference is a change."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from pydantic import BaseModel, ConfigDict

from vidcost.bench.history.change import Change
from vidcost.bench.history.git_log import Commit

Figures = Mapping[str, int]

ROW = "row"
"""The field of a change of a row's name: added, removed, renamed."""

MACS = "macs"


@dataclass(frozen=True)
class CountPoint:
    """A row's counts at a commit: params, MACs and elements by kind, what fvcore answers."""

    commit: Commit
    figures: Figures


@dataclass(frozen=True)
class CountSeries:
    """A row's counts at every commit that wrote the baseline with the row in it, oldest first.

    A row that was renamed has one series, under its last name.
    """

    row: str
    points: tuple[CountPoint, ...]


class _ReferenceCounter(BaseModel):
    model_config = ConfigDict(strict=True)

    flops: int | None = None


class _Counted(BaseModel):
    """What a line of the baseline says; a field that its version did not have is None."""

    model_config = ConfigDict(strict=True)

    row: str
    params: int | None = None
    buffers: int | None = None
    conv: int | None = None
    linear: int | None = None
    matmul: int | None = None
    norm: int | None = None
    pool: int | None = None
    softmax: int | None = None
    activation: int | None = None
    reference_counters: dict[str, _ReferenceCounter] = {}

    def figures(self) -> dict[str, int]:
        """What is known, by name."""
        known: dict[str, int | None] = {}
        if self.conv is not None and self.linear is not None and self.matmul is not None:
            known[MACS] = self.conv + self.linear + self.matmul
        known |= self.model_dump(exclude={"row", "reference_counters"})
        if "fvcore" in self.reference_counters:
            known["fvcore.flops"] = self.reference_counters["fvcore"].flops
        return {name: figure for name, figure in known.items() if figure is not None}


class _Figure(BaseModel):
    row: str
    field: str


class _Acceptance(BaseModel):
    """What a line of the baseline's own history says of reasons."""

    reason: str
    changes: tuple[_Figure, ...]


class CountHistory:
    """Takes the versions of the baseline and of its reasons in turn, and says what changed."""

    def __init__(self) -> None:
        """Without any version."""
        self.changes: list[Change] = []
        self._points: dict[str, list[CountPoint]] = {}
        self._now: dict[str, CountPoint] = {}
        self._commit: Commit | None = None
        self._complete = False
        self._known: set[bytes] = set()
        self._acceptances: list[_Acceptance] = []

    @property
    def series(self) -> tuple[CountSeries, ...]:
        """Every row there ever was."""
        return tuple(CountSeries(row, tuple(points)) for row, points in self._points.items())

    def add_reasons(self, content: bytes) -> Iterator[str]:
        """Take what is new in the baseline's history; yields what was left out.

        It is told of the next version of the baseline, which may be of the same commit.
        """
        for number, line in enumerate(content.splitlines(), start=1):
            if self._is_new(line):
                try:
                    self._acceptances.append(_Acceptance.model_validate_json(line))
                except ValueError:
                    yield f"line {number} is damaged and left out"

    def add(self, commit: Commit, content: bytes) -> Iterator[str]:
        """Take a version of the baseline; yields what was left out.

        A row that may stand in a damaged line is taken as unchanged, not as removed.
        """
        found: dict[str, Figures] = {}
        expected = damaged = 0
        # a file without a first line is damaged in line 1
        for number, line in enumerate(content.splitlines() or [b""], start=1):
            try:
                if number == 1:
                    expected = int(json.loads(line)["records"])
                    continue
                counted = _Counted.model_validate_json(line)
                found[counted.row] = counted.figures()
            except (KeyError, TypeError, ValueError):
                damaged += 1
                # said once, not at every commit that carries the line on
                if self._is_new(line):
                    yield f"line {number} is damaged and left out"
        complete = not damaged and len(found) == expected
        if not damaged and not complete:
            yield f"it has {len(found)} of {expected} records"
        self._names(found, commit, complete)
        for row, figures in found.items():
            if row in self._now:
                self._figures(row, figures, commit)
            self._now[row] = CountPoint(commit, figures)
            self._points.setdefault(row, []).append(self._now[row])
        self._commit = commit
        self._complete |= complete
        self._acceptances.clear()

    def _is_new(self, line: bytes) -> bool:
        new = line not in self._known
        self._known.add(line)
        return new

    def _names(self, found: Mapping[str, Figures], commit: Commit, complete: bool) -> None:
        """Rows that were added, removed or renamed; the latter have equal counts."""
        since = self._commit
        if since is None:
            return
        added = {row: found[row] for row in found if row not in self._now}
        removed = {row: self._now[row].figures for row in self._now if row not in found}
        if not complete:
            removed.clear()
        for new, figures in list(added.items()):
            same = [row for row, before in removed.items() if before == figures]
            if len(same) == 1 and list(added.values()).count(figures) == 1:
                old = same[0]
                self._note(commit, self._now[old].commit, new, ROW, old, new)
                self._now[new] = self._now.pop(old)
                self._points[new] = self._points.get(new, []) + self._points.pop(old)
                del added[new], removed[old]
        for row in removed:
            self._note(commit, self._now.pop(row).commit, row, ROW, row, None)
        # before the first whole version nobody can say what was there
        for row in added if self._complete else ():
            self._note(commit, since, row, ROW, None, row)

    def _figures(self, row: str, figures: Figures, commit: Commit) -> None:
        before = self._now[row]
        # what one of the versions did not record is no change of the row
        for field in figures:
            if field in before.figures and before.figures[field] != figures[field]:
                sides = before.figures[field], figures[field]
                self._note(commit, before.commit, row, field, *sides)

    def _note(
        self,
        commit: Commit,
        since: Commit,
        row: str,
        field: str,
        before: int | str | None,
        after: int | str | None,
    ) -> None:
        self.changes.append(
            Change(
                kind="exact count",
                series=row,
                field=field,
                before=before,
                after=after,
                commit=commit,
                since=since,
                reason=self._reason(row, field),
            )
        )

    def _reason(self, row: str, field: str) -> str:
        """The reasons given for this figure, or else, as for a sum, for others of the row."""
        given = [(accepted.reason, accepted.changes) for accepted in self._acceptances]
        exact = [reason for reason, changes in given if _Figure(row=row, field=field) in changes]
        others = [reason for reason, changes in given if row in {each.row for each in changes}]
        return "; ".join(dict.fromkeys(exact or others))

"""Timings grouped by the kind of machine that took them; unlike machines never share a table."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from vidcost.bench.timing.record import Machine, Timing


def kind_of(timing: Timing) -> Machine | None:
    """The machine of ``timing`` without its serial numbers and names; None if it is not known."""
    return timing.machine and timing.machine.kind


def kinds(timings: Iterable[Timing]) -> list[Machine | None]:
    """The kinds of machines in ``timings``, first seen first; [None] if none is known."""
    found = dict.fromkeys(kind for timing in timings if (kind := kind_of(timing)) is not None)
    return list(found) or [None]


def by_kind(timings: Iterable[Timing]) -> list[list[Timing]]:
    """``timings`` in groups that may stand in one table each; one empty group if there are none.

    Timings of an unknown machine belong to the first group.
    """
    every = list(timings)
    found = kinds(every)
    groups: dict[Machine | None, list[Timing]] = {kind: [] for kind in found}
    for timing in every:
        groups[kind_of(timing) or found[0]].append(timing)
    return list(groups.values())


def most_of_one_kind(timings: Iterable[Timing]) -> tuple[list[Timing], list[str]]:
    """The largest group of :func:`by_kind`, and a line on the others, if any."""
    groups = by_kind(timings)
    kept = max(groups, key=len)
    left_out = sum(map(len, groups)) - len(kept)
    note = f"{_timings(left_out)} on other kinds of machines: in the results folder, and not shown"
    return kept, [note] if left_out else []


def of_one_machine(timings: Iterable[Timing]) -> tuple[list[Timing], str]:
    """The timings taken on machines like the latest's, and a note on the others, if any.

    Timings of an unknown machine stay.
    Raises: ValueError naming the devices if there are several.
    """
    every = list(timings)
    known = [timing for timing in every if timing.machine is not None]
    devices = sorted({timing.machine.device for timing in known if timing.machine})
    if len(devices) > 1:
        raise ValueError(
            f"timings of {' and '.join(devices)} do not go into one table: "
            "choose one device with --timings DEVICE"
        )
    if not known:
        return every, ""
    latest = kind_of(max(known, key=lambda timing: timing.started))
    others = [timing for timing in every if kind_of(timing) not in (None, latest)]
    if not others:
        return every, ""
    field, other, now = first_difference(kind_of(others[0]), latest)
    note = f"{_timings(len(others))} left out: taken with {field} {other}, the latest with {now}"
    return [timing for timing in every if kind_of(timing) in (None, latest)], note


def machine_of_all(timings: Iterable[Timing]) -> Machine | None:
    """The kind of machine of all ``timings``; None if it is not known.

    Raises: ValueError if there are several, naming the difference.
    """
    first, *others = kinds(timings)
    if others:
        field, one, other = first_difference(first, others[0])
        raise ValueError(
            f"timings of unlike machines do not go into one table: {field} {one} and {other}"
        )
    return first


def first_difference(one: Machine | None, other: Machine | None) -> tuple[str, Any, Any]:
    """The first field in which two known machines differ, and its two values."""
    assert one is not None
    assert other is not None
    return next(
        (name, value, getattr(other, name)) for name, value in one if value != getattr(other, name)
    )


def rows_timed_alike(timings: Iterable[Timing]) -> dict[str, Timing]:
    """Inference of rows as they stand, by name, under the conditions that most were timed under."""
    groups: dict[str, dict[str, Timing]] = {}
    for timing in timings:
        cell = timing.cell
        if cell.row is None or not cell.is_row_itself or cell.is_pair:
            continue
        if cell.phase == "inference":
            conditions = cell.model_dump_json(exclude={"row"})
            groups.setdefault(conditions, {})[cell.row] = timing
    return max(groups.values(), key=len, default={})


def _timings(number: int) -> str:
    return "1 timing" if number == 1 else f"{number} timings"

"""Series of latencies over the records that commits brought, without git."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from vidcost.bench.history.git_log import Commit
from vidcost.bench.history.latencies import LatencyHistory
from vidcost.bench.timing.cell import Cell
from vidcost.bench.timing.record import Machine, Timing

A, B, C = (
    Commit(letter * 40, f"2026-03-0{n}T12:00:00Z", letter)
    for n, letter in enumerate("abc", start=1)
)
HEADER = b'{"file":"vidcost timings","command":"vidcost time","vidcost":"0.1.0"}\n'
NET = Cell(row="net")

Timed = Callable[..., Timing]


def content(*timings: Timing) -> bytes:
    return HEADER + b"".join(timing.model_dump_json().encode() + b"\n" for timing in timings)


@pytest.fixture
def at(timed: Timed) -> Timed:
    """A timing of a day in January; fields of the machine may be others."""

    def make(day: int, seconds: float = 0.1, cell: Cell = NET, **machine: Any) -> Timing:
        timing = timed(cell, seconds, started=f"2026-01-{day:02d}T00:00:00+00:00")
        assert timing.machine is not None
        return timing.model_copy(update={"machine": timing.machine.model_copy(update=machine)})

    return make


def medians(history: LatencyHistory) -> list[list[float]]:
    return [[point.median_s for point in series.points] for series in history.series()]


def test_a_record_is_of_the_commit_that_brought_it(at: Timed) -> None:
    history = LatencyHistory()
    first, second, third = at(1, 0.1), at(3, 0.3), at(2, 0.2)
    assert [] == list(history.add(A, content(first)))
    assert [] == list(history.add(B, content(first, second)))
    # a file that was moved, or that keeps the latest alone, brings nothing back
    assert [] == list(history.add(C, content(second, third)))
    (series,) = history.series()
    assert [(A, 0.1), (C, 0.2), (B, 0.3)] == [
        (each.commit, each.median_s) for each in series.points
    ]
    assert [1, 2, 3] == [each.started.day for each in series.points]


def test_cells_and_machines_are_never_mixed(at: Timed) -> None:
    history = LatencyHistory()
    timings = (
        at(1, 0.1),
        at(2, 0.2, Cell(row="net", batch=3)),
        at(3, 0.3, device="Slide rule"),
        at(4, 0.4, cores=5),
        at(5, 0.5, vidcost="0.2.0"),
    )
    list(history.add(A, content(*timings)))
    assert [[0.1, 0.5], [0.2], [0.3], [0.4]] == medians(history)
    assert "0.2.0" == history.series()[0].machine.vidcost
    assert ["0.1.0", "0.2.0"] == [point.vidcost for point in history.series()[0].points]


def test_a_step_is_found_with_its_levels(at: Timed) -> None:
    history = LatencyHistory()
    before = [at(day, 0.1 * (1 + day % 3 / 1000)) for day in range(1, 7)]
    after = [at(day, 0.2 * (1 + day % 3 / 1000)) for day in range(7, 13)]
    list(history.add(A, content(*before)))
    list(history.add(B, content(*before, *after)))
    (change,) = history.changes()
    assert ("latency", "net", "latency", B, A) == (
        change.kind, change.series, change.field, change.commit, change.since
    )  # fmt: skip
    assert pytest.approx([0.1001, 0.2002, 100]) == [change.before, change.after, change.percent]
    assert ((6,),) == tuple(series.changes for series in history.series())


def test_another_torch_is_a_condition_and_no_change_point(at: Timed) -> None:
    history = LatencyHistory()
    wide = Cell(row="wide")
    old = [at(day, 0.1, cell) for day in range(1, 9) for cell in (NET, wide)]
    new = [
        at(day, 0.2, cell, torch="2.12.0", driver="7")
        for day in range(9, 17)
        for cell in (NET, wide)
    ]
    list(history.add(A, content(*old)))
    list(history.add(B, content(*old, *new)))
    # both cells have it, and it is told once
    (change,) = history.changes()
    assert ("conditions", "Abacus", B, A) == (
        change.kind, change.series, change.commit, change.since
    )  # fmt: skip
    assert ("driver, torch", "not available, 2.11.0", "7, 2.12.0", None) == (
        change.field, change.before, change.after, change.percent
    )  # fmt: skip
    assert [[0.1] * 8, [0.1] * 8, [0.2] * 8, [0.2] * 8] == medians(history)


def test_the_same_step_under_one_torch_is_a_change_point(at: Timed) -> None:
    history = LatencyHistory()
    list(history.add(A, content(*(at(day, 0.1 if day < 9 else 0.2) for day in range(1, 17)))))
    assert ["latency"] == [change.kind for change in history.changes()]


def test_going_back_to_known_conditions_continues_their_series(at: Timed) -> None:
    history = LatencyHistory()
    torches = ("2.11.0", "2.12.0", "2.11.0", "2.12.0")
    timings = [at(day, day / 10, torch=torch) for day, torch in enumerate(torches, start=1)]
    list(history.add(A, content(*timings)))
    assert [[0.1, 0.3], [0.2, 0.4]] == medians(history)
    assert ["2.12.0"] == [change.after for change in history.changes()]


def test_what_has_no_latency_is_no_point(timed: Timed) -> None:
    history = LatencyHistory()
    share = {"with": (0.2, 0.3), "without": (0.1, 0.2)}
    failed = timed(NET, None, status="oom", error="too large")
    timings = (
        failed,
        timed(Cell(row="net", share=True), None, samples_s=share),
        timed(NET, machine=None),
    )
    assert [] == list(history.add(A, content(*timings)))
    assert () == history.series()


def test_damaged_lines_are_told_of_once(at: Timed) -> None:
    history = LatencyHistory()
    nothing = at(2).model_copy(update={"samples_s": {"latency": (0.0,)}})
    day = at(3).model_copy(update={"started": "yesterday"})
    damaged = content(at(1), nothing, day) + b'{"key": "cut sh'
    expected = [f"line {number} is damaged and left out" for number in (3, 4, 5)]
    assert expected == list(history.add(A, damaged))
    assert [] == list(history.add(B, damaged))
    assert [[0.1]] == medians(history)


def test_another_kind_of_file_has_no_records() -> None:
    history = LatencyHistory()
    assert ["line 1 is damaged and left out", "line 2 is damaged and left out"] == list(
        history.add(A, b'{"records": 1}\n{"row": "net"}\n')
    )


def test_without_a_time_it_is_the_commit_s(timed: Timed) -> None:
    history = LatencyHistory()
    list(history.add(B, content(timed(NET, 0.2))))
    list(history.add(C, content(timed(NET, 0.1, started="2026-03-01T00:00:00"))))
    assert [[0.1, 0.2]] == medians(history)


def test_every_field_of_a_machine_but_code_and_node_is_a_condition(at: Timed) -> None:
    machine = at(1).machine
    assert machine is not None
    for name, value in machine.model_dump().items():
        history = LatencyHistory()
        other = at(2, **{name: value + 1 if isinstance(value, int) else f"{value} b"})
        list(history.add(A, content(at(1), other)))
        assert (1 if name in ("vidcost", "node") else 2) == len(history.series()), name
    assert 14 == len(Machine.model_fields)

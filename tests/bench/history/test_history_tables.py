"""What people are shown of a history."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable
from typing import Any

import pytest

from vidcost.bench.count.record import Record
from vidcost.bench.history.series import History, history
from vidcost.bench.report.history import change_table, series_table, sparkline
from vidcost.bench.timing.cell import Cell
from vidcost.bench.timing.record import Timing


@pytest.fixture
def example(
    repository: Any, made_up: Callable[..., Record], timed: Callable[..., Timing]
) -> History:
    """Counts that change twice, a step of a training cell, and a new torch."""
    cell = Cell(row="net", batch=3, phase="training", dtype="bf16", cudnn_benchmark=True)
    repository.counts(made_up("net", params=7_000_000, conv=1000))
    steps = [timed(cell, 0.1, started=f"2026-02-{day:02d}") for day in range(1, 7)]
    repository.timings(*steps)
    repository.commit("begin")
    repository.counts(made_up("net", params=7_000_001, conv=1000))
    repository.timings(*(timed(cell, 0.125, started=f"2026-02-{day:02d}") for day in range(7, 13)))
    repository.commit("slow down")
    machine = steps[0].machine.model_copy(update={"torch": "2.12.0"})
    repository.timings(timed(cell, 0.1, started="2026-02-20", machine=machine))
    repository.counts(made_up("net", params=7_000_001, conv=1100), made_up("new"))
    repository.commit("a new torch")
    return history(repository.results)


def test_a_line_for_each_change(example: History) -> None:
    drawn = change_table(example).markdown()
    cells = [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in drawn.splitlines()
        if line.startswith("| 2026")
    ]
    training = "batch 3, bf16, training, cudnn benchmark"
    assert [
        ["exact count", "net", "–", "params", "7,000,000", "7,000,001", "+0.0000143%", "slow down"],
        ["latency", "net", training, "latency", "100.0 ms", "125.0 ms", "+25%", "slow down"],
        ["exact count", "new", "–", "row", "–", "new", "–", "a new torch"],
        ["exact count", "net", "–", "macs", "1,000", "1,100", "+10%", "a new torch"],
        ["exact count", "net", "–", "conv", "1,000", "1,100", "+10%", "a new torch"],
        ["conditions", "Abacus", "–", "torch", "2.11.0", "2.12.0", "–", "a new torch"],
    ] == [line[2:] for line in cells]
    assert ["2026-01-03", example.changes[0].commit.short] == cells[0][:2]
    assert "never for gating" in drawn


def test_changes_as_data(example: History) -> None:
    table = change_table(example)
    first, second, *_ = json.loads(table.json())
    assert (7_000_000, 7_000_001, None, "slow down") == tuple(
        first[key] for key in ("before", "after", "reason", "subject")
    )
    assert pytest.approx([0.1, 0.125, 25]) == [
        second[key] for key in ("before", "after", "percent")
    ]
    assert "Abacus" == second["device"]
    assert 40 == len(second["since"]) == len(second["commit"])
    assert 6 == len(list(csv.DictReader(io.StringIO(table.csv()))))


def test_a_line_for_each_series(example: History) -> None:
    table = series_table(example)
    lines = json.loads(table.json())
    assert [
        ("net", "exact count", None, 3, 1100, None, "▁▁█", 1),
        ("new", "exact count", None, 1, 0, None, "▁", 0),
        ("net", "latency", "2.11.0", 12, None, 0.125, "▁▁▁▁▁▁██████", 1),
        ("net", "latency", "2.12.0", 1, None, 0.1, "▅", "too few"),
    ] == [
        tuple(line[key] for key in "series kind torch points macs median_s shown changes".split())
        for line in lines
    ]
    assert ("2026-02-01", "2026-02-12") == (lines[2]["first"][:10], lines[2]["last"][:10])
    drawn = table.markdown()
    assert "too few" in drawn
    assert "never for gating" in drawn
    # no driver is known
    assert "Driver" not in drawn


def test_without_changes_the_table_still_says_what_it_is(example: History) -> None:
    nothing = History("main", 1, (), (), (), ())
    assert "Changes on main" in change_table(nothing).markdown()
    assert [] == json.loads(series_table(nothing).json())


@pytest.mark.parametrize(
    ("values", "drawn"),
    [
        ([], ""),
        ([0, 0], "▁▁"),
        ([5], "▅"),
        # one percent of noise fills no more than a tenth of the height
        ([100, 101, 100, 99], "▅▅▅▄"),
        ([0, 1, 2, 3, 4, 5, 6, 7], "▁▂▃▄▅▆▇█"),
        ([7] * 30 + [0] + [7] * 23, "▁" + "█" * 23),
    ],
)
def test_a_sparkline(values: list[float], drawn: str) -> None:
    assert drawn == sparkline(values)

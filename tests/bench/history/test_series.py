"""The history of small repositories with planted records."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from typing import Any

import pytest

from vidcost.bench.count.record import Record
from vidcost.bench.history.series import history
from vidcost.bench.timing.cell import Cell
from vidcost.bench.timing.record import Timing

Repository = Any
"""The fixture's: small repositories."""

Make = Callable[..., Record]
Timed = Callable[..., Timing]


def test_a_step_is_found_at_the_commit_that_brought_it(
    repository: Repository, timed: Timed, made_up: Make
) -> None:
    random.seed(2006)
    repository.counts(made_up("net", conv=7))
    commits = []
    for day in range(1, 25):
        seconds = 0.1 * (1.05 if day > 12 else 1) * random.gauss(1, 0.01)
        started = f"2026-02-{day:02d}T00:00:00+00:00"
        repository.timings(timed(Cell(row="net"), seconds, started=started))
        commits.append(repository.commit(f"day {day}"))
    found = history(repository.results)
    (change,) = found.changes
    assert (commits[12], "day 13", "day 12") == (
        change.commit.sha, change.commit.subject, change.since.subject
    )  # fmt: skip
    assert ("latency", "net", Cell(row="net"), "Abacus") == (
        change.kind, change.series, change.cell, change.device
    )  # fmt: skip
    assert change.percent is not None
    assert 4 < change.percent < 6
    (series,) = found.latencies
    assert commits == [point.commit.sha for point in series.points]
    assert ("main", 24, ()) == (found.branch, found.commits, found.warnings)


def test_counts_follow_the_first_parent(repository: Repository, made_up: Make) -> None:
    repository.counts(made_up("net", params=5))
    repository.commit("begin")
    repository.git("switch", "--quiet", "--create", "topic")
    repository.counts(made_up("net", params=6))
    repository.commit("half way")
    repository.counts(made_up("net", params=7))
    repository.commit("all of it")
    repository.git("switch", "--quiet", "main")
    merged = repository.merge("topic", "take it")
    (change,) = history(repository.results).changes
    assert (5, 7, merged, "take it") == (
        change.before, change.after, change.commit.sha, change.commit.subject
    )  # fmt: skip
    assert [(5, 6), (6, 7)] == [
        (each.before, each.after) for each in history(repository.results, "topic").changes
    ]


def test_the_reason_comes_with_the_baseline(repository: Repository, made_up: Make) -> None:
    repository.counts(made_up("net", params=5))
    repository.commit("begin")
    repository.counts(made_up("net", params=7))
    figure = {"row": "net", "field": "params", "before": 5, "after": 7}
    line = {"reason": "a bias more", "accepted": "2026-01-03T12:00:00Z", "changes": [figure]}
    repository.write("counts-history.jsonl", json.dumps(line) + "\n")
    repository.commit("net: a bias")
    (change,) = history(repository.results).changes
    assert ("a bias more", "net: a bias") == (change.reason, change.commit.subject)


def test_the_baseline_may_be_missing_for_a_while(repository: Repository, made_up: Make) -> None:
    repository.write("README", "no records yet")
    repository.commit("begin")
    repository.counts(made_up("net", params=5))
    repository.commit("count")
    (repository.results / "counts.jsonl").unlink()
    removed = repository.commit("lose it")
    repository.counts(made_up("net", params=7))
    repository.commit("count again")
    found = history(repository.results)
    assert [("count again", "count", 5, 7)] == [
        (each.commit.subject, each.since.subject, each.before, each.after) for each in found.changes
    ]
    assert (
        f"{removed[:8]}, counts.jsonl: removed; what comes next is compared with what it held",
    ) == found.warnings


def test_a_damaged_line_names_commit_and_file(
    repository: Repository, made_up: Make, timed: Timed
) -> None:
    repository.counts(made_up("net", params=5), made_up("other", params=3))
    repository.timings(timed(Cell(row="net")))
    repository.commit("begin")
    for path in ("counts.jsonl", "timings/abacus.jsonl"):
        with (repository.results / path).open("a", encoding="utf-8") as file:
            file.write("<<<<<<< ours\n")
    repository.write("counts-history.jsonl", "=======\n")
    damaged = repository.commit("a conflict")[:8]
    repository.counts(made_up("net", params=7), made_up("other", params=3))
    repository.commit("solved")
    found = history(repository.results)
    assert {
        f"{damaged}, counts.jsonl: line 4 is damaged and left out",
        f"{damaged}, counts-history.jsonl: line 1 is damaged and left out",
        f"{damaged}, timings/abacus.jsonl: line 3 is damaged and left out",
    } == set(found.warnings)
    assert [("net", 5, 7)] == [(each.series, each.before, each.after) for each in found.changes]


def test_files_of_timings_may_go_and_be_moved(repository: Repository, timed: Timed) -> None:
    first, second = (timed(Cell(row="net"), day, started=f"2026-02-0{day}") for day in (1, 2))
    repository.timings(first)
    repository.commit("begin")
    repository.git("mv", "results/timings/abacus.jsonl", "results/timings/old.jsonl")
    repository.commit("move")
    repository.git("rm", "--quiet", "results/timings/old.jsonl")
    repository.timings(second)
    repository.commit("anew")
    found = history(repository.results)
    assert [("begin", 1), ("anew", 2)] == [
        (point.commit.subject, point.median_s)
        for series in found.latencies
        for point in series.points
    ]
    # what lies beside the files of timings, such as their locks, is none
    assert () == found.warnings


def test_changes_are_in_the_order_of_commits(
    repository: Repository, made_up: Make, timed: Timed
) -> None:
    repository.timings(timed(Cell(row="net"), 1, started="2026-02-01"))
    repository.counts(made_up("net", params=5))
    repository.commit("begin")
    machine = timed(Cell(row="net")).machine.model_copy(update={"torch": "2.12.0"})
    repository.timings(timed(Cell(row="net"), 2, started="2026-02-02", machine=machine))
    repository.commit("a new torch")
    repository.counts(made_up("net", params=7))
    repository.commit("more parameters")
    assert ["conditions", "exact count"] == [
        change.kind for change in history(repository.results).changes
    ]


def test_patterns_choose_rows_and_blocks(
    repository: Repository, made_up: Make, timed: Timed
) -> None:
    block = Cell(block="pnl:n=3", shape=(5, 2, 7, 7))
    repository.counts(made_up("net", params=5), made_up("old", params=11), made_up("other"))
    repository.timings(timed(Cell(row="net")), timed(block))
    repository.commit("begin")
    repository.counts(made_up("net", params=7), made_up("new", params=11), made_up("other"))
    repository.commit("change")

    def chosen(*patterns: str) -> tuple[list[str], list[str], list[str]]:
        found = history(repository.results, None, patterns)
        return (
            [change.series for change in found.changes],
            [series.row for series in found.counts],
            [series.cell.subject for series in found.latencies],
        )

    assert (["net"], ["net"], ["net"]) == chosen("net")
    assert (["new"], ["new"], []) == chosen("new")
    # a row that is no more is found under its old name too
    assert (["new"], [], []) == chosen("old")
    assert ([], [], ["pnl:n=3 at 5x2x7x7"]) == chosen("pnl:n=3")
    assert (["new", "net"], ["net", "new"], ["net"]) == chosen("ne*")
    with pytest.raises(ValueError, match=r"^no row or block 'nett' .* of main: did you mean 'net'"):
        chosen("net", "nett")


def test_without_records_another_folder_is_asked_for(repository: Repository) -> None:
    repository.write("README", "nothing")
    repository.commit("begin")
    with pytest.raises(ValueError, match=r"^no commit of main touched .* --results.*--branch$"):
        history(repository.results)

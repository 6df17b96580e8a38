"""The exact counts over versions of the baseline, without git."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable

import pytest

from vidcost.bench.count.record import Record
from vidcost.bench.history.change import Change
from vidcost.bench.history.counts import CountHistory
from vidcost.bench.history.git_log import Commit

A, B, C, D = (
    Commit(letter * 40, f"2026-01-0{n}T12:00:00Z", letter)
    for n, letter in enumerate("abcd", start=1)
)

Lines = Callable[[Iterable[Record]], bytes]
Make = Callable[..., Record]


def said(change: Change) -> tuple[str, str, object, object, str]:
    return change.series, change.field, change.before, change.after, change.commit.subject


def acceptance(reason: str, *changes: tuple[str, str]) -> bytes:
    figures = [{"row": row, "field": field, "before": 1, "after": 2} for row, field in changes]
    line = {"accepted": "2026-01-02T12:00:00Z", "reason": reason, "vidcost": "0.1.0"}
    return json.dumps(line | {"commit": None, "changes": figures}).encode() + b"\n"


def test_every_difference_is_a_change(made_up: Make, lines: Lines) -> None:
    history = CountHistory()
    other = made_up("other", conv=17)
    versions = [
        [made_up("net", params=5, conv=7, linear=11, matmul=13, fvcore=19), other],
        [made_up("net", params=5, conv=7, linear=11, matmul=14, fvcore=19), other],
        [made_up("net", params=6, conv=7, linear=11, matmul=14, fvcore=23, norm=29), other],
    ]
    for commit, version in zip((A, B, C), versions, strict=True):
        assert [] == list(history.add(commit, lines(version)))
    assert [
        ("net", "macs", 31, 32, "b"),
        ("net", "matmul", 13, 14, "b"),
        ("net", "params", 5, 6, "c"),
        ("net", "norm", 0, 29, "c"),
        ("net", "fvcore.flops", 19, 23, "c"),
    ] == [said(change) for change in history.changes]
    assert [A, A, B, B, B] == [change.since for change in history.changes]
    assert [31, 32, 32] == [point.figures["macs"] for point in history.series[0].points]
    assert pytest.approx(100 / 31) == history.changes[0].percent
    # nothing is so many times of nothing
    assert history.changes[3].percent is None


def test_rows_come_go_and_come_back(made_up: Make, lines: Lines) -> None:
    history = CountHistory()
    net, new = made_up("net", conv=7), made_up("new", conv=11)
    for commit, version in zip((A, B, C, D), ([net], [net, new], [new], [new, net]), strict=True):
        assert [] == list(history.add(commit, lines(version)))
    assert [
        ("new", "row", None, "new", "b"),
        ("net", "row", "net", None, "c"),
        ("net", "row", None, "net", "d"),
    ] == [said(change) for change in history.changes]
    assert [A, B, C] == [change.since for change in history.changes]


def test_a_row_under_another_name_goes_on(made_up: Make, lines: Lines) -> None:
    history = CountHistory()
    old, kept = made_up("old", conv=7), made_up("kept", conv=5)
    for commit, version in (
        (A, [old, kept]),
        (B, [made_up("new", conv=7), kept]),
        (C, [made_up("new", conv=8), kept]),
    ):
        assert [] == list(history.add(commit, lines(version)))
    assert [
        ("new", "row", "old", "new", "b"),
        ("new", "macs", 7, 8, "c"),
        ("new", "conv", 7, 8, "c"),
    ] == [said(change) for change in history.changes]
    assert {"kept": [5, 5, 5], "new": [7, 7, 8]} == {
        each.row: [point.figures["macs"] for point in each.points] for each in history.series
    }


def test_of_two_equal_rows_no_name_is_guessed(made_up: Make, lines: Lines) -> None:
    history = CountHistory()
    list(history.add(A, lines([made_up("one", conv=7), made_up("two", conv=7)])))
    list(history.add(B, lines([made_up("three", conv=7)])))
    assert [("one", None), ("two", None), ("three", "three")] == [
        (change.series, change.after) for change in history.changes
    ]


def test_a_field_that_a_version_did_not_have_is_no_change() -> None:
    history = CountHistory()
    list(history.add(A, b'{"records": 1}\n{"row": "net", "params": 5, "lost": 3}\n'))
    assert [] == list(history.add(B, b'{"records": 1}\n{"row": "net", "params": 5, "conv": 7}\n'))
    assert [] == history.changes


@pytest.mark.parametrize(
    "damage",
    [b'{"row": "two", "par', b"[]", b'{"row": "two", "params": "many"}', b"\xff\xfe", b""],
)
def test_a_damaged_line_is_told_of_once_and_removes_nothing(
    damage: bytes, made_up: Make, lines: Lines
) -> None:
    history = CountHistory()
    one, two = made_up("one", conv=7), made_up("two", conv=11)
    broken = lines([one, two]).splitlines()
    broken[2] = damage
    damaged = b"\n".join(broken) + b"\n"
    assert [] == list(history.add(A, lines([one, two])))
    assert ["line 3 is damaged and left out"] == list(history.add(B, damaged))
    assert [] == list(history.add(C, damaged + b"\n"[:0]))
    assert [] == list(history.add(D, lines([one, made_up("two", conv=13)])))
    assert [("two", "macs", 11, 13, "d"), ("two", "conv", 11, 13, "d")] == [
        said(change) for change in history.changes
    ]
    # it was last read where it was last whole
    assert {A} == {change.since for change in history.changes}


def test_a_file_cut_short_says_so(made_up: Make, lines: Lines) -> None:
    history = CountHistory()
    one, two = made_up("one", conv=7), made_up("two", conv=11)
    cut = b"".join(lines([one, two]).splitlines(keepends=True)[:2])
    assert ["it has 1 of 2 records"] == list(history.add(A, cut))
    # before the first whole version nobody can say which rows there were
    assert [] == list(history.add(B, lines([one, two])))
    assert [] == history.changes
    assert ["line 1 is damaged and left out"] == list(history.add(C, b""))
    assert [] == history.changes


def test_a_reason_is_of_its_figure_and_version(made_up: Make, lines: Lines) -> None:
    history = CountHistory()
    first = acceptance("a wider theta", ("net", "conv")) + acceptance("a bias", ("net", "params"))
    second = acceptance("not about net", ("other", "conv"))
    list(history.add(A, lines([made_up("net", conv=7, params=3)])))
    assert [] == list(history.add_reasons(first))
    list(history.add(B, lines([made_up("net", conv=8, params=4)])))
    assert ["line 4 is damaged and left out"] == list(history.add_reasons(first + second + b"{\n"))
    list(history.add(C, lines([made_up("net", conv=9, params=4)])))
    assert [
        # a sum has no acceptance of its own
        ("macs", "b", "a wider theta; a bias"),
        ("params", "b", "a bias"),
        ("conv", "b", "a wider theta"),
        ("macs", "c", ""),
        ("conv", "c", ""),
    ] == [(change.field, change.commit.subject, change.reason) for change in history.changes]

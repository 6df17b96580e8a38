"""Measuring many rows: order, what runs beside what, and what goes wrong."""

from __future__ import annotations

import os

import pytest

from vidcost.bench.count import measure as measuring
from vidcost.bench.count.answer import Answer
from vidcost.bench.count.measure import measure, steps
from vidcost.papers.catalog import select

FAILED = Answer(version="7", status="crashed", error="exit status -9: no message")


@pytest.fixture
def asked(monkeypatch):
    """Stands in for ask: each answer names its question; thop fails on r3d18."""
    questions = []

    def ask(reference_counter, row, *, use_cache, process=None):
        threads = process and process.threads
        questions.append((reference_counter, row.name, use_cache, threads))
        if (reference_counter, row.name) == ("thop", "r3d18"):
            return FAILED
        return Answer(version=f"{reference_counter} on {row.name}", flops=row.classes)

    monkeypatch.setattr(measuring, "ask", ask)
    return questions


def test_measure_keeps_the_order_and_the_reference_counters(asked):
    # not in the order of ROWS
    rows = [*select(["r3d18"]), *select(["c3d"]), *select(["mars"])]
    advanced = []
    records = [each.record for each in measure(rows, advance=advanced.append)]
    assert ["r3d18", "c3d", "mars"] == [record.row for record in records]
    assert [33_306_504, 78_815_176, 47_931_016] == [record.params for record in records]
    for record in records:
        assert ["fvcore", "thop", "thop-2020", "torch"] == list(record.reference_counters)
        assert f"fvcore on {record.row}" == record.reference_counters["fvcore"].version
    assert 15 == steps(rows)
    assert 15 == len(advanced)
    assert ["counted r3d18", "counted c3d", "counted mars"] == advanced[:3]
    assert "thop answered on mars" in advanced[3:]
    assert 12 == len(set(advanced[3:]))


def test_a_reference_counter_that_fails_is_kept_as_an_error(asked):
    (record,) = [each.record for each in measure(select(["r3d18"]))]
    assert FAILED == record.reference_counters["thop"]
    assert Answer(version="fvcore on r3d18", flops=200) == record.reference_counters["fvcore"]


@pytest.mark.parametrize("use_cache", [True, False])
def test_each_question_is_asked_once(asked, monkeypatch, use_cache):
    monkeypatch.setattr(os, "cpu_count", lambda: 6)
    measure(select(["c3d", "r3d18"]), use_cache=use_cache)
    processes = {
        (reference_counter, row, use_cache, 3)
        for reference_counter in ("fvcore", "thop")
        for row in ("c3d", "r3d18")
    }
    # those that run here leave their threads to torch
    here = {
        (reference_counter, row, use_cache, None)
        for reference_counter in ("thop-2020", "torch")
        for row in ("c3d", "r3d18")
    }
    assert processes | here == set(asked)
    assert 8 == len(asked)


def test_a_row_that_needs_gigabytes_runs_alone(monkeypatch):
    """Both its processes end before the others start, with all cores to themselves."""
    monkeypatch.setattr(os, "cpu_count", lambda: 6)
    asked = []

    def ask(reference_counter, row, *, use_cache, process=None):
        if reference_counter in ("fvcore", "thop"):
            asked.append((row.name, process.threads))
        return Answer(version="7", flops=1)

    monkeypatch.setattr(measuring, "ask", ask)
    measure(select(["c3d", "mfnet-pnl-n2-conv2", "mfnet-pnl-n2-conv3"]))
    assert [("mfnet-pnl-n2-conv2", 6)] * 2 == asked[:2]
    assert {("c3d", 3), ("mfnet-pnl-n2-conv3", 3)} == set(asked[2:])
    assert 4 == len(asked[2:])


def test_measuring_nothing(asked):
    assert [] == measure([])
    assert 0 == steps([])
    assert [] == asked


def test_a_row_that_cannot_be_built_is_refused_before_any_reference_counter_runs(asked):
    with pytest.raises(ValueError, match=r"^2plus-c1-d cannot be built"):
        measure(select(["c3d", "2plus-c1-d"]))
    assert [] == asked


def test_an_exception_of_a_reference_counter_is_not_swallowed(monkeypatch):
    def ask(*args, **kwargs):
        raise RuntimeError("broken")

    monkeypatch.setattr(measuring, "ask", ask)
    with pytest.raises(RuntimeError, match=r"^broken$"):
        measure(select(["c3d"]))

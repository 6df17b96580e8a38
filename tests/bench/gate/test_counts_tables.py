"""The gate of exact counts for people."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest

from vidcost.bench.gate.baseline import Acceptance
from vidcost.bench.gate.count_changes import Change, Comparison
from vidcost.bench.report.gate.counts import accepted_line, change_table, summary_line

CHANGES = (
    Change("a", "conv", 8_000, 9_000),
    Change("a", "inputs", "3x5x7", "3x5x11"),
    Change("a", "softmax", 0, 13),
    Change("b", "row", "present", None),
)
RESULTS = Path("results")


def test_a_line_for_each_change():
    printed = change_table(CHANGES).markdown()
    assert [
        ["Row", "Field", "Before", "After", "Percent"],
        ["a", "conv", "8,000", "9,000", "+12.5%"],
        ["a", "inputs", "3x5x7", "3x5x11", "–"],
        ["a", "softmax", "0", "13", "–"],
        ["b", "row", "present", "–", "–"],
    ] == [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in printed.splitlines()
        if line.startswith("|") and not line.startswith("|:")
    ]


def test_the_command_that_accepts_stands_below():
    last = change_table(CHANGES).markdown().rstrip().splitlines()[-1]
    assert '`vidcost gate accept --reason "..."`' in last


def test_the_legend_says_that_other_counters_were_not_run():
    assert "without running them" in change_table(CHANGES).markdown()


def test_json_and_csv_have_plain_values():
    table = change_table(CHANGES)
    assert {
        "row": "a",
        "field": "conv",
        "before": 8000,
        "after": 9000,
        "percent": 12.5,
    } == json.loads(table.json())[0]
    assert {
        "row": "b",
        "field": "row",
        "before": "present",
        "after": None,
        "percent": None,
    } == json.loads(table.json())[3]
    assert (
        "row,field,before,after,percent\na,conv,8000,9000,12.5\n"
        == (table.csv()[: len("row,field,before,after,percent\na,conv,8000,9000,12.5\n")])
    )


@pytest.mark.parametrize(
    ("before", "after", "printed"),
    [
        (7_842_568, 7_842_569, "+0.0000128%"),
        (8, 7, "-12.5%"),
        (3, 2, "-33.3%"),
        (1, 124, "+12,300%"),
        (8, 0, "-100%"),
    ],
)
def test_percent_has_three_digits_and_no_exponent(before, after, printed):
    (line,) = [
        line
        for line in change_table([Change("r", "conv", before, after)]).markdown().splitlines()
        if line.startswith("| r ")
    ]
    assert printed == line.strip("|").split("|")[-1].strip()


def test_a_summary():
    assert "32 rows, 1,024 figures compared: all as in results/counts.jsonl" == (
        summary_line(Comparison((), 32, 1_024), RESULTS)
    )
    assert (
        "32 rows, 1,024 figures compared: 4 differences from results/counts.jsonl in 2 rows"
        == summary_line(Comparison(CHANGES, 32, 1_024), RESULTS)
    )


def test_what_was_accepted():
    acceptance = Acceptance(
        accepted=datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC),
        reason="why",
        vidcost="0.1.0",
        commit=None,
        changes=CHANGES,
    )
    line = accepted_line(acceptance, RESULTS)
    assert line.startswith(
        "4 differences in 2 rows accepted. Written: results/counts.jsonl, "
        "results/counts-history.jsonl."
    )
    for command in ("tables", "explain", "audit"):
        assert f"`vidcost {command}`" in line

"""Verdicts as people see them."""

import json
import math

import pytest

from vidcost.bench.gate.record import Rule, Run, SampleComparison, Verdict, Version, Visit
from vidcost.bench.report.gate.verdicts import change, sentence, verdict_table, what_ran
from vidcost.bench.timing.cell import Cell
from vidcost.bench.timing.record import Machine

SLOWER = Verdict(
    target="mfnet-nl",
    metric="latency",
    word="REGRESSED",
    why="slower by more than 3.1%",
    ratio=1.0623,
    low=1.0511,
    high=1.0731,
    margin=0.0312,
    standard_error=0.0104,
    pairs=13,
    p=0.0007,
    base=0.0123456,
    head=0.0131147,
)
MORE_MEMORY = Verdict(
    target="mfnet-pnl",
    metric="memory",
    word="REGRESSED",
    why="+1,986,000 bytes, 1,048,576 are allowed",
    ratio=1.03255,
    margin=0.0172,
    pairs=1,
    base=61_014_016.0,
    head=63_000_016.0,
)
CRASHED = Verdict(
    target="c3d",
    metric="latency",
    word="INVALID",
    why="head crashed: Segfault\n  at 0x7|8",
    pairs=0,
)


def plain(target, word, metric="latency"):
    return Verdict(target=target, metric=metric, word=word)


def cells(table):
    """The cells as people see them, by heading."""
    rows = [line for line in table.markdown().splitlines() if line.startswith("|")]
    heading, _, *body = [[cell.strip() for cell in row.strip("|").split(" |")] for row in rows]
    return [dict(zip(heading, line, strict=True)) for line in body]


@pytest.fixture
def machine():
    return Machine(
        device="Some GPU",
        driver="550.1",
        cpu="Some CPU",
        cores=17,
        memory_bytes=7,
        platform="Linux",
        python="3.11.2",
        torch="2.13.0",
        cuda="13.1",
        vidcost="0.1.0",
    )


@pytest.fixture
def run(machine):
    return Run(
        vidcost="0.1.0",
        started="2026-11-23T15:00:00+00:00",
        base=Version(ref="main", commit="1" * 40, code="a", machine=machine),
        head=Version(ref="2" * 40, commit="2" * 40, code="b", machine=machine),
        cells=(Cell(row="mfnet"), Cell(row="mfnet-nl"), Cell(row="c3d")),
        rule=Rule(screen_pairs=7, confirm_pairs=13, most_pairs=41),
        seed=53,
        complete=True,
        visits=tuple(
            Visit(stage="confirm", pair=pair, side=side, second=side == "head", cell=1)
            for pair in range(13)
            for side in ("base", "head")
        ),
    )


# the table


@pytest.mark.parametrize(
    ("expected", "ratio"),
    [("+6.2%", 1.0623), ("-5.0%", 0.95), ("+0.0%", 1.0), ("+0.0%", 0.9999), ("+100.0%", 2.0)],
)
def test_a_ratio_is_shown_as_a_change(expected, ratio):
    assert expected == change(ratio)


def test_a_line_says_by_how_much_how_sure_and_why():
    (line,) = cells(verdict_table([SLOWER]))
    assert {
        "Target": "mfnet-nl",
        "Metric": "latency",
        "Verdict": "REGRESSED",
        "Head/base": "+6.2%",
        "95% from": "+5.1%",
        "to": "+7.3%",
        "Margin": "3.1%",
        "Pairs": "13",
        "Base, ms": "12.35",
        "Head, ms": "13.11",
        "Why": "slower by more than 3.1%",
    } == line


def test_memory_is_in_megabytes_in_columns_of_its_own():
    latency, memory = cells(verdict_table([SLOWER, MORE_MEMORY]))
    shown = ("Base, ms", "Head, ms", "Base, MB", "Head, MB")
    assert ["12.35", "13.11", "–", "–"] == [latency[key] for key in shown]
    assert ["–", "–", "61.0", "63.0"] == [memory[key] for key in shown]
    assert ("–", "–") == (memory["95% from"], memory["to"])


def test_the_worst_comes_first_and_the_order_within_a_word_is_kept():
    words = "EQUIVALENT IMPROVED INCONCLUSIVE EQUIVALENT INVALID REGRESSED INVALID".split()
    table = verdict_table([plain(f"{n}", word) for n, word in enumerate(words)])
    assert list("5462103") == [line["target"] for line in table.lines]
    assert "Gate: 1 REGRESSED, 2 INVALID, 1 INCONCLUSIVE, 1 IMPROVED, 2 EQUIVALENT" == table.title


def test_only_the_words_that_appear_are_explained():
    legend = "\n".join(verdict_table([SLOWER, CRASHED]).legend)
    assert "REGRESSED: " in legend
    assert "INVALID: " in legend
    assert "IMPROVED" not in legend


def test_many_unchanged_memory_verdicts_are_folded():
    same = [plain(f"row{n}", "EQUIVALENT", "memory") for n in range(8)]
    assert 8 + 1 == len(verdict_table([SLOWER, *same]).lines)
    many = [*same, plain("row8", "EQUIVALENT", "memory")]
    table = verdict_table([plain("mfnet", "EQUIVALENT"), *many, MORE_MEMORY, SLOWER])
    assert ["mfnet-pnl", "mfnet-nl", "mfnet"] == [line["target"] for line in table.lines]
    assert "Not in the table: 9 EQUIVALENT in memory." == table.legend[0]
    assert "Gate: 2 REGRESSED, 10 EQUIVALENT" == table.title
    data = verdict_table([plain("mfnet", "EQUIVALENT"), *many], everything=True)
    assert 10 == len(json.loads(data.json()))
    assert "Not in the table" not in data.legend[0]


def test_without_pairs_there_is_no_column_of_them():
    alone = SLOWER.model_copy(update={"pairs": 0})
    assert "Pairs" not in cells(verdict_table([alone]))[0]
    assert ["13", "–"] == [line["Pairs"] for line in cells(verdict_table([SLOWER, CRASHED]))]


def test_an_interval_without_an_end_is_no_figure():
    endless = SLOWER.model_copy(update={"low": 0.0, "high": math.inf})
    table = verdict_table([endless])
    assert ("–", "–") == tuple(cells(table)[0][key] for key in ("95% from", "to"))
    assert "95%" not in sentence(endless)


def test_a_hostile_error_stays_in_its_cell():
    table = verdict_table([CRASHED])
    assert "head crashed: Segfault at 0x7\\|8" in table.markdown()
    assert "Base, ms" not in table.markdown()


def test_data_are_raw():
    (line,) = json.loads(verdict_table([MORE_MEMORY]).json())
    assert (61_014_016, 63_000_016, 1.03255) == tuple(
        line[key] for key in ("base_bytes", "head_bytes", "ratio")
    )


# what ran


def test_what_ran_names_versions_machine_and_pairs(run):
    assert (
        "Base: main (111111111111). Head: 222222222222. Started 2026-11-23T15:00:00+00:00, "
        "seed 53, vidcost 0.1.0.",
        "Machine: Some GPU, driver 550.1, CUDA 13.1, torch 2.13.0, Python 3.11.2, 17 CPU cores.",
        "Pairs of processes, base and head in random order: 7 for each of 3 targets; 1 of them "
        "again on 13 to 41 fresh ones.",
    ) == what_ran(run)


def test_what_ran_names_two_machines_where_they_differ(run, machine):
    older = machine.model_copy(update={"torch": "2.11.0"})
    base = run.base.model_copy(update={"machine": older})
    _, machines, _ = what_ran(run.model_copy(update={"base": base}))
    first, second = machines.split(". Machine of head: ")
    assert first.startswith("Machine of base: ")
    assert ("torch 2.11.0", "torch 2.13.0") == (first.split(", ")[3], second.split(", ")[3])


def test_what_ran_says_what_is_missing(run):
    unfinished = run.model_copy(
        update={"complete": False, "left_out": ("pnl: only head has it", "c2d: no build")}
    )
    assert (
        "Left out: pnl: only head has it; c2d: no build.",
        "Incomplete: pairs are still to be measured.",
    ) == what_ran(unfinished)[-2:]


def test_without_a_machine(run):
    nowhere = {
        side: getattr(run, side).model_copy(update={"machine": None}) for side in ("base", "head")
    }
    assert "Machine: not available." == what_ran(run.model_copy(update=nowhere))[1]


def test_what_ran_of_stored_benchmarks():
    samples = SampleComparison(
        vidcost="0.1.0",
        base="old.jsonl",
        head="new|.jsonl",
        rule=Rule(),
        machines=({"device": "Some GPU", "driver": "not available", "torch": "2.13.0"},),
        samples=(),
        notes=("c3d left out: base crashed",),
    )
    assert (
        "Base: old.jsonl. Head: new|.jsonl. vidcost 0.1.0.",
        "Machine: device Some GPU, torch 2.13.0.",
        "Note: c3d left out: base crashed.",
    ) == what_ran(samples)


# a sentence


@pytest.mark.parametrize(
    ("expected", "verdict"),
    [
        (
            "slower by more than 3.1%; head over base +6.2% (95%: +5.1% to +7.3%); "
            "base 12.35 ms, head 13.11 ms; 13 pairs",
            SLOWER,
        ),
        (
            "+1,986,000 bytes, 1,048,576 are allowed; head over base +3.3%; "
            "base 61,014,016 bytes, head 63,000,016 bytes",
            MORE_MEMORY,
        ),
        ("head crashed: Segfault at 0x7|8", CRASHED),
        ("", plain("c3d", "EQUIVALENT")),
    ],
)
def test_a_verdict_in_a_sentence(expected, verdict):
    assert expected == sentence(verdict)

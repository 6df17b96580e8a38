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
    target="c3d", metric="latency", word="INVALID", why="head crashed: Segfault\n  at 0x7|8"
)
MACHINE = Machine(
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
RUN = Run(
    vidcost="0.1.0",
    started="2026-11-23T15:00:00+00:00",
    base=Version(ref="main", commit="1" * 40, code="a", machine=MACHINE),
    head=Version(ref="2" * 40, commit="2" * 40, code="b", machine=MACHINE),
    cells=(Cell(row="mfnet"), Cell(row="mfnet-nl"), Cell(row="c3d")),
    rule=Rule(screen_pairs=7, confirm_pairs=13, most_pairs=41),
    seed=53,
    complete=True,
    visits=tuple(
        Visit(stage="confirm", pair=0, side=side, second=False, cell=1) for side in ("base", "head")
    ),
)


def plain(target, word, metric="latency"):
    return Verdict(target=target, metric=metric, word=word)


def cells(table):
    """The cells as people see them, by heading."""
    rows = [line for line in table.markdown().splitlines() if line.startswith("|")]
    heading, _, *body = [[cell.strip() for cell in row.strip("|").split(" |")] for row in rows]
    return [dict(zip(heading, line, strict=True)) for line in body]


@pytest.mark.parametrize(
    ("expected", "ratio"), [("+6.2%", 1.0623), ("-5.0%", 0.95), ("+0.0%", 0.9999)]
)
def test_a_ratio_is_shown_as_a_change(expected, ratio):
    assert expected == change(ratio)


def test_a_line_for_each_verdict():
    latency, memory, crashed = cells(verdict_table([SLOWER, MORE_MEMORY, CRASHED]))
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
        "Base, MB": "–",
        "Head, MB": "–",
        "Why": "slower by more than 3.1%",
    } == latency
    assert ("–", "61.0", "63.0") == (memory["95% from"], memory["Base, MB"], memory["Head, MB"])
    assert ("head crashed: Segfault at 0x7\\|8", "–") == (crashed["Why"], crashed["Pairs"])
    assert "Base, ms" not in cells(verdict_table([CRASHED]))[0]
    (line,) = json.loads(verdict_table([MORE_MEMORY]).json())
    assert (61_014_016, 1.03255) == (line["base_bytes"], line["ratio"])


def test_the_worst_comes_first_and_only_its_words_are_explained():
    words = "EQUIVALENT INCONCLUSIVE EQUIVALENT INVALID REGRESSED INVALID".split()
    table = verdict_table([plain(f"{n}", word) for n, word in enumerate(words)])
    assert list("435102") == [line["target"] for line in table.lines]
    assert "Gate: 1 REGRESSED, 2 INVALID, 1 INCONCLUSIVE, 2 EQUIVALENT" == table.title
    legend = "\n".join(table.legend)
    assert "REGRESSED: " in legend
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


def test_an_infinite_interval_is_not_shown():
    endless = SLOWER.model_copy(update={"low": 0.0, "high": math.inf})
    (line,) = cells(verdict_table([endless]))
    assert ("–", "–") == (line["95% from"], line["to"])
    assert "95%" not in sentence(endless)


def test_what_ran_names_versions_machine_and_pairs():
    assert (
        "Base: main (111111111111). Head: 222222222222. Started 2026-11-23T15:00:00+00:00, "
        "seed 53, vidcost 0.1.0.",
        "Machine: Some GPU, driver 550.1, CUDA 13.1, torch 2.13.0, Python 3.11.2, 17 CPU cores.",
        "Pairs of processes, base and head in random order: 7 for each of 3 targets; 1 of them "
        "again on 13 to 41 fresh ones.",
    ) == what_ran(RUN)
    assert ["Said."] == list(verdict_table([], ran=["Said."]).legend)


def test_what_ran_names_two_machines_and_what_is_missing():
    older = RUN.base.model_copy(update={"machine": MACHINE.model_copy(update={"torch": "2.11.0"})})
    unfinished = RUN.model_copy(
        update={
            "base": older,
            "complete": False,
            "left_out": ("pnl: only in head", "c2d: no build"),
        }
    )
    _, machines, _, *missing = what_ran(unfinished)
    first, second = machines.split(". Machine of head: ")
    assert first.startswith("Machine of base: ")
    assert ("torch 2.11.0", "torch 2.13.0") == (first.split(", ")[3], second.split(", ")[3])
    assert [
        "Left out: pnl: only in head; c2d: no build.",
        "Incomplete: pairs are still to be measured.",
    ] == missing


def test_what_ran_of_stored_benchmarks():
    compared = SampleComparison(
        vidcost="0.1.0",
        base="old.json",
        head="new.json",
        rule=Rule(),
        machines=({"machine": "x86_64", "cpu.count": "not available", "system": "Linux"},),
        samples=(),
        notes=("measured at different times",),
    )
    assert (
        "Base: old.json. Head: new.json. vidcost 0.1.0.",
        "Machine: machine x86_64, system Linux.",
        "Note: measured at different times.",
    ) == what_ran(compared)


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

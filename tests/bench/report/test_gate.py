"""Verdicts as people see them."""

import json
from typing import get_args

from vidcost.bench.gate.record import Verdict, Word
from vidcost.bench.report.gate import sentence, verdict_table

SLOWER = Verdict(
    target="mfnet-nl",
    metric="latency",
    word="REGRESSED",
    why="slower by more than 3.1%",
    ratio=1.0623,
    low=1.0511,
    high=1.0731,
    margin=0.0312,
    find=0.0731,
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


def plain(target, word, metric="latency"):
    return Verdict(target=target, metric=metric, word=word)


def test_a_line_for_each_verdict(cells):
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
    assert 5 == len(verdict_table([plain("a", word) for word in get_args(Word)]).lines)
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


def test_without_an_interval(cells):
    unknown = SLOWER.model_copy(update={"low": None, "high": None})
    (line,) = cells(verdict_table([unknown]))
    assert ("–", "–") == (line["95% from"], line["to"])
    assert "95%" not in sentence(unknown)

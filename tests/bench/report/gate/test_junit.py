"""Verdicts as CI servers read them."""

from __future__ import annotations

from xml.etree import ElementTree

from vidcost.bench.gate.record import Verdict
from vidcost.bench.report.gate.junit import junit

WORDS = "EQUIVALENT REGRESSED INVALID INCONCLUSIVE IMPROVED REGRESSED EQUIVALENT".split()
VERDICTS = [
    *(
        Verdict(
            target=f"row{n}",
            metric="latency",
            word=word,
            why=f"why {n}",
            base=0.002,
            head=None if word == "INVALID" else 0.001 * (n + 1),
        )
        for n, word in enumerate(WORDS)
    ),
    Verdict(target="row0", metric="memory", word="REGRESSED", why="why", base=2.0, head=3.0),
]


def suites(xml):
    return {suite.get("name"): suite for suite in ElementTree.fromstring(xml)}


def test_each_word_is_its_element():
    latency = suites(junit(VERDICTS))["latency"]
    found = {case.get("name"): [child.tag for child in case] for case in latency.iter("testcase")}
    assert {
        "row0": [],
        "row1": ["failure"],
        "row2": ["error"],
        "row3": ["skipped"],
        "row4": [],
        "row5": ["failure"],
        "row6": [],
    } == found
    (failure, *_), (error, *_) = latency.findall(".//failure"), latency.findall(".//error")
    assert ("why 1", "REGRESSED") == (failure.get("message"), failure.get("type"))
    assert "why 1; base 2.000 ms, head 2.000 ms" == failure.text
    assert ("why 2", "INVALID", "why 2") == (error.get("message"), error.get("type"), error.text)


def test_the_counts_are_those_of_the_cases():
    xml = junit(VERDICTS)
    counted = {
        name: [suite.get(key) for key in ("tests", "failures", "errors", "skipped")]
        for name, suite in suites(xml).items()
    }
    assert {"latency": ["7", "2", "1", "1"], "memory": ["1", "1", "0", "0"]} == counted
    root = ElementTree.fromstring(xml)
    assert ["8", "3", "1"] == [root.get(key) for key in ("tests", "failures", "errors")]


def test_the_time_is_heads_in_seconds():
    found = suites(junit(VERDICTS))
    times = [case.get("time") for case in found["latency"].iter("testcase")]
    assert ["0.001", "0.002", None, "0.004"] == times[:4]
    # bytes are no time
    assert [None] == [case.get("time") for case in found["memory"].iter("testcase")]


HOSTILE = '<script>alert("x")</script> \' & ]]> \x00\x07\x1b[31m\x85\ud800\ufffe\uffff é 🎞'
HARMLESS = '<script>alert("x")</script> \' & ]]> ���[31m\x85��� é 🎞'


def test_hostile_names_stay_text():
    verdict = Verdict.model_construct(
        target=HOSTILE, metric="latency", word="REGRESSED", why=HOSTILE, ratio=None, pairs=0
    )
    xml = junit([verdict], [HOSTILE])
    xml.encode("utf-8")
    root = ElementTree.fromstring(xml)
    assert HARMLESS == root.find(".//testcase").get("name")
    assert HARMLESS == root.find(".//failure").get("message")
    assert HARMLESS == root.find(".//property").get("value")


def test_lines_of_an_error_survive():
    verdict = Verdict(target="c3d", metric="latency", word="INVALID", why="first\n\tsecond")
    error = ElementTree.fromstring(junit([verdict])).find(".//error")
    assert "first\n\tsecond" == error.get("message")


def test_what_ran_is_in_every_suite():
    for suite in suites(junit(VERDICTS, ["Base: main.", "Machine: Abacus."])).values():
        found = [(each.get("name"), each.get("value")) for each in suite.iter("property")]
        assert [("ran.1", "Base: main."), ("ran.2", "Machine: Abacus.")] == found

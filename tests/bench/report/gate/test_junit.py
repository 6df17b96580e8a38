"""Verdicts as CI servers read them."""

from __future__ import annotations

from xml.etree import ElementTree

from vidcost.bench.gate.record import Rule, Run, SampleComparison, Verdict, Version
from vidcost.bench.report.gate.junit import junit, properties_of
from vidcost.bench.timing.cell import Cell
from vidcost.bench.timing.record import Machine

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
    latency = suites(junit(VERDICTS, {}))["latency"]
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
    xml = junit(VERDICTS, {})
    counted = {
        name: [suite.get(key) for key in ("tests", "failures", "errors", "skipped")]
        for name, suite in suites(xml).items()
    }
    assert {"latency": ["7", "2", "1", "1"], "memory": ["1", "1", "0", "0"]} == counted
    root = ElementTree.fromstring(xml)
    assert ["8", "3", "1"] == [root.get(key) for key in ("tests", "failures", "errors")]


def test_the_time_is_heads_in_seconds():
    found = suites(junit(VERDICTS, {}))
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
    xml = junit([verdict], {HOSTILE: HOSTILE})
    xml.encode("utf-8")
    root = ElementTree.fromstring(xml)
    assert HARMLESS == root.find(".//testcase").get("name")
    assert HARMLESS == root.find(".//failure").get("message")
    assert (HARMLESS, HARMLESS) == tuple(root.find(".//property").attrib.values())


def test_lines_of_an_error_survive():
    verdict = Verdict(target="c3d", metric="latency", word="INVALID", why="first\n\tsecond")
    error = ElementTree.fromstring(junit([verdict], {})).find(".//error")
    assert "first\n\tsecond" == error.get("message")


def test_properties_name_commits_seed_and_machine():
    machine = Machine(
        device="Some GPU",
        cpu="Some CPU",
        cores=17,
        memory_bytes=7,
        platform="Linux",
        python="3.11.2",
        torch="2.13.0",
        vidcost="0.1.0",
    )
    run = Run(
        vidcost="0.1.0",
        started="now",
        base=Version(ref="main", commit="1" * 40, code="a", machine=machine),
        head=Version(ref="HEAD", commit="2" * 40, code="b"),
        cells=(Cell(row="mfnet"),),
        seed=53,
    )
    found = properties_of(run)
    assert ("1" * 40, "2" * 40, "main", "53", "False") == tuple(
        found[key] for key in ("base.commit", "head.commit", "base.ref", "seed", "complete")
    )
    assert ("Some GPU", "2.13.0") == (found["base.machine.device"], found["base.machine.torch"])
    assert not [key for key in found if key.startswith("head.machine")]
    names = [
        element.get("name") for element in suites(junit(VERDICTS, found))["memory"].iter("property")
    ]
    assert list(found) == names


def test_properties_of_stored_benchmarks_name_files_and_machines():
    samples = SampleComparison(
        vidcost="0.1.0",
        base="old.jsonl",
        head="new.jsonl",
        rule=Rule(),
        machines=({"node": "a"}, {"node": "b"}),
        samples=(),
    )
    assert {
        "vidcost": "0.1.0",
        "base": "old.jsonl",
        "head": "new.jsonl",
        "machine.0.node": "a",
        "machine.1.node": "b",
    } == properties_of(samples)

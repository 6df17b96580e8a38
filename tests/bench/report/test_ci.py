"""Verdicts for CI servers: annotations and summaries of GitHub, and JUnit XML."""

from xml.etree import ElementTree

import pytest

from vidcost.bench.gate.record import Rule, Verdict
from vidcost.bench.report.ci import annotated, annotations, announce, append_summary, junit


def verdict(word, **known):
    return Verdict(**{"target": "mfnet", "metric": "latency", "why": "why"} | known, word=word)


def test_each_word_has_its_level():
    found = annotations(
        [
            verdict("EQUIVALENT"),
            verdict("IMPROVED"),
            verdict("INCONCLUSIVE", find=0.05),
            verdict("INCONCLUSIVE", find=0.051, target="c3d"),
            verdict("INVALID"),
            verdict("REGRESSED", metric="memory"),
        ],
        Rule(inconclusive="warn"),
    )
    assert [
        "::error title=INVALID%3A mfnet%2C latency::why",
        "::error title=REGRESSED%3A mfnet%2C memory::why",
        "::warning title=INCONCLUSIVE%3A c3d%2C latency::why",
        "::notice title=IMPROVED%3A mfnet%2C latency::why",
    ] == found
    (failing,) = annotations([verdict("INCONCLUSIVE")], Rule())
    assert failing.startswith("::error title=INCONCLUSIVE")


def test_text_that_would_end_a_command_is_escaped():
    assert [
        "::error title=100%25%0D%0A%3A%3Aerror%3A%3A%2Cfile=x::100%25%0D%0A::error::a,b: c"
    ] == annotated("error", [("100%\r\n::error::,file=x", "100%\r\n::error::a,b: c")])


def test_annotations_that_github_drops_are_counted():
    ten, eleven = ([(f"{n}", "why") for n in range(number)] for number in (10, 11))
    assert [f"::error title={n}::why" for n in range(10)] == annotated("error", ten)
    shown = annotated("error", eleven)
    assert "::error title=8::why" == shown[8]
    assert shown[9].startswith("::error title=2 more::")


@pytest.mark.parametrize(("expected", "value"), [("a\nb\n", "true"), ("", "false")])
def test_commands_are_printed_on_github_only(expected, value, monkeypatch, capsys):
    monkeypatch.setenv("GITHUB_ACTIONS", value)
    announce(["a", "b"])
    assert (expected, "") == capsys.readouterr()
    announce(["a", "b"], err=True)
    assert ("", expected) == capsys.readouterr()


def test_a_summary_is_appended_or_said_to_be_unwritable(tmp_path, monkeypatch):
    path = tmp_path / "summary.md"
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(path))
    assert append_summary("é\n") is None
    assert append_summary("a\ud800b\n") is None
    assert "\né\n\na\\ud800b\n" == path.read_text(encoding="utf-8")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(tmp_path))
    assert f"no summary, cannot write {tmp_path}: Is a directory" == append_summary("text")


WORDS = "EQUIVALENT REGRESSED INVALID INCONCLUSIVE IMPROVED".split()
VERDICTS = [
    *(
        verdict(
            word,
            target=f"row{n}",
            why=f"why {n}",
            base=0.002,
            head=None if word == "INVALID" else 0.001 * (n + 1),
        )
        for n, word in enumerate(WORDS)
    ),
    verdict("REGRESSED", target="row0", metric="memory", base=2.0, head=3.0),
]


def test_each_word_is_its_element():
    root = ElementTree.fromstring(junit(VERDICTS))
    latency, memory = root
    found = {case.get("name"): [child.tag for child in case] for case in latency.iter("testcase")}
    assert {
        "row0": [],
        "row1": ["failure"],
        "row2": ["error"],
        "row3": ["skipped"],
        "row4": [],
    } == found
    failure, error = latency.find(".//failure"), latency.find(".//error")
    assert ("why 1", "REGRESSED") == (failure.get("message"), failure.get("type"))
    assert "why 1; base 2.000 ms, head 2.000 ms" == failure.text
    assert ("why 2", "INVALID", "why 2") == (error.get("message"), error.get("type"), error.text)
    counted = [latency.get(key) for key in ("tests", "failures", "errors", "skipped")]
    assert ["5", "1", "1", "1"] == counted
    assert ["6", "2", "1"] == [root.get(key) for key in ("tests", "failures", "errors")]
    # head in seconds; bytes are no time
    times = [case.get("time") for case in latency.iter("testcase")]
    assert ["0.001", "0.002", None, "0.004"] == times[:4]
    assert [None] == [case.get("time") for case in memory.iter("testcase")]


def test_hostile_names_stay_text():
    hostile = '<script>alert("x")</script> \' & ]]> \x00\x1b[31m\ud800\uffff\n\té 🎞'
    harmless = '<script>alert("x")</script> \' & ]]> ��[31m��\n\té 🎞'
    found = Verdict.model_construct(
        target=hostile, metric="latency", word="REGRESSED", why=hostile, ratio=None, pairs=0
    )
    root = ElementTree.fromstring(junit([found], [hostile]))
    assert harmless == root.find(".//testcase").get("name")
    assert harmless == root.find(".//failure").get("message")
    assert harmless == root.find(".//property").get("value")

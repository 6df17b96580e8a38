"""What the gates say: tables and sentences, commands and summaries of GitHub, JUnit XML."""

import io
import json
import re
from xml.etree import ElementTree

from rich.console import Console

from vidcost.bench.gate.record import Rule, Verdict
from vidcost.bench.report.gate import (
    annotation,
    annotations,
    junit,
    openmetrics,
    tell_github,
    verdict_table,
)
from vidcost.bench.report.table import show

LATENCY = {"target": "mfnet", "metric": "latency", "why": "why"}


def verdict(word, **known):
    return Verdict(**LATENCY | known, word=word)


SLOWER = verdict(
    "REGRESSED",
    target="mfnet-nl",
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
MORE_MEMORY = verdict(
    "REGRESSED",
    metric="memory",
    why="+1,986,000 bytes, 1,048,576 are allowed",
    ratio=1.03255,
    margin=0.0172,
    pairs=1,
    base=61_014_016.0,
    head=63_000_016.0,
)
CRASHED = verdict("INVALID", target="c3d", why="head crashed: Segfault\n  at 0x7|8")


def test_a_line_for_each_verdict(cells):
    table = verdict_table([SLOWER, MORE_MEMORY, CRASHED])
    # one interval in two columns
    shown = ["Target", "Metric", "Verdict", "Head/base", "95% from", "to"]
    assert shown == list(cells(table)[0])
    assert "INVALID, c3d, latency: head crashed: Segfault at 0x7|8." in table.legend
    latency, memory, crashed = cells(table.wide())
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
    (line,) = json.loads(verdict_table([MORE_MEMORY]).json())
    assert (61_014_016, 1.03255) == (line["base_bytes"], line["ratio"])


def test_the_worst_comes_first_and_only_its_words_are_explained():
    words = "EQUIVALENT INCONCLUSIVE EQUIVALENT INVALID REGRESSED INVALID".split()
    table = verdict_table([verdict(word, target=f"{n}") for n, word in enumerate(words)])
    assert list("435102") == [line["target"] for line in table.lines]
    assert "Gate: 1 REGRESSED, 2 INVALID, 1 INCONCLUSIVE, 2 EQUIVALENT" == table.title
    assert "REGRESSED: " in table.legend[-1]
    assert "IMPROVED" not in table.legend[-1]


def test_each_word_has_its_level_on_github():
    found = annotations(
        [
            verdict("EQUIVALENT"),
            verdict("IMPROVED"),
            verdict("INCONCLUSIVE", find=0.05),
            verdict("INCONCLUSIVE", find=0.051, target="c3d", ratio=1.01),
            verdict("INVALID"),
            SLOWER,
        ],
        Rule(inconclusive="warn"),
    )
    assert [
        "::error title=INVALID%3A mfnet%2C latency::why",
        "::error title=REGRESSED%3A mfnet-nl%2C latency::slower by more than 3.1%25; "
        "head over base +6.2%25 (95%25: +5.1%25 to +7.3%25)",
        "::warning title=INCONCLUSIVE%3A c3d%2C latency::why; head over base +1.0%25",
        "::notice title=IMPROVED%3A mfnet%2C latency::why",
    ] == found
    (failing,) = annotations([verdict("INCONCLUSIVE")], Rule())
    assert failing.startswith("::error title=INCONCLUSIVE")


def test_text_that_would_end_a_command_is_escaped():
    assert (
        "::error title=100%25%0D%0A%3A%3Aerror%3A%3A%2Cfile=x::100%25%0D%0A::error::a,b: c"
    ) == annotation("error", "100%\r\n::error::,file=x", "100%\r\n::error::a,b: c")


def test_commands_and_a_summary_on_github_only(monkeypatch, capsys, tmp_path):
    tell_github(["a"], "b\n")
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(tmp_path / "summary.md"))
    tell_github(["a", "b"], "é\n")
    assert ("a\nb\n", "") == capsys.readouterr()
    tell_github(["a"], "a\ud800b\n", err=True)
    assert ("", "a\n") == capsys.readouterr()
    assert "\né\n\na\\ud800b\n" == (tmp_path / "summary.md").read_text(encoding="utf-8")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(tmp_path))
    tell_github([], "text")
    message = f"vidcost: cannot write the summary {tmp_path}: Is a directory\n"
    assert ("", message) == capsys.readouterr()


def test_each_word_is_its_element_of_junit():
    words = "EQUIVALENT REGRESSED INVALID INCONCLUSIVE IMPROVED".split()
    verdicts = [
        verdict(word, target=f"row{n}", head=None if word == "INVALID" else 0.001 * (n + 1))
        for n, word in enumerate(words)
    ]
    root = ElementTree.fromstring(junit([*verdicts, MORE_MEMORY]))
    latency, memory = root
    assert {
        "row0": [],
        "row1": ["failure"],
        "row2": ["error"],
        "row3": ["skipped"],
        "row4": [],
    } == {case.get("name"): [child.tag for child in case] for case in latency.iter("testcase")}
    failure = memory.find(".//failure")
    assert (MORE_MEMORY.why, "REGRESSED") == (failure.get("message"), failure.get("type"))
    assert f"{MORE_MEMORY.why}; head over base +3.3%" == failure.text
    assert ["6", "2", "1"] == [root.get(key) for key in ("tests", "failures", "errors")]
    # head in seconds; bytes are no time
    times = [case.get("time") for case in root.iter("testcase")]
    assert ["0.001", "0.002", None, "0.004", "0.005", None] == times


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


LONG = "tests/perf/test_a_speed.py::TestOfMany::test_an_encoder_of_some_length[7-cpu]"


def test_the_table_is_no_wider_than_a_terminal_or_a_pipe(cells):
    known = {"ratio": 1.0623, "low": 0.0511, "high": 12.0731, "base": 12_345.6, "head": 13_114.7}
    table = verdict_table([verdict("INCONCLUSIVE", target=LONG, pairs=40, margin=0.1, **known)])
    for terminal, limit in ((True, 80), (False, 100)):
        written = io.StringIO()
        show(table, Console(file=written, force_terminal=terminal, width=80, color_system=None))
        lines = written.getvalue().splitlines()
        assert max(map(len, lines)) <= limit
    assert LONG in written.getvalue()
    # the end of a name is shown, and all of it below and in a wide table
    assert cells(table)[0]["Target"] == f"…{LONG[-31:]}"
    assert LONG in table.wide().markdown()
    assert any(LONG in line for line in table.legend)


OPENMETRICS = re.compile(
    r"""(?x)
    ( \#\ TYPE\ (?P<name>[a-z_]+)\ gauge\n
      \#\ UNIT\ (?P=name)\ (?P<unit>seconds|bytes)\n
      ( (?P=name) \{ target="([^"\\\n]|\\[\\"n])*",side="(base|head)" \}\ [0-9.e+-]+\n )* )+
    \#\ EOF\n"""
)


def test_numbers_as_openmetrics():
    """By its grammar, of the parts that are used: one family after the other, EOF, no more."""
    odd = verdict("INVALID", target='a\\b"c\nd', base=1e-9, head=0.5)
    text = openmetrics([SLOWER, MORE_MEMORY, CRASHED, odd])
    assert OPENMETRICS.fullmatch(text)
    assert 'vidcost_latency_seconds{target="mfnet-nl",side="head"} 0.0131147\n' in text
    assert 'vidcost_memory_bytes{target="mfnet",side="base"} 61014016.0\n' in text
    assert "c3d" not in text
    for broken in (text + "\n", text.replace("# EOF\n", ""), text.replace(r"\"c", '"c')):
        assert not OPENMETRICS.fullmatch(broken)

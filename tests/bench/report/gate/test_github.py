"""Annotations and summaries for GitHub Actions."""

from __future__ import annotations

import pytest

from vidcost.bench.gate.record import Verdict
from vidcost.bench.report.gate import github as gate_github
from vidcost.bench.report.gate.github import annotated, annotations, announce, append_summary
from vidcost.bench.report.table import Column, Table, integer


def verdict(word, **known):
    return Verdict(**{"target": "mfnet", "metric": "latency", "why": "why"} | known, word=word)


# annotations


def test_each_word_has_its_level():
    found = annotations(
        [
            verdict("EQUIVALENT"),
            verdict("IMPROVED"),
            verdict("INCONCLUSIVE"),
            verdict("INCONCLUSIVE", p=0.2, target="c3d"),
            verdict("INVALID"),
            verdict("REGRESSED", metric="memory"),
        ]
    )
    assert [
        "::error title=INVALID%3A mfnet%2C latency::why",
        "::error title=REGRESSED%3A mfnet%2C memory::why",
        "::warning title=INCONCLUSIVE%3A c3d%2C latency::why",
        "::notice title=IMPROVED%3A mfnet%2C latency::why",
    ] == found


def test_text_that_would_end_a_command_is_escaped():
    assert [
        "::error title=100%25%0D%0A%3A%3Aerror%3A%3A%2Cfile=x::100%25%0D%0A::error::a,b: c"
    ] == annotated("error", [("100%\r\n::error::,file=x", "100%\r\n::error::a,b: c")])


def test_annotations_that_github_drops_are_counted():
    ten, eleven = ([(f"{n}", "why") for n in range(number)] for number in (10, 11))
    assert [f"::error title={n}::why" for n in range(10)] == annotated("error", ten)
    shown = annotated("error", eleven)
    assert 10 == len(shown)
    assert "::error title=8::why" == shown[8]
    assert shown[9].startswith("::error title=2 more::")
    # a level does not use up another's
    both = annotations([verdict("REGRESSED")] * 11 + [verdict("IMPROVED")] * 10)
    assert (10, 10) == tuple(
        sum(line.startswith(f"::{level} ") for line in both) for level in ("error", "notice")
    )


@pytest.mark.parametrize(("expected", "value"), [("a\nb\n", "true"), ("", "false"), ("", None)])
def test_commands_are_printed_on_github_only(expected, value, monkeypatch, capsys):
    monkeypatch.delenv("GITHUB_ACTIONS", raising=False)
    if value is not None:
        monkeypatch.setenv("GITHUB_ACTIONS", value)
    announce(["a", "b"])
    assert (expected, "") == capsys.readouterr()
    announce(["a", "b"], err=True)
    assert ("", expected) == capsys.readouterr()


# the summary


@pytest.fixture
def summary(tmp_path, monkeypatch):
    path = tmp_path / "summary.md"
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(path))
    return path


def markdown(rows):
    columns = (Column("target", "Target"), Column("n", "Number", integer))
    lines = [{"target": f"row{n:04}", "n": n} for n in range(rows)]
    return Table("Many – rows", columns, lines, legend=("The end.",)).markdown()


def test_without_a_summary_nothing_is_written(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in (None, ""):
        monkeypatch.delenv("GITHUB_STEP_SUMMARY", raising=False)
        if name is not None:
            monkeypatch.setenv("GITHUB_STEP_SUMMARY", name)
        assert append_summary("text") is None
    assert [] == list(tmp_path.iterdir())


def test_it_is_appended(summary):
    assert append_summary("é\n") is None
    assert append_summary("**b**\n") is None
    assert "é\n\n**b**\n" == summary.read_text(encoding="utf-8")


def test_text_that_cannot_be_encoded_is_written_escaped(summary):
    assert append_summary("a\ud800b\n") is None
    assert "a\\ud800b\n" == summary.read_text(encoding="utf-8")


@pytest.mark.parametrize("before", ["", "x" * 101])
def test_a_table_that_is_too_long_is_cut_at_a_line(summary, monkeypatch, before):
    text = markdown(1000)
    monkeypatch.setattr(gate_github, "SUMMARY_BYTES", 7919)
    summary.write_text(before, encoding="utf-8")
    assert append_summary(text) is None
    written = summary.read_text(encoding="utf-8")
    rows = [line for line in written.splitlines() if line.startswith("| row")]
    # as many as fit: less than a row is unused
    assert 7919 - len(rows[0]) - 1 <= summary.stat().st_size <= 7919
    assert text.splitlines()[4 : 4 + len(rows)] == rows
    assert written.endswith("|\n\nThe rest is left out: GitHub takes no more than 1 MiB.\n")


def test_the_limit_is_a_mebibyte(summary):
    assert append_summary("x" * 1_048_576) is None
    assert append_summary("y") == f"no summary: {summary} has no room left"


def test_a_summary_that_cannot_be_written_is_reported(tmp_path, monkeypatch):
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(tmp_path))
    assert f"no summary, cannot write {tmp_path}: Is a directory" == append_summary("text")
    nowhere = tmp_path / "none" / "summary.md"
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(nowhere))
    assert f"no summary, cannot write {nowhere}: No such file or directory" == append_summary(
        "text"
    )

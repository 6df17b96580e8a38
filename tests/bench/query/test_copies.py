"""Large files are read once; what is appended or changed is seen."""

from __future__ import annotations

import os

import pytest

from vidcost.bench.query import copies, records
from vidcost.bench.timing.store import Store

ALL = "select * from timings order by key"


@pytest.fixture
def reads(monkeypatch):
    """How many lines were read, read by read."""
    found = []
    read = records.read

    def note(con, path, lines, **about):
        found.append(lines)
        return read(con, path, lines, **about)

    monkeypatch.setattr(records, "read", note)
    return found


@pytest.fixture
def large(kinds, stored, monkeypatch):
    """A file that is large enough to be copied; more is small."""
    path = stored(*kinds[:-3])
    monkeypatch.setattr(copies, "SMALL_BYTES", path.stat().st_size - 1)
    return path


def test_a_small_file_has_no_copy(kinds, stored, ask):
    stored(*kinds)
    assert len(kinds) == len(ask(ALL))
    assert not copies.folder().exists()


def test_a_large_file_is_read_once(large, kinds, ask, reads, monkeypatch):
    notes = []
    first = ask(ALL, note=notes.append)
    lines = len(kinds) - 3 + 1
    assert [f"{lines} lines of {large} are kept as Parquet in {copies.folder()}: the next query "
            "is faster"] == notes  # fmt: skip
    assert first == ask(ALL, note=notes.append)
    assert ([lines], 1) == (reads, len(notes))
    monkeypatch.setattr(copies, "SMALL_BYTES", 10**9)
    assert first == ask(ALL)


def test_only_what_was_appended_is_read(large, kinds, ask, reads):
    ask(ALL)
    newer = kinds[0].model_copy(update={"status": "crashed"})
    for timing in (kinds[-1], newer):
        Store(large).append(timing)
    found = {line["key"]: line["status"] for line in ask(ALL)}
    assert {t.key for t in (*kinds[:-3], kinds[-1])} == found.keys()
    assert "crashed" == found[newer.key]
    assert [len(kinds) - 3 + 1, 2] == reads
    samples = ask(f"select count(*) as n from samples where key = '{newer.key}'")
    assert [{"n": len(newer.samples_s["latency"])}] == samples


def test_a_line_without_its_newline_is_left_to_the_rest(large, kinds, ask, reads):
    large.write_bytes(large.read_bytes()[:-1])
    copies.SMALL_BYTES -= 1
    before = ask(ALL)
    assert [len(kinds) - 3, 1] == reads
    Store(large).append(kinds[-1])
    assert len(before) + 1 == len(ask(ALL))


def test_damage_in_what_was_appended_has_its_number_in_the_file(large, kinds, ask):
    ask(ALL)
    with large.open("a") as file:
        file.write(f"[]\n{kinds[-1].model_dump_json()}\n")
    with pytest.raises(ValueError, match=f"line {len(kinds) - 3 + 2} is damaged"):
        ask(ALL)


def test_an_edit_is_seen_whatever_its_length(large, kinds, ask, reads):
    ask(ALL)
    text = large.read_text()
    large.write_text(text.replace('"row":"mfnet"', '"row":"mfnot"'))
    Store(large).append(kinds[-1])
    assert "mfnot" in {line["row"] for line in ask(ALL)}
    # the old copy is gone with the answer
    assert [1, 1] == [len(list(copies.folder().glob(f"*.{kind}"))) for kind in ("json", "parquet")]


def test_a_file_that_only_looks_newer_is_not_read_again(large, ask, reads):
    ask(ALL)
    os.utime(large, ns=(1, 1))
    ask(ALL)
    assert 1 == len(reads)


def test_much_that_was_appended_makes_another_copy(large, kinds, ask, reads, monkeypatch):
    ask(ALL)
    monkeypatch.setattr(copies, "SMALL_BYTES", 100)
    Store(large).append(kinds[-1])
    ask(ALL)
    ask(ALL)
    assert [len(kinds) - 3 + 1, len(kinds) - 3 + 2] == reads


def test_a_shorter_file_is_read_again(large, kinds, ask, reads, monkeypatch):
    ask(ALL)
    lines = large.read_bytes().splitlines(keepends=True)
    large.write_bytes(b"".join(lines[:-1]))
    monkeypatch.setattr(copies, "SMALL_BYTES", 100)
    assert len(kinds) - 4 == len(ask(ALL))


@pytest.mark.parametrize("kind", ["json", "parquet"])
def test_half_of_a_copy_is_none(kind, large, ask, reads):
    before = ask(ALL)
    (half,) = copies.folder().glob(f"*.{kind}")
    half.unlink()
    assert before == ask(ALL)
    assert 2 == len(reads)


def test_figures_that_are_made_otherwise_are_another_copy(large, ask, reads, monkeypatch):
    ask(ALL)
    monkeypatch.setattr(records, "LAYOUT", "other")
    ask(ALL)
    assert 2 == len(reads)


def test_where_nothing_can_be_kept_every_query_reads(large, ask, reads, monkeypatch, tmp_path):
    (tmp_path / "a file").write_text("")
    monkeypatch.setattr(copies, "folder", lambda: tmp_path / "a file/copies")
    notes = []
    assert ask(ALL) == ask(ALL, note=notes.append)
    assert 2 == len(reads)
    (note,) = notes
    assert note.startswith(f"no copy of {large} can be kept in ")


def test_the_copy_of_a_file_that_is_gone_goes_with_the_next(large, kinds, stored, ask):
    ask(ALL)
    large.unlink()
    stored(*kinds, name="other.jsonl")
    ask(ALL)
    assert 1 == len(list(copies.folder().glob("*.parquet")))
    assert 1 == copies.clear()
    assert [] == list(copies.folder().iterdir())
    assert len(kinds) == len(ask(ALL))

"""The command that forgets what other counters answered."""

from __future__ import annotations

from vidcost.bench.count import cache


def test_cache_clear_forgets_the_answers(vidcost, monkeypatch, tmp_path):
    monkeypatch.setattr(cache, "folder", lambda: tmp_path / "answers")
    for key in ("a", "b"):
        cache.store(key, "{}")
    (tmp_path / "answers/other.txt").write_text("not an answer")
    assert f"2 answers removed from {tmp_path / 'answers'}\n" == vidcost("cache", "clear").out
    assert ["other.txt"] == [path.name for path in (tmp_path / "answers").iterdir()]
    assert f"0 answers removed from {tmp_path / 'answers'}\n" == vidcost("cache", "clear").out

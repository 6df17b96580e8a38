"""The command that removes the cached answers of other counters."""

from vidcost.bench.count.references import asking


def test_cache_clear_removes_the_answers(vidcost, monkeypatch, tmp_path):
    folder = tmp_path / "answers"
    monkeypatch.setattr(asking, "answers_folder", lambda: folder)
    folder.mkdir()
    for name in ("a.json", "b.json", "other.txt"):
        (folder / name).write_text("{}")
    assert f"2 answers removed from {folder}\n" == vidcost("cache", "clear").out
    assert ["other.txt"] == [path.name for path in folder.iterdir()]
    assert f"0 answers removed from {folder}\n" == vidcost("cache", "clear").out

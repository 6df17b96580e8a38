from dataclasses import replace
from functools import partial

import pytest

from vidcost.bench.count.reconcile import measure, steps
from vidcost.bench.count.references import asking, reference
from vidcost.bench.count.references.reference import Answer
from vidcost.bench.isolation import Failed
from vidcost.papers.catalog import select

(MFNET,) = select(["mfnet"])
(SMALL,) = (row.at(frames=4, size=32, classes=3) for row in select(["r3d18"]))
ANSWER = Answer(version="7", flops=1_009, params=211)


class Process:
    """Stands in for an isolated process: answers at once, and keeps the questions."""

    def __init__(self):
        self.questions = []
        self.answer = ANSWER

    def call(self, limit_s, function, name, row):
        self.questions.append((name, row))
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


@pytest.fixture
def process():
    return Process()


@pytest.fixture
def ask(process):
    return partial(asking.ask, process=process)


def test_a_second_answer_comes_from_the_cache(ask, process):
    assert ANSWER == ask("thop", MFNET)
    assert ANSWER == ask("thop", MFNET)
    # the note of a network of a package names its version
    assert ANSWER == ask("thop", replace(MFNET, note="other"))
    assert [MFNET.note, "other"] == [row.note for _, row in process.questions]


def test_without_the_cache_it_asks_anew_and_keeps_nothing(ask, process, cache_folder):
    ask("thop", MFNET, use_cache=False)
    assert not cache_folder.exists()
    ask("thop", MFNET)
    process.answer = Answer(version="7", flops=2_003)
    assert 2_003 == ask("thop", MFNET, use_cache=False).flops
    assert 1_009 == ask("thop", MFNET).flops
    assert 3 == len(process.questions)


@pytest.mark.parametrize(
    ("name", "row"),
    [
        ("fvcore", MFNET),
        ("thop", replace(MFNET, name="mfnet-pnl")),
        ("thop", MFNET.at(classes=101)),
        ("thop", MFNET.at(frames=8)),
        ("thop", replace(MFNET, inputs=(*MFNET.inputs, (3, 1, 224, 224)))),
    ],
)
def test_another_question_is_asked_by_itself(ask, process, name, row):
    for _ in range(2):
        ask("thop", MFNET)
        ask(name, row)
        assert 2 == len(process.questions)


@pytest.mark.parametrize(
    ("changed", "questions"), [("thop", 2), ("torch", 2), ("numpy", 2), ("fvcore", 1), ("", 2)]
)
def test_other_versions_and_sources_are_asked_anew(
    ask, process, monkeypatch, tmp_path, changed, questions
):
    version = reference.version
    ask("thop", MFNET)
    if not changed:
        # any file that counts or builds
        (tmp_path / "rules.py").write_text("changed")
        monkeypatch.setattr(asking, "row_files", lambda: [tmp_path / "rules.py"])
    for module in (asking, reference):
        monkeypatch.setattr(
            module, "version", lambda name, *_: "0" if name == changed else version(name)
        )
    asking._sources.cache_clear()
    ask("thop", MFNET)
    asking._sources.cache_clear()
    assert questions == len(process.questions)


@pytest.mark.parametrize(
    "damage", [b"", b'{"version": "7", "fl', b"[]", b"\xff\xfe", b'{"version": "7", "speed": 3}']
)
def test_a_damaged_answer_is_asked_for_again(ask, process, cache_folder, damage):
    ask("thop", MFNET)
    (path,) = cache_folder.iterdir()
    path.write_bytes(damage)
    for _ in range(2):
        assert ANSWER == ask("thop", MFNET)
        assert 2 == len(process.questions)


def test_counters_without_a_package_run_here(ask, process, cache_folder):
    assert (11_045_296_128, None) == (ask("torch", MFNET).flops, ask("torch", MFNET).params)
    assert ([], 1) == (process.questions, len(list(cache_folder.iterdir())))


@pytest.mark.parametrize(
    ("failed", "status"),
    [
        (Failed("exited", "exit status 7: no message"), "crashed"),
        (Failed("timed out", "not done within 900 s"), "timed out"),
        (ValueError("no such clip"), "crashed"),
    ],
)
def test_a_process_that_fails_is_an_answer(ask, process, failed, status):
    process.answer = failed
    answer = ask("thop", SMALL)
    assert (status, str(failed), None) == (answer.status, answer.error, answer.flops)


def test_measure_keeps_the_order_of_rows_and_counters(monkeypatch):
    asked, advanced = [], []

    def answer(name, row, *, use_cache, process):
        asked.append((name, row.name, process))
        return Answer(version=f"{name} on {row.name}", flops=row.classes)

    monkeypatch.setattr(asking, "ask", answer)
    rows = [row for name in ("r3d18", "c3d", "mars") for row in select([name])]
    records = [each.record for each in measure(rows, advance=advanced.append)]
    assert ["r3d18", "c3d", "mars"] == [record.row for record in records]
    assert [33_306_504, 78_815_176, 47_931_016] == [record.params for record in records]
    for record in records:
        assert ["fvcore", "thop", "thop-2020", "torch"] == list(record.reference_counters)
        assert f"fvcore on {record.row}" == record.reference_counters["fvcore"].version
    assert 15 == steps(rows) == len(advanced) == len(set(advanced))
    assert ["counted r3d18", "counted c3d", "counted mars"] == advanced[:3]
    assert 12 == len(asked)
    # a process for each counter
    assert 4 == len({(name, process) for name, _, process in asked})
    # a row that cannot be built is rejected before any counter runs
    with pytest.raises(ValueError, match=r"^2plus-c1-d cannot be built"):
        measure(select(["c3d", "2plus-c1-d"]))
    assert (12, []) == (len(asked), measure([]))


def test_only_answers_are_cached_if_the_cache_can_be_written(ask, process, cache_folder):
    process.answer = Answer(version="7", status="crashed", error="no")
    assert process.answer == ask("thop", MFNET)
    assert not cache_folder.exists()
    process.answer = ANSWER
    cache_folder.parent.mkdir(parents=True, exist_ok=True)
    cache_folder.write_text("a file where the folder should be", encoding="utf-8")
    for _ in range(2):
        assert ANSWER == ask("thop", MFNET)
    assert 3 == len(process.questions)

"""The reference counters: their integers on real rows, the cache, and processes that go wrong."""

from __future__ import annotations

import importlib.metadata
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from types import ModuleType

import pytest
import torch

from vidcost.bench.count import asking, cache, reference_counter, reference_counter_process
from vidcost.bench.count.answer import Answer
from vidcost.bench.count.memory import large_modules
from vidcost.bench.count.reference_counter import ask
from vidcost.papers.catalog import select

(MFNET,) = select(["mfnet"])
(SMALL,) = (row.at(frames=4, size=32, classes=3) for row in select(["r3d18"]))


class Processes:
    """Stands in for the processes of counters: they answer at once; keeps the questions."""

    def __init__(self):
        self.questions = []
        self.closed = 0
        self.answer = Answer(version="7", flops=1_009, params=211)

    def __call__(self, reference_counter, *, threads=None):
        self.reference_counter = reference_counter
        return self

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.closed += 1

    def ask(self, question, *, version):
        self.questions.append(question.model_dump())
        return self.answer


@pytest.fixture
def processes(monkeypatch):
    fake = Processes()
    monkeypatch.setattr(reference_counter, "ReferenceCounterProcess", fake)
    return fake


@pytest.fixture
def no_process(monkeypatch):
    def refuse():
        def start(*args, **kwargs):
            raise AssertionError("a process was started")

        monkeypatch.setattr(reference_counter, "ReferenceCounterProcess", start)

    return refuse


# real answers


@pytest.fixture(scope="module")
def real_answers():
    questions = [("fvcore", "mfnet-pnl"), ("thop", "mfnet"), ("fvcore", "mfnet")]
    with ThreadPoolExecutor(2) as pool:
        answers = pool.map(lambda q: ask(q[0], *select([q[1]]), use_cache=False), questions)
        return dict(zip(questions, answers, strict=True))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "row", "flops", "params", "parts"),
    [
        (
            *("fvcore", "mfnet", 11_176_355_840, 7_842_568),
            {"convolutions": 11_045_142_528, "BatchNorm": 131_059_712, "products": 153_600},
        ),
        (
            *("thop", "mfnet", 11_307_416_320, 7_842_568),
            {
                "convolutions": 11_045_142_528,
                "BatchNorm": 262_119_424,
                "products": 153_600,
                "pooling": 768,
            },
        ),
        (
            *("fvcore", "mfnet-pnl", 11_468_890_880, 7_870_984),
            {"convolutions": 11_082_743_808, "BatchNorm": 132_263_936, "products": 253_883_136},
        ),
    ],
)
def test_answers_on_real_rows(real_answers, name, row, flops, params, parts):
    version = reference_counter.version(name)
    expected = Answer(version=version, flops=flops, params=params, parts=parts)
    assert expected == real_answers[name, row]


@pytest.mark.parametrize(
    ("name", "flops", "params", "parts"),
    [
        (
            *("thop-2020", 11_176_356_608, 7_842_568),
            {
                "convolutions": 11_045_142_528,
                "BatchNorm": 131_059_712,
                "products": 153_600,
                "pooling": 768,
            },
        ),
        (
            *("torch", 11_045_296_128, None),
            {"convolutions": 11_045_142_528, "products": 153_600},
        ),
    ],
)
def test_answers_of_the_counters_that_run_here(
    no_process, cache_folder, name, flops, params, parts
):
    no_process()
    answer = ask(name, MFNET)
    assert (flops, params, parts) == (answer.flops, answer.params, answer.parts)
    assert 1 == len(list(cache_folder.iterdir()))
    assert answer == ask(name, MFNET)


@pytest.mark.slow
def test_a_real_answer_is_kept(no_process, cache_folder):
    answer = ask("thop", SMALL)
    assert "" == answer.error
    assert 1 == len(list(cache_folder.iterdir()))
    no_process()
    assert answer == ask("thop", SMALL)


# the question


def test_the_question_says_all_that_the_row_is_built_from(processes):
    ask("thop", MFNET.at(classes=7, frames=5, size=96))
    assert [{"row": "mfnet", "classes": 7, "frames": 5, "size": 96}] == processes.questions
    # a process of its own ends with the question
    assert ("thop", 1) == (processes.reference_counter, processes.closed)


def test_a_process_that_is_given_is_asked_and_stays(processes, no_process):
    no_process()
    ask("fvcore", MFNET, process=processes)
    ask("fvcore", MFNET.at(classes=7), process=processes)
    assert (2, 0) == (len(processes.questions), processes.closed)


# the cache


def test_a_second_answer_starts_no_process(processes, no_process):
    first = ask("thop", MFNET)
    assert Answer(version="7", flops=1_009, params=211) == first
    no_process()
    assert first == ask("thop", MFNET)
    # what the row is told to be does not change the answer
    assert first == ask("thop", replace(MFNET, note="other"))


def test_without_the_cache_it_asks_anew_and_keeps_nothing(processes, cache_folder):
    ask("thop", MFNET, use_cache=False)
    assert not cache_folder.exists()
    ask("thop", MFNET)
    processes.answer = Answer(version="7", flops=2_003)
    assert 2_003 == ask("thop", MFNET, use_cache=False).flops
    assert 1_009 == ask("thop", MFNET).flops
    assert 3 == len(processes.questions)


@pytest.mark.parametrize(
    ("name", "row"),
    [
        ("fvcore", MFNET),
        ("thop", replace(MFNET, name="mfnet-pnl")),
        ("thop", MFNET.at(classes=101)),
        ("thop", MFNET.at(frames=8)),
        ("thop", MFNET.at(size=112)),
        ("thop", replace(MFNET, inputs=(*MFNET.inputs, (3, 1, 224, 224)))),
    ],
)
def test_another_question_is_asked_by_itself(processes, name, row):
    ask("thop", MFNET)
    ask(name, row)
    assert 2 == len(processes.questions)
    ask("thop", MFNET)
    ask(name, row)
    assert 2 == len(processes.questions)


def pretend(monkeypatch, distribution):
    """Have another version of a distribution installed."""
    version = reference_counter.version
    for module in (asking, reference_counter):
        monkeypatch.setattr(
            module, "version", lambda name: "0" if name == distribution else version(name)
        )


@pytest.mark.parametrize("distribution", ["thop", "torch", "numpy"])
def test_another_version_is_asked_by_itself(processes, monkeypatch, distribution):
    ask("thop", MFNET)
    pretend(monkeypatch, distribution)
    ask("thop", MFNET)
    assert 2 == len(processes.questions)


def test_another_version_of_the_other_reference_counter_changes_nothing(processes, monkeypatch):
    ask("thop", MFNET)
    pretend(monkeypatch, "fvcore")
    ask("thop", MFNET)
    assert 1 == len(processes.questions)


def test_other_sources_are_asked_by_themselves(processes, monkeypatch):
    ask("thop", MFNET)
    monkeypatch.setattr(reference_counter, "_sources", lambda: "other")
    ask("thop", MFNET)
    assert 2 == len(processes.questions)


@pytest.mark.parametrize(
    "damage",
    [
        b"",
        b'{"version": "7", "fl',
        b"[]",
        b"\xff\xfe",
        b'{"version": "7", "flops": "many"}',
        b'{"version": "7", "flops": 1009, "speed": 3}',
    ],
)
def test_a_damaged_answer_is_asked_for_again(processes, cache_folder, damage):
    answer = ask("thop", MFNET)
    (path,) = cache_folder.iterdir()
    path.write_bytes(damage)
    assert answer == ask("thop", MFNET)
    assert 2 == len(processes.questions)
    # and it is whole again
    assert answer == ask("thop", MFNET)
    assert 2 == len(processes.questions)


def test_a_cache_that_cannot_be_written_costs_only_time(processes, cache_folder):
    cache_folder.parent.mkdir(parents=True)
    cache_folder.write_text("a file where the folder should be", encoding="utf-8")
    assert 1_009 == ask("thop", MFNET).flops
    assert 1_009 == ask("thop", MFNET).flops
    assert 2 == len(processes.questions)


def test_clear_forgets_and_says_how_many(processes, cache_folder):
    assert 0 == cache.clear()
    for frames in (5, 7, 11):
        ask("thop", MFNET.at(frames=frames))
    (cache_folder / "notes.txt").write_text("not an answer", encoding="utf-8")
    assert 3 == cache.clear()
    assert ["notes.txt"] == [path.name for path in cache_folder.iterdir()]
    assert 0 == cache.clear()
    ask("thop", MFNET.at(frames=5))
    assert 4 == len(processes.questions)


def test_clear_says_what_it_cannot_remove(cache_folder):
    (cache_folder / "stubborn.json").mkdir(parents=True)
    with pytest.raises(ValueError, match=r"^cannot remove .*stubborn\.json: "):
        cache.clear()


# processes that go wrong


@pytest.mark.parametrize("status", ["missing", "wrong distribution", "crashed", "timed out"])
def test_what_is_no_answer_is_not_kept(processes, cache_folder, status):
    processes.answer = Answer(version="7", status=status, error="no")
    assert processes.answer == ask("thop", MFNET)
    assert not cache_folder.exists()
    processes.answer = Answer(version="7", flops=1_009)
    assert 1_009 == ask("thop", MFNET).flops


# inside the process


@pytest.mark.parametrize("owners", [["ultralytics-thop"], ["thop", "ultralytics-thop"], []])
def test_another_package_of_the_same_import_name_is_refused(monkeypatch, owners):
    monkeypatch.setitem(sys.modules, "thop", ModuleType("thop"))
    monkeypatch.setattr(importlib.metadata, "packages_distributions", lambda: {"thop": owners})
    answer = reference_counter_process.answer("thop", SMALL)
    assert ("wrong distribution", None) == (answer.status, answer.flops)
    assert answer.error == (
        f"module thop belongs to {', '.join(owners) or 'no distribution'}, not to thop alone: "
        "`pip uninstall` the other, then `pip install --force-reinstall thop`"
    )


def test_a_reference_counter_that_is_not_installed_is_missing(monkeypatch):
    # None in sys.modules is an import that fails as if there were no such module
    monkeypatch.setitem(sys.modules, "fvcore", None)
    answer = reference_counter_process.answer("fvcore", SMALL)
    assert ("missing", None) == (answer.status, answer.flops)
    assert "fvcore is not installed: `pip install fvcore` adds it" == answer.error


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", ["fvcore", "thop"])
def test_half_precision_changes_no_number(monkeypatch, name):
    small = select(["mfnet-pnl"])[0].at(frames=4, size=128)
    whole = reference_counter_process.answer(name, small)
    halved = []
    halve = asking.halve
    monkeypatch.setattr(asking, "halve", lambda m: (halved.append(m), halve(m)))
    monkeypatch.setattr(
        reference_counter_process, "large_modules", lambda count: {"conv4.after_B05.operations.0"}
    )
    assert whole == reference_counter_process.answer(name, small)
    (operation,) = halved
    assert {torch.bfloat16} == {p.dtype for p in operation.parameters()}
    assert whole.flops


def test_the_row_that_needs_gigabytes_is_found():
    (large,) = select(["mfnet-pnl-n2-conv2"])
    assert {"conv2.after_B02.operations.0"} == large_modules(
        reference_counter_process._count(large)
    )
    (small,) = select(["mfnet-pnl-n2-conv3"])
    assert set() == large_modules(reference_counter_process._count(small))


def test_version_of_what_is_not_installed():
    assert "not installed" == reference_counter.version("vidcost-nowhere")

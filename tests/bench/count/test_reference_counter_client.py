"""Processes of reference counters: conversations, and every way in which one ends too early."""

from __future__ import annotations

import sys
import threading

import pytest

from vidcost.bench.count import reference_counter_client
from vidcost.bench.count.answer import Answer
from vidcost.bench.count.reference_counter import ask, version
from vidcost.bench.count.reference_counter_client import COMMAND, Question, ReferenceCounterProcess
from vidcost.papers.catalog import select

QUESTION = Question(row="mfnet", classes=7, frames=5, size=96)
(SMALL,) = (row.at(frames=4, size=32, classes=3) for row in select(["r3d18"]))


@pytest.fixture
def script(tmp_path, monkeypatch):
    """Has a script of the given body stand in for the process; ``line`` is each question."""

    def write(*body, before=""):
        path = tmp_path / "reference_counter.py"
        lines = [
            "import json, os, signal, sys, time",
            before,
            "for line in sys.stdin:",
            *(f"    {statement}" for statement in body),
        ]
        path.write_text("\n".join(lines), encoding="utf-8")
        monkeypatch.setattr(reference_counter_client, "COMMAND", (sys.executable, str(path)))

    return write


def say(**fields):
    return f"print('{Answer(version='7', **fields).model_dump_json()}', flush=True)"


def test_questions_are_answered_by_one_process(script):
    script(
        "number = json.loads(line)['classes']",
        "print(json.dumps({'version': sys.argv[1], 'flops': number, 'params': os.getpid()}))",
        "sys.stdout.flush()",
    )
    with ReferenceCounterProcess("fvcore") as process:
        answers = [
            process.ask(QUESTION.model_copy(update={"classes": n}), version="9") for n in (3, 5)
        ]
    assert [("fvcore", 3), ("fvcore", 5)] == [(a.version, a.flops) for a in answers]
    assert 1 == len({answer.params for answer in answers})


def test_the_threads_are_told(script, monkeypatch):
    script("print(json.dumps({'version': os.environ['OMP_NUM_THREADS']}), flush=True)")
    monkeypatch.setenv("OMP_NUM_THREADS", "5")
    for threads, told in ((3, "3"), (None, "5")):
        with ReferenceCounterProcess("thop", threads=threads) as process:
            assert told == process.ask(QUESTION, version="9").version


@pytest.mark.parametrize(
    ("end", "error"),
    [
        ("sys.exit('Traceback\\n  line\\nTypeError: no\\n')", "exit status 1: TypeError: no"),
        ("os._exit(3)", "exit status 3: no message"),
        ("os.kill(os.getpid(), signal.SIGKILL)", "exit status -9: no message"),
    ],
)
def test_a_crash_costs_one_answer(script, tmp_path, end, error):
    script(
        f"if json.loads(line)['classes'] == 7: {end}",
        say(flops=1_009),
    )
    with ReferenceCounterProcess("thop") as process:
        other = QUESTION.model_copy(update={"classes": 3})
        assert 1_009 == process.ask(other, version="9").flops
        crashed = process.ask(QUESTION, version="9")
        assert Answer(version="9", status="crashed", error=error) == crashed
        assert 1_009 == process.ask(other, version="9").flops


def test_a_process_that_ends_before_the_question(script):
    script("pass", before="sys.exit('no reference counter here')")
    with ReferenceCounterProcess("thop") as process:
        for _ in range(2):
            answer = process.ask(QUESTION, version="9")
            assert ("crashed", "exit status 1: no reference counter here") == (
                answer.status,
                answer.error,
            )


def test_one_that_hangs_is_ended(script, monkeypatch):
    script(
        "if json.loads(line)['classes'] == 7: time.sleep(600)",
        say(flops=1_009),
    )
    with ReferenceCounterProcess("thop") as process:
        other = QUESTION.model_copy(update={"classes": 3})
        assert 1_009 == process.ask(other, version="9").flops
        monkeypatch.setattr(reference_counter_client, "TIME_LIMIT_S", 0.05)
        late = process.ask(QUESTION, version="9")
        expected = Answer(version="9", status="timed out", error="no answer within 0.05 s")
        assert expected == late
        monkeypatch.setattr(reference_counter_client, "TIME_LIMIT_S", 60)
        assert 1_009 == process.ask(other, version="9").flops


@pytest.mark.parametrize("said", ["hello", "{}", '{"version": "7", "speed": 3}', ""])
def test_an_answer_that_cannot_be_read(script, said):
    script(f"print({said!r}, flush=True)")
    with ReferenceCounterProcess("thop") as process:
        answer = process.ask(QUESTION, version="9")
        assert ("unreadable", "9") == (answer.status, answer.version)
        # nothing of it is taken for the next answer
        script(say(flops=1_009))
        assert 1_009 == process.ask(QUESTION, version="9").flops


def test_closing_ends_a_conversation_from_another_thread(script, tmp_path):
    flag = tmp_path / "asked"
    script(f"open({str(flag)!r}, 'w').close()", "time.sleep(600)")
    process, answers = ReferenceCounterProcess("thop"), []
    asking = threading.Thread(target=lambda: answers.append(process.ask(QUESTION, version="9")))
    asking.start()
    while not flag.exists():
        asking.join(0.01)
    process.close()
    asking.join(30)
    assert not asking.is_alive()
    assert ["crashed"] == [answer.status for answer in answers]
    assert "the process was closed" == process.ask(QUESTION, version="9").error


def test_a_process_that_was_never_asked_closes():
    with ReferenceCounterProcess("thop"):
        pass


def test_files_of_the_current_folder_do_not_stand_in_for_a_reference_counter():
    assert (sys.executable, "-P", "-m", "vidcost.bench.count.reference_counter_process") == COMMAND


# the real process


@pytest.fixture
def fake_thop(tmp_path, monkeypatch):
    """Puts a module of the given source before thop, in the processes that a test starts."""

    def install(source):
        folder = tmp_path / "before"
        folder.mkdir()
        (folder / "thop.py").write_text(source, encoding="utf-8")
        monkeypatch.setenv("PYTHONPATH", str(folder))

    return install


@pytest.mark.parametrize(
    ("source", "error"),
    [
        (
            "raise ModuleNotFoundError(\"No module named 'six'\", name='six')",
            "ModuleNotFoundError: No module named 'six'",
        ),
        (
            "def profile(*args, **kwargs): return 10.5, 3.0, {}",
            "ValueError: thop answered 10.5, no integer",
        ),
        ("import os; os._exit(3)", "exit status 3: no message"),
    ],
    ids=["broken install", "no integers", "dies"],
)
@pytest.mark.slow
def test_a_reference_counter_that_fails(fake_thop, cache_folder, source, error):
    fake_thop(source)
    answer = ask("thop", SMALL)
    assert ("crashed", error) == (answer.status, answer.error)
    assert not cache_folder.exists()


@pytest.mark.slow
def test_a_process_without_the_reference_counter(fake_thop, cache_folder):
    fake_thop("raise ModuleNotFoundError(\"No module named 'thop'\", name='thop')")
    answer = ask("thop", SMALL)
    assert ("missing", "thop is not installed: `pip install thop` adds it") == (
        answer.status,
        answer.error,
    )
    assert not cache_folder.exists()


@pytest.mark.slow
def test_a_process_with_another_distribution(fake_thop, cache_folder, tmp_path):
    fake_thop("def profile(*args, **kwargs): return 1.0, 1.0, {}")
    metadata = tmp_path / "before" / "ultralytics_thop-2.0.18.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Name: ultralytics-thop\nVersion: 2.0.18\n")
    (metadata / "top_level.txt").write_text("thop\n")
    answer = ask("thop", SMALL)
    assert "wrong distribution" == answer.status
    assert answer.error.startswith("module thop belongs to thop, ultralytics-thop, not to thop")
    assert not cache_folder.exists()


@pytest.mark.slow
def test_chatter_does_not_spoil_the_answer(fake_thop):
    fake_thop(
        "import sys\n"
        "print('hello')\n"
        "def profile(model, inputs, verbose, ret_layer_info):\n"
        "    print('[INFO] Register count()')\n"
        "    print('warning', file=sys.stderr)\n"
        "    layers = {'conv1': (9.0, 2.0, {}), 'layer1': (7.0, 1.0, {'0': (3.0, 1.0, {})})}\n"
        "    return float(1_009), float(len(inputs) * inputs[0].numel()), layers\n"
    )
    expected = Answer(
        version=version("thop"),
        flops=1_009,
        params=12_288,
        # what it does not know as a layer keeps its type's name
        parts={"convolutions": 9, "_BasicBlock": 3},
    )
    assert expected == ask("thop", SMALL)

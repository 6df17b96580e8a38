"""Two versions with fake workers: which one is measured when, and what becomes of failures."""

import json
import random
from collections import Counter
from contextlib import ExitStack

import pytest

from vidcost.bench.gate import interleave as module
from vidcost.bench.gate.interleave import Campaign, interleave
from vidcost.bench.gate.judge import judge, judged
from vidcost.bench.gate.record import SIDES, Rule
from vidcost.bench.timing.cell import Cell
from vidcost.bench.timing.messages import Limits, Task
from vidcost.bench.timing.parent import WorkerProcess

from .planted import FAKE, run_of, variables

TASK = Task(cell=Cell(row="a"), limits=Limits(turn_samples=2, memory=False))


class Watched(WorkerProcess):
    """Notes its messages, those of both workers in one list."""

    def __init__(self, side, told, environment):
        self._side, self._told = side, told
        super().__init__(FAKE, threads=1, environment=environment | {"VIDCOST_PADDING": ""})

    def send(self, message):
        self._told.append((self._side, "task" if isinstance(message, Task) else message))
        super().send(message)


@pytest.fixture
def interleaved(tmp_path):
    """Interleave for so many rounds; the turns and the messages to each side."""

    def run(rounds, *, base=None, head=None, is_void=lambda: False, seed=3):
        told = []
        plans = {"a": base or {"ns": 5_000_000}}, {"a": head or {"ns": 7_000_000}}
        sides = variables(*plans, tmp_path / "log")
        with ExitStack() as stack:
            workers = {
                side: stack.enter_context(Watched(side, told, sides[side]))
                for side in ("head", "base")
            }
            turns = interleave(
                workers,
                dict.fromkeys(workers, TASK),
                enough=lambda done, seconds: done >= rounds,
                is_void=is_void,
                order=random.Random(seed),
            )
        return turns, told

    return run


def test_one_after_the_other_and_never_two_at_once(interleaved):
    turns, told = interleaved(20)
    # a side gets its task when the other has warmed up
    assert [("head", "task"), ("base", "task")] == told[:2]
    assert [("head", "stop"), ("base", "stop")] == told[-2:]
    rounds = [tuple(side for side, _ in told[at : at + 2]) for at in range(2, len(told) - 2, 2)]
    assert 20 == len(rounds)
    # both orders occur, and nothing else
    assert {("base", "head"), ("head", "base")} == set(rounds)
    assert {"head": "ok", "base": "ok"} == {s: t.status for s, t in turns.timings.items()}
    assert [40, 40] == [len(turns.samples_ns(side, 2)) for side in ("base", "head")]
    assert turns.samples_ns("head", 2)[0] == pytest.approx(7e6, rel=0.03)


def test_a_void_round_is_left_out_on_both_sides_and_replaced(interleaved):
    # the first question comes before any turn
    words = iter([False, False, True, *[False] * 9])
    turns, told = interleaved(3, is_void=lambda: next(words))
    assert {1} == turns.void
    assert 4 == sum(one == ("base", "keep") for one in told)
    assert [6, 6] == [len(turns.samples_ns(side, 2)) for side in ("base", "head")]


@pytest.mark.parametrize(
    ("side", "failing", "status"),
    [("base", {"oom": True}, "oom"), ("head", {"die": True}, "crashed")],
)
def test_a_side_that_fails_ends_the_other_without_samples(interleaved, side, failing, status):
    turns, told = interleaved(3, **{side: failing})
    assert status == turns.timings[side].status
    assert () == turns.samples_ns("base", 2) == turns.samples_ns("head", 2)
    # head is first: if it fails, base does not even get its task
    other = "base" if side == "head" else "head"
    assert (["stop"] if side == "base" else []) == [word for s, word in told if s == other][1:]
    assert {side} <= set(turns.timings) <= {side, other}


BRIEF = {"rule": Rule(screen_pairs=6, confirm_pairs=12), "visit_s": 0.001, "visit_turns": 3}


class Stage:
    """Two versions of some rows, measured by fake workers."""

    def __init__(self, log):
        self.log = log
        self.saved = []

    def run(self, base, head, *, seed=1, **options):
        run = run_of([Cell(row=row) for row in base], seed=seed, **BRIEF)
        sides = variables(base, head, self.log)
        return Campaign(run, sides, save=self.saved.append, **options).finish()

    def processes(self):
        return [tuple(json.loads(line)) for line in self.log.read_text().splitlines()]


@pytest.fixture
def stage(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "COMMAND", FAKE)
    return Stage(tmp_path / "log")


SLOW, FAST = {"ns": 10_000_000}, {"ns": 9_000_000}


def test_a_slower_head_is_confirmed_on_fresh_pairs(stage):
    more = SLOW | {"peak": 3_000_000}
    run = stage.run({"a": FAST, "b": SLOW}, {"a": SLOW, "b": more})
    found = ["REGRESSED", "EQUIVALENT", "EQUIVALENT", "REGRESSED"]
    assert (found, 1) == ([verdict.word for verdict in judge(run)], judged(run).status)
    # only cells that the screen did not clear are measured again
    assert {
        ("memory", 0): 2,
        ("memory", 1): 2,
        ("screen", 0): 12,
        ("screen", 1): 12,
        ("confirm", 0): 28,
    } == Counter((visit.stage, visit.cell) for visit in run.visits)
    # saved after every pair
    assert [4, *range(8, 29, 4), *range(30, 57, 2), 56] == [len(r.visits) for r in stage.saved]
    assert [False] * 21 + [True] == [run.complete for run in stage.saved]


def test_both_sides_measure_the_same_in_the_same_order(stage):
    rows = dict.fromkeys("abcd", SLOW)
    run = stage.run(rows, rows)
    processes = stage.processes()
    screen = processes[2:14]
    firsts = [side for side, _ in screen[::2]]
    for one, other in zip(screen[::2], screen[1::2], strict=True):
        assert {"base", "head"} == {one[0], other[0]}
        assert one[1] == other[1]
    # each side comes first as often as the other, give or take the last half block
    assert 2 <= firsts.count("base") <= 4
    assert len({tuple(rows) for _, rows in screen}) > 1
    first_visits = [v.side for v in run.visits if v.stage == "screen" and not v.second]
    assert [side for side in firsts for _ in rows] == first_visits


def test_the_seed_chooses_the_orders(stage):
    rows = dict.fromkeys("abc", SLOW)
    orders = []
    for seed in (5, 5, 6):
        stage.log.unlink(missing_ok=True)
        stage.run(rows, rows, seed=seed, stages=("screen",))
        orders.append(stage.processes())
    assert orders[0] == orders[1] != orders[2]


def test_a_version_that_fails_is_invalid_and_the_others_are_judged(stage):
    run = stage.run({"a": SLOW, "b": SLOW, "c": SLOW}, {"a": SLOW, "b": {"die": True}, "c": SLOW})
    verdicts = {(v.target, v.metric): v for v in judge(run)}
    why = "head crashed: exit status 1: RuntimeError: no kernel for b"
    assert ("INVALID", why) == (verdicts["b", "latency"].word, verdicts["b", "latency"].why)
    assert {"EQUIVALENT"} == {v.word for (row, _), v in verdicts.items() if row != "b"}
    assert 3 == judged(run).status
    # tried twice
    assert 2 == sum(visit.status == "crashed" for visit in run.visits)


@pytest.mark.slow
def test_the_side_that_crashes_while_warming_up_is_blamed_by_real_workers(tmp_path):
    block = tmp_path / "crash.py"
    block.write_text(
        "import os\nfrom torch import nn\n"
        "class Block(nn.Module):\n"
        "    def __init__(self, channels):\n        super().__init__()\n"
        "    def forward(self, x):\n"
        "        return os._exit(9) if os.environ['SIDE'] == 'head' else x\n"
    )
    cell = Cell(block=f"{block}:Block", shape=(3, 1, 2, 2), code="1")
    sides = {side: {"SIDE": side} for side in SIDES}
    run = Campaign(run_of([cell], **BRIEF), sides, stages=("screen",)).finish()
    # base had warmed up, and was stopped without a sample
    assert {"head"} == {visit.side for visit in run.visits}
    assert any(visit.second for visit in run.visits)
    (latency, _) = judge(run)
    assert "INVALID" == latency.word
    assert latency.why.startswith("head crashed: exit status 9")


def test_a_worker_without_memory_goes_on(stage):
    run = stage.run({"a": SLOW, "b": {"oom": True}}, {"a": SLOW, "b": SLOW}, stages=("screen",))
    assert ["EQUIVALENT", "INVALID"] == [verdict.word for verdict in judge(run)[:2]]
    assert 12 == len(stage.processes())

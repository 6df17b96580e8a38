"""Two fake workers that take turns: who computes when, what counts, how it ends."""

from __future__ import annotations

import json
import random
import sys
from contextlib import ExitStack
from pathlib import Path

import pytest

from vidcost.bench.gate.duet import play
from vidcost.bench.timing.cell import Cell
from vidcost.bench.timing.messages import Limits, Task
from vidcost.bench.timing.parent import WorkerProcess

FAKE = Path(__file__).with_name("fake_side.py")
TASK = Task(cell=Cell(row="a"), limits=Limits(turn_samples=2, memory=False))


class Watched(WorkerProcess):
    """Notes what it is told, for all of them in one list."""

    def __init__(self, side, told, plan, log):
        self._side, self._told = side, told
        environment = {"PLAN": json.dumps({"a": plan}), "SIDE": side, "LOG": str(log)}
        super().__init__(
            (sys.executable, str(FAKE)),
            threads=1,
            environment=environment | {"VIDCOST_PADDING": ""},
        )

    def give(self, task):
        self._told.append((self._side, "task"))
        super().give(task)

    def reply(self, reply):
        self._told.append((self._side, reply))
        super().reply(reply)


@pytest.fixture
def duet(tmp_path):
    """Play until so many rounds are over; returns the turns and what was told to whom."""

    def run(rounds, *, base=None, head=None, last=lambda: "keep", seed=3):
        told = []
        plans = {"head": head or {"ns": 7_000_000}, "base": base or {"ns": 5_000_000}}
        with ExitStack() as stack:
            workers = {
                side: stack.enter_context(Watched(side, told, plan, tmp_path / "log"))
                for side, plan in plans.items()
            }
            turns = play(
                workers,
                dict.fromkeys(workers, TASK),
                enough=lambda done, seconds: done >= rounds,
                last=last,
                order=random.Random(seed),
            )
        return turns, told

    return run


def test_one_after_the_other_and_never_two_at_once(duet):
    turns, told = duet(20)
    # a side gets its task when the other has warmed up
    assert [("head", "task"), ("base", "task")] == told[:2]
    assert [("head", "stop"), ("base", "stop")] == told[-2:]
    rounds = [tuple(side for side, _ in told[at : at + 2]) for at in range(2, len(told) - 2, 2)]
    assert 20 == len(rounds)
    # both orders come about, and nothing else
    assert {("base", "head"), ("head", "base")} == set(rounds)
    assert {"head": "ok", "base": "ok"} == {s: t.status for s, t in turns.timings.items()}
    assert [40, 40] == [len(turns.samples_ns(side, 2)) for side in ("base", "head")]
    assert turns.samples_ns("head", 2)[0] == pytest.approx(7e6, rel=0.03)


def test_a_void_round_counts_for_neither_and_is_made_up_for(duet):
    # the first is asked for before any turn
    words = iter(["keep", "keep", "void", *["keep"] * 9])
    turns, told = duet(3, last=lambda: next(words))
    assert {1} == turns.void
    assert 4 == sum(one == ("base", "keep") for one in told)
    assert [6, 6] == [len(turns.samples_ns(side, 2)) for side in ("base", "head")]


@pytest.mark.parametrize(
    ("failing", "status"), [({"oom": True}, "oom"), ({"die": True}, "crashed")]
)
@pytest.mark.parametrize("side", ["base", "head"])
def test_a_side_that_fails_lets_the_other_end_without_samples(duet, side, failing, status):
    turns, told = duet(3, **{side: failing})
    assert status == turns.timings[side].status
    assert () == turns.samples_ns("base", 2) == turns.samples_ns("head", 2)
    # head is first: if it fails, base is not even asked
    other = "base" if side == "head" else "head"
    assert (["stop"] if side == "base" else []) == [word for s, word in told if s == other][1:]
    assert {side} <= set(turns.timings) <= {side, other}

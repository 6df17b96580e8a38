"""A campaign with fake workers: who is measured when, and what becomes of failures."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from vidcost.bench.gate.campaign import Campaign, Launch
from vidcost.bench.gate.judge import judge
from vidcost.bench.gate.record import Rule, Run, Version
from vidcost.bench.gate.verdict import exit_status
from vidcost.bench.timing.cell import Cell

FAKE = Path(__file__).with_name("fake_side.py")


class Stage:
    """Two versions of some rows: what they do, and what the campaign made of it."""

    def __init__(self, tmp_path):
        self.log = tmp_path / "log"
        self.saved = []

    def campaign(self, base, head, *, seed=1, machine=None, **options):
        launches = {
            side: Launch(
                (sys.executable, str(FAKE)),
                {
                    "PLAN": json.dumps(plan),
                    "SIDE": side,
                    "LOG": str(self.log),
                    "MACHINE": json.dumps((machine or {}).get(side, {})),
                },
            )
            for side, plan in (("base", base), ("head", head))
        }
        version = Version(ref="x", commit="c0ffee", code="d")
        run = Run(
            vidcost="0.1.0",
            started="2026-11-23T00:00:00+00:00",
            base=version,
            head=version,
            cells=tuple(Cell(row=row) for row in base),
            rule=Rule(screen_pairs=6, confirm_pairs=12),
            visit_s=0.001,
            visit_turns=3,
            seed=seed,
        )
        return Campaign(run, launches, save=self.saved.append, **options)

    def run(self, base, head, **options):
        return self.campaign(base, head, **options).finish()

    def processes(self):
        return [tuple(json.loads(line)) for line in self.log.read_text().splitlines()]


@pytest.fixture
def stage(tmp_path):
    return Stage(tmp_path)


def words(run):
    return {(verdict.subject, verdict.metric): verdict.word for verdict in judge(run)}


SLOW, FAST = {"ns": 10_000_000}, {"ns": 9_000_000}


def test_a_slower_head_is_confirmed_on_fresh_pairs(stage):
    run = stage.run({"a": FAST, "b": SLOW}, {"a": SLOW, "b": SLOW})
    assert {
        ("a", "latency"): "REGRESSED",
        ("b", "latency"): "EQUIVALENT",
        ("a", "memory"): "EQUIVALENT",
        ("b", "memory"): "EQUIVALENT",
    } == words(run)
    assert run.complete
    assert 1 == exit_status(judge(run), complete=run.complete)
    by_stage = {}
    for visit in run.visits:
        by_stage.setdefault(visit.stage, []).append(run.cells[visit.cell].row)
    assert ["a", "a", "b", "b"] == sorted(by_stage["memory"])
    assert 2 * 6 == by_stage["screen"].count("b")
    # only what the screen did not clear is measured again
    assert {"a"} == set(by_stage["confirm"])
    assert 2 * 12 == len(by_stage["confirm"])


def test_both_sides_take_turns_and_measure_the_same_in_the_same_order(stage):
    rows = dict.fromkeys("abcd", SLOW)
    run = stage.run(rows, rows)
    processes = stage.processes()
    screen = processes[2:14]
    firsts = []
    for (first, rows_of_first), (second, rows_of_second) in zip(
        screen[::2], screen[1::2], strict=True
    ):
        assert {"base", "head"} == {first, second}
        assert rows_of_first == rows_of_second
        firsts.append(first)
    # each side comes first as often as the other, give or take the last half block
    assert 2 <= firsts.count("base") <= 4
    assert len({tuple(rows) for _, rows in screen}) > 1
    first_visits = [v.side for v in run.visits if v.stage == "screen" and not v.second]
    assert [side for side in firsts for _ in rows] == first_visits


def test_the_seed_chooses_the_orders(stage):
    rows = dict.fromkeys("abcd", SLOW)
    orders = []
    for seed in (5, 5, 6):
        stage.log.unlink(missing_ok=True)
        stage.run(rows, rows, seed=seed, stages=("screen",))
        orders.append(stage.processes())
    assert orders[0] == orders[1] != orders[2]


def test_a_slow_down_is_heads_alone(stage):
    run = stage.run({"a": SLOW, "b": SLOW}, {"a": SLOW, "b": SLOW}, slowdown=0.25)
    assert {"REGRESSED"} == {word for key, word in words(run).items() if key[1] == "latency"}
    assert {("base", 0.0), ("head", 0.25)} == {(v.side, v.slowdown) for v in run.visits}


def test_a_version_that_crashes_is_invalid_and_the_others_are_judged(stage):
    run = stage.run({"a": SLOW, "b": SLOW, "c": SLOW}, {"a": SLOW, "b": {"die": True}, "c": SLOW})
    verdicts = {(v.subject, v.metric): v for v in judge(run)}
    assert "INVALID" == verdicts["b", "latency"].word
    assert "head crashed: exit status 1: RuntimeError: no kernel for b" == (
        verdicts["b", "latency"].why
    )
    assert {"EQUIVALENT"} == {v.word for (row, _), v in verdicts.items() if row != "b"}
    assert 3 == exit_status(list(verdicts.values()), complete=run.complete)
    # twice is enough
    assert 2 == sum(visit.status == "crashed" for visit in run.visits)


def test_too_little_memory_ends_no_process(stage):
    run = stage.run({"a": SLOW, "b": {"oom": True}}, {"a": SLOW, "b": SLOW}, stages=("screen",))
    assert "INVALID" == words(run)["b", "latency"]
    assert "EQUIVALENT" == words(run)["a", "latency"]
    assert 12 == len(stage.processes())


def test_memory_is_judged_by_what_was_allocated(stage):
    more = SLOW | {"peak": 3_000_000}
    run = stage.run({"a": SLOW}, {"a": more})
    assert {("a", "latency"): "EQUIVALENT", ("a", "memory"): "REGRESSED"} == words(run)


def test_every_pair_is_saved_and_only_the_last_is_complete(stage):
    stage.run({"a": SLOW}, {"a": SLOW})
    assert [2, 4, 6, 8, 10, 12, 14, 14] == [len(run.visits) for run in stage.saved]
    assert [False] * 7 + [True] == [run.complete for run in stage.saved]


def test_what_was_interrupted_is_invalid(stage):
    def interrupt(at):
        if (at.stage, at.pair) == ("screen", 3):
            raise KeyboardInterrupt

    campaign = stage.campaign({"a": SLOW}, {"a": SLOW}, on_progress=interrupt)
    with pytest.raises(KeyboardInterrupt):
        campaign.finish()
    run = stage.saved[-1]
    (latency, memory) = judge(run)
    assert ("INVALID", "3 of 6 pairs were measured") == (latency.word, latency.why)
    assert "EQUIVALENT" == memory.word
    assert 3 == exit_status([memory], complete=run.complete)


def test_unlike_machines_are_refused(stage):
    with pytest.raises(ValueError, match="driver was '550' for base, '570' for head") as error:
        stage.run(
            {"a": SLOW},
            {"a": SLOW},
            machine={"base": {"driver": "550"}, "head": {"driver": "570"}},
            seed=2,
        )
    assert "unlike machines" in str(error.value)


def test_another_torch_is_what_may_be_compared(stage):
    run = stage.run({"a": SLOW}, {"a": SLOW}, machine={"head": {"torch": "2.14.0"}})
    assert ("2.13.0", "2.14.0") == (run.base.machine.torch, run.head.machine.torch)


def test_a_run_is_the_same_after_a_file(stage):
    run = stage.run({"a": FAST}, {"a": SLOW})
    assert judge(run) == judge(Run.model_validate_json(run.model_dump_json()))

"""Sweeps with fake workers: what they store, leave out, measure again, and survive."""

from __future__ import annotations

import functools
import itertools
import os
import select
import signal
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import pytest

from vidcost.bench.engine.calls import Here, Lost, Outcome, Unfit
from vidcost.bench.timing import conditions
from vidcost.bench.timing import parent as parent_side
from vidcost.bench.timing.budget import Budget
from vidcost.bench.timing.cell import Cell
from vidcost.bench.timing.messages import Limits
from vidcost.bench.timing.parent import COMMAND, Exchange, Predicted
from vidcost.bench.timing.record import Machine
from vidcost.bench.timing.store import Store
from vidcost.bench.timing.stored import store_of
from vidcost.bench.timing.sweep import Interrupted, Site, sweep, sweep_on

FAKE = [sys.executable, str(Path(__file__).with_name("fake_worker.py"))]
PARENT = [sys.executable, str(Path(__file__).with_name("run_sweep.py"))]
MACHINE = Machine(
    device="fake",
    cpu="fake",
    cores=2,
    memory_bytes=7,
    platform="x",
    python="3",
    torch="2",
    vidcost="0",
)
RULE = MACHINE.model_copy(update={"device": "Slide rule"})


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "cpu.jsonl")


@pytest.fixture
def run(store, monkeypatch):
    """Sweep rows with fake workers; ``run.events`` is what was told, ``run.notes`` what is said."""
    machines = {"cpu": MACHINE}
    monkeypatch.setattr(parent_side, "machine_of", lambda device: machines[device])
    events = []

    def sweep_rows(*rows, **options):
        events.clear()
        cells = [row if isinstance(row, Cell) else Cell(row=row) for row in rows]
        swept = sweep(cells, store, command=FAKE, on_event=events.append, **options)
        sweep_rows.notes = swept.notes
        return swept.timings

    sweep_rows.events = events
    sweep_rows.machines = machines
    return sweep_rows


def rows(timings):
    return [timing.cell.row for timing in timings]


def told(events, *kinds):
    return [(e.kind, e.cell.row) for e in events if not kinds or e.kind in kinds]


# records


def test_the_parent_completes_the_workers_record(run, store):
    (timing,) = run("ok", predict=lambda _: Predicted(macs=7, macs_total=21, peak_macs_per_s=1e12))
    assert ("ok", {"latency": (0.011, 0.013)}) == (timing.status, timing.samples_s)
    assert (7, 21, 1e12) == (timing.macs, timing.macs_total, timing.peak_macs_per_s)
    assert MACHINE == timing.machine
    assert timing.cell.key(*conditions.conditions(MACHINE)) == timing.key
    assert timing.started.endswith("+00:00")
    assert {timing.key: timing} == store.read()
    assert [("started", "ok"), ("sampled", "ok"), ("done", "ok")] == told(run.events)
    assert (0.004, False) == (run.events[1].chunk.precision, run.events[1].void)


def test_a_large_product_is_measured_once_for_each_type(run):
    halves = [Cell(row=row, dtype="bf16") for row in ("peak-1", "peak-2")]
    said = [timing.error for timing in run("peak-1", halves[0], "peak-2", halves[1])]
    assert ["None", "None", "7000000000.0", "7000000000.0"] == said


@pytest.mark.parametrize(
    ("row", "status", "error"),
    [
        ("crash", "crashed", "exit status 7: RuntimeError: no kernel"),
        ("mute", "crashed", "exit status 0: no message"),
        ("garbage", "crashed", 'a message that cannot be read: {"chunk": 7}'),
        ("killed-SIGKILL", "killed", "killed by SIGKILL, probably out of memory"),
        ("allocate", "oom", "MemoryError"),
        ("oom", "oom", "tried to allocate 77 GiB"),
        ("noisy", "ok", ""),
    ],
)
def test_a_worker_that_fails_is_a_status_and_the_next_ones_turn(run, store, row, status, error):
    failed, after = run(row, "ok")
    assert (status, error) == (failed.status, failed.error)
    assert failed.key == failed.cell.key(*conditions.conditions(MACHINE))
    assert MACHINE == failed.machine
    assert "ok" == after.status
    assert [failed, after] == list(store.read().values())


@pytest.mark.parametrize("row", ["hang", "deaf"])
def test_a_worker_that_hangs_is_killed(run, row):
    limits = Limits(start_up_s=0.25, warmup_s=0.125, sampling_s=0.125, energy_s=0)
    failed, after = run(row, Cell(row="ok", batch=7), limits=limits)
    assert ("timed out", "no record within 0.5 s") == (failed.status, failed.error)
    assert "ok" == after.status
    assert not any(alive(event.chunk.samples) for event in run.events if event.chunk)


def test_a_worker_that_closes_its_pipe_is_killed(run, monkeypatch):
    monkeypatch.setattr("vidcost.bench.process.LEAVE_S", 0.125)
    (failed,) = run("closed")
    assert ("crashed", "it closed its pipe without an answer") == (failed.status, failed.error)


def test_processes_that_a_worker_started_are_killed_with_it(run, monkeypatch):
    monkeypatch.setattr("vidcost.bench.process.LOOK_S", 0.0625)
    (failed,) = run("parent")
    assert "killed" == failed.status
    (child,) = (event.chunk.samples for event in run.events if event.chunk)
    assert gone(child)


@pytest.mark.slow
def test_a_real_worker_measures_a_small_network(tmp_path):
    cell = Cell(row="r3d18", classes=3, frames=4, size=32)
    store = Store(tmp_path / "cpu.jsonl")
    limits = Limits(sampling_s=0.01, warmup_s=0.01, chunk_s=0.001, energy_s=0)
    (timing,) = sweep([cell], store, limits=limits, command=COMMAND).timings
    assert ("ok", "") == (timing.status, timing.error)
    assert all(sample > 0 for sample in timing.samples_s["latency"])
    assert [timing] == sweep([cell], store, resume=True, command=["false"]).timings


# resuming


def test_resume_leaves_out_cells_that_are_stored_as_ok(run, store):
    run("ok-1", "crash", "ok-2")
    before = store.path.read_bytes().splitlines()
    # a cell that is given twice is measured once
    timings = run("ok-1", "crash", "ok-2", "ok-3", "ok-3", resume=True)
    assert ["ok-1", "crash", "ok-2", "ok-3"] == rows(timings)
    assert ["ok-1", "ok-2"] == [row for _, row in told(run.events, "skipped")]
    after = store.path.read_bytes().splitlines()
    assert (before, 2) == (after[: len(before)], len(after) - len(before))
    run("ok-1")
    assert 1 == len(store.path.read_bytes().splitlines()) - len(after)


@pytest.mark.parametrize(
    ("change", "kind"),
    [
        ({"driver": "570.1"}, "done"),
        ({"torch": "3"}, "done"),
        ({"memory_bytes": 11, "python": "3.14"}, "skipped"),
    ],
    ids=str,
)
def test_another_device_driver_or_torch_is_measured_again(run, change, kind):
    run("ok")
    run.machines["cpu"] = MACHINE.model_copy(update=change)
    run("ok", resume=True, limits=Limits(sampling_s=7))
    assert kind == run.events[-1].kind


def test_a_damaged_file_is_rejected_before_any_work(run, store):
    store.path.write_text("[]\n")
    with pytest.raises(ValueError, match="line 1 is not the first line"):
        run("ok")
    assert [] == run.events


# budget


def test_with_a_budget_the_least_precise_is_measured_again(run, store):
    limits = Limits(precision=0.02, sampling_s=1)
    timings = run("steady", "ok", limits=limits, budget_s=1_000)
    assert ["steady", "ok"] == rows(timings)
    # 1 s: 0.08, 4 s: 0.04, 16 s: 0.02
    again = [(e.cell.row, e.again) for e in run.events if e.kind == "started"]
    assert [("steady", False), ("ok", False), ("steady", True), ("steady", True)] == again
    assert [0.02, 0.004] == [timing.protocol.precision for timing in timings]
    assert timings == list(store.read().values())
    assert 5 == len(store.path.read_bytes().splitlines())


def test_a_second_try_that_fails_takes_nothing_away(run, store):
    (timing,) = run("once", limits=Limits(sampling_s=1), budget_s=1_000)
    assert ("ok", 0.5) == (timing.status, timing.protocol.precision)
    assert [timing] == list(store.read().values())
    assert 2 == len(told(run.events, "done"))


def test_when_the_budget_is_over_the_rest_is_named(run, monkeypatch):
    now = [500.0]
    for kind, owner in ((Budget, "sweep"), (Exchange, "parent")):
        planted = functools.partial(kind, clock=lambda: now[0])
        monkeypatch.setattr(f"vidcost.bench.timing.{owner}.{kind.__name__}", planted)

    def predict(cell):
        now[0] += 7 if cell.row == "told-2" else 0
        return Predicted()

    timings = run("told-1", "told-2", "told-3", "ok", budget_s=7, predict=predict)
    assert ["keep keep keep", "stop stop stop"] == [timing.error for timing in timings]
    assert ["no time was left for told-3, ok: raise --budget"] == run.notes


# faults, with real processes


def alive(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def gone(pid):
    """Whether a process ends within a while."""
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    try:
        return bool(select.select([descriptor], [], [], 10)[0])
    finally:
        os.close(descriptor)


@contextmanager
def parent(store, *rows, **environment):
    process = subprocess.Popen(
        [*PARENT, store.path, *rows],
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | environment,
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def worker_of(process, row):
    """The worker that measures ``row``; what was said before is dropped."""
    for line in process.stdout:
        name, _, pid = line.strip().partition(" ")
        if name == row:
            return int(pid)
    raise AssertionError(f"{row} was never measured")


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_a_parent_that_ends_costs_the_current_cell_and_no_more(store, number):
    given = ("ok-1", "hang", "ok-2")
    with parent(store, *given) as process:
        worker = worker_of(process, "hang")
        process.send_signal(number)
        said = process.communicate(timeout=60)[0]
    assert gone(worker)
    if number == signal.SIGINT:
        words = f"stopped after 1 of 3 cells, which are in {store.path}: give the same command to"
        assert (130, f"{words} go on\n") == (process.returncode, said)
    assert ["ok-1"] == rows(store.read().values())
    with parent(store, *given, RESUME="1", CALM="1") as process:
        said = process.communicate(timeout=60)[0]
    assert 1 == said.count("skipped")
    assert list(given) == rows(store.read().values())


# wherever an engine has room


class Machines:
    """A site whose machines take turns; a cell fails or is lost by the name of its row."""

    def __init__(self, *machines, timed):
        self.there = machines
        self.turn = itertools.cycle(machines)
        self.timed = timed
        self.measured = []

    def machines(self, device):
        return [(machine, conditions.conditions(machine)) for machine in self.there]

    def measure(self, cell, limits):
        if cell.row in ("lost", "rejected", "stop"):
            raise {"lost": Lost, "rejected": ValueError, "stop": KeyboardInterrupt}[cell.row](
                cell.row
            )
        self.measured.append(cell.row)
        machine = next(self.turn)
        key = cell.key(*conditions.conditions(machine))
        status = "oom" if cell.row == "oom" else "ok"
        return self.timed(cell, key=key, machine=machine, status=status)


class TwoNodes(Here):
    """Says what a cluster would of where a call was made."""

    def run(self, calls):
        for outcome in super().run(calls):
            known = vars(outcome) | {"host": "host", "node": f"node {outcome.number % 2}"}
            yield Outcome(**known)


@pytest.fixture
def run_on(timed, tmp_path):
    """Sweep rows over machines; ``run_on.events`` and ``run_on.site`` are of the last."""

    def sweep_rows(*rows, machines=(MACHINE,), resume=True):
        sweep_rows.events, sweep_rows.site = [], Machines(*machines, timed=timed)
        return sweep_on(
            TwoNodes(),
            [Cell(row=row) for row in rows],
            lambda machine: store_of(tmp_path, machine),
            site=sweep_rows.site,
            resume=resume,
            on_event=sweep_rows.events.append,
        )

    return sweep_rows


def in_files(tmp_path):
    return {
        path.name: rows(Store(path).read().values()) for path in tmp_path.glob("timings/*.jsonl")
    }


def test_each_record_goes_to_the_file_of_its_machine_with_its_node(run_on, tmp_path):
    found = run_on("a", "b", "c", machines=(MACHINE, RULE)).timings
    expected = {"fake-torch2.jsonl": ["a", "c"], "slide-rule-torch2.jsonl": ["b"]}
    assert expected == in_files(tmp_path)
    assert [("a", "node 0"), ("b", "node 1"), ("c", "node 0")] == [
        (each.cell.row, each.machine.node) for each in found
    ]
    assert {"host"} == {each.machine.host for each in found}


@pytest.mark.parametrize(
    ("machines", "resume", "measured"),
    [
        ((RULE, MACHINE), True, ["c"]),
        ((MACHINE,), True, ["b", "c"]),
        ((MACHINE.model_copy(update={"driver": "570"}),), True, ["a", "b", "c"]),
        ((RULE, MACHINE), False, ["a", "b", "c"]),
    ],
)
def test_cells_stored_for_a_machine_of_the_cluster_are_left_out(run_on, machines, resume, measured):
    run_on("a", "b", machines=(MACHINE, RULE))
    assert ["a", "b", "c"] == rows(run_on("a", "b", "c", machines=machines, resume=resume).timings)
    assert measured == run_on.site.measured
    assert [row for row in "abc" if row not in measured] == [
        row for _, row in told(run_on.events, "skipped")
    ]


def test_a_cell_that_failed_is_a_status_and_tried_the_next_time(run_on):
    assert ["oom", "ok"] == [timing.status for timing in run_on("oom", "a").timings]
    run_on("oom", "a")
    assert ["oom"] == run_on.site.measured


def test_a_cell_that_is_lost_is_a_status_of_no_machine_and_in_no_file(run_on, tmp_path):
    swept = run_on("a", "lost", "b")
    _, lost, _ = swept.timings
    assert ("killed", "lost", None) == (lost.status, lost.error, lost.machine)
    assert ["lost on cpu (batch 1, fp32, eager, inference): killed: lost"] == swept.failures
    assert {"fake-torch2.jsonl": ["a", "b"]} == in_files(tmp_path)


@pytest.mark.parametrize(
    ("row", "error", "message"),
    [
        ("rejected", ValueError, "^rejected$"),
        ("stop", Interrupted, "^stopped after 1 of 3 cells, which are stored: give the same"),
    ],
)
def test_a_sweep_that_ends_early_keeps_its_records(run_on, tmp_path, row, error, message):
    with pytest.raises(error, match=message):
        run_on("a", row, "b")
    assert {"fake-torch2.jsonl": ["a"]} == in_files(tmp_path)


def test_a_machine_that_cannot_measure_a_cell_leaves_it_to_another(tmp_path, monkeypatch):
    def look(device):
        raise ValueError("cannot use cuda: it fell off the bus")

    with pytest.raises(Unfit, match="fell off the bus"):
        Site(look=look).measure(Cell(row="mfnet", device="cuda"), Limits())
    monkeypatch.chdir(tmp_path)
    cell = Cell(network="my_net.py:make", inputs=("1x3",), code="77")
    with pytest.raises(Unfit, match=r"^no file my_net.py"):
        Site().measure(cell, Limits())
    (tmp_path / "my_net.py").write_text("def make(): ...\n")
    with pytest.raises(Unfit, match="is another one there"):
        Site().measure(cell, Limits())

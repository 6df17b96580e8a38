"""A sweep with fake workers: what it stores, leaves out, measures again, and survives."""

from __future__ import annotations

import functools
import os
import select
import signal
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import pytest

from vidcost.bench.timing import conditions
from vidcost.bench.timing import parent as parent_side
from vidcost.bench.timing.budget import Budget
from vidcost.bench.timing.cell import Cell
from vidcost.bench.timing.events import (
    BudgetSpent,
    CellDone,
    CellSkipped,
    CellStarted,
    ChunkTaken,
    Warned,
)
from vidcost.bench.timing.messages import Limits
from vidcost.bench.timing.parent import Exchange, Predicted, Supervisor
from vidcost.bench.timing.record import Machine
from vidcost.bench.timing.store import Store
from vidcost.bench.timing.sweep import Interrupted, sweep

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


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "cpu.jsonl")


@pytest.fixture
def run(store, monkeypatch):
    """Sweep rows with fake workers on a fake machine; ``run.events`` is what was told."""
    machines = {"cpu": MACHINE}
    monkeypatch.setattr(parent_side, "machine_of", lambda device: machines[device])
    events = []

    def sweep_rows(*rows, **options):
        events.clear()
        cells = [row if isinstance(row, Cell) else Cell(row=row) for row in rows]
        return sweep(cells, store, command=FAKE, on_event=events.append, **options)

    sweep_rows.events = events
    sweep_rows.machines = machines
    return sweep_rows


def rows(timings):
    return [timing.cell.row for timing in timings]


# records


def test_a_record_is_the_workers_with_what_the_parent_knows(run, store):
    (timing,) = run("ok", predict=lambda _: Predicted(macs=7, macs_total=21, peak_macs_per_s=1e12))
    assert ("ok", {"latency": (0.011, 0.013)}) == (timing.status, timing.samples_s)
    assert (7, 21, 1e12) == (
        timing.macs,
        timing.macs_total,
        timing.peak_macs_per_s,
    )
    assert MACHINE == timing.machine
    assert timing.cell.key(*conditions.conditions(MACHINE)) == timing.key
    assert timing.started.endswith("+00:00")
    assert {timing.key: timing} == store.read()


def test_what_is_told(run):
    (timing,) = run("ok")
    started, chunk, done = run.events
    assert CellStarted(Cell(row="ok"), 1, 1, Limits()) == started
    assert isinstance(chunk, ChunkTaken)
    assert (0.004, "keep") == (chunk.chunk.precision, chunk.reply)
    assert CellDone(Cell(row="ok"), timing) == done


def test_what_follows_is_prepared_before_a_cell_begins(run, monkeypatch):
    run("ok-2")
    prepared = []
    monkeypatch.setattr(
        Supervisor,
        "prepare",
        lambda self, cell, limits, following: prepared.append(
            (cell.row, limits, [each.row for each in following])
        ),
    )
    run("ok-1", "ok-2", "ok-3", resume=True)
    # what is stored is not begun
    assert [("ok-1", Limits(), ["ok-3"]), ("ok-3", Limits(), [])] == prepared


def test_what_a_large_product_reaches_is_measured_once_for_each_type(run):
    halves = [Cell(row=row, dtype="bf16") for row in ("peak-1", "peak-2")]
    told = [timing.error for timing in run("peak-1", halves[0], "peak-2", halves[1])]
    assert ["None", "None", "7000000000.0", "7000000000.0"] == told


def test_counting_is_over_before_a_worker_starts(run):
    told = []

    def predict(cell):
        told.append([type(event) for event in run.events])
        return Predicted()

    run("ok-1", "ok-2", predict=predict)
    assert [[CellStarted], [CellStarted, ChunkTaken, CellDone, CellStarted]] == told


@pytest.mark.parametrize(
    ("row", "status", "error"),
    [
        ("crash", "crashed", "exit status 7: RuntimeError: no kernel"),
        ("mute", "crashed", "exit status 0: no message"),
        ("garbage", "crashed", 'a message that cannot be read: {"chunk": 7}'),
        ("killed-SIGKILL", "killed", "killed by SIGKILL, probably out of memory"),
        ("killed-SIGSEGV", "killed", "killed by SIGSEGV"),
        ("killed-SIGRTMIN", "killed", "killed by SIGRTMIN"),
        ("allocate", "oom", "MemoryError"),
        ("oom", "oom", "tried to allocate 77 GiB"),
        ("noisy", "ok", ""),
        ("threads", "ok", "1"),
    ],
)
def test_a_worker_that_fails_is_a_status_and_the_next_ones_turn(run, store, row, status, error):
    failed, after = run(row, "ok")
    assert (status, error) == (failed.status, failed.error)
    assert failed.key == failed.cell.key(*conditions.conditions(MACHINE))
    assert MACHINE == failed.machine
    assert "ok" == after.status
    assert [failed, after] == list(store.read().values())


@pytest.mark.parametrize("row", ["hang", "deaf", "garbage"])
def test_a_worker_that_hangs_is_killed(run, row):
    limits = Limits(start_up_s=0.25, warmup_s=0.125, sampling_s=0.125, energy_s=0)
    failed, after = run(row, Cell(row="ok", batch=7), limits=limits)
    if row != "garbage":
        assert ("timed out", "no record within 0.5 s") == (failed.status, failed.error)
    assert "ok" == after.status
    for event in run.events:
        if isinstance(event, ChunkTaken):
            assert not alive(event.chunk.samples)


def test_a_worker_that_closes_its_pipe_is_killed(run, monkeypatch):
    monkeypatch.setattr("vidcost.bench.process.LEAVE_S", 0.125)
    (failed,) = run("closed")
    assert ("crashed", "it closed its pipe without an answer") == (failed.status, failed.error)


def test_what_a_worker_started_goes_with_it(run, monkeypatch):
    monkeypatch.setattr("vidcost.bench.process.LOOK_S", 0.0625)
    (failed,) = run("parent")
    assert "killed" == failed.status
    (child,) = (event.chunk.samples for event in run.events if isinstance(event, ChunkTaken))
    assert gone(child)


def test_a_progress_display_that_fails_leaves_no_worker(run, store):
    pids = []

    def fail(event):
        if isinstance(event, ChunkTaken):
            pids.append(event.chunk.samples)
            raise RuntimeError("no terminal")

    with pytest.raises(RuntimeError, match="no terminal"):
        sweep([Cell(row="hang")], store, command=FAKE, on_event=fail)
    assert [False] == [alive(pid) for pid in pids]


# resuming


def test_resume_leaves_out_what_is_stored_as_ok(run, store):
    run("ok-1", "crash", "ok-2")
    before = store.path.read_bytes().splitlines()
    timings = run("ok-1", "crash", "ok-2", "ok-3", resume=True)
    assert ["ok-1", "crash", "ok-2", "ok-3"] == rows(timings)
    skipped = [event.cell.row for event in run.events if isinstance(event, CellSkipped)]
    assert ["ok-1", "ok-2"] == skipped
    after = store.path.read_bytes().splitlines()
    assert (before, 2) == (after[: len(before)], len(after) - len(before))


def test_without_resume_everything_is_measured_anew(run, store):
    run("ok")
    run("ok")
    assert (3, 1) == (len(store.path.read_bytes().splitlines()), len(store.read()))


@pytest.mark.parametrize(
    "change",
    [{"device": "another"}, {"driver": "570.1"}, {"torch": "3"}],
    ids=str,
)
def test_another_machine_is_measured_anew(run, store, change):
    run("ok")
    run.machines["cpu"] = MACHINE.model_copy(update=change)
    run("ok", resume=True)
    assert 2 == len(store.read())


def test_other_code_is_measured_anew(run, store, monkeypatch):
    run("ok")
    monkeypatch.setattr(conditions, "code_version", lambda: "other")
    run("ok", resume=True)
    assert 2 == len(store.read())


def test_what_the_key_does_not_depend_on(run):
    run("ok")
    run.machines["cpu"] = MACHINE.model_copy(update={"memory_bytes": 11, "python": "3.14"})
    run("ok", resume=True, limits=Limits(sampling_s=7))
    assert [CellSkipped] == [type(event) for event in run.events]


def test_a_line_cut_short_is_told_and_its_cell_measured(run, store):
    run("ok-1", "ok-2")
    store.path.write_bytes(store.path.read_bytes()[:-9])
    run("ok-1", "ok-2", resume=True)
    expected = f"the last line of {store.path} was cut short and lies in cpu.jsonl.damaged now"
    assert Warned(expected) == run.events[0]
    assert ["ok-1", "ok-2"] == rows(store.read().values())


def test_a_cell_given_twice_is_measured_once(run):
    assert ["ok-1", "ok-2"] == rows(run("ok-1", "ok-2", "ok-1"))


def test_a_damaged_file_is_refused_before_any_work(run, store):
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
    again = [(e.cell.row, e.number, e.again) for e in run.events if isinstance(e, CellStarted)]
    assert [
        ("steady", 1, False),
        ("ok", 2, False),
        ("steady", 1, True),
        ("steady", 1, True),
    ] == again
    assert [0.02, 0.004] == [timing.protocol.precision for timing in timings]
    assert timings == list(store.read().values())
    assert 5 == len(store.path.read_bytes().splitlines())


def test_what_is_stored_is_refined_too(run):
    run("steady", limits=Limits(precision=0.05, sampling_s=1))
    limits = Limits(precision=0.05, sampling_s=1)
    (timing,) = run("steady", limits=limits, budget_s=1_000, resume=True)
    assert [CellSkipped, CellStarted, ChunkTaken, CellDone] == [type(e) for e in run.events]
    assert 0.05 == timing.protocol.precision


def test_a_second_try_that_fails_takes_nothing_away(run, store):
    (timing,) = run("once", limits=Limits(sampling_s=1), budget_s=1_000)
    assert ("ok", 0.5) == (timing.status, timing.protocol.precision)
    assert [timing] == list(store.read().values())
    done = [(e.timing.status, e.stored) for e in run.events if isinstance(e, CellDone)]
    assert [("ok", True), ("crashed", False)] == done


def test_when_the_budget_is_over_the_rest_is_named(run, monkeypatch):
    now = [500.0]
    for name, owner in ((Budget, "sweep"), (Exchange, "parent")):
        planted = functools.partial(name, clock=lambda: now[0])
        monkeypatch.setattr(f"vidcost.bench.timing.{owner}.{name.__name__}", planted)

    def predict(cell):
        now[0] += 7 if cell.row == "told-2" else 0
        return Predicted()

    timings = run("told-1", "told-2", "told-3", "ok", budget_s=7, predict=predict)
    assert ["keep keep keep", "stop stop stop"] == [timing.error for timing in timings]
    assert BudgetSpent((Cell(row="told-3"), Cell(row="ok"))) == run.events[-1]


def test_no_budget_is_refused(run):
    with pytest.raises(ValueError, match="give more than 0"):
        run("ok", budget_s=0)


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


def completed(store, *rows):
    """What a resumed sweep tells of cells that hang no more."""
    with parent(store, *rows, RESUME="1", CALM="1") as process:
        told = [line.split() for line in process.communicate(timeout=60)[0].splitlines()]
    assert 0 == process.returncode
    assert list(rows) == [timing.cell.row for timing in store.read().values()]
    assert {"ok"} == {timing.status for timing in store.read().values()}
    return [row for row, what in told if what == "skipped"]


def test_kill_9_of_the_parent_costs_the_current_cell_and_no_more(store):
    rows = ("ok-1", "ok-2", "hang", "ok-3")
    with parent(store, *rows) as process:
        worker = worker_of(process, "hang")
        process.kill()
        process.wait()
    assert gone(worker)
    assert ["ok-1", "ok-2"] == [timing.cell.row for timing in store.read().values()]
    assert ["ok-1", "ok-2"] == completed(store, *rows)


def test_ctrl_c_kills_the_worker_and_says_how_to_go_on(store):
    rows = ("ok-1", "hang", "ok-2")
    with parent(store, *rows) as process:
        worker = worker_of(process, "hang")
        process.send_signal(signal.SIGINT)
        said = process.communicate(timeout=60)[0]
    assert 130 == process.returncode
    assert not alive(worker)
    expected = (
        f"stopped after 1 of 3 cells, which are in {store.path}: give the same command to go on\n"
    )
    assert expected == said
    assert ["ok-1"] == completed(store, *rows)


def test_kill_9_of_a_worker_is_a_status(store):
    with parent(store, "hang", "ok-1") as process:
        os.kill(worker_of(process, "hang"), signal.SIGKILL)
        process.communicate(timeout=60)
    assert 0 == process.returncode
    killed, ok = store.read().values()
    assert ("killed", "killed by SIGKILL, probably out of memory") == (killed.status, killed.error)
    assert "ok" == ok.status


def test_a_full_disk_ends_the_sweep_and_keeps_what_is_there(store):
    rows = tuple(f"ok-{number}" for number in range(9))
    with parent(store, *rows, LIMIT="4000") as process:
        said = process.communicate(timeout=60)[0].splitlines()
    assert 2 == process.returncode
    expected = f"cannot write {store.path}: File too large; what it holds is untouched"
    assert expected == said[-1]
    kept = [timing.cell.row for timing in store.read().values()]
    assert list(rows[: len(kept)]) == kept
    assert 0 < len(kept) < len(rows)
    assert kept == completed(store, *rows)


def test_two_sweeps_on_one_file_both_complete(store):
    first = [f"ok-a{number}" for number in range(6)]
    second = [f"ok-b{number}" for number in range(6)]
    with parent(store, *first) as one, parent(store, *second) as other:
        for process in (one, other):
            process.communicate(timeout=60)
    assert (0, 0) == (one.returncode, other.returncode)
    records, warning = store.load()
    assert "" == warning
    assert sorted(first + second) == sorted(timing.cell.row for timing in records.values())
    assert 13 == len(store.path.read_bytes().splitlines())


def test_an_interrupt_in_this_process_is_told(run, store):
    def interrupt(event):
        if isinstance(event, ChunkTaken) and event.cell.row == "hang":
            raise KeyboardInterrupt

    with pytest.raises(Interrupted, match="stopped after 1 of 2 cells"):
        sweep([Cell(row="ok"), Cell(row="hang")], store, command=FAKE, on_event=interrupt)
    assert ["ok"] == rows(store.read().values())

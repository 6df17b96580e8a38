"""Sweeps with fake workers: what they store, leave out, measure again, and survive."""

import math
import os
import re
import select
import signal
import subprocess
import sys
import threading
from contextlib import contextmanager
from pathlib import Path

import pytest

from vidcost.bench.timing import machine as machine_module
from vidcost.bench.timing import on_ray
from vidcost.bench.timing import parent as parent_side
from vidcost.bench.timing.cell import Cell
from vidcost.bench.timing.machine import conditions, locked
from vidcost.bench.timing.messages import Limits
from vidcost.bench.timing.on_ray import sweep_on_ray
from vidcost.bench.timing.parent import COMMAND, Predicted
from vidcost.bench.timing.record import Machine
from vidcost.bench.timing.store import Store
from vidcost.bench.timing.sweep import Interrupted, share, sweep

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
    """Sweep rows with fake workers; ``run.told`` is the progress, ``run.notes`` the notes."""
    machines = {"cpu": MACHINE}
    monkeypatch.setattr(parent_side, "machine_of", lambda device: machines[device])
    told = []

    def sweep_rows(*rows, **options):
        told.clear()
        cells = [row if isinstance(row, Cell) else Cell(row=row) for row in rows]
        swept = sweep(cells, store, command=FAKE, on_progress=tell, **options)
        sweep_rows.notes, sweep_rows.left_out = swept.notes, rows_of(swept.left_out)
        return swept.timings

    def tell(words, done):
        # without the process that the number of samples stands for
        told.append((re.sub(r" \d+ samples", "", words), done))
        sweep_rows.pids += map(int, re.findall(r"(\d+) samples", words))

    sweep_rows.told, sweep_rows.pids = told, []
    sweep_rows.machines = machines
    return sweep_rows


def rows(timings):
    return rows_of(timing.cell for timing in timings)


def rows_of(cells):
    return [cell.row for cell in cells]


def test_the_parent_completes_the_workers_record(run, store):
    (timing,) = run("ok", predict=lambda _: Predicted(macs=7, macs_total=21))
    assert ("ok", {"latency": (0.011, 0.013)}) == (timing.status, timing.samples_s)
    assert (7, 21) == (timing.macs, timing.macs_total)
    assert MACHINE == timing.machine
    assert timing.cell.key(*conditions(MACHINE)) == timing.key
    assert timing.started.endswith("+00:00")
    assert {timing.key: timing} == store.read()
    assert [("ok: warming up", 0), ("ok:, 10 ms ± 0.4%", 0), ("ok: ok", 1)] == run.told


def test_several_processes_make_one_record(run):
    """--processes: samples one after the other, an interval over the processes' medians."""
    (timing,) = run(Cell(row="ok", processes=3))
    assert 3 == len(set(run.pids))
    assert ((0.011, 0.013) * 3, (2, 2, 2)) == (timing.samples_s["latency"], timing.processes)
    protocol = timing.protocol
    assert (9, 1.5, 0.0) == (protocol.warmup_samples, protocol.sampling_s, protocol.precision)
    (failed,) = run(Cell(row="crash", processes=3))
    assert ("crashed", ()) == (failed.status, failed.processes)


def test_cells_against_the_same_one_are_measured_in_one_process(run, store):
    plain = Cell(row="ok")
    cells = [Cell(row=row, against=plain) for row in ("ok-1", "ok-2", "ok-3")]
    found = run(*cells, Cell(row="ok-4"))
    assert cells == [each.cell for each in found[:3]]
    assert 2 == len(run.pids)
    # one that is missing from a rotation takes the others along
    run(*cells, Cell(row="ok-5", against=plain), resume=True)
    assert [("ok-1: warming up", 0)] == run.told[:1]
    run(*cells, resume=True)
    assert [("ok-1: stored", 3)] == run.told


@pytest.mark.parametrize(("row", "status"), [("oom", "oom"), ("crash", "crashed")])
def test_where_a_rotation_fails_its_cells_are_measured_one_by_one(run, row, status):
    cells = [Cell(row=each, against=Cell(row="ok")) for each in ("ok-1", row, "ok-2")]
    found = run(*cells)
    assert ["ok", status, "ok"] == [each.status for each in found]
    assert cells == [each.cell for each in found]


def test_a_worse_measurement_does_not_replace_a_better_one(run, store):
    (good,) = run("fine-0.01")
    (shown,) = run("fine-0.01", limits=Limits(sampling_s=1))
    assert (0.01, good) == (good.protocol.precision, shown)
    assert 3 == len(store.path.read_bytes().splitlines())
    assert [good] == list(store.read().values())


def test_a_second_sweep_waits_for_the_cpus_of_the_first_and_says_so(run):
    """A lock for each CPU: another number of threads has some of them in common."""
    cpu = f"cpu-{min(os.sched_getaffinity(0))}"
    said, waits = [], threading.Event()

    def warn(line):
        said.append(line)
        waits.set()

    with locked([cpu], said.append):
        thread = threading.Thread(target=run, args=("ok",), kwargs={"warn": warn})
        thread.start()
        assert waits.wait(30)
        assert thread.is_alive()
    thread.join()
    assert [f"another program measures on {cpu}: waiting until it is done"] == said


@pytest.mark.parametrize(
    ("row", "status", "error"),
    [
        ("crash", "crashed", "exit status 7: RuntimeError: no kernel"),
        ("killed-SIGKILL", "killed", "killed by SIGKILL, probably out of memory"),
        ("allocate", "oom", "MemoryError"),
        ("oom", "oom", "tried to allocate 77 GiB"),
    ],
)
def test_a_worker_that_fails_is_a_status_and_the_next_ones_turn(run, store, row, status, error):
    failed, after = run(row, "ok")
    assert (status, error) == (failed.status, failed.error)
    assert failed.key == failed.cell.key(*conditions(MACHINE))
    assert MACHINE == failed.machine
    assert "ok" == after.status
    assert [failed, after] == list(store.read().values())


@pytest.mark.parametrize(
    ("row", "code", "limit"),
    [("hang", "", "5"), ("deaf", "", "5"), ("deaf", "7", "2"), ("slow", "7", "5")],
)
def test_a_worker_that_hangs_is_killed(run, row, code, limit):
    """The start of a user's code has a limit of its own."""
    limits = Limits(start_up_s=2, warmup_s=1, sampling_s=2, energy_s=0)
    failed, after = run(Cell(row=row, code=code), Cell(row="ok", batch=7), limits=limits)
    assert ("timed out", f"no record within {limit} s") == (failed.status, failed.error)
    assert "ok" == after.status
    assert all(map(gone, run.pids))


@pytest.mark.slow
def test_a_real_worker_measures_a_small_network(tmp_path):
    cell = Cell(row="r3d18", classes=3, frames=4, size=32)
    store = Store(tmp_path / "cpu.jsonl")
    limits = Limits(sampling_s=0.01, warmup_s=0.01, chunk_s=0.001, energy_s=0)
    (timing,) = sweep([cell], store, limits=limits, command=COMMAND).timings
    assert ("ok", "") == (timing.status, timing.error)
    assert all(sample > 0 for sample in timing.samples_s["latency"])
    assert [timing] == sweep([cell], store, resume=True, command=["false"]).timings


def test_resume_leaves_out_cells_that_are_stored_as_ok(run, store):
    run("ok-1", "crash", "ok-2")
    before = store.path.read_bytes().splitlines()
    # a cell that is given twice is measured once
    timings = run("ok-1", "crash", "ok-2", "ok-3", "ok-3", resume=True)
    assert ["ok-1", "crash", "ok-2", "ok-3"] == rows(timings)
    assert ["ok-1: stored", "ok-2: stored"] == [words for words, _ in run.told if "stored" in words]
    after = store.path.read_bytes().splitlines()
    assert (before, 2) == (after[: len(before)], len(after) - len(before))
    run("ok-1")
    assert 1 == len(store.path.read_bytes().splitlines()) - len(after)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        *(({name: "3.14"}, "ok") for name in "driver torch cpu python cuda cudnn triton".split()),
        ({"cores": 3}, "ok"),
        ({"memory_bytes": 11, "device_uuid": "GPU-7"}, "stored"),
    ],
    ids=str,
)
def test_whatever_may_change_a_sample_is_measured_again(run, change, words):
    run("ok")
    run.machines["cpu"] = MACHINE.model_copy(update=change)
    run("ok", resume=True, limits=Limits(sampling_s=7))
    assert (f"ok: {words}", 1) == run.told[-1]


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        # as they are: until precise
        (math.inf, (60.0, 10.0, 5.0, None)),
        # a quarter for warming up at most, 5 s for the energy
        (28.0, (23.0, 7.0, 5.0, 128.0)),
        # too short for energy
        (18.0, (18.0, 4.5, 0.0, 118.0)),
        # the least sampling time
        (0.1, (0.5, 0.5, 0.0, 100.1)),
        # without a limit of a minute
        (600.0, (595.0, 10.0, 5.0, 700.0)),
    ],
)
def test_the_time_of_a_cell_is_shared_out(seconds, expected):
    limits = Limits(sampling_s=60, warmup_s=10, energy_s=5, chunk_s=0.5, least_s=0.5)
    found = share(limits, 100.0, seconds)
    assert expected == (found.sampling_s, found.warmup_s, found.energy_s, found.ends_at)
    assert (0.01, 30) == (found.precision, found.min_samples)


def test_when_the_budget_is_over_the_rest_is_named(run):
    def clock():
        return 507.0 if ("ok-2: ok", 2) in run.told else 500.0

    assert ["ok-1", "ok-2"] == rows(run("ok-1", "ok-2", "ok-3", "ok", budget_s=7, clock=clock))
    assert ["ok-3", "ok"] == run.left_out


def test_a_network_that_turns_out_too_slow_is_said_after_its_first_pass(run):
    warned = []
    run("slowly", budget_s=10, warn=warned.append)
    (line,) = warned
    # 16 s that are left, and what has passed
    assert re.match(r"slowly: a pass takes 5.0 s, all about 2[3-9] s, more than the bud", line)
    run("slowly", budget_s=30, warn=warned.append)
    assert [line] == warned


def test_what_is_not_expected_to_fit_is_left_out_but_for_the_first(run):
    def predict(cell):
        # a thousand seconds of 8 passes
        return Predicted(macs_total=None if cell.row == "ok" else 125 * 10**10)

    assert ["ok-1", "ok"] == rows(run("ok-1", "ok-2", "ok", budget_s=60, predict=predict))
    assert ["ok-2"] == run.left_out


def test_a_budget_that_is_too_short_is_said_beforehand(run):
    warned = []

    def warn(line):
        assert [] == run.told
        warned.append(line)

    def predict(cell):
        # 8 passes of 0.25 s, and 4 s to start; twice the passes for two sides
        return Predicted(macs_total=2_500_000_000)

    pair = Cell(row="ok-2", against=Cell(row="ok-3"))
    for budget_s in (3, 4):
        run("ok-1", pair, budget_s=budget_s, predict=predict, warn=warn)
        run.told.clear()
    assert ["2 measurements take about 14 s at least, more than the budget of 3 s"] == warned


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
        if found := re.match(rf"{row}: (\d+) samples", line):
            return int(found[1])
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
        assert (130, f"{words} continue\n") == (process.returncode, said)
    assert ["ok-1"] == rows(store.read().values())
    with parent(store, *given, RESUME="1", CALM="1") as process:
        said = process.communicate(timeout=60)[0]
    assert 1 == said.count("stored")
    assert list(given) == rows(store.read().values())


@pytest.fixture
def made_up(tmp_path, monkeypatch):
    """Sweep rows on two kinds of machine in turn; "lost" and "unfit" fail so."""
    ray_errors = pytest.importorskip("ray.exceptions")
    failing = {"lost": ray_errors.NodeDiedError("gone"), "unfit": ValueError("said so"), "stop": 0}
    monkeypatch.setattr(machine_module, "code_version", lambda: "7")
    monkeypatch.setattr(on_ray.platform, "node", lambda: "host")

    def outcomes(function, calls, *, device, gpu):
        assert ("cpu", None) == (device, gpu)
        for number, (cell, *shared) in reversed([*enumerate(calls)]):
            if cell.row in failing:
                if cell.row == "stop":
                    raise KeyboardInterrupt
                yield number, failing[cell.row]
                continue
            machine = machines[number % len(machines)]
            monkeypatch.setattr(parent_side, "machine_of", lambda device, machine=machine: machine)
            try:
                yield number, function(cell, *shared)
            except ValueError as error:
                yield number, error

    def sweep_rows(*rows, among=(MACHINE, RULE), resume=True):
        machines[:] = among
        sweep_rows.told = []
        return sweep_on_ray(
            [row if isinstance(row, Cell) else Cell(row=row) for row in rows],
            tmp_path,
            command="vidcost time",
            resume=resume,
            worker=FAKE,
            on_progress=lambda words, done: sweep_rows.told.append((words, done)),
        )

    machines = []
    monkeypatch.setattr(on_ray, "outcomes", outcomes)
    return sweep_rows


def in_files(tmp_path):
    return {
        path.name: rows(Store(path).read().values()) for path in tmp_path.glob("timings/*.jsonl")
    }


def test_each_record_goes_to_the_file_of_its_machine(made_up, tmp_path):
    found = made_up("ok-1", "ok-2", "crash").timings
    # in order, though the outcomes came in another one
    assert ["ok-1", "ok-2", "crash"] == rows(found)
    assert ["ok", "ok", "crashed"] == [each.status for each in found]
    assert {"host"} == {each.machine.host for each in found}
    files = {"local-fake-torch2.jsonl": ["crash", "ok-1"], "slide-rule-torch2.jsonl": ["ok-2"]}
    assert files == in_files(tmp_path)


@pytest.mark.parametrize(
    ("among", "resume", "stored"),
    [
        ((MACHINE, RULE), True, ["ok-1", "ok-2"]),
        ((MACHINE,), True, ["ok-1"]),
        ((MACHINE.model_copy(update={"driver": "570"}),), True, []),
        ((MACHINE, RULE), False, []),
    ],
)
def test_cells_stored_for_the_kind_of_their_machine_are_left_out(made_up, among, resume, stored):
    made_up("ok-1", "ok-2", "crash")
    found = made_up("ok-1", "ok-2", "crash", among=among, resume=resume).timings
    assert ["ok-1", "ok-2", "crash"] == rows(found)
    assert {f"{row}: stored" for row in stored} == {w for w, _ in made_up.told if "stored" in w}


def test_a_cell_that_is_lost_is_a_status_and_in_no_file(made_up, tmp_path):
    swept = made_up("ok", "lost", "unfit", among=(MACHINE,))
    assert ["ok", "killed", "crashed"] == [each.status for each in swept.timings]
    assert swept.failures[0].endswith(": killed: lost 3 times, at last: NodeDiedError: gone")
    assert {"local-fake-torch2.jsonl": ["ok"]} == in_files(tmp_path)


def test_an_interrupted_sweep_keeps_its_records(made_up, tmp_path):
    with pytest.raises(Interrupted, match=r"^stopped after 1 of 3 cells, which are stored: give"):
        made_up("ok-1", "stop", "ok-2")
    assert {"local-fake-torch2.jsonl": ["ok-2"]} == in_files(tmp_path)


def test_code_that_differs_on_a_node_is_not_measured(made_up, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    cell = Cell(network="my_net.py:make", inputs=("1x3",), code="77")
    (missing,) = made_up(cell).timings
    (tmp_path / "my_net.py").write_text("def make(): ...\n")
    (other,) = made_up(cell).timings
    assert ("crashed", "crashed") == (missing.status, other.status)
    assert missing.error.startswith("no file my_net.py")
    assert other.error.endswith("differs on this node")

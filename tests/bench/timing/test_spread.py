"""A sweep over several machines, in this process: what is stored where, what is left out."""

from __future__ import annotations

import itertools

import pytest

from vidcost.bench.engine.here import Here
from vidcost.bench.engine.work import Lost, Outcome, Unfit
from vidcost.bench.session.timing import store_of
from vidcost.bench.timing import events
from vidcost.bench.timing.cell import Cell
from vidcost.bench.timing.conditions import conditions
from vidcost.bench.timing.messages import Limits
from vidcost.bench.timing.record import Machine
from vidcost.bench.timing.spread import Spread, Usual, needs_of, spread
from vidcost.bench.timing.store import Store
from vidcost.bench.timing.sweep import sweep

ABACUS = Machine(
    device="Abacus",
    cpu="Abacus",
    cores=2,
    memory_bytes=7,
    platform="x",
    python="3",
    torch="2",
    vidcost="0",
)
RULE = ABACUS.model_copy(update={"device": "Slide rule"})


class Machines:
    """A site whose machines take turns; a cell fails or is lost by the name of its row."""

    def __init__(self, *machines, timed):
        self.there = machines
        self.turn = itertools.cycle(machines)
        self.timed = timed
        self.measured = []

    def machines(self, device):
        return [(machine, conditions(machine)) for machine in self.there]

    def measure(self, cell, limits):
        if cell.row == "lost":
            raise Lost("lost 3 times")
        if cell.row == "refused":
            raise ValueError("no such row")
        self.measured.append(cell.row)
        machine = next(self.turn)
        key, status = cell.key(*conditions(machine)), "oom" if cell.row == "oom" else "ok"
        return conditions(machine), self.timed(cell, key=key, machine=machine, status=status)


class TwoNodes(Here):
    """Says what a cluster would of where a piece ran."""

    def run(self, pieces):
        for number, outcome in enumerate(super().run(pieces)):
            yield Outcome(
                outcome.piece, outcome.returned, outcome.error, "host", f"node {number % 2}"
            )


@pytest.fixture
def run(timed, tmp_path):
    """Sweep rows over machines; ``run.events`` and ``run.site`` are of the last."""

    def sweep_rows(*rows, machines=(ABACUS,), resume=True):
        run_ = sweep_rows
        run_.events, run_.site = [], Machines(*machines, timed=timed)
        found = Spread([Cell(row=row) for row in rows])
        spread(
            found,
            TwoNodes(),
            lambda machine: store_of(tmp_path, machine),
            site=run_.site,
            resume=resume,
            on_event=run_.events.append,
        )
        return found

    return sweep_rows


def rows(timings):
    return [timing.cell.row for timing in timings]


def files(tmp_path):
    return {
        path.name: rows(Store(path).read().values()) for path in tmp_path.glob("timings/*.jsonl")
    }


def test_each_record_goes_to_the_file_of_its_machine_and_is_read_in_the_order_of_the_cells(
    run, tmp_path
):
    found = run("a", "b", "c", machines=(ABACUS, RULE))
    expected = {"abacus-torch2.jsonl": ["a", "c"], "slide-rule-torch2.jsonl": ["b"]}
    assert expected == files(tmp_path)
    assert ["a", "b", "c"] == rows(found)
    assert (3, 3) == (found.done, len(found))
    # as often as one likes
    assert ["Abacus", "Slide rule", "Abacus"] == [each.machine.device for each in found]


def test_a_record_says_the_node(run):
    found = run("a", "b")
    assert [("host", "node 0"), ("host", "node 1")] == [
        (each.machine.host, each.machine.node) for each in found
    ]


def test_what_is_stored_for_one_of_the_machines_is_left_out(run, tmp_path):
    run("a", "b", machines=(ABACUS, RULE))
    found = run("a", "b", "c", machines=(RULE, ABACUS))
    assert ["c"] == run.site.measured
    assert ["a", "b", "c"] == rows(found)
    skipped = [event.cell.row for event in run.events if isinstance(event, events.CellSkipped)]
    assert ["a", "b"] == skipped


def test_what_another_machine_measured_is_measured_here(run, tmp_path):
    run("a")
    run("a", machines=(RULE,))
    assert {"abacus-torch2.jsonl": ["a"], "slide-rule-torch2.jsonl": ["a"]} == files(tmp_path)


@pytest.mark.parametrize("change", [{"driver": "570"}, {"torch": "2.13"}], ids=str)
def test_another_driver_or_torch_is_measured_anew(run, change):
    run("a")
    run("a", machines=(ABACUS.model_copy(update=change),))
    assert ["a"] == run.site.measured


def test_without_resume_everything_is_measured_anew(run):
    run("a", "b")
    run("a", "b", resume=False)
    assert ["a", "b"] == run.site.measured


def test_a_cell_that_failed_is_a_status_and_tried_the_next_time(run):
    found = run("oom", "a")
    assert ["oom", "ok"] == [timing.status for timing in found]
    run("oom", "a")
    assert ["oom"] == run.site.measured


def test_a_cell_that_is_lost_is_a_status_of_no_machine_and_in_no_file(run, tmp_path):
    found = run("a", "lost", "b")
    a, lost, b = found
    assert ("killed", "lost 3 times", None) == (lost.status, lost.error, lost.machine)
    assert (["a", "b"], 2) == (rows([a, b]), found.done)
    assert {"abacus-torch2.jsonl": ["a", "b"]} == files(tmp_path)
    (done,) = (e for e in run.events if isinstance(e, events.CellDone) and e.cell.row == "lost")
    assert not done.stored


def test_what_is_wrong_with_a_cell_ends_the_sweep_and_keeps_what_is_there(run, tmp_path):
    with pytest.raises(ValueError, match="no such row"):
        run("a", "refused", "b")
    assert {"abacus-torch2.jsonl": ["a"]} == files(tmp_path)


def test_a_damaged_file_is_refused_before_any_work(run, tmp_path):
    (tmp_path / "timings").mkdir()
    (tmp_path / "timings/abacus-torch2.jsonl").write_text("[]\n")
    with pytest.raises(ValueError, match="line 1 is not the first line"):
        run("a")
    assert [] == run.events


def test_nothing_to_time_asks_nothing(run):
    assert [] == list(run())


def test_of_a_cell_measured_again_the_latest_counts(run):
    (before,) = run("a")
    (after,) = run("a", resume=False)
    assert before.started <= after.started


# where it is measured


def test_a_device_that_is_not_there_is_for_another_machine():
    def look(device):
        raise ValueError("cannot use cuda: it fell off the bus")

    with pytest.raises(Unfit, match="fell off the bus"):
        Usual(look=look).measure(Cell(row="mfnet", device="cuda"), Limits())


def test_other_code_of_a_users_is_for_another_machine(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    cell = Cell(network="my_net.py:make", inputs=("1x3",), code="77")
    with pytest.raises(Unfit, match=r"^no file my_net.py"):
        Usual().measure(cell, Limits())
    (tmp_path / "my_net.py").write_text("def make(): ...\n")
    with pytest.raises(Unfit, match="is another one there"):
        Usual().measure(cell, Limits())


def test_a_cpu_is_a_machine_and_a_gpu_is_one():
    assert ["machine", "gpu"] == [needs_of(device) for device in ("cpu", "cuda")]


def test_on_one_machine_afterwards_nothing_is_left_to_do(run, tmp_path, monkeypatch):
    """What a cluster stored counts for the other kind of sweep, and the other way round."""
    run("a")
    monkeypatch.setattr("vidcost.bench.timing.parent.machine_of", lambda device: ABACUS)
    store = store_of(tmp_path, ABACUS)
    told = []
    sweep([Cell(row="a")], store, resume=True, on_event=told.append)
    assert [events.CellSkipped] == [type(event) for event in told]

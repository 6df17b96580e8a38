"""Workers that start ahead: how many, for whom, and that all are ready before one is used."""

from __future__ import annotations

import sys
import time

import pytest

from vidcost.bench.timing import crew
from vidcost.bench.timing.cell import Cell
from vidcost.bench.timing.crew import Crew
from vidcost.bench.timing.messages import Limits
from vidcost.bench.timing.worker_process import TimedOut, WorkerProcess

SLOW = """\
import sys, time
time.sleep(float(sys.argv[1]))
print('{"ready": true}', flush=True)
sys.stdin.readline()
print('{"ready": true}', flush=True)
sys.stdin.read()
"""
LIMITS = Limits()


class Noted(WorkerProcess):
    """Says which workers there are."""

    all: list[Noted] = []  # noqa: RUF012  emptied by the fixture

    def __init__(self, command, *, threads):
        super().__init__(command, threads=threads)
        Noted.all.append(self)

    @property
    def lives(self):
        return self._process.poll() is None


@pytest.fixture
def workers(monkeypatch):
    monkeypatch.setattr(crew, "WorkerProcess", Noted)
    Noted.all = []
    yield Noted
    for worker in Noted.all:
        worker.__exit__(None, None, None)


def of(cores, *, delay="0"):
    return Crew([sys.executable, "-c", SLOW, delay], cores=cores)


def prepare(ahead, asked):
    first, *following = asked
    return ahead.prepare(first, following, LIMITS)


def cells(device="cuda", threads=1):
    """Any number of cells that differ."""
    return [
        Cell(row="mfnet", device=device, batch=n, threads=threads) for n in range(1, crew.MOST + 9)
    ]


@pytest.mark.parametrize(
    ("device", "cores", "left", "started"),
    [
        ("cuda", 8, 3, 3),
        ("cuda:1", 8, 16, 4),
        ("cuda", 64, 16, crew.MOST),
        ("cuda", 2, 16, 0),
        ("cuda", 8, 1, 0),
        # of a CPU each has the whole
        ("cpu", 64, 16, 0),
    ],
)
def test_a_gpus_cells_have_as_many_workers_ahead_as_half_the_cores(
    workers, device, cores, left, started
):
    asked = cells(device)[:left]
    assert asked[:started] == [*prepare(of(cores), asked)]
    assert started == len(workers.all)


def test_each_has_the_worker_that_was_started_for_it(workers):
    ahead, asked = of(16), cells()
    prepare(ahead, asked)
    ahead.wait()
    # in another order, too
    assert [workers.all[n] for n in (2, 0, 5)] == [ahead.take(asked[n]) for n in (2, 0, 5)]
    # one that none was started for has a new one
    assert ahead.take(asked[9]) not in workers.all[:8]
    assert 9 == len(workers.all)


def test_all_are_ready_before_the_first_begins(workers):
    ahead = of(8, delay="0.3")
    prepare(ahead, cells()[:3])
    began = time.monotonic()
    ahead.wait()
    assert time.monotonic() - began > 0.2
    # nothing is left to be read of them
    deadline = time.monotonic() + 0.1
    for worker in workers.all:
        with pytest.raises(TimedOut):
            worker.receive(deadline)


def test_those_that_wait_are_used_up_before_more_start(workers):
    ahead, asked = of(4), cells()
    assert asked[:2] == prepare(ahead, asked)
    ahead.take(asked[0])
    assert [] == [*prepare(ahead, asked[1:])]
    ahead.take(asked[1])
    assert asked[2:4] == prepare(ahead, asked[2:])


def test_what_follows_is_looked_at_for_workers_alone(workers):
    """To know it costs a look into the file of each."""

    def fail():
        pytest.fail("looked at")
        yield

    ahead, asked = of(8), cells()
    # a CPU's cells have none ahead, and who has one needs no other
    assert () == ahead.prepare(cells("cpu")[0], fail(), LIMITS)
    following = iter(asked[1:])
    ahead.prepare(asked[0], following, LIMITS)
    assert asked[4] == next(following)
    assert () == ahead.prepare(asked[1], fail(), LIMITS)


@pytest.mark.parametrize("other", [{"threads": 2}, {"device": "cuda:1"}])
def test_workers_are_started_for_cells_of_one_kind(workers, other):
    alike = cells()[:3]
    unlike = [cell.model_copy(update=other) for cell in cells()]
    ahead = of(16)
    assert alike == prepare(ahead, [*alike, *unlike])
    # and end when their cells are passed over
    assert unlike[: crew.MOST] == prepare(ahead, unlike)
    assert [False] * 3 + [True] * crew.MOST == [worker.lives for worker in workers.all]


def test_those_that_were_not_needed_end(workers):
    ahead = of(4)
    prepare(ahead, cells())
    ahead.dismiss()
    assert [False, False] == [worker.lives for worker in workers.all]


@pytest.mark.parametrize("kind", ["late", "dead"])
def test_one_that_is_not_ready_ends_and_is_started_anew(workers, kind, monkeypatch):
    monkeypatch.setattr(crew, "READY_LIMIT_S", 0.2 if kind == "late" else 60)
    ahead, asked = of(4, delay="60" if kind == "late" else "none"), cells()
    prepare(ahead, asked)
    began = time.monotonic()
    ahead.wait()
    assert time.monotonic() - began < 20
    assert [False, False] == [worker.lives for worker in workers.all]
    assert ahead.take(asked[0]) not in workers.all[:2]

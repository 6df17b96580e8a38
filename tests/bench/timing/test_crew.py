"""Workers that start ahead: how many, for whom, and that all are ready before one is used."""

from __future__ import annotations

import os
import sys
import time

import pytest

from vidcost.bench.timing import crew
from vidcost.bench.timing.cell import Cell
from vidcost.bench.timing.crew import Crew
from vidcost.bench.timing.messages import Limits
from vidcost.bench.timing.worker_process import WorkerProcess

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
    """Says which workers there are, and which were waited for."""

    all: list[Noted] = []  # noqa: RUF012  emptied by the fixture
    ready: list[Noted] = []  # noqa: RUF012

    def __init__(self, command, *, threads):
        super().__init__(command, threads=threads)
        Noted.all.append(self)

    def await_ready(self, deadline):
        super().await_ready(deadline)
        Noted.ready.append(self)


@pytest.fixture
def workers(monkeypatch):
    monkeypatch.setattr(crew, "WorkerProcess", Noted)
    Noted.all, Noted.ready = [], []
    yield Noted
    for worker in Noted.all:
        worker.__exit__(None, None, None)


def of(cores, *, delay="0"):
    return Crew([sys.executable, "-c", SLOW, delay], cores=cores)


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
    assert asked[:started] == [*of(cores).prepare(asked, LIMITS)]
    assert started == len(workers.all)


def test_none_is_given_a_task_before_all_are_ready(workers):
    ahead = of(8, delay="0.2")
    ahead.prepare(cells()[:3], LIMITS)
    first = ahead.take(1)
    assert workers.all == workers.ready
    assert workers.all[0] is first
    assert workers.all[1:] == [ahead.take(1), ahead.take(1)]
    # nobody is left, and the next starts on the spot
    assert ahead.take(1) not in workers.ready
    assert 4 == len(workers.all)


def test_those_that_wait_are_used_up_before_more_start(workers):
    ahead = of(4)
    asked = cells()
    assert asked[:2] == ahead.prepare(asked, LIMITS)
    ahead.take(1)
    assert [] == [*ahead.prepare(asked[1:], LIMITS)]
    ahead.take(1)
    assert asked[2:4] == ahead.prepare(asked[2:], LIMITS)


def test_other_threads_are_other_workers(workers):
    ahead = of(4)
    ahead.prepare(cells(), LIMITS)
    ahead.prepare(cells(threads=2), LIMITS)
    before, after = workers.all[:2], workers.all[2:]
    assert [-9, -9] == [worker._process.returncode for worker in before]
    assert [None, None] == [worker._process.poll() for worker in after]


def test_workers_are_started_for_cells_of_one_kind_of_thread(workers):
    one, two = cells(), cells(threads=2)
    assert one[:3] == of(16).prepare([*one[:3], *two], LIMITS)


def test_those_that_were_not_needed_end(workers):
    ahead = of(4)
    ahead.prepare(cells(), LIMITS)
    ahead.dismiss()
    for worker in workers.all:
        with pytest.raises(ProcessLookupError):
            os.kill(worker._process.pid, 0)


def test_one_that_never_says_so_holds_nobody_up_for_ever(workers, monkeypatch):
    monkeypatch.setattr(crew, "READY_LIMIT_S", 0.2)
    ahead = of(4, delay="60")
    ahead.prepare(cells(), LIMITS)
    began = time.monotonic()
    ahead.take(1)
    assert time.monotonic() - began < 5

"""Workers that start ahead: how many, for whom, and that all are ready before one is used."""

from __future__ import annotations

import os
import sys
import time

import pytest

from vidcost.bench.timing import crew
from vidcost.bench.timing.crew import Crew
from vidcost.bench.timing.worker_process import WorkerProcess

SLOW = """\
import sys, time
time.sleep(float(sys.argv[1]))
print('{"ready": true}', flush=True)
sys.stdin.read()
"""


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


@pytest.mark.parametrize(
    ("device", "cores", "cells", "started"),
    [
        ("cuda", 8, 3, 3),
        ("cuda:1", 8, 30, 4),
        ("cuda", 64, 30, crew.MOST),
        ("cuda", 2, 30, 0),
        ("cuda", 8, 1, 0),
        # of a CPU each has the whole
        ("cpu", 64, 30, 0),
    ],
)
def test_a_gpus_cells_have_as_many_workers_ahead_as_half_the_cores(
    workers, device, cores, cells, started
):
    assert started == of(cores).prepare(device, threads=1, cells=cells)
    assert started == len(workers.all)


def test_none_is_given_a_task_before_all_have_done_their_imports(workers):
    ahead = of(8, delay="0.2")
    ahead.prepare("cuda", threads=1, cells=3)
    first = ahead.take(1)
    assert workers.all == workers.ready
    assert workers.all[0] is first
    assert workers.all[1:] == [ahead.take(1), ahead.take(1)]
    # nobody is left, and the next starts on the spot
    assert ahead.take(1) not in workers.ready
    assert 4 == len(workers.all)


def test_those_that_wait_are_used_up_before_more_start(workers):
    ahead = of(4)
    assert 2 == ahead.prepare("cuda", threads=1, cells=9)
    ahead.take(1)
    assert 0 == ahead.prepare("cuda", threads=1, cells=8)
    ahead.take(1)
    assert 2 == ahead.prepare("cuda", threads=1, cells=7)


def test_other_threads_are_other_workers(workers):
    ahead = of(4)
    ahead.prepare("cuda", threads=1, cells=2)
    ahead.prepare("cuda", threads=2, cells=2)
    before, after = workers.all[:2], workers.all[2:]
    assert [-9, -9] == [worker._process.returncode for worker in before]
    assert [None, None] == [worker._process.poll() for worker in after]


def test_those_that_were_not_needed_end(workers):
    ahead = of(4)
    ahead.prepare("cuda", threads=1, cells=2)
    ahead.dismiss()
    for worker in workers.all:
        with pytest.raises(ProcessLookupError):
            os.kill(worker._process.pid, 0)


def test_one_that_never_says_so_holds_nobody_up_for_ever(workers, monkeypatch):
    monkeypatch.setattr(crew, "READY_LIMIT_S", 0.2)
    ahead = of(4, delay="60")
    ahead.prepare("cuda", threads=1, cells=2)
    began = time.monotonic()
    ahead.take(1)
    assert time.monotonic() - began < 5

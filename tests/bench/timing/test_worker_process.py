"""The real worker, seen from the parent."""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys

from vidcost.bench.timing.cell import Cell
from vidcost.bench.timing.messages import Limits, Task
from vidcost.bench.timing.store import Store
from vidcost.bench.timing.sweep import sweep
from vidcost.bench.timing.worker_process import COMMAND

SMALL = Cell(row="r3d18", classes=3, frames=4, size=32)
SHORT = Limits(sampling_s=0.01, warmup_s=0.01, chunk_s=0.001, energy_s=0)


def test_a_sweep_measures_a_small_network_and_finds_it_again(tmp_path):
    store = Store(tmp_path / "cpu.jsonl")
    (timing,) = sweep([SMALL], store, limits=SHORT)
    assert ("ok", "") == (timing.status, timing.error)
    # samples so few that they have no precision
    assert timing.protocol.precision is None
    assert all(sample > 0 for sample in timing.samples_s["latency"])
    assert {timing.key: timing} == store.read()
    assert [timing] == sweep([SMALL], store, resume=True, command=["false"])


_PARENT = """
import subprocess, sys
worker = subprocess.Popen(sys.argv[1:])
print(worker.pid, file=sys.stderr, flush=True)
worker.wait()
"""


def test_a_worker_does_not_outlive_its_parent():
    parent = subprocess.Popen(
        [sys.executable, "-c", _PARENT, *COMMAND],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    worker = os.pidfd_open(int(parent.stderr.readline()))
    try:
        # the worker's input is ours and stays open: it waits for a reply for ever
        parent.stdin.write(Task(cell=SMALL, limits=SHORT).model_dump_json() + "\n")
        parent.stdin.flush()
        assert json.loads(parent.stdout.readline())["ready"]
        assert json.loads(parent.stdout.readline())["chunk"]
        assert not select.select([worker], [], [], 0)[0]
        parent.kill()
        assert select.select([worker], [], [], 10)[0]
    finally:
        os.close(worker)
        parent.kill()
        parent.communicate()

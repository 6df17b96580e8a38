"""Sweeps over a cluster of three nodes: nodes and drivers are killed, and nothing is lost."""

from __future__ import annotations

import collections
import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from vidcost.bench.session.timing import store_of
from vidcost.bench.timing import conditions
from vidcost.bench.timing.cell import Cell
from vidcost.bench.timing.store import Store
from vidcost.bench.timing.sweep import sweep

pytestmark = pytest.mark.ray

DRIVER = Path(__file__).with_name("run_spread.py")
FAKE_WORKER = Path(__file__).parents[1] / "timing/fake_worker.py"


@pytest.fixture(scope="module")
def cluster(begin):
    return begin({"num_cpus": 1}, {"num_cpus": 3, "num_gpus": 2}, {"num_cpus": 2})


@pytest.fixture
def drive(cluster, tmp_path):
    """Begin a driver for rows; what it prints is read from its standard output."""
    with contextlib.ExitStack() as stack:

        def begin(*rows, device="cpu"):
            process = subprocess.Popen(
                [sys.executable, "-W", "error", DRIVER, cluster.address, tmp_path, *rows],
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                env=os.environ | {"DEVICE": device},
            )
            stack.callback(process.communicate)
            stack.callback(process.kill)
            return process

        yield begin


def ended(process):
    out, err = process.communicate(timeout=300)
    assert 0 == process.returncode, err
    return [line.split() for line in out.splitlines()], err.splitlines()


def stored(tmp_path):
    """Every line of the files, not only the latest of a key."""
    lines = [
        line
        for path in tmp_path.glob("timings/*.jsonl")
        for line in path.read_text().splitlines()[1:]
    ]
    return collections.Counter(json.loads(line)["cell"]["row"] for line in lines)


def test_200_cells_a_node_killed_the_driver_killed_and_every_cell_once(cluster, drive, tmp_path):
    rows = [f"ok-{number}" for number in range(200)]
    first = drive(*rows)
    nodes = set()
    for number, line in enumerate(first.stdout, start=1):
        nodes.add(line.split()[2])
        if number == 60:
            cluster.remove_node(cluster.others.pop(), allow_graceful=False)
        if number == 120:
            first.kill()
            break
    first.wait()
    assert 3 == len(nodes)
    said, _ = ended(drive(*rows))
    assert ["done", "200"] == said.pop()
    kinds = collections.Counter(kind for _, kind, *_ in said)
    # the one that was read last may have been followed by a few before the kill
    assert 120 <= kinds["skipped"] < 200
    assert {"ok", "skipped"} == set(kinds)
    assert dict.fromkeys(rows, 1) == stored(tmp_path)


def test_what_one_machine_measured_is_left_out_on_the_cluster_and_the_other_way(drive, tmp_path):
    """And a worker that dies is a status of its cell: nobody tries that elsewhere."""
    store = store_of(tmp_path, conditions.machine_of("cpu"))
    fake = (sys.executable, "-P", str(FAKE_WORKER))
    sweep([Cell(row="ok-1")], store, command=fake)
    failing = {"crash": "crashed", "killed-SIGKILL": "killed", "oom": "oom"}
    rows = ("ok-1", *failing, "ok-2")
    said, notes = ended(drive(*rows))
    assert {"ok-1": "skipped", **failing, "ok-2": "ok"} == {row: how for row, how, *_ in said[:-1]}
    assert [] == notes
    told = []
    sweep([Cell(row=row) for row in ("ok-1", "ok-2")], store, resume=True, on_event=told.append)
    assert ["CellSkipped"] * 2 == [type(event).__name__ for event in told]
    assert dict.fromkeys(rows, 1) == stored(tmp_path)


def test_ctrl_c_ends_what_runs_and_keeps_what_is_there(drive, tmp_path):
    process = drive("ok-1", "hang", "ok-2", device="cuda")
    told = [process.stdout.readline().partition(" ")[0] for _ in range(2)]
    assert ["ok-1", "ok-2"] == sorted(told), process.communicate()[1]
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=120)
    assert process.returncode
    for _ in range(100):
        left = subprocess.run(["pgrep", "-f", str(FAKE_WORKER)], capture_output=True).stdout
        if not left:
            break
        time.sleep(0.1)
    assert b"" == left
    assert {"ok-1": 1, "ok-2": 1} == stored(tmp_path)
    (path,) = tmp_path.glob("timings/*.jsonl")
    assert path.name.startswith("abacus-torch")
    assert {"Abacus"} == {timing.machine.device for timing in Store(path).read().values()}

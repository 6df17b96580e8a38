"""Calls, sweeps and commands on Ray, and the nodes and addresses without it."""

from __future__ import annotations

import collections
import contextlib
import itertools
import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from vidcost.bench.engine import on_ray
from vidcost.bench.engine.calls import Call, Lost, Unfit
from vidcost.bench.engine.on_ray import TYPE_LABEL, Node, OnRay
from vidcost.bench.timing import conditions, sweep
from vidcost.bench.timing.cell import Cell
from vidcost.bench.timing.messages import Limits
from vidcost.bench.timing.store import Store
from vidcost.bench.timing.stored import store_of

FAKE_WORKER = Path(__file__).parents[1] / "timing/fake_worker.py"


def on_cluster(test):
    return pytest.mark.ray(pytest.mark.slow(test))


# without a cluster


@pytest.mark.parametrize(
    ("address", "message"),
    [
        (None, r"^no Ray cluster answers at 127.0.0.1:\d+ \(\[Errno.*`ray start --head` starts"),
        ("somewhere", "^--address somewhere is none: give host:port, such as 10.0.0.1:6379$"),
        ("host:", "is none"),
        ("host:six", "is none"),
        ("ray://10.0.0.1:10001", "hand the command to `ray job submit`"),
    ],
)
def test_an_address_of_no_cluster(monkeypatch, address, message):
    pytest.importorskip("ray")
    if address is None:
        with contextlib.closing(socket.create_server(("127.0.0.1", 0))) as free:
            monkeypatch.setenv("RAY_ADDRESS", f"127.0.0.1:{free.getsockname()[1]}")
    with pytest.raises(ValueError, match=message), on_ray.joined(address):
        pass


def node(*, alive=True, labels=None, **resources):
    known = {"Alive": alive, "NodeID": "7", "NodeManagerHostname": "h"}
    return known | {"Labels": labels or {}, "Resources": resources}


H100 = {TYPE_LABEL: "H100"}


def test_nodes_are_read_with_the_type_of_their_gpus(monkeypatch):
    there = [
        node(CPU=8.0, GPU=2.0, labels=H100),
        node(CPU=4.0, GPU=1.0),
        node(CPU=1.0, alive=False),
    ]
    monkeypatch.setattr(on_ray, "_ray", lambda: SimpleNamespace(nodes=lambda: there))
    assert [Node("7", "h", 8, 2, "H100"), Node("7", "h", 4, 1, "")] == on_ray.nodes()
    assert ("H100",) == on_ray.check_types(["h100"])
    # smaller nodes are not used for a call that needs a machine
    assert 8 == OnRay()._options("machine")["num_cpus"]


@pytest.mark.parametrize(
    ("there", "message"),
    [
        (node(CPU=1.0), "^the Ray cluster has no GPU: give --device cpu$"),
        (node(GPU=2.0, labels=H100), "^the Ray cluster has no GPU of type 'A100': it has H100$"),
        (node(GPU=2.0), "it has GPUs without a type$"),
    ],
)
def test_gpus_that_are_not_there(monkeypatch, there, message):
    monkeypatch.setattr(on_ray, "_ray", lambda: SimpleNamespace(nodes=lambda: [there]))
    with pytest.raises(ValueError, match=message):
        on_ray.check_types(["A100"])


# calls


def square(n):
    return n * n


def here():
    import ray

    return ray.get_runtime_context().get_node_id()


def nap(seconds):
    """From when to when this ran, on which node and GPU."""
    began = time.monotonic()
    time.sleep(seconds)
    return began, time.monotonic(), here(), os.environ.get("CUDA_VISIBLE_DEVICES")


def overlapping(ran, place):
    """Pairs that ran at once in one place."""
    return [
        (one, other)
        for one, other in itertools.combinations(ran, 2)
        if place(one) == place(other) and one[0] < other[1] and other[0] < one[1]
    ]


@on_cluster
def test_calls_have_their_outcomes_and_are_taken_as_there_is_room(engine, cluster):
    asked = []

    def calls():
        for n in range(60):
            asked.append(n)
            yield Call(str(n), square, (n,))

    outcomes = engine.run(calls())
    found = [next(outcomes) for _ in range(20)]
    # nine cores and GPUs, and as many calls again that wait for one
    assert len(asked) <= 20 + 2 * 9
    found += outcomes
    assert {n: n * n for n in range(60)} == {each.number: each.get() for each in found}
    assert all(each.host and len(each.node) > 20 for each in found)
    ids = [node.node_id for node in cluster.others]
    assert sorted(ids) == sorted(engine.everywhere(here, needs="machine"))
    assert sorted(ids[1:]) == sorted(engine.everywhere(here, needs="gpu"))
    with pytest.raises(ValueError, match=r"^no node of the Ray cluster has such a GPU: "):
        OnRay(gpu_types=["B200"]).everywhere(here, needs="gpu")


@on_cluster
def test_a_call_shares_its_machine_or_its_gpu_with_no_other(engine, cluster):
    calls = [Call("alone", nap, (0.2,), needs) for _ in range(6) for needs in ("machine", "core")]
    ran = [(*each.get(), each.number) for each in engine.run(calls)]
    pairs = overlapping(ran, lambda each: each[2])
    assert [] == [pair for pair in pairs if 0 in (pair[0][-1] % 2, pair[1][-1] % 2)]
    ran = [each.get() for each in engine.run([Call("n", nap, (0.2,), "gpu") for _ in range(12)])]
    assert 3 == len({each[2:4] for each in ran})
    assert [] == overlapping(ran, lambda each: each[2:4])
    one_type = OnRay(gpu_types=["A100"]).run([Call("n", nap, (0.05,), "gpu") for _ in range(4)])
    assert {cluster.others[2].node_id} == {each.get()[2] for each in one_type}


class Odd(Exception):
    def __init__(self, one, two):
        super().__init__(f"{one} and {two}")


def fail(error):
    raise {"odd": Odd(1, 2), "unfit": Unfit("it fell off the bus")}.get(error) or ValueError(error)


def die_at_first(path, times):
    tried = len(Path(path).read_text()) if Path(path).exists() else 0
    Path(path).write_text("x" * (tried + 1))
    if tried < times:
        os.kill(os.getpid(), signal.SIGKILL)
    return tried


@on_cluster
def test_errors_and_losses_are_outcomes(engine, tmp_path):
    calls = [Call(kind, fail, (kind,)) for kind in ("value", "odd", "unfit")]
    calls += [Call(f"dies {n} times", die_at_first, (str(tmp_path / f"{n}"), n)) for n in (2, 9)]
    calls.append(Call("large", bytes, (20 << 20,)))
    found = {each.name: each for each in engine.run(calls)}
    # an error that cannot be made anew from what it holds is sent as its message
    expected = ["ValueError('value')", "RuntimeError('Odd: 1 and 2')"]
    assert expected == [repr(found[kind].error) for kind in ("value", "odd")]
    assert 20 << 20 == len(found["large"].get())
    assert 2 == found["dies 2 times"].get()
    for name, message in (("unfit", "it fell off the bus$"), ("dies 9 times", "WorkerCrashedErr")):
        with pytest.raises(Lost, match=rf"^lost 3 times, at last: [^\n]*{message}"):
            found[name].get()
    assert "xxx" == (tmp_path / "9").read_text()


def hang(path):
    Path(path).write_text(str(os.getpid()))
    time.sleep(600)


def waits_for(condition):
    for _ in range(300):
        if condition():
            return True
        time.sleep(0.1)
    return False


@on_cluster
def test_closing_ends_the_running_calls(engine, tmp_path):
    pid = tmp_path / "pid"
    outcomes = engine.run([Call("one", hang, (str(pid),)), Call("another", square, (3,))])
    assert 9 == next(outcomes).get()
    assert waits_for(lambda: pid.exists() and pid.read_text())
    outcomes.close()
    assert waits_for(lambda: not Path(f"/proc/{pid.read_text()}").exists())


# sweeps and commands


def look(device):
    """GPUs that are none."""
    return conditions.machine_of("cpu").model_copy(update={"device": "Abacus"})


def look_around(device):
    return [look(device)]


@on_cluster
def test_a_sweep_stores_each_cell_once_and_resumes(engine, tmp_path):
    """A worker that dies is a status of its cell: nobody tries that elsewhere."""
    failing = {"crash": "crashed", "killed-SIGKILL": "killed", "oom": "oom"}
    cells = [Cell(row=row, device="cuda") for row in ("ok-1", *failing, "ok-2")]
    fake = (sys.executable, "-P", str(FAKE_WORKER))
    site = sweep.Site(command=fake, look=look, look_around=look_around)
    kinds = []
    for _ in range(2):
        swept = sweep.sweep_on(
            engine,
            cells,
            lambda machine: store_of(tmp_path, machine),
            site=site,
            resume=True,
            on_event=lambda event: kinds.append(event.kind),
        )
        assert ["ok", *failing.values(), "ok"] == [timing.status for timing in swept.timings]
    assert {"done": 5 + 3, "skipped": 2} == collections.Counter(kinds)
    (path,) = tmp_path.glob("timings/abacus-torch*.jsonl")
    assert all(timing.machine.node for timing in Store(path).read().values())


MY_BLOCK = """
from torch import nn
from beside import WIDTH

class MyBlock(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.down = nn.Conv3d(channels, WIDTH, 1)
        self.up = nn.Conv3d(WIDTH, channels, 1)

    def forward(self, x):
        return x + self.up(self.down(x))
"""


@pytest.fixture
def command(cluster, vidcost, monkeypatch):
    """A command on the cluster or here, with a moment for each timing: its table."""

    def brief(device, *, start_up_s):
        return Limits(start_up_s=start_up_s, sampling_s=0.5, warmup_s=0.2, energy_s=0)

    monkeypatch.setattr(sweep, "limits_for", brief)

    def run(*words, here=False):
        place = () if here else ("--engine", "ray", "--address", cluster.address)
        status, out, err = vidcost(*words, "--json", *place)
        assert 0 == status, err
        return json.loads(out)

    return run


@on_cluster
def test_compare_and_explain_code_of_ones_own(command, tmp_path):
    (tmp_path / "my_block.py").write_text(MY_BLOCK)
    (tmp_path / "beside.py").write_text("WIDTH = 3\n")
    (tmp_path / "my_net.py").write_text(
        "from torch import nn\ndef make(): return nn.Sequential(nn.Conv3d(3, 5, 3), nn.Flatten())\n"
    )
    words = "compare mfnet --at conv4:before-last --block my_block.py:MyBlock"
    words = (*words.split(), "--size", "32", "--sweep", "frames=8", "--no-fvcore")
    there, here = command(*words), command(*words, "--budget", "0s", here=True)
    counts = ("block", "frames", "params", "macs", "added_params", "added_macs", "status")
    assert [[line[each] for each in counts] for line in here] == [
        [line[each] for each in counts] for line in there
    ]
    assert all(line["latency_s"] > 0 for line in there)
    words = ("explain", "my_net.py:make", "--input", "2x3x5x7x11")
    assert command(*words, here=True) == command(*words)


@on_cluster
def test_a_node_that_is_lost_costs_a_try_and_no_call(engine, cluster):
    """The last test on the cluster, which leaves two nodes."""
    lost = cluster.others.pop()
    found = []
    for outcome in engine.run(Call(str(n), nap, (0.3,), "machine") for n in range(12)):
        found.append((outcome.number, outcome.get()[2]))
        if len(found) == 4:
            cluster.remove_node(lost, allow_graceful=False)
    assert list(range(12)) == sorted(number for number, _ in found)


@on_cluster
def test_without_a_cluster_one_is_started_for_the_command(tmp_path):
    words = "compare mfnet --at conv4:before-last --block nl --frames 8 --size 32 --budget 0s"
    words = (*words.split(), "--no-fvcore", "--json", "--engine", "ray")
    done = subprocess.run(
        [sys.executable, "-W", "error", "-m", "vidcost.bench", *words],
        cwd=tmp_path,
        env={k: v for k, v in os.environ.items() if k != "RAY_ADDRESS"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (0, "") == (done.returncode, done.stderr)
    assert ["none", "nl"] == [line["block"] for line in json.loads(done.stdout)]

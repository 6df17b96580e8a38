"""The five commands with ``--engine ray``: what they say is what they say on one machine."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from vidcost.bench.session import cluster_timing
from vidcost.bench.timing.messages import Limits
from vidcost.bench.timing.store import Store

pytestmark = pytest.mark.ray

MY_NET = """
from torch import nn

def make_model():
    return nn.Sequential(nn.Conv3d(3, 5, 3), nn.Flatten(), nn.Linear(675, 7))
"""
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


@pytest.fixture(scope="module")
def cluster(begin):
    return begin({"num_cpus": 2}, {"num_cpus": 2})


@pytest.fixture
def on_ray(ray, cluster, vidcost, monkeypatch):
    """A command on the cluster, and a moment for each timing."""

    def brief(device, *, start_up_s):
        return Limits(start_up_s=start_up_s, sampling_s=0.5, warmup_s=0.2, energy_s=0)

    monkeypatch.setattr(cluster_timing, "limits_for", brief)
    return lambda *words: vidcost(*words, "--engine", "ray", "--address", cluster.address)


def table(ran):
    status, out, err = ran
    assert 0 == status, err
    return json.loads(out)


def test_time_on_nodes(on_ray, tmp_path):
    words = ("time", "--blocks", "nl", "--shape", "8x2x4x4", "--json")
    lines = table(on_ray(*words))
    # a node's cores, not those of the machine that the command was given on
    assert [("nl", False, 2), ("nl", True, 2)] == [
        (line["block"], line["cold"], line["threads"]) for line in lines
    ]
    assert all(line["n"] > 0 and line["host"] for line in lines)
    (path,) = (tmp_path / "results/timings").glob("*.jsonl")
    records = Store(path).read().values()
    assert 2 == len(records)
    assert 2 == len({record.machine.node for record in records})
    # and once more: all of it is there
    assert lines == table(on_ray(*words))
    assert 3 == len(path.read_text().splitlines())


def test_explain_of_a_row_and_of_a_network_of_ones_own(on_ray, vidcost, tmp_path):
    (tmp_path / "my_net.py").write_text(MY_NET)
    words = ("explain", "mfnet-nl", "--frames", "8", "--size", "64", "--no-cache", "--json")
    assert table(vidcost(*words)) == table(on_ray(*words))
    words = ("explain", "my_net.py:make_model", "--input", "2x3x5x7x11", "--json")
    assert table(vidcost(*words)) == table(on_ray(*words))


def test_the_search_of_the_audit(on_ray, vidcost):
    words = ("audit", "--search", "c3d", "--json")
    assert table(vidcost(*words)) == table(on_ray(*words))


def test_compare_counts_and_times_a_block_of_ones_own(on_ray, vidcost, tmp_path):
    (tmp_path / "my_block.py").write_text(MY_BLOCK)
    (tmp_path / "beside.py").write_text("WIDTH = 3\n")
    words = "compare mfnet --at conv4:before-last --block my_block.py:MyBlock"
    words = (*words.split(), "--size", "32", "--sweep", "frames=8", "--no-fvcore", "--json")
    there = table(on_ray(*words))
    counts = ("block", "frames", "params", "macs", "added_params", "added_macs", "status")
    here = table(vidcost(*words, "--budget", "0s"))
    assert [[line[each] for each in counts] for line in here] == [
        [line[each] for each in counts] for line in there
    ]
    assert all(line["latency_s"] > 0 for line in there)


# refused


def test_what_contradicts_the_engine(complaint):
    assert "--address is a Ray cluster's: give --engine ray too" == complaint(
        "time", "mfnet", "--address", "h:1"
    )
    assert "--gpu is a Ray cluster's: give --engine ray too" == complaint(
        "time", "mfnet", "--gpu", "H100"
    )
    ray = ("--engine", "ray")
    assert complaint("time", "mfnet", "--budget", "1m", *ray).startswith("--budget shares out")
    assert complaint("time", "mfnet", "--device", "cuda:1", *ray).startswith(
        "no device 'cuda:1' on a cluster: "
    )
    assert "--gpu chooses among GPUs: give --device cuda too" == complaint(
        "time", "mfnet", "--gpu", "H100", *ray
    )
    assert complaint("audit", *ray).startswith("--engine ray is for --search")


def test_code_that_nodes_would_not_get(complaint, tmp_path):
    (tmp_path.parent / "elsewhere.py").write_text(MY_NET)
    said = complaint(
        "time", "../elsewhere.py:make_model", "--input", "1x3x5x7x11", "--engine", "ray"
    )
    assert said.startswith("nodes are sent the current folder: name ../elsewhere.py by a path ")


def test_no_gpu_and_unlike_nodes(cluster, complaint):
    there = ("--engine", "ray", "--address", cluster.address)
    assert "the Ray cluster has no GPU: give --device cpu" == complaint(
        "time", "mfnet", "--device", "cuda", *there
    )
    node = cluster.add_node(num_cpus=3, object_store_memory=80 << 20)
    try:
        assert "the nodes have 2 and 3 cores: say how many to use by --threads" == complaint(
            "time", "mfnet", *there
        )
    finally:
        cluster.remove_node(node)


def test_ray_is_begun_for_a_command_where_there_is_none(tmp_path, monkeypatch):
    """A process of its own: what a Ray that is begun here prints is nobody's."""
    done = subprocess.run(
        [
            *(sys.executable, "-W", "error", "-m", "vidcost.bench", "compare", "mfnet"),
            *("--at", "conv4:before-last", "--block", "nl", "--frames", "8", "--size", "32"),
            *("--budget", "0s", "--no-fvcore", "--json", "--engine", "ray"),
        ],
        cwd=tmp_path,
        env={k: v for k, v in os.environ.items() if k != "RAY_ADDRESS"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (0, "") == (done.returncode, done.stderr)
    assert ["none", "nl"] == [line["block"] for line in json.loads(done.stdout)]

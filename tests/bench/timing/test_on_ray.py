"""Calls, sweeps and commands on one Ray cluster of three nodes on this machine."""

import itertools
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from vidcost.bench.timing import on_ray, sweep
from vidcost.bench.timing.messages import Limits

pytestmark = [pytest.mark.ray, pytest.mark.slow]

RAY = ("--json", "--engine", "ray")

STORE_BYTES = 80 << 20
"""The smallest that Ray takes."""


@pytest.fixture(scope="module")
def cluster():
    """A head without cores and three nodes, two of which say that they have GPUs."""
    try:
        import ray
        from ray.cluster_utils import Cluster
    except ImportError:
        why = "no ray here: `pip install -c constraints.txt -e '.[ray]'` adds it"
        (pytest.fail if "TOX_ENV_NAME" in os.environ else pytest.skip)(why)
    head = {"num_cpus": 0, "include_dashboard": False, "object_store_memory": STORE_BYTES}
    started = Cluster(initialize_head=True, head_node_args=head)
    # the nodes cannot import this module
    ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])
    try:
        started.others = [
            started.add_node(
                object_store_memory=STORE_BYTES,
                num_cpus=2,
                num_gpus=gpus,
                resources={f"accelerator_type:{kind}": 1} if gpus else {},
            )
            for gpus, kind in ((0, ""), (2, "H100"), (1, "A100"))
        ]
        yield started
    finally:
        ray.cloudpickle.unregister_pickle_by_value(sys.modules[__name__])
        started.shutdown()


@pytest.fixture
def joined(cluster):
    with on_ray.joined(cluster.address):
        yield cluster


def run(function, calls, *, device="cpu", gpu=None):
    return dict(on_ray.outcomes(function, calls, device=device, gpu=gpu))


@pytest.mark.parametrize("address", ["127.0.0.1:1", "somewhere", "host:six", "ray://10.0.0.1:1"])
def test_an_address_of_no_cluster(address):
    said = r"^cannot use Ray at [^\n]+: give HOST:PORT as `ray start --head` prints it"
    with pytest.raises(ValueError, match=said), on_ray.joined(address):
        pass


def nap(seconds):
    """When this ran, and on which node and GPU."""
    import ray

    began = time.monotonic()
    time.sleep(seconds)
    node = ray.get_runtime_context().get_node_id()
    return began, time.monotonic(), node, os.environ.get("CUDA_VISIBLE_DEVICES")


def test_a_task_shares_its_cores_or_its_gpu_with_no_other(joined):
    for device, places in (("cpu", 3), ("cuda", 3)):
        ran = list(run(nap, [(0.2,)] * 12, device=device).values())
        assert 12 == len(ran)
        assert places == len({each[2:] for each in ran})
        for one, other in itertools.combinations(ran, 2):
            assert one[2:] != other[2:] or one[1] <= other[0] or other[1] <= one[0]
    found = run(nap, [(0.05,)] * 3, device="cuda", gpu="A100").values()
    assert {joined.others[2].node_id} == {each[2] for each in found}
    with pytest.raises(ValueError, match=r"^the Ray cluster has no GPU of type B200: `ray status`"):
        run(nap, [(1,)], device="cuda", gpu="B200")


def fail_or_die(path, times):
    if times is None:
        raise ValueError("said so")
    tried = len(Path(path).read_text()) if Path(path).exists() else 0
    Path(path).write_text("x" * (tried + 1))
    if tried < times:
        os.kill(os.getpid(), signal.SIGKILL)
    return tried


def test_errors_and_losses_are_outcomes(joined, tmp_path):
    calls = [(str(tmp_path / str(times)), times) for times in (None, 2, 9)]
    found = run(fail_or_die, calls)
    assert ("ValueError('said so')", 2) == (repr(found[0]), found[1])
    assert "WorkerCrashedError" == type(found[2]).__name__
    assert "xxx" == (tmp_path / "9").read_text()


def test_a_command_times_code_of_ones_own_once(cluster, vidcost, monkeypatch, folder):
    def brief(device, *, start_up_s):
        return Limits(start_up_s=start_up_s, sampling_s=0.5, warmup_s=0.2, energy_s=0)

    monkeypatch.setattr(sweep, "limits_for", brief)
    words = "time --blocks theirs.py:Scale --shape 8x2x4x4"
    words = (*words.split(), *RAY)
    for _ in range(2):
        status, out, err = vidcost(*words, "--address", cluster.address)
        assert 0 == status, err
        assert all(line["median_s"] > 0 for line in json.loads(out))
        (path,) = folder.glob("results/timings/*.jsonl")
        (timing,) = path.read_text().splitlines()[1:]
        assert json.loads(timing)["machine"]["host"]


def test_without_a_cluster_one_is_started_for_the_command(tmp_path):
    words = "time --blocks nl --shape 8x1x2x2"
    done = subprocess.run(
        [sys.executable, "-W", "error", "-m", "vidcost", *words.split(), *RAY],
        cwd=tmp_path,
        env={k: v for k, v in os.environ.items() if k != "RAY_ADDRESS"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (0, "") == (done.returncode, done.stderr)
    assert ["nl"] == [line["block"] for line in json.loads(done.stdout)]

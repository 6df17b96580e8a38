"""What a measurement runs on."""

import os
import platform

import pytest
import torch

from vidcost.bench.timing.locks import locked, names_of
from vidcost.bench.timing.machine import cpus_for, describe, last_cache_bytes


def test_a_cpu():
    machine = describe("cpu")
    assert machine.device == machine.cpu != ""
    assert (torch.__version__, platform.python_version()) == (machine.torch, machine.python)
    assert 1 <= machine.cores <= os.cpu_count()
    assert machine.memory_bytes > 10**8
    assert {"not available"} == {machine.device_uuid, machine.driver, machine.cuda, machine.cudnn}


@pytest.mark.parametrize("device", ["tpu", "cuda:x"])
def test_no_such_device(device):
    with pytest.raises(ValueError, match=r"^no device '.*': choose cpu or cuda$"):
        describe(device)


def cache(folder, cpu, index, level, size, shared):
    here = folder / f"cpu{cpu}" / "cache" / f"index{index}"
    here.mkdir(parents=True)
    for name, text in (("level", level), ("size", size), ("shared_cpu_list", shared)):
        (here / name).write_text(f"{text}\n")


def test_the_last_caches_of_the_allowed_cpus_each_once(monkeypatch, tmp_path):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1, 2}, raising=False)
    for cpu, shared in ((0, "0-1"), (1, "0-1"), (2, "2-3"), (5, "5")):
        cache(tmp_path, cpu, 2, 2, "1024K", str(cpu))
        cache(tmp_path, cpu, 3, 3, "7K", shared)
    # CPUs 0 and 1 share one, 2 has another, 5 is none of ours
    assert 2 * 7 * 1024 == last_cache_bytes(tmp_path)


def test_a_cache_that_nobody_reports(monkeypatch, tmp_path):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0}, raising=False)
    assert None is last_cache_bytes(tmp_path)
    cache(tmp_path, 0, 3, 3, "unknown", "0")
    assert None is last_cache_bytes(tmp_path)


def test_threads_have_cores_of_their_own_before_they_share_one(tmp_path):
    for cpu, siblings in ((0, "0-1"), (1, "0-1"), (2, "2-3"), (3, "2-3")):
        folder = tmp_path / f"cpu{cpu}" / "topology"
        folder.mkdir(parents=True)
        (folder / "thread_siblings_list").write_text(siblings)
    assert [(0,), (0, 2), (0, 2, 1)] == [cpus_for(n, [0, 1, 2, 3], tmp_path) for n in (1, 2, 3)]
    # where the system does not say, each is a core
    assert (5, 7) == cpus_for(2, [5, 7], tmp_path)


def test_locks_are_those_of_a_gpu_or_of_cpus(monkeypatch, tmp_path):
    machine = describe("cpu").model_copy(update={"device_uuid": "GPU-7"})
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {900, 905}, raising=False)
    assert ["GPU-7"] == names_of("cuda:1", 1, machine)
    assert (["cpu-900"], ["cpu-900", "cpu-905"]) == tuple(
        names_of("cpu", threads, machine) for threads in (1, 2)
    )
    # where no lock can be made, it says so and goes on
    (tmp_path / "file").touch()
    monkeypatch.setenv("VIDCOST_LOCKS", str(tmp_path / "file"))
    said = []
    with locked(["GPU-7"], said.append):
        assert ["cannot lock GPU-7 (File exists): another program may measure on it"] == said


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device")
def test_a_gpu():
    machine = describe("cuda")
    assert torch.cuda.get_device_name() == machine.device
    assert machine.device_uuid.startswith("GPU-")
    assert torch.version.cuda == machine.cuda

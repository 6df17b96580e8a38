"""What a measurement runs on and depends on; the parent finds it out without touching a GPU."""

import os
import platform
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from vidcost.bench.timing import machine as module
from vidcost.bench.timing.machine import (
    check_device,
    cpu_of,
    cpus_for,
    default_threads,
    describe,
    locked,
    machine_of,
    names_of,
)


def test_a_cpu_has_family_model_stepping_and_the_clouds_type(tmp_path):
    one = "vendor_id : X\ncpu family : 6\nmodel : 143\nmodel name : Xeon\nstepping : 8\n"
    (tmp_path / "cpuinfo").write_text(f"{one}\n{one.replace('143', '7')}")
    known = "Xeon (cpu family 6, model 143, stepping 8"
    assert f"{known})" == cpu_of(tmp_path / "cpuinfo", tmp_path)
    (dmi := tmp_path / "dmi").mkdir()
    (dmi / "sys_vendor").write_text("Amazon EC2\n")
    (dmi / "product_name").write_text("m7i.large\n")
    assert f"{known}, Amazon EC2 m7i.large)" == cpu_of(tmp_path / "cpuinfo", dmi)
    assert cpu_of(tmp_path / "none", tmp_path / "none")


def test_a_cpu():
    machine = describe("cpu")
    assert machine.device == machine.cpu != ""
    assert (torch.__version__, platform.python_version()) == (machine.torch, machine.python)
    assert 1 <= machine.cores <= os.cpu_count()
    assert machine.memory_bytes > 10**8
    assert {"not available"} == {machine.device_uuid, machine.driver, machine.cuda, machine.cudnn}


@pytest.mark.parametrize(
    ("message", "count", "device"),
    [
        ("^no CUDA device: choose --device cpu$", 0, "cuda"),
        ("^no device 'cuda:2': there are cuda:0 to cuda:1$", 2, "cuda:2"),
        ("^no device 'gpu': choose cpu, cuda or, of several, cuda:1$", 2, "gpu"),
        ("^no device 'cuda:x'", 2, "cuda:x"),
        ("^no device ''", 2, ""),
    ],
)
def test_devices_that_are_not_there_are_rejected(message, count, device, monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: count)
    assert "cpu" == check_device("cpu")
    assert not count or "cuda:1" == check_device("cuda:1")
    with pytest.raises(ValueError, match=message):
        check_device(device)


def test_a_gpu_is_fed_by_one_thread_and_a_cpu_uses_its_cores(monkeypatch):
    monkeypatch.setattr("os.sched_getaffinity", lambda _: {0, 3, 5}, raising=False)
    assert (3, 1) == (default_threads("cpu"), default_threads("cuda:1"))


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


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_a_device_that_is_not_there_is_one_line():
    with pytest.raises(ValueError, match=r"^no (CUDA )?device[^\n]+$"):
        machine_of("cuda:7")


def test_a_device_that_does_not_answer_is_one_line(monkeypatch):
    monkeypatch.setattr(module, "PROBE_LIMIT_S", 0.01)
    with pytest.raises(ValueError, match=r"^cannot use cuda:11: not done within 0.01 s$"):
        machine_of("cuda:11")


def test_each_gpu_that_a_process_is_given_is_looked_at(monkeypatch):
    """A process of Ray's has one after another, all under the name cuda."""
    seen = []

    def isolated(limit_s, function, device):
        seen.append(os.environ["CUDA_VISIBLE_DEVICES"])
        return describe("cpu").model_copy(update={"device_uuid": f"GPU-{seen[-1]}"})

    module._machine.cache_clear()
    monkeypatch.setattr(module, "isolated", isolated)
    for visible in ("3", "5", "3"):
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
        assert f"GPU-{visible}" == machine_of("cuda").device_uuid
    module._machine.cache_clear()
    assert ["3", "5"] == seen


def test_the_code_version_is_of_what_a_worker_runs():
    script = (
        "import sys, vidcost.bench.timing.worker\n"
        "for name, module in sorted(sys.modules.items()):\n"
        "    if name.startswith('vidcost.'): print(module.__file__)"
    )
    ran = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    ).stdout.splitlines()
    # the package itself is empty
    run = {Path(line) for line in ran} - {Path(module.__file__).parents[1] / "__init__.py"}
    hashed = set(module.worker_files())
    assert set() == run - hashed
    # a name that no module has would hide nothing, and say that it does
    beside = {path.stem for path in Path(module.__file__).parent.glob("*.py")}
    assert set() == module.PARENT - beside


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_cuda_visible_devices_by_index_or_uuid_names_the_same_device(monkeypatch):
    script = "from vidcost.bench.timing.machine import machine_of; import torch\n"
    script += "print(machine_of('cuda:0').device_uuid, torch.cuda.is_initialized())"
    uuid = machine_of("cuda:0").device_uuid
    for visible in ("0", uuid, uuid[:12]):
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
        ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
        # and the parent holds no memory on it
        assert (f"{uuid} False\n", 0) == (ran.stdout, ran.returncode), ran.stderr

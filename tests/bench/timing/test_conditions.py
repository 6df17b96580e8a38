"""What a measurement depends on, and that the parent finds it out without touching a GPU."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from vidcost.bench.timing import conditions
from vidcost.bench.timing.machine import describe


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_a_device_that_is_not_there_is_one_line():
    with pytest.raises(ValueError, match=r"^cannot use cuda:7: [^\n]+$"):
        conditions.machine_of("cuda:7")


def test_a_device_that_does_not_answer_is_one_line(monkeypatch):
    monkeypatch.setattr(conditions, "PROBE_LIMIT_S", 0.01)
    with pytest.raises(ValueError, match=r"^cuda:11 did not answer within 0.01 s$"):
        conditions.machine_of("cuda:11")


def test_each_gpu_that_a_process_is_given_is_looked_at(monkeypatch):
    """A process of Ray's has one after another, all under the name cuda."""
    asked = []
    cpu = describe("cpu")

    def ran(command, **_):
        asked.append(command[-1])
        machine = cpu.model_copy(update={"device_uuid": f"GPU-{len(asked)}"})
        return subprocess.CompletedProcess(command, 0, machine.model_dump_json(), "")

    conditions._machine.cache_clear()
    monkeypatch.setattr(conditions.subprocess, "run", ran)
    seen = []
    for visible in ("3", "5", "3"):
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
        seen.append(conditions.machine_of("cuda").device_uuid)
    conditions._machine.cache_clear()
    assert ["GPU-1", "GPU-2", "GPU-1"] == seen


def test_the_code_version_is_of_what_a_worker_runs():
    script = (
        "import sys, vidcost.bench.timing.worker, vidcost.bench.timing.measurement\n"
        "for name, module in sorted(sys.modules.items()):\n"
        "    if name.startswith('vidcost.'): print(module.__file__)"
    )
    ran = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    ).stdout.splitlines()
    # the package itself is empty
    run = {Path(line) for line in ran} - {Path(conditions.__file__).parents[1] / "__init__.py"}
    hashed = set(conditions.worker_files())
    assert set() == run - hashed
    # a name that no module has would hide nothing, and say that it does
    beside = {path.stem for path in Path(conditions.__file__).parent.glob("*.py")}
    assert set() == conditions.PARENT - beside


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_cuda_visible_devices_by_index_or_uuid_names_the_same_device(monkeypatch):
    script = "from vidcost.bench.timing.conditions import machine_of; import torch\n"
    script += "print(machine_of('cuda:0').device_uuid, torch.cuda.is_initialized())"
    uuid = conditions.machine_of("cuda:0").device_uuid
    for visible in ("0", uuid, uuid[:12]):
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
        ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
        # and the parent holds no memory on it
        assert (f"{uuid} False\n", 0) == (ran.stdout, ran.returncode), ran.stderr

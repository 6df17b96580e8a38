"""What a measurement runs on."""

from __future__ import annotations

import os
import platform

import pytest
import torch

from vidcost.bench.timing.machine import describe


def test_a_cpu():
    machine = describe("cpu")
    assert machine.device == machine.cpu != ""
    assert (torch.__version__, platform.python_version()) == (machine.torch, machine.python)
    assert 1 <= machine.cores <= os.cpu_count()
    assert machine.memory_bytes > 10**8
    assert {"not available"} == {machine.device_uuid, machine.driver, machine.cuda, machine.cudnn}


def test_two_descriptions_are_equal():
    assert describe("cpu") == describe("cpu")


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_no_gpu():
    with pytest.raises(ValueError, match=r"^no CUDA device: choose --device cpu$"):
        describe("cuda")


@pytest.mark.parametrize("device", ["tpu", "", "cuda:x"])
def test_no_such_device(device):
    with pytest.raises(ValueError, match=r"^no device '.*': choose cpu or cuda$"):
        describe(device)


def test_a_device_that_is_not_timed():
    with pytest.raises(ValueError, match=r"^meta is not timed here: choose cpu or cuda$"):
        describe("meta")


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device")
def test_a_gpu():
    machine = describe("cuda")
    assert torch.cuda.get_device_name() == machine.device
    assert machine.device_uuid.startswith("GPU-")
    assert torch.version.cuda == machine.cuda

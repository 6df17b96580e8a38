"""NVML: joined by UUID, what it does not answer is a gap, and what slows a device down is named."""

import itertools
import sys
import threading
from types import SimpleNamespace

import pynvml
import pytest

from vidcost.bench.timing import machine, telemetry
from vidcost.bench.timing.record import Telemetry
from vidcost.bench.timing.telemetry import Watch, is_throttled

UUID = "GPU-3f0e6c1a-aaaa-bbbb-cccc-0123456789ab"
ALL = {
    "sm_clock_mhz": 1_755,
    "memory_clock_mhz": 2_619,
    "temperature_c": 53,
    "power_w": 611.5,
    "energy_j": 7.25,
    "throttle_reasons": (),
}


def fails(*_):
    raise pynvml.NVMLError(pynvml.NVML_ERROR_UNKNOWN)


@pytest.fixture
def nvml(monkeypatch):
    """One GPU."""
    clocks = {pynvml.NVML_CLOCK_SM: 1_755, pynvml.NVML_CLOCK_MEM: 2_619}
    fake = SimpleNamespace(
        NVMLError=pynvml.NVMLError,
        NVML_CLOCK_SM=pynvml.NVML_CLOCK_SM,
        NVML_CLOCK_MEM=pynvml.NVML_CLOCK_MEM,
        NVML_TEMPERATURE_GPU=pynvml.NVML_TEMPERATURE_GPU,
        nvmlInit=lambda: None,
        nvmlShutdown=lambda: None,
        nvmlDeviceGetHandleByUUID=lambda uuid: "handle" if uuid == UUID else fails(),
        nvmlDeviceGetMigMode=lambda handle: [0, 0],
        nvmlDeviceGetClockInfo=lambda handle, kind: clocks[kind],
        nvmlDeviceGetMaxClockInfo=lambda handle, kind: clocks[kind] + 225,
        nvmlDeviceGetTemperature=lambda handle, sensor: 53,
        nvmlDeviceGetPowerUsage=lambda handle: 611_500,
        nvmlDeviceGetTotalEnergyConsumption=lambda handle: 7_250,
        nvmlDeviceGetCurrentClocksEventReasons=lambda handle: 0,
    )
    monkeypatch.setitem(sys.modules, "pynvml", fake)
    return fake


def read(uuid=UUID):
    with Watch(uuid) as watch:
        return [reading.model_dump(exclude={"at_s"}) for reading in watch.take()]


def test_what_a_device_says_is_read_and_what_it_does_not_is_none(nvml):
    assert [ALL] == read()
    nvml.nvmlDeviceGetPowerUsage = fails
    del nvml.nvmlDeviceGetCurrentClocksEventReasons
    assert [ALL | {"power_w": None, "throttle_reasons": None}] == read()


def test_the_highest_clocks_are_of_the_cpu_and_of_the_device(nvml, monkeypatch):
    frequency = SimpleNamespace(current=2_711.3, min=800.0, max=3_800.0)
    monkeypatch.setattr(machine.psutil, "cpu_freq", lambda: frequency)
    gpu = SimpleNamespace(device_uuid=UUID)
    assert {"cpu": 3_800, "sm": 1_980, "memory": 2_844} == machine.clocks(gpu)
    del nvml.nvmlDeviceGetMaxClockInfo
    # virtual machines may not know it
    frequency.max = 0.0
    assert {} == machine.clocks(gpu)
    assert {} == machine.clocks(SimpleNamespace(device_uuid="not available"))


def test_where_nothing_can_be_read_there_are_no_readings(nvml):
    assert [] == read("GPU-77") == read("not available")
    # power and energy of a GPU that is cut into instances are those of all of them
    nvml.nvmlDeviceGetMigMode = lambda handle: [1, 1]
    assert [] == read()
    nvml.nvmlDeviceGetMigMode = lambda handle: [0, 0]
    nvml.nvmlInit = fails
    assert [] == read()
    assert None is Watch(UUID).energy_j()


def test_reasons_have_names(nvml):
    slow = pynvml.nvmlClocksEventReasonSwPowerCap | pynvml.nvmlClocksEventReasonHwThermalSlowdown
    nvml.nvmlDeviceGetCurrentClocksEventReasons = lambda handle: slow | 1 << 20
    expected = ("sw power cap", "hw thermal slowdown", "reason 0x100000")
    assert [ALL | {"throttle_reasons": expected}] == read()


@pytest.mark.parametrize(
    ("reasons", "expected"),
    [
        (None, False),
        (("sw power cap",), False),
        (("sw power cap", "sw thermal slowdown"), True),
        (("hw power brake",), True),
    ],
)
def test_a_power_cap_is_normal_and_heat_is_not(reasons, expected):
    readings = [Telemetry(at_s=0, throttle_reasons=r) for r in ((), reasons, None)]
    assert expected == is_throttled(readings)


def test_a_thread_reads_between_two_looks(nvml, monkeypatch):
    monkeypatch.setattr(telemetry, "POLL_S", 0.001)
    often = threading.Event()
    calls = itertools.count(1)
    nvml.nvmlDeviceGetTemperature = lambda *_: often.set() if next(calls) == 5 else None
    with Watch(UUID) as watch:
        assert often.wait(10)
        readings = watch.take()
        # the last is the look's own
        assert len(readings) >= 5
        assert sorted(reading.at_s for reading in readings) == [r.at_s for r in readings]
    watch.take()
    assert 1 == len(watch.take())

"""NVML: joined by UUID, what it does not answer is a gap, and what slows a device down is named."""

from __future__ import annotations

import itertools
import sys
import threading
from types import ModuleType, SimpleNamespace

import pynvml
import pytest

from vidcost.bench.timing import telemetry
from vidcost.bench.timing.record import Telemetry
from vidcost.bench.timing.telemetry import Telemeter, is_throttled

UUID = "3f0e6c1a-aaaa-bbbb-cccc-0123456789ab"
READERS = {
    "nvmlDeviceGetClockInfo": ("sm_clock_mhz", "memory_clock_mhz"),
    "nvmlDeviceGetTemperature": ("temperature_c",),
    "nvmlDeviceGetPowerUsage": ("power_w",),
    "nvmlDeviceGetTotalEnergyConsumption": ("energy_j",),
}


class FakeNvml(ModuleType):
    """A GPU at index 1 and a MIG instance of it; a function is made to fail by its name."""

    NVMLError = pynvml.NVMLError
    NVML_CLOCK_SM = pynvml.NVML_CLOCK_SM
    NVML_CLOCK_MEM = pynvml.NVML_CLOCK_MEM
    NVML_TEMPERATURE_GPU = pynvml.NVML_TEMPERATURE_GPU

    def __init__(self) -> None:
        super().__init__("pynvml")
        self.failing: dict[str, Exception] = {}
        self.missing: set[str] = set()
        self.reasons = 0
        self.mig = 0
        self.open = 0

    def __getattribute__(self, name):
        if name.startswith("nvml"):
            if name in self.missing:
                raise AttributeError(name)
            if name in self.failing:
                return self._fail(name)
        return super().__getattribute__(name)

    def _fail(self, name):
        def fail(*_):
            raise self.failing[name]

        return fail

    def nvmlInit(self):  # noqa: N802
        self.open += 1

    def nvmlShutdown(self):  # noqa: N802
        self.open -= 1

    def nvmlDeviceGetHandleByUUID(self, uuid):  # noqa: N802
        handles = {f"GPU-{UUID}": SimpleNamespace(mig=False), "MIG-77": SimpleNamespace(mig=True)}
        if uuid not in handles:
            raise pynvml.NVMLError(pynvml.NVML_ERROR_NOT_FOUND)
        return handles[uuid]

    def nvmlDeviceIsMigDeviceHandle(self, handle):  # noqa: N802
        return int(handle.mig)

    def nvmlDeviceGetDeviceHandleFromMigDeviceHandle(self, handle):  # noqa: N802
        assert handle.mig
        return SimpleNamespace(mig=False)

    def nvmlDeviceGetMigMode(self, handle):  # noqa: N802
        return [self.mig, self.mig]

    def nvmlDeviceGetClockInfo(self, handle, kind):  # noqa: N802
        self._whole(handle)
        return {pynvml.NVML_CLOCK_SM: 1_755, pynvml.NVML_CLOCK_MEM: 2_619}[kind]

    def nvmlDeviceGetTemperature(self, handle, sensor):  # noqa: N802
        assert sensor == pynvml.NVML_TEMPERATURE_GPU
        self._whole(handle)
        return 53

    def nvmlDeviceGetPowerUsage(self, handle):  # noqa: N802
        self._whole(handle)
        return 611_500

    def nvmlDeviceGetTotalEnergyConsumption(self, handle):  # noqa: N802
        self._whole(handle)
        return 7_250

    def nvmlDeviceGetCurrentClocksEventReasons(self, handle):  # noqa: N802
        self._whole(handle)
        return self.reasons

    nvmlDeviceGetCurrentClocksThrottleReasons = nvmlDeviceGetCurrentClocksEventReasons  # noqa: N815

    def _whole(self, handle):
        if handle.mig:
            raise pynvml.NVMLError(pynvml.NVML_ERROR_NOT_SUPPORTED)


@pytest.fixture
def nvml(monkeypatch):
    fake = FakeNvml()
    monkeypatch.setitem(sys.modules, "pynvml", fake)
    return fake


def said(reading):
    return reading.model_dump(exclude={"at_s"})


NOTHING = said(Telemetry(at_s=0))
ALL = {
    "sm_clock_mhz": 1_755,
    "memory_clock_mhz": 2_619,
    "temperature_c": 53,
    "power_w": 611.5,
    "energy_j": 7.25,
    "throttle_reasons": (),
}


@pytest.mark.parametrize("uuid", [UUID, f"GPU-{UUID}"])
def test_a_device_is_found_by_the_uuid_that_torch_or_nvml_writes(nvml, uuid):
    assert ALL == said(Telemeter(uuid).reading())


@pytest.mark.parametrize("uuid", ["MIG-77", "77"])
def test_a_mig_instance_has_no_power_of_its_own(nvml, uuid):
    expected = ALL | {"power_w": None, "energy_j": None}
    assert expected == said(Telemeter(uuid).reading())
    # torch may name the GPU that the instance is cut from
    nvml.mig = 1
    assert expected == said(Telemeter(UUID).reading())


def test_nvml_that_does_not_start_is_none(nvml):
    nvml.failing["nvmlInit"] = pynvml.NVMLError(pynvml.NVML_ERROR_LIBRARY_NOT_FOUND)
    telemeter = Telemeter(UUID)
    assert not telemeter
    assert (NOTHING, None) == (said(telemeter.reading()), telemeter.energy_j())
    with telemeter.watching() as watch:
        assert [] == watch.take()
    telemeter.close()


def test_a_device_that_falls_off_the_bus_is_none_from_then_on(nvml):
    telemeter = Telemeter(UUID)
    lost = pynvml.NVMLError(pynvml.NVML_ERROR_GPU_IS_LOST)
    functions = [name for name in dir(FakeNvml) if name.startswith("nvml")]
    nvml.failing = dict.fromkeys(functions, lost)
    assert NOTHING == said(telemeter.reading())
    telemeter.close()


@pytest.mark.parametrize("missing", [set(), {"nvmlDeviceGetCurrentClocksEventReasons"}])
def test_reasons_have_names_under_the_old_function_too(nvml, missing):
    nvml.missing = missing
    nvml.reasons = (
        pynvml.nvmlClocksEventReasonSwPowerCap
        | pynvml.nvmlClocksEventReasonHwThermalSlowdown
        | 1 << 20
    )
    reading = Telemeter(UUID).reading()
    assert ("sw power cap", "hw thermal slowdown", "reason 0x100000") == reading.throttle_reasons


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

    def temperature(*_):
        if next(calls) == 5:
            often.set()
        return 53

    nvml.nvmlDeviceGetTemperature = temperature
    with Telemeter(UUID).watching() as watch:
        assert often.wait(10)
        readings = watch.take()
    # the last is the look's own
    assert len(readings) >= 5
    assert sorted(reading.at_s for reading in readings) == [r.at_s for r in readings]
    watch.take()
    assert 1 == len(watch.take())

"""NVML: joined by UUID, what it does not answer is a gap, and what slows a device down is named."""

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


class FakeNvml(ModuleType):
    """A GPU and a MIG instance of it; a function is made to fail by its name."""

    NVMLError = pynvml.NVMLError
    NVML_CLOCK_SM = pynvml.NVML_CLOCK_SM
    NVML_CLOCK_MEM = pynvml.NVML_CLOCK_MEM
    NVML_TEMPERATURE_GPU = pynvml.NVML_TEMPERATURE_GPU

    def __init__(self) -> None:
        super().__init__("pynvml")
        self.failing: dict[str, Exception] = {}
        self.reasons = self.mig = 0
        whole, instance = SimpleNamespace(mig=False), SimpleNamespace(mig=True)
        self.handles = {f"GPU-{UUID}": whole, "MIG-77": instance}
        clocks = {pynvml.NVML_CLOCK_SM: 1_755, pynvml.NVML_CLOCK_MEM: 2_619}
        self.answers = {
            "nvmlInit": lambda: None,
            "nvmlShutdown": lambda: None,
            "nvmlDeviceGetHandleByUUID": self._handle,
            "nvmlDeviceIsMigDeviceHandle": lambda handle: int(handle.mig),
            "nvmlDeviceGetDeviceHandleFromMigDeviceHandle": lambda handle: whole,
            "nvmlDeviceGetMigMode": lambda handle: [self.mig, self.mig],
            "nvmlDeviceGetClockInfo": lambda handle, kind: clocks[kind],
            "nvmlDeviceGetTemperature": lambda handle, sensor: 53,
            "nvmlDeviceGetPowerUsage": lambda handle: 611_500,
            "nvmlDeviceGetTotalEnergyConsumption": lambda handle: 7_250,
            "nvmlDeviceGetCurrentClocksEventReasons": lambda handle: self.reasons,
            "nvmlDeviceGetCurrentClocksThrottleReasons": lambda handle: self.reasons,
        }

    def __getattr__(self, name):
        if name not in self.answers:
            raise AttributeError(name)

        def ask(*args):
            if name in self.failing:
                raise self.failing[name]
            return self.answers[name](*args)

        return ask

    def _handle(self, uuid):
        if uuid not in self.handles:
            raise pynvml.NVMLError(pynvml.NVML_ERROR_NOT_FOUND)
        return self.handles[uuid]


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


@pytest.mark.parametrize("missing", [set(), {"nvmlDeviceGetCurrentClocksEventReasons"}])
def test_reasons_have_names_under_the_old_function_too(nvml, missing):
    for name in missing:
        del nvml.answers[name]
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

    nvml.answers["nvmlDeviceGetTemperature"] = temperature
    with Telemeter(UUID).watching() as watch:
        assert often.wait(10)
        readings = watch.take()
    # the last is the look's own
    assert len(readings) >= 5
    assert sorted(reading.at_s for reading in readings) == [r.at_s for r in readings]
    watch.take()
    assert 1 == len(watch.take())

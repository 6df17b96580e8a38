"""NVML: joined by UUID, what it does not answer is a gap, and what slows a device down is named."""

import itertools
import sys
import threading
from types import ModuleType

import pynvml
import pytest

from vidcost.bench.timing import telemetry
from vidcost.bench.timing.record import Telemetry
from vidcost.bench.timing.telemetry import Watch, is_throttled

UUID = "GPU-3f0e6c1a-aaaa-bbbb-cccc-0123456789ab"


class FakeNvml(ModuleType):
    """A GPU; a function is made to fail by its name."""

    NVMLError = pynvml.NVMLError
    NVML_CLOCK_SM = pynvml.NVML_CLOCK_SM
    NVML_CLOCK_MEM = pynvml.NVML_CLOCK_MEM
    NVML_TEMPERATURE_GPU = pynvml.NVML_TEMPERATURE_GPU

    def __init__(self) -> None:
        super().__init__("pynvml")
        self.failing: dict[str, Exception] = {}
        self.reasons = self.mig = 0
        clocks = {pynvml.NVML_CLOCK_SM: 1_755, pynvml.NVML_CLOCK_MEM: 2_619}
        self.answers = {
            "nvmlInit": lambda: None,
            "nvmlShutdown": lambda: None,
            "nvmlDeviceGetHandleByUUID": self._handle,
            "nvmlDeviceGetMigMode": lambda handle: [self.mig, self.mig],
            "nvmlDeviceGetClockInfo": lambda handle, kind: clocks[kind],
            "nvmlDeviceGetTemperature": lambda handle, sensor: 53,
            "nvmlDeviceGetPowerUsage": lambda handle: 611_500,
            "nvmlDeviceGetTotalEnergyConsumption": lambda handle: 7_250,
            "nvmlDeviceGetCurrentClocksEventReasons": lambda handle: self.reasons,
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
        if uuid != UUID:
            raise pynvml.NVMLError(pynvml.NVML_ERROR_NOT_FOUND)
        return object()


@pytest.fixture
def nvml(monkeypatch):
    fake = FakeNvml()
    monkeypatch.setitem(sys.modules, "pynvml", fake)
    return fake


def read(uuid=UUID):
    with Watch(uuid) as watch:
        return [reading.model_dump(exclude={"at_s"}) for reading in watch.take()]


ALL = {
    "sm_clock_mhz": 1_755,
    "memory_clock_mhz": 2_619,
    "temperature_c": 53,
    "power_w": 611.5,
    "energy_j": 7.25,
    "throttle_reasons": (),
}


def test_what_a_device_says_is_read_and_what_it_does_not_is_none(nvml):
    assert [ALL] == read()
    nvml.failing["nvmlDeviceGetPowerUsage"] = pynvml.NVMLError(pynvml.NVML_ERROR_NOT_SUPPORTED)
    del nvml.answers["nvmlDeviceGetCurrentClocksEventReasons"]
    assert [ALL | {"power_w": None, "throttle_reasons": None}] == read()


def test_where_nothing_can_be_read_there_are_no_readings(nvml):
    assert [] == read("GPU-77") == read("not available")
    # power and energy of a GPU that is cut into instances are those of all of them
    nvml.mig = 1
    assert [] == read()
    nvml.mig = 0
    nvml.failing["nvmlInit"] = pynvml.NVMLError(pynvml.NVML_ERROR_LIBRARY_NOT_FOUND)
    assert [] == read()
    assert None is Watch(UUID).energy_j()


def test_reasons_have_names(nvml):
    nvml.reasons = (
        pynvml.nvmlClocksEventReasonSwPowerCap
        | pynvml.nvmlClocksEventReasonHwThermalSlowdown
        | 1 << 20
    )
    ((*_, reasons),) = (reading.values() for reading in read())
    assert ("sw power cap", "hw thermal slowdown", "reason 0x100000") == reasons


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
    with Watch(UUID) as watch:
        assert often.wait(10)
        readings = watch.take()
    # the last is the look's own
    assert len(readings) >= 5
    assert sorted(reading.at_s for reading in readings) == [r.at_s for r in readings]
    watch.take()
    assert 1 == len(watch.take())

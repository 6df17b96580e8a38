"""Readings of a GPU through NVML, taken by the parent while the worker measures."""

import threading
import time
from collections.abc import Iterable
from types import ModuleType
from typing import Any, Self

from vidcost.bench.timing.record import UNKNOWN, Telemetry

POLL_S = 0.1
"""Between two readings; throttling that is shorter can be missed."""

REASONS = {
    0x001: "gpu idle",
    0x002: "application clocks",
    0x004: "sw power cap",
    0x008: "hw slowdown",
    0x010: "sync boost",
    0x020: "sw thermal slowdown",
    0x040: "hw thermal slowdown",
    0x080: "hw power brake",
    0x100: "display clocks",
}
"""Names of the bits nvmlClocksEventReason* of nvml.h."""

VOIDING = frozenset(("hw slowdown", "sw thermal slowdown", "hw thermal slowdown", "hw power brake"))
"""Reasons that void a sample: the machine is too hot or lacks power.

``sw power cap`` is recorded and voids nothing: an H100 under full load always runs at it.
"""


def is_throttled(readings: Iterable[Telemetry]) -> bool:
    """Whether a reading has one of the reasons :data:`VOIDING`."""
    return any(not VOIDING.isdisjoint(reading.throttle_reasons or ()) for reading in readings)


class Watch:
    """Reads one GPU every :data:`POLL_S`, in a thread of its own, within a ``with`` block.

    ``uuid`` is the device's as NVML writes it: NVML numbers devices otherwise than CUDA, and sees
    more of them than ``CUDA_VISIBLE_DEVICES`` shows. What this GPU, driver or user does not give is
    None; without NVML, or of a GPU that is cut into MIG instances, nothing is read.
    """

    def __init__(self, uuid: str) -> None:
        self._nvml = None if uuid == UNKNOWN else _start()
        self._device = self._ask("nvmlDeviceGetHandleByUUID", uuid)
        mode = self._ask("nvmlDeviceGetMigMode", self._device)
        if mode and mode[0]:
            self._device = None
        self._readings: list[Telemetry] = []
        self._lock = threading.Lock()
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._poll, daemon=True)

    def __enter__(self) -> Self:
        """Begin to read."""
        if self._device is not None:
            self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Stop reading for good."""
        self._stopped.set()
        if self._thread.is_alive():
            self._thread.join()
        self._ask("nvmlShutdown")

    def take(self) -> list[Telemetry]:
        """The readings since the last call, and one of now."""
        if self._device is None:
            return []
        # read with the lock held, or an earlier reading could come in after this one
        with self._lock:
            taken, self._readings = [*self._readings, self._reading()], []
        return taken

    def energy_j(self) -> float | None:
        """Joules since the driver was loaded."""
        return self._thousandths("nvmlDeviceGetTotalEnergyConsumption")

    def highest_clocks(self) -> dict[str, int]:
        """The highest clocks of the device in MHz, by domain, as far as they are known."""
        domains = {"sm": "NVML_CLOCK_SM", "memory": "NVML_CLOCK_MEM"}
        found = {n: self._read("nvmlDeviceGetMaxClockInfo", each) for n, each in domains.items()}
        return {name: mhz for name, mhz in found.items() if mhz is not None}

    def _poll(self) -> None:
        while not self._stopped.wait(POLL_S):
            with self._lock:
                self._readings.append(self._reading())

    def _reading(self) -> Telemetry:
        """The device's state now; ``at_s`` is time.monotonic()'s."""
        bits = self._read("nvmlDeviceGetCurrentClocksEventReasons")
        flags = (1 << place for place in range((bits or 0).bit_length()))
        names = tuple(REASONS.get(flag, f"reason {flag:#x}") for flag in flags if bits & flag)
        return Telemetry(
            at_s=time.monotonic(),
            sm_clock_mhz=self._read("nvmlDeviceGetClockInfo", "NVML_CLOCK_SM"),
            memory_clock_mhz=self._read("nvmlDeviceGetClockInfo", "NVML_CLOCK_MEM"),
            temperature_c=self._read("nvmlDeviceGetTemperature", "NVML_TEMPERATURE_GPU"),
            power_w=self._thousandths("nvmlDeviceGetPowerUsage"),
            energy_j=self.energy_j(),
            throttle_reasons=None if bits is None else names,
        )

    def _thousandths(self, function: str) -> float | None:
        amount = self._read(function)
        return None if amount is None else amount / 1000

    def _read(self, function: str, constant: str = "") -> Any:
        if self._device is None:
            return None
        constants = [getattr(self._nvml, constant)] if constant else []
        return self._ask(function, self._device, *constants)

    def _ask(self, function: str, *args: Any) -> Any:
        """NVML's answer; None if it gives an error, or is too old to know the question."""
        if self._nvml is None or None in args:
            return None
        try:
            return getattr(self._nvml, function)(*args)
        except (self._nvml.NVMLError, AttributeError):
            return None


def driver() -> str:
    """The version of NVIDIA's driver."""
    nvml = _start()
    if nvml is None:
        return UNKNOWN
    try:
        return str(nvml.nvmlSystemGetDriverVersion())
    except nvml.NVMLError:
        return UNKNOWN
    finally:
        nvml.nvmlShutdown()


def _start() -> ModuleType | None:
    """NVML, if it is there and lets us in."""
    # takes a while to import, and a worker on a CPU does not need it
    import pynvml

    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        return None
    nvml: ModuleType = pynvml
    return nvml

"""Readings of a GPU through NVML, taken by the parent while the worker measures.

A field that this GPU, driver or user does not give is None. Of a MIG instance, power and energy
are the whole GPU's and so None; clocks, temperature and throttling, which the instances share, are
those of the GPU it is a part of.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterable, Iterator
from types import ModuleType
from typing import Any

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
    0x200: "board limit",
    0x400: "reliability",
}
"""Names of the bits nvmlClocksEventReason* and nvmlClocksThrottleReason* of nvml.h."""

VOIDING = frozenset(("hw slowdown", "sw thermal slowdown", "hw thermal slowdown", "hw power brake"))
"""Reasons that void a sample: the machine is too hot or lacks power.

``sw power cap`` is recorded and voids nothing: an H100 under full load always runs at it.
"""


def is_throttled(readings: Iterable[Telemetry]) -> bool:
    """Whether a reading has one of the reasons :data:`VOIDING`."""
    return any(not VOIDING.isdisjoint(reading.throttle_reasons or ()) for reading in readings)


class Telemeter:
    """Reads one GPU; without NVML, or without such a GPU, it reads nothing.

    ``uuid`` is the device's as torch or NVML writes it ("not available" for none): NVML numbers
    devices otherwise than CUDA, and sees more of them than ``CUDA_VISIBLE_DEVICES`` shows.
    """

    def __init__(self, uuid: str) -> None:
        self._nvml = None if uuid == UNKNOWN else _start()
        self._device: Any = None
        self._is_shared = False
        # torch writes no prefix, also not that of an instance
        bare = uuid.removeprefix("GPU-").removeprefix("MIG-")
        for prefix in ("GPU-", "MIG-"):
            handle = self._ask("nvmlDeviceGetHandleByUUID", prefix + bare)
            if handle is None:
                continue
            if self._ask("nvmlDeviceIsMigDeviceHandle", handle):
                self._is_shared = True
                handle = self._ask("nvmlDeviceGetDeviceHandleFromMigDeviceHandle", handle)
            else:
                # a GPU that is cut into instances answers for all of them
                mode = self._ask("nvmlDeviceGetMigMode", handle)
                self._is_shared = bool(mode and mode[0])
            self._device = handle
            break

    def __bool__(self) -> bool:
        """Whether there is anything to read."""
        return self._device is not None

    def reading(self) -> Telemetry:
        """The device's state now; ``at_s`` is time.monotonic()'s."""
        return Telemetry(
            at_s=time.monotonic(),
            sm_clock_mhz=self._read("nvmlDeviceGetClockInfo", "NVML_CLOCK_SM"),
            memory_clock_mhz=self._read("nvmlDeviceGetClockInfo", "NVML_CLOCK_MEM"),
            temperature_c=self._read("nvmlDeviceGetTemperature", "NVML_TEMPERATURE_GPU"),
            power_w=self._thousandths("nvmlDeviceGetPowerUsage"),
            energy_j=self.energy_j(),
            throttle_reasons=self._reasons(),
        )

    def energy_j(self) -> float | None:
        """Joules since the driver was loaded."""
        return self._thousandths("nvmlDeviceGetTotalEnergyConsumption")

    @contextlib.contextmanager
    def watching(self) -> Iterator[Watch]:
        """Read every :data:`POLL_S` in a thread of its own."""
        watch = Watch(self)
        try:
            yield watch
        finally:
            watch.stop()

    def close(self) -> None:
        """Stop reading for good."""
        self._ask("nvmlShutdown")
        self._nvml = self._device = None

    def _reasons(self) -> tuple[str, ...] | None:
        bits = self._read("nvmlDeviceGetCurrentClocksEventReasons")
        if bits is None:
            # the only name before driver 535
            bits = self._read("nvmlDeviceGetCurrentClocksThrottleReasons")
        if bits is None:
            return None
        flags = (1 << place for place in range(bits.bit_length()))
        return tuple(REASONS.get(flag, f"reason {flag:#x}") for flag in flags if bits & flag)

    def _read(self, function: str, constant: str = "") -> Any:
        if self._device is None:
            return None
        constants = [getattr(self._nvml, constant)] if constant else []
        return self._ask(function, self._device, *constants)

    def _thousandths(self, function: str) -> float | None:
        """An amount in thousandths that MIG instances do not have of their own."""
        amount = None if self._is_shared else self._read(function)
        return None if amount is None else amount / 1000

    def _ask(self, function: str, *args: Any) -> Any:
        """NVML's answer; None if it gives an error, or is too old to know the question."""
        if self._nvml is None:
            return None
        try:
            return getattr(self._nvml, function)(*args)
        except (self._nvml.NVMLError, AttributeError):
            return None


class Watch:
    """The readings of a telemeter, as they come in."""

    def __init__(self, telemeter: Telemeter) -> None:
        self._telemeter = telemeter
        self._readings: list[Telemetry] = []
        self._lock = threading.Lock()
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._poll, daemon=True)
        if telemeter:
            self._thread.start()

    def take(self) -> list[Telemetry]:
        """The readings since the last call, and one of now."""
        if not self._telemeter:
            return []
        # read with the lock held, or an earlier reading could come in after this one
        with self._lock:
            taken, self._readings = [*self._readings, self._telemeter.reading()], []
        return taken

    def energy_j(self) -> float | None:
        """The device's energy counter now."""
        return self._telemeter.energy_j()

    def stop(self) -> None:
        """Stop reading."""
        self._stopped.set()
        if self._thread.is_alive():
            self._thread.join()

    def _poll(self) -> None:
        while not self._stopped.wait(POLL_S):
            with self._lock:
                self._readings.append(self._telemeter.reading())


def driver() -> str:
    """The version of NVIDIA's driver."""
    nvml = _start()
    if nvml is None:
        return UNKNOWN
    try:
        return _text(nvml.nvmlSystemGetDriverVersion())
    except nvml.NVMLError:
        return UNKNOWN
    finally:
        nvml.nvmlShutdown()


def _text(said: bytes | str) -> str:
    """Old versions of NVML's bindings answer in bytes."""
    return said.decode() if isinstance(said, bytes) else said


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

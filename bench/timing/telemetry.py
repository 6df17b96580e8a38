"""What a GPU reports of itself through NVML, read by the parent while the worker measures.

A field that this GPU, driver or user is not given is None. Of a MIG instance, power and energy are
the whole GPU's and so None; clocks, temperature and throttling, which the instances share, are
those of the GPU it is a part of.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterable, Iterator
from types import ModuleType
from typing import Any

from vidcost.bench.timing.record import Telemetry

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

``sw power cap`` does not: it is how an H100 runs under full load, wherever it stands. It is
recorded, like the rest.
"""


def is_throttled(readings: Iterable[Telemetry]) -> bool:
    """Whether a reading shows the device slowed down by what :data:`VOIDING` names."""
    return any(not VOIDING.isdisjoint(reading.throttle_reasons or ()) for reading in readings)


class Telemeter:
    """Reads one GPU; without NVML, or without such a GPU, it reads nothing.

    ``uuid`` is the device's as torch or NVML writes it ("not available" for none): NVML numbers
    devices otherwise than CUDA, and sees more of them than ``CUDA_VISIBLE_DEVICES`` shows.
    """

    def __init__(self, uuid: str) -> None:
        self._nvml = None if uuid == "not available" else _start()
        self._device: Any = None
        self._shared = False
        # torch writes no prefix, also not that of an instance
        bare = uuid.removeprefix("GPU-").removeprefix("MIG-")
        for prefix in ("GPU-", "MIG-"):
            handle = self._ask("nvmlDeviceGetHandleByUUID", prefix + bare)
            if handle is not None:
                self._take(handle)
                break

    def __bool__(self) -> bool:
        """Whether there is anything to read."""
        return self._device is not None

    def reading(self) -> Telemetry:
        """What the device reports now; ``at_s`` is time.monotonic()'s."""
        return Telemetry(
            at_s=time.monotonic(),
            sm_clock_mhz=self._of_device("nvmlDeviceGetClockInfo", "NVML_CLOCK_SM"),
            memory_clock_mhz=self._of_device("nvmlDeviceGetClockInfo", "NVML_CLOCK_MEM"),
            temperature_c=self._of_device("nvmlDeviceGetTemperature", "NVML_TEMPERATURE_GPU"),
            power_w=self._of_device_alone("nvmlDeviceGetPowerUsage"),
            energy_j=self.energy_j(),
            throttle_reasons=self._reasons(),
        )

    def energy_j(self) -> float | None:
        """Joules since the driver was loaded."""
        return self._of_device_alone("nvmlDeviceGetTotalEnergyConsumption")

    @contextlib.contextmanager
    def watching(self) -> Iterator[Watch]:
        """Read every :data:`POLL_S` in a thread of its own."""
        watch = Watch(self)
        try:
            yield watch
        finally:
            watch.stop()

    def close(self) -> None:
        """Read nothing any more."""
        if self._nvml is not None:
            self._ask("nvmlShutdown")
        self._nvml = self._device = None

    def _take(self, handle: Any) -> None:
        if self._ask("nvmlDeviceIsMigDeviceHandle", handle):
            self._shared = True
            self._device = self._ask("nvmlDeviceGetDeviceHandleFromMigDeviceHandle", handle)
            return
        # a GPU that is cut into instances answers for all of them
        mode = self._ask("nvmlDeviceGetMigMode", handle)
        self._shared = bool(mode and mode[0])
        self._device = handle

    def _reasons(self) -> tuple[str, ...] | None:
        # the older name is the only one before driver 535
        for function in (
            "nvmlDeviceGetCurrentClocksEventReasons",
            "nvmlDeviceGetCurrentClocksThrottleReasons",
        ):
            bits = self._of_device(function)
            if bits is not None:
                return tuple(
                    REASONS.get(1 << bit, f"reason {1 << bit:#x}")
                    for bit in range(bits.bit_length())
                    if bits >> bit & 1
                )
        return None

    def _of_device(self, function: str, constant: str | None = None) -> Any:
        if self._device is None:
            return None
        return self._ask(
            function, self._device, *([] if constant is None else [getattr(self._nvml, constant)])
        )

    def _of_device_alone(self, function: str) -> float | None:
        """An amount in thousandths that instances do not have of their own."""
        amount = None if self._shared else self._of_device(function)
        return None if amount is None else amount / 1000

    def _ask(self, function: str, *args: Any) -> Any:
        """What NVML answers; None if it gives an error, or is too old to know the question."""
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
        self._thread = threading.Thread(target=self._read, daemon=True)
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
        """Read no more."""
        self._stopped.set()
        if self._thread.is_alive():
            self._thread.join()

    def _read(self) -> None:
        while not self._stopped.wait(POLL_S):
            with self._lock:
                self._readings.append(self._telemeter.reading())


def _text(said: bytes | str) -> str:
    """Old versions of NVML's bindings answer in bytes."""
    return said.decode() if isinstance(said, bytes) else said


def _start() -> ModuleType | None:
    """NVML, if this machine has it and lets us in."""
    try:
        import pynvml
    except ImportError:
        return None
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        return None
    nvml: ModuleType = pynvml
    return nvml

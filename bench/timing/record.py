"""A timing as it is stored: raw samples and all conditions, never a summary."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Literal

from pydantic import BaseModel, ConfigDict

from vidcost.bench.timing.cell import Cell

UNKNOWN = "not available"
"""A name or version that nothing reports."""

Status = (
    Literal["ok", "oom", "crashed", "killed", "timed out", "unsupported", "throttled"]
    | Literal["raised", "not finite"]
)
"""``unsupported``: the device or torch cannot do this cell; ``throttled``: no clean sample. Of a
user's code, ``raised``: an error of its own or sys.exit; ``not finite``: NaN or infinity came out.
"""

Part = Literal["latency", "forward", "backward", "optimizer", "target", "reference"]
"""A whole pass or training step; the parts of a step; a cell and the one it is timed against."""

PARTS: tuple[Part, ...] = ("forward", "backward", "optimizer")


def now() -> str:
    """The time as records have it, which sorts as text."""
    return datetime.now(UTC).isoformat(timespec="seconds")


class Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Protocol(Frozen):
    """How the samples were taken.

    Times in seconds. ``settled``: two windows of the warm-up agreed. ``precision`` is the half
    width of the median's 95% confidence interval over the median, as reached; of a pair that of the
    ratio. ``cpus`` are those of the host that the passes were pinned to, none on a GPU.
    """

    warmup_samples: int
    settled: bool
    precision: float | None
    sampling_s: float
    void_samples: int = 0
    seed: int = 0
    cpus: tuple[int, ...] = ()


class Memory(Frozen):
    """Bytes; None if this device does not report them.

    ``weights`` are of the model. ``peak`` is the most that was allocated at once above the weights
    in one pass: inputs and the optimiser's state included, anything else that was allocated before
    not. ``reserved`` is the allocator's, ``rss_peak`` the whole process's, ``device_used`` that of
    all processes on the device.
    """

    weights: int
    peak: int | None = None
    reserved: int | None = None
    rss_peak: int | None = None
    device_used: int | None = None


class Machine(Frozen):
    """Names and versions of the machine, as they are reported.

    Two versions of a code compare only if all of these are equal. ``host`` is the name of a
    cluster's host.
    """

    device: str
    device_uuid: str = UNKNOWN
    driver: str = UNKNOWN
    cpu: str
    cores: int
    memory_bytes: int
    platform: str
    python: str
    torch: str
    cuda: str = UNKNOWN
    cudnn: str = UNKNOWN
    triton: str = UNKNOWN
    vidcost: str
    host: str = ""

    @property
    def kind(self) -> Machine:
        """The same without names of single machines: timings of one kind share a table."""
        # like machines report memory that differs by what their firmware keeps
        return self.model_copy(update={"device_uuid": "", "host": "", "memory_bytes": 0})


class Telemetry(Frozen):
    """One reading of the device while it was measured; None where it does not report.

    ``at_s`` is seconds after the worker began to sample. Clocks in MHz, temperature in degrees
    Celsius, power in watts, energy in joules since the driver was loaded: all of the whole device.
    """

    at_s: float
    sm_clock_mhz: int | None = None
    memory_clock_mhz: int | None = None
    temperature_c: int | None = None
    power_w: float | None = None
    energy_j: float | None = None
    throttle_reasons: tuple[str, ...] | None = None


class Timing(Frozen):
    """One cell's measurement.

    ``samples_s`` are raw seconds by part; ``processes`` the numbers of them of each process, if
    several took them one after the other. ``macs`` are exact MACs of one forward pass at the cell's
    batch, ``macs_total`` of all that was timed (with the backward pass in training); both are
    counted by the parent, never in the timed process. ``reference_memory`` and
    ``reference_macs_total`` are of the cell it is timed against. ``energy_j`` is of one pass, over
    a window of at least 5 s.
    """

    key: str
    cell: Cell
    status: Status = "ok"
    error: str = ""
    machine: Machine | None = None
    protocol: Protocol | None = None
    samples_s: dict[Part, tuple[float, ...]] = {}
    processes: tuple[int, ...] = ()
    memory: Memory | None = None
    reference_memory: Memory | None = None
    telemetry: tuple[Telemetry, ...] = ()
    macs: int | None = None
    macs_total: int | None = None
    reference_macs_total: int | None = None
    energy_j: float | None = None
    started: str = ""

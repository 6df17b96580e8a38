"""A timing as it is stored: raw samples and all conditions, never a summary."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict

from vidcost.bench.timing.cell import Cell

Status = Literal[
    "ok",
    "oom",
    "crashed",
    "killed",
    "timed out",
    "unsupported",
    "throttled",
    "raised",
    "not finite",
]
"""``unsupported``: the device or torch cannot do this cell; ``throttled``: no clean sample. Of a
user's code, ``raised``: an error of its own or sys.exit; ``not finite``: NaN or infinity came out.
"""

Part = Literal[
    "latency",
    "forward",
    "backward",
    "optimizer",
    "with",
    "without",
    "target",
    "reference",
    "target_forward",
    "target_backward",
    "reference_forward",
    "reference_backward",
]
"""What was timed: a whole pass or training step; the parts of a step; the sides of a
contribution; a cell and the one it is timed against, and the parts of their steps."""


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Protocol(_Frozen):
    """How the samples were taken.

    Times in seconds. ``settled``: two windows of the warm-up agreed. ``precision`` is the half
    width of the median's 95% confidence interval over the median, as reached; of a contribution,
    that of
    the sides' difference over the median with the blocks; against another cell that of the ratio.
    ``cpus`` are the host's that the passes were pinned to, none on a GPU.
    """

    warmup_samples: int
    settled: bool
    precision: float | None
    sampling_s: float
    void_samples: int = 0
    seed: int = 0
    cpus: tuple[int, ...] = ()


class Memory(_Frozen):
    """Bytes. ``peak`` is above the weights; None is what this device does not say.

    ``rss_peak`` is the worker's; ``nvml_used`` that of its process on the device.
    """

    weights: int
    peak: int | None = None
    reserved: int | None = None
    rss_peak: int | None = None
    nvml_used: int | None = None


class Machine(_Frozen):
    """What it ran on: names and versions, as they are reported; "not available" where nothing is.

    Two versions of a code compare only on one machine, so if all of these are equal. ``host`` is
    the name of a cluster's host; ``node`` is empty, it once was Ray's id of the node.
    """

    device: str
    device_uuid: str = "not available"
    driver: str = "not available"
    cpu: str
    cores: int
    memory_bytes: int
    platform: str
    python: str
    torch: str
    cuda: str = "not available"
    cudnn: str = "not available"
    vidcost: str
    host: str = ""
    node: str = ""

    @property
    def kind(self) -> Machine:
        """The same without what tells it from others like it: timings of those share a table."""
        # like machines report memory that differs by what their firmware keeps
        return self.model_copy(
            update={"device_uuid": "", "host": "", "node": "", "memory_bytes": 0}
        )


class Telemetry(_Frozen):
    """One reading of the device while it was measured; None where it does not report.

    ``at_s`` is seconds after the worker began to sample. Clocks in MHz, temperature in degrees
    Celsius, power in watts, energy in joules since the driver was loaded.
    """

    at_s: float
    sm_clock_mhz: int | None = None
    memory_clock_mhz: int | None = None
    temperature_c: int | None = None
    power_w: float | None = None
    energy_j: float | None = None
    throttle_reasons: tuple[str, ...] | None = None


class Timing(_Frozen):
    """One cell's measurement.

    ``samples_s`` are raw seconds by part. ``macs`` are exact MACs of one forward pass at the cell's
    batch, ``macs_total`` of all that was timed (with the backward pass in training); both are
    counted by the parent, never in the timed process. ``memory`` is of the target alone on its
    device, of two sides of the first; ``memory_without`` of the other, which is the network
    without its blocks or the cell it is timed against. ``energy_j`` is what one pass took, over a
    window of at least 5 s.
    """

    key: str
    cell: Cell
    status: Status = "ok"
    error: str = ""
    machine: Machine | None = None
    protocol: Protocol | None = None
    samples_s: dict[Part, tuple[float, ...]] = {}
    memory: Memory | None = None
    memory_without: Memory | None = None
    telemetry: tuple[Telemetry, ...] = ()
    macs: int | None = None
    macs_total: int | None = None
    peak_macs_per_s: float | None = None
    energy_j: float | None = None
    started: str = ""

    @property
    def passes_s(self) -> tuple[float, ...]:
        """Seconds of whole passes or steps; where two sides took turns, of the first."""
        part: Part = "latency"
        if self.cell.is_pair:
            part = "with" if self.cell.contribution else "target"
        return self.samples_s.get(part, ())

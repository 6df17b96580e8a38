"""The records of GPUs that the files of the paper's tables show, by the kind of machine."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TypeVar

from vidcost.bench.timing.cell import Cell
from vidcost.bench.timing.axes import Dtype
from vidcost.bench.timing.figures import figures
from vidcost.bench.timing.record import Machine, Timing

Number = TypeVar("Number", int, float)

Condition = tuple[int, Dtype]
"""Batch and type."""

SHOWN: tuple[Condition, ...] = (
    (8, "fp32"),
    (8, "tf32"),
    (8, "bf16"),
    (1, "fp32"),
    (1, "bf16"),
)
"""Those that have a column, in order."""

POWER_CAP = "sw power cap"


@dataclass(frozen=True)
class Measured:
    """A timing without its samples and readings, and what the tables tell of them.

    Seconds of a pass, bytes above the weights; None where nothing was measured or reported.
    ``sm_clocks_mhz`` and ``powers_w`` are the least and the most of the readings.
    """

    timing: Timing
    median_s: float | None
    half_ci_s: float | None
    n: int | None
    peak_bytes: int | None
    sm_clocks_mhz: tuple[int, int] | None
    powers_w: tuple[float, float] | None
    power_capped: bool | None


@dataclass(frozen=True)
class Gpu:
    """What was measured on one kind of machine with a GPU, by row and condition.

    ``apart`` says in words what tells it from others with the same GPU, such as ``driver 570``;
    empty if there is no other.
    """

    machine: Machine
    apart: str
    records: Mapping[tuple[str, Condition], Measured]

    @property
    def name(self) -> str:
        """The GPU's, for people."""
        return f"{self.machine.device} ({self.apart})" if self.apart else self.machine.device


def gpus(timings: Iterable[Timing]) -> list[Gpu]:
    """The records among ``timings`` that may be shown, parted by kind of machine, in order.

    Of a GPU, rows as they stand under :data:`SHOWN`, contiguous, eager, at inference, without
    cuDNN's benchmark; of several numbers of threads that with most records. Of one cell's records
    the latest counts. ``timings`` are gone through once, and their samples not kept.
    """
    kinds: dict[Machine, dict[Cell, Measured]] = {}
    for timing in timings:
        if timing.machine is None or not _is_shown(timing.cell):
            continue
        of_kind = kinds.setdefault(timing.machine.kind, {})
        # cuda and cuda:1 are names of this process
        cell = timing.cell.model_copy(update={"device": "cuda"})
        earlier = of_kind.get(cell)
        if earlier is None or earlier.timing.started <= timing.started:
            of_kind[cell] = _measured(timing)
    names = Counter(machine.device for machine in kinds)
    # by name and version, whatever the order of the files
    return [
        Gpu(
            machine,
            _apart(machine, kinds) if names[machine.device] > 1 else "",
            _of_most_threads(kinds[machine]),
        )
        for machine in sorted(kinds, key=lambda each: (each.device, each.model_dump_json()))
    ]


def _is_shown(cell: Cell) -> bool:
    return (
        cell.device != "cpu"
        and cell.is_row_itself
        and not cell.is_pair
        and (cell.batch, cell.dtype) in SHOWN
        and (cell.memory_format, cell.mode, cell.phase) == ("contiguous", "eager", "inference")
        and not cell.cudnn_benchmark
    )


def _measured(timing: Timing) -> Measured:
    found = figures(timing)
    readings = timing.telemetry
    reasons = [each.throttle_reasons for each in readings if each.throttle_reasons is not None]
    return Measured(
        timing=timing.model_copy(update={"samples_s": {}, "telemetry": ()}),
        median_s=found["median_s"] if timing.status == "ok" else None,
        half_ci_s=found["half_ci_s"],
        n=found["n"],
        peak_bytes=found["peak_bytes"] if timing.status == "ok" else None,
        sm_clocks_mhz=_extent(each.sm_clock_mhz for each in readings),
        powers_w=_extent(each.power_w for each in readings),
        power_capped=any(POWER_CAP in each for each in reasons) if reasons else None,
    )


def _extent(readings: Iterable[Number | None]) -> tuple[Number, Number] | None:
    """The least and the most of what was read."""
    read = [each for each in readings if each is not None]
    return (min(read), max(read)) if read else None


def _of_most_threads(cells: Mapping[Cell, Measured]) -> dict[tuple[str, Condition], Measured]:
    numbers = Counter(cell.threads for cell in cells)
    most = min(numbers, key=lambda threads: (-numbers[threads], threads))
    return {
        (cell.row, (cell.batch, cell.dtype)): measured
        for cell, measured in cells.items()
        if cell.threads == most and cell.row is not None
    }


def _apart(machine: Machine, kinds: Iterable[Machine]) -> str:
    like = [each for each in kinds if each.device == machine.device]
    return ", ".join(
        f"{name} {value}"
        for name, value in machine
        if len({getattr(other, name) for other in like}) > 1
    )

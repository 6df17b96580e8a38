"""Rates that were reached beside the ceilings of their device."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from typing import Literal

from vidcost.bench.count.traffic import Traffic, traffic
from vidcost.bench.report.page.measured import Device, conditions, measured_alone
from vidcost.bench.timing import peak
from vidcost.bench.timing.bandwidth import bytes_per_s
from vidcost.bench.timing.build import DTYPES
from vidcost.bench.timing.cell import Cell
from vidcost.bench.timing.figures import figures
from vidcost.bench.timing.predict import outline

LEAST_INTENSITY = 0.05
"""MACs per byte below which a rate in MACs says nothing of a device."""


@dataclass(frozen=True)
class Reached:
    """A measurement: MACs per byte of its operators' traffic, and MACs per second.

    ``traffic_bytes`` is that of :class:`Traffic`, in inference; training is not drawn.
    """

    target: str
    row: str | None
    dtype: str
    conditions: str
    macs: int
    traffic_bytes: int
    macs_per_s: float

    @property
    def intensity(self) -> float:
        """MACs per byte."""
        return self.macs / self.traffic_bytes


@dataclass(frozen=True)
class Ceiling:
    """What cannot be passed: MACs per second, or, of memory, bytes per second."""

    kind: Literal["matmul", "data sheet", "memory"]
    dtype: str
    limit: float


@dataclass(frozen=True)
class Roofline:
    """The measurements of a device and its ceilings; ``left_out`` says what could not be drawn."""

    reached: tuple[Reached, ...]
    ceilings: tuple[Ceiling, ...]
    left_out: tuple[str, ...]


def roofline(device: Device) -> Roofline:
    """The roofline of the inference that was measured on ``device``."""
    reached: list[Reached] = []
    ceilings: dict[tuple[str, str], Ceiling] = {}
    left_out: dict[str, None] = {}
    for timing in measured_alone(device.timings):
        cell = timing.cell
        found = figures(timing)
        if cell.phase != "inference" or not found["macs_per_s"]:
            continue
        if cell.code or cell.network is not None:
            left_out[f"{cell.target} is not drawn: a report runs no code of users"] = None
            continue
        try:
            moved = _traffic(_bare(cell))
        except ValueError as error:
            left_out[f"{cell.target} is not drawn: {error}"] = None
            continue
        point = Reached(
            target=cell.target,
            row=cell.row,
            dtype=cell.dtype,
            conditions=conditions(cell),
            macs=timing.macs_total or 0,
            traffic_bytes=moved.bytes(batch=cell.batch, element=DTYPES[cell.dtype].itemsize),
            macs_per_s=found["macs_per_s"],
        )
        if point.intensity < LEAST_INTENSITY:
            left_out[f"{cell.target} is not drawn: what it does is hardly products"] = None
            continue
        reached.append(point)
        for ceiling in _ceilings(device.name, cell, timing.peak_macs_per_s):
            known = ceilings.get((ceiling.kind, ceiling.dtype))
            if known is None or ceiling.limit > known.limit:
                ceilings[ceiling.kind, ceiling.dtype] = ceiling
    return Roofline(tuple(reached), tuple(ceilings.values()), tuple(left_out))


def _ceilings(device: str, cell: Cell, matmul: float | None) -> Iterable[Ceiling]:
    if matmul:
        yield Ceiling("matmul", cell.dtype, matmul)
    if sheet := peak.macs_per_s(device, cell.dtype):
        yield Ceiling("data sheet", cell.dtype, sheet)
    if memory := bytes_per_s(device):
        yield Ceiling("memory", "", memory)


def _bare(cell: Cell) -> Cell:
    """The cell without what does not change how many elements one input moves."""
    kept = ("row", "classes", "frames", "size", "block", "shape", "blocks")
    return Cell.model_validate({name: getattr(cell, name) for name in kept})


@cache
def _traffic(cell: Cell) -> Traffic:
    model, inputs = outline(cell)
    return traffic(model, *inputs)

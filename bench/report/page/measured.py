"""Stored timings by device, for the report."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from vidcost.bench.timing.cell import Cell
from vidcost.bench.timing.kinds import of_one_machine, rows_timed_alike
from vidcost.bench.timing.record import Machine, Timing
from vidcost.bench.timing.store import TIMINGS, Store


@dataclass(frozen=True)
class Device:
    """The latest timings of one device, all taken like the latest of them.

    ``notes`` say what was left out or could not be read.
    """

    name: str
    machine: Machine
    timings: tuple[Timing, ...]
    files: tuple[Path, ...]
    notes: tuple[str, ...]

    @property
    def started(self) -> tuple[str, str]:
        """When the first and the last of them were taken."""
        times = sorted(timing.started for timing in self.timings if timing.started)
        return (times[0], times[-1]) if times else ("", "")


def devices(results: Path) -> list[Device]:
    """Every device in ``results``/timings, by name; none if nothing is stored.

    Raises: ValueError naming file and line if one is damaged.
    """
    timings: dict[str, dict[str, Timing]] = {}
    files: dict[str, set[Path]] = {}
    warnings: dict[str, set[str]] = {}
    for path in sorted((results / TIMINGS).glob("*.jsonl")):
        contents = Store(path).load()
        for timing in contents.records.values():
            if timing.machine is None:
                continue
            name = timing.machine.device
            timings.setdefault(name, {})[timing.key] = timing
            files.setdefault(name, set()).add(path)
            if contents.warning:
                warnings.setdefault(name, set()).add(contents.warning)
    found = []
    for name, records in sorted(timings.items()):
        kept, note = of_one_machine(records.values())
        machine = next(timing.machine for timing in kept if timing.machine)
        said = [*sorted(warnings.get(name, ())), *([note] if note else [])]
        found.append(Device(name, machine, tuple(kept), tuple(sorted(files[name])), tuple(said)))
    return found


def conditions(cell: Cell) -> str:
    """What a cell was timed under, in words; the device and the target are said elsewhere."""
    words = [
        f"batch {cell.batch}",
        cell.dtype,
        cell.mode,
        cell.phase,
        "" if cell.memory_format == "contiguous" else cell.memory_format,
        "cuDNN benchmark" if cell.cudnn_benchmark else "",
        "cold" if cell.cold else "",
        f"{cell.frames} frames" if cell.frames else "",
        f"size {cell.size}" if cell.size else "",
        f"{cell.classes} classes" if cell.classes else "",
        f"{cell.threads} threads" if cell.device == "cpu" and cell.threads > 1 else "",
    ]
    return ", ".join(filter(None, words))


def at_own_clips(timings: Iterable[Timing]) -> dict[str, Timing]:
    """Rows as they stand, by name, under the conditions that most of them were timed under.

    Only what was measured: a row without its own clip or blocks has no accuracy to stand beside.
    """
    return rows_timed_alike(timing for timing in timings if timing.status == "ok")


def measured_alone(timings: Iterable[Timing]) -> Sequence[Timing]:
    """The timings that have a latency: measured, and not a contribution of a network."""
    return [t for t in timings if t.status == "ok" and not t.cell.is_pair and t.samples_s]

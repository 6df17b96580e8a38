"""Timing on behalf of a person: which device, which file, what went wrong."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path

import torch
from rich.console import Console

from vidcost.bench.session.timing_progress import progress
from vidcost.bench.timing import conditions, events, sweep
from vidcost.bench.timing.cell import Cell
from vidcost.bench.timing.axes import Dtype
from vidcost.bench.timing.kinds import of_one_machine
from vidcost.bench.timing.machine import usable_cores
from vidcost.bench.timing.messages import Limits
from vidcost.bench.timing.parent import Predicted
from vidcost.bench.timing.peak import measured_macs_per_s
from vidcost.bench.timing.predict import predict
from vidcost.bench.timing.record import Machine, Timing
from vidcost.bench.timing.store import TIMINGS, Contents, Store

GPU_CHUNK_S = 0.25
"""A stretch of samples on a GPU."""

GPU_LEAST_S = 1.0
"""Of sampling, however short the budget."""


@dataclass
class Taken:
    """The timings that there are, in the order of the cells; what went wrong; what was left.

    There may be more timings than memory has room for: they are gone through, one by one.
    """

    timings: Iterable[Timing] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def check_device(device: str) -> str:
    """``cpu``, ``cuda`` or ``cuda:1`` as it is.

    Raises: ValueError if there is no such device.
    """
    if device == "cpu":
        return device
    found = re.fullmatch(r"cuda(?::(\d+))?", device, re.ASCII)
    if not found:
        raise ValueError(f"no device {device!r}: choose cpu, cuda or, of several, cuda:1")
    devices = torch.cuda.device_count()
    if not devices:
        raise ValueError("no CUDA device: choose --device cpu")
    if int(found[1] or 0) >= devices:
        raise ValueError(f"no device {device!r}: there are cuda:0 to cuda:{devices - 1}")
    return device


def default_threads(device: str) -> int:
    """The cores this process may use on a CPU; on a GPU the one that feeds it."""
    return usable_cores() if device == "cpu" else 1


def take(
    cells: Sequence[Cell],
    results: Path,
    *,
    console: Console,
    resume: bool = True,
    budget_s: float | None = None,
    start_up_s: float | None = None,
    command: str = "vidcost time",
) -> Taken:
    """Time ``cells`` of one device and store them in the results folder.

    ``start_up_s`` is what a worker may take beside its sampling; None for the usual.
    Raises: ValueError as :func:`sweep.sweep` does; Interrupted on Ctrl-C.
    """
    taken = Taken()
    if not cells:
        return taken
    store = store_of(results, conditions.machine_of(cells[0].device), command=command)
    with progress(console, len(cells)) as show:

        def on_event(event: events.Event) -> None:
            show(event)
            match event:
                case events.BudgetSpent():
                    left = dict.fromkeys(cell.target for cell in event.cells)
                    taken.notes.append(f"no time was left for {', '.join(left)}: raise --budget")
                case events.Warned():
                    taken.notes.append(event.text)
                case _:
                    pass

        timings = taken.timings = sweep.sweep(
            cells,
            store,
            limits=limits_for(cells[0].device, start_up_s=start_up_s),
            resume=resume,
            budget_s=budget_s,
            predict=predict_with_peak,
            on_event=on_event,
        )
    taken.failures = [failure(timing) for timing in timings if timing.status != "ok"]
    return taken


def limits_for(device: str, *, start_up_s: float | None = None) -> Limits:
    """The usual limits on ``device``; ``start_up_s`` as in :func:`take`."""
    limits = Limits() if start_up_s is None else Limits(start_up_s=start_up_s)
    if device == "cpu":
        return limits
    # it takes longer to begin with a GPU's cell than to time it well
    return limits.model_copy(update={"chunk_s": GPU_CHUNK_S, "least_s": GPU_LEAST_S})


def predict_with_peak(cell: Cell) -> Predicted:
    """What is known of ``cell`` beforehand, and on a CPU what a large product reaches there.

    A GPU's worker measures that itself, after its cell: this process keeps off the GPU.
    Raises: ValueError as the network or block does.
    """
    known = predict(cell)
    if cell.device != "cpu":
        return known
    return replace(known, peak_macs_per_s=_matmul_on_cpu(cell.dtype, cell.threads))


@cache
def _matmul_on_cpu(dtype: Dtype, threads: int) -> float:
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        return measured_macs_per_s("cpu", dtype)
    finally:
        torch.set_num_threads(before)


def stored(cells: Sequence[Cell], results: Path) -> dict[Cell, Timing]:
    """The timings of ``cells`` that are stored as measured under today's code and device."""
    if not cells:
        return {}
    machine = conditions.machine_of(cells[0].device)
    records = store_of(results, machine).read()
    found = {cell: records.get(cell.key(*conditions.conditions(machine))) for cell in cells}
    return {cell: timing for cell, timing in found.items() if timing and timing.status == "ok"}


def stored_files(results: Path) -> Iterator[Contents]:
    """What each file of timings in the results folder holds, by name; one is read at a time.

    Raises: ValueError naming file and line if one is damaged.
    """
    for path in sorted((results / TIMINGS).glob("*.jsonl")):
        yield Store(path).load()


def stored_anywhere(folder: Path) -> list[Timing]:
    """The latest timing of each cell on each device that any file of ``folder`` holds, in order.

    Of a device, those alone that were taken like its latest.
    Raises: ValueError naming file and line if one is damaged.
    """
    latest: dict[str, dict[Cell, Timing]] = {}
    for contents in stored_files(folder):
        for timing in contents.records.values():
            device = timing.machine.device if timing.machine else ""
            latest.setdefault(device, {})[timing.cell] = timing
    return [timing for found in latest.values() for timing in of_one_machine(found.values())[0]]


def store_of(results: Path, machine: Machine, *, command: str = "vidcost time") -> Store:
    """The file for timings of ``machine``: ``timings/<device>-torch<version>.jsonl``."""
    version = machine.torch.partition("+")[0]
    return Store(results / TIMINGS / f"{slug(machine)}-torch{version}.jsonl", command=command)


def slug(machine: Machine) -> str:
    """The device's name as part of a path."""
    return re.sub(r"[^a-z0-9]+", "-", machine.device.lower()).strip("-")


def chosen(
    which: str, results: Path, files: Iterable[Contents] | None = None
) -> tuple[list[Timing], str]:
    """The timings of the file ``which``, or of the device whose name contains it; and a note.

    ``files`` are those of :func:`stored_files`, if they have been read.
    Raises: ValueError if there are none, or of several devices.
    """
    if Path(which).is_file():
        contents = Store(Path(which)).load()
        found, warnings = list(contents.records.values()), [contents.warning]
    else:
        found, warnings, devices = [], [], set()
        for contents in stored_files(results) if files is None else files:
            warnings.append(contents.warning)
            for timing in contents.records.values():
                name = timing.machine.device if timing.machine else ""
                devices.add(name)
                if which.casefold() in name.casefold():
                    found.append(timing)
        if not found:
            there = ", ".join(sorted(filter(None, devices)))
            raise ValueError(
                f"no timings of {which!r} in {results / TIMINGS}: "
                + (f"there are those of {there}" if there else "`vidcost time` makes some")
            )
    kept, note = of_one_machine(found)
    return kept, "; ".join(filter(None, (*warnings, note)))


def failure(timing: Timing) -> str:
    """A cell that was not measured, in a line."""
    cell = timing.cell
    conditions_ = f"batch {cell.batch}, {cell.dtype}, {cell.mode}, {cell.phase}"
    what = f"{cell.target} on {cell.device} ({conditions_}): {timing.status}"
    return f"{what}: {timing.error}" if timing.error else what

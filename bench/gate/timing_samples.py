"""Every record of a file of timings: each is a process of its own."""

from __future__ import annotations

import hashlib
import statistics

from vidcost.bench import files
from vidcost.bench.gate.processes import Contents, Process, checked_seconds
from vidcost.bench.timing.record import Timing
from vidcost.bench.timing.store import Header


def is_timings(data: bytes) -> bool:
    """Whether it begins like a file of timings."""
    first, _, _ = data.partition(b"\n")
    try:
        Header.model_validate_json(first)
    except ValueError:
        return False
    return True


def read_timings(name: str, data: bytes) -> Contents:
    """Every record, not only the latest of a key. A last line cut short is left out.

    Raises: ValueError naming the file and line if one is damaged or has samples that cannot be.
    """
    lines = data.split(b"\n")
    if not lines[-1]:
        lines.pop()
    processes: list[Process] = []
    for number, line in enumerate(lines[1:], start=2):
        where = f"{name}, line {number}"
        try:
            timing = Timing.model_validate_json(line)
        except ValueError:
            if number == len(lines) and not files.is_object(line):
                return Contents(
                    "vidcost timings", processes, [f"{where} is cut short and was left out"]
                )
            raise ValueError(f"{where} is damaged: mend it or name another file") from None
        processes.append(_process(timing, name, where, line))
    return Contents("vidcost timings", processes, [])


def _process(timing: Timing, file: str, where: str, line: bytes) -> Process:
    cell, machine = timing.cell, timing.machine
    median_s = peak_bytes = None
    failure = ""
    if timing.status == "ok":
        if machine is None:
            raise ValueError(f"{where} says no machine: only what ran on one machine is compared")
        # of two sides the first: their difference is no latency
        median_s = statistics.median(checked_seconds(timing.passes_s, where))
        peak_bytes = timing.memory.peak if timing.memory else None
    else:
        failure = f"{timing.status}: {timing.error}" if timing.error else timing.status
    return Process(
        name=cell.subject,
        details=tuple(
            (field, str(value)) for field, value in cell if field not in ("row", "block", "shape")
        ),
        file=file,
        where=where,
        identity=hashlib.sha256(line).digest(),
        started=timing.started,
        # a cluster's node has another name whenever the cluster is begun
        machine={field: str(value) for field, value in machine if field != "node"}
        if machine
        else None,
        median_s=median_s,
        peak_bytes=peak_bytes,
        failure=failure,
    )

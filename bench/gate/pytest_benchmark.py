"""What pytest-benchmark stored of one run: a process, with a median of each benchmark."""

from __future__ import annotations

import hashlib
import json
import statistics
from collections.abc import Mapping
from typing import Any

from vidcost.bench.gate.processes import Contents, Fields, Process, checked_seconds
from vidcost.bench.timing.machine import UNKNOWN

COMMIT = "commit_info.id"

MACHINE = (
    "cpu.brand_raw",
    "cpu.count",
    "machine",
    "system",
    "python_implementation",
    "python_version",
)
"""What two runs must have in common; not the host's name or its kernel."""


def is_pytest_benchmark(found: object) -> bool:
    """Whether parsed JSON is a run that pytest-benchmark stored."""
    return isinstance(found, dict) and {"machine_info", "benchmarks"} <= set(found)


def read_pytest_benchmark(name: str, found: Mapping[str, Any]) -> Contents:
    """The benchmarks of a run; their ``extra_info`` is not looked at.

    Rounds are read where they were stored (``--benchmark-save-data``), else their median.
    Raises: ValueError naming the file and the benchmark if it is damaged or has times that cannot
        be.
    """
    info = _mapping(found["machine_info"])
    machine = {field: _at(info, field) for field in MACHINE}
    machine[COMMIT] = _at(found, COMMIT)
    started = str(found.get("datetime", ""))
    benchmarks = found["benchmarks"]
    if not isinstance(benchmarks, list):
        raise ValueError(f"{name}: 'benchmarks' is no list: run pytest again")
    processes: dict[tuple[str, Fields], Process] = {}
    for number, benchmark in enumerate(benchmarks, start=1):
        process = _process(name, number, _mapping(benchmark), machine, started)
        key = process.name, process.details
        if key in processes:
            raise ValueError(f"{process.where} is there twice: one run is one process")
        processes[key] = process
    return Contents("pytest-benchmark", list(processes.values()), [])


def _process(
    name: str,
    number: int,
    benchmark: Mapping[str, Any],
    machine: Mapping[str, str],
    started: str,
) -> Process:
    fullname, stats = benchmark.get("fullname"), benchmark.get("stats")
    if not isinstance(fullname, str) or not isinstance(stats, dict):
        raise ValueError(f"{name}: benchmark {number} has no name or no stats: run pytest again")
    where = f"{name}, {fullname}"
    rounds = stats.get("data", [stats.get("median")])
    if not isinstance(rounds, list):
        raise ValueError(f"{where}: 'data' is no list of rounds: run pytest again")
    text = json.dumps([started, benchmark], sort_keys=True)
    return Process(
        name=fullname,
        details=_details(benchmark),
        file=name,
        where=where,
        identity=hashlib.sha256(text.encode()).digest(),
        started=started,
        machine=machine,
        median_s=statistics.median(checked_seconds(rounds, where)),
    )


def _details(benchmark: Mapping[str, Any]) -> Fields:
    """Parameters and the clock, as far as their text is the same in every process."""
    params = _mapping(benchmark.get("params"))
    known = {f"params.{key}": value for key, value in sorted(params.items())}
    known["timer"] = _mapping(benchmark.get("options")).get("timer", UNKNOWN)
    texts = {key: json.dumps(value, sort_keys=True) for key, value in known.items()}
    # what JSON cannot hold is stored as its repr, often with an address in memory
    return tuple(
        (key, text.strip('"')) for key, text in texts.items() if "UNSERIALIZABLE[" not in text
    )


def _at(found: Mapping[str, Any], path: str) -> str:
    value: Any = found
    for key in path.split("."):
        value = _mapping(value).get(key)
    return UNKNOWN if value is None else str(value)


def _mapping(found: object) -> Mapping[str, Any]:
    return found if isinstance(found, dict) else {}

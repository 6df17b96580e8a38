"""JSON files of pytest-benchmark: read, checked, and matched between two versions."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import Any

from vidcost.bench.gate.record import Rule, SampleComparison, Samples
from vidcost.bench.timing.record import UNKNOWN

COMMIT = "commit_info.id"
"""The version that was measured: one on each side, and it may differ between the sides."""

MACHINE = (
    "cpu.brand_raw",
    "cpu.count",
    "machine",
    "system",
    "python_implementation",
    "python_version",
)
"""Must be equal in two runs, like the parameters and the clock of a benchmark; not the host's name
or its kernel."""

FIELDS = (*MACHINE, "params", "timer", COMMIT)
"""Those that --allow can except."""

DRIFT = "measured at different times: a drift of the machine is not excluded"
SWAPPED = "every run of base was started after those of head: swap them if that is not intended"
NO_GPU = "pytest-benchmark names no GPU and no torch: whether both sides had the same is unknown"


@dataclass(frozen=True)
class _Process:
    """One benchmark in one run of pytest.

    ``conditions`` are what must be equal, by field. ``where`` is its place in the ``file``;
    ``identity`` is equal only for copies.
    """

    name: str
    file: str
    where: str
    identity: bytes
    started: str
    conditions: Mapping[str, str]
    median_s: float


def compare_files(
    base: Path, head: Path, *, rule: Rule, allow: Sequence[str] = ()
) -> SampleComparison:
    """Read two files, or two folders of files, and match equal benchmarks.

    Each run is one process. All processes of a benchmark must have run under equal conditions but
    for the fields in ``allow``, and each side measured one commit.
    Raises: ValueError naming the file if it cannot be read or is a copy, and naming the field and
    both values if conditions differ.
    """
    if unknown := [field for field in allow if field not in FIELDS]:
        raise ValueError(
            f"no field {unknown[0]!r} can be allowed to differ: choose {', '.join(FIELDS)}"
        )
    old, new = _read(base), _read(head)
    _reject_copies((*old, *new))
    names = list(dict.fromkeys(each.name for each in (*old, *new)))
    sides = [
        {name: [each for each in side if each.name == name] for name in names}
        for side in (old, new)
    ]
    notes = [DRIFT, NO_GPU]
    if _all_after(old, new):
        notes.append(SWAPPED)
    for name in names:
        notes += _differences(sides[0][name], sides[1][name], allow)
    machines = [
        {field: each.conditions[field] for field in (*MACHINE, COMMIT)} for each in (*old, *new)
    ]
    return SampleComparison(
        vidcost=version("vidcost"),
        base=str(base),
        head=str(head),
        rule=rule,
        allow=tuple(allow),
        machines=tuple({tuple(machine.items()): machine for machine in machines}.values()),
        samples=tuple(
            Samples(
                target=name,
                base=tuple(each.median_s for each in sides[0][name]),
                head=tuple(each.median_s for each in sides[1][name]),
            )
            for name in names
        ),
        notes=tuple(dict.fromkeys(notes)),
    )


# reading


def _read(path: Path) -> list[_Process]:
    """All benchmarks of a file, or of the files in a folder."""
    files = sorted(path.rglob("*.json")) if path.is_dir() else [path]
    if not files:
        raise ValueError(f"{path} holds no .json file: name another folder")
    processes = [process for file in files for process in _read_file(file)]
    if not processes:
        raise ValueError(f"{path} holds no benchmark: run pytest with --benchmark-json")
    return processes


def _read_file(path: Path) -> list[_Process]:
    try:
        found = json.loads(path.read_bytes())
    except OSError as error:
        raise ValueError(f"cannot read {path}: {error.strerror}") from None
    except ValueError:
        raise ValueError(f"{path} is not JSON, or cut short: run pytest again") from None
    if isinstance(found, dict) and str(found.get("file")).startswith("vidcost gate"):
        raise ValueError(f"{path} is a gate's result: `vidcost gate replay` judges it again")
    if not isinstance(found, dict) or not {"machine_info", "benchmarks"} <= set(found):
        raise ValueError(f"{path} is another kind of file: name one of pytest's --benchmark-json")
    if not isinstance(found["benchmarks"], list):
        raise ValueError(f"{path}: 'benchmarks' is not a list: run pytest again")
    machine = {field: _at(found["machine_info"], field) for field in MACHINE}
    machine[COMMIT] = _at(found, COMMIT)
    started = str(found.get("datetime", ""))
    processes: dict[str, _Process] = {}
    for number, benchmark in enumerate(found["benchmarks"], start=1):
        process = _process(str(path), number, _mapping(benchmark), machine, started)
        if process.name in processes:
            raise ValueError(f"{process.where} is there twice: one run is one process")
        processes[process.name] = process
    return list(processes.values())


def _process(
    file: str, number: int, benchmark: Mapping[str, Any], machine: Mapping[str, str], started: str
) -> _Process:
    name, stats = benchmark.get("fullname"), benchmark.get("stats")
    if not isinstance(name, str) or not isinstance(stats, dict):
        raise ValueError(f"{file}: benchmark {number} has no name or no stats: run pytest again")
    where = f"{file}, {name}"
    # rounds are stored by --benchmark-save-data, else there is only their median
    rounds = stats.get("data", [stats.get("median")])
    if not isinstance(rounds, list) or not rounds:
        raise ValueError(f"{where}: 'data' is not a list of rounds: run pytest again")
    # a value that JSON cannot hold is stored as its repr, often with an address in memory
    params = {
        key: value
        for key, value in sorted(_mapping(benchmark.get("params")).items())
        if "UNSERIALIZABLE[" not in str(value)
    }
    timer = str(_mapping(benchmark.get("options")).get("timer", UNKNOWN))
    return _Process(
        name=name,
        file=file,
        where=where,
        identity=hashlib.sha256(json.dumps([started, benchmark], sort_keys=True).encode()).digest(),
        started=started,
        conditions={**machine, "params": json.dumps(params), "timer": timer},
        median_s=median(_seconds(value, where) for value in rounds),
    )


def _seconds(value: object, where: str) -> float:
    # JSON's true would pass as 1
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < math.inf:
        raise ValueError(f"{where}: {value!r} is not a time in seconds: run pytest again")
    return float(value)


def _at(found: object, path: str) -> str:
    for key in path.split("."):
        found = _mapping(found).get(key)
    return UNKNOWN if found is None else str(found)


def _mapping(found: object) -> Mapping[str, Any]:
    return found if isinstance(found, dict) else {}


# matching


def _reject_copies(processes: Iterable[_Process]) -> None:
    """A process counts once; the same one on both sides would hide a difference."""
    seen: dict[bytes, str] = {}
    for process in processes:
        before = seen.get(process.identity)
        if before == process.where:
            raise ValueError(f"{before} is on both sides: name another file for one of them")
        if before is not None:
            raise ValueError(
                f"{process.where} is a copy of {before}: a process counts once, remove one"
            )
        seen[process.identity] = process.where


def _differences(
    base: Sequence[_Process], head: Sequence[_Process], allow: Sequence[str]
) -> Iterator[str]:
    """Notes on allowed differences.  Raises: ValueError if a field differs that may not."""
    within = [(side[0], other) for side in (base, head) for other in side[1:]]
    across = [(base[0], head[0])] if base and head else []
    for first, second in (*within, *across):
        for field, was in first.conditions.items():
            now = second.conditions[field]
            if now == was or (field == COMMIT and (first, second) in across):
                continue
            if field not in allow:
                raise ValueError(
                    f"incompatible: {field} was {was!r}, is {now!r} ({first.file}, {second.file})"
                )
            yield f"{field} was {was!r}, is {now!r}: allowed"


def _all_after(base: Iterable[_Process], head: Iterable[_Process]) -> bool:
    try:
        old, new = (
            [datetime.fromisoformat(each.started) for each in side] for side in (base, head)
        )
        return min(old) > max(new)
    except (ValueError, TypeError):
        # a run without a time, or with and without a time zone
        return False

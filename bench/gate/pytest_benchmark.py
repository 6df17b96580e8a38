"""JSON files of pytest-benchmark: read, checked, and matched between two versions."""

import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
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
"""Of ``machine_info``; must be equal in two runs, like the parameters and the clock of a benchmark;
not the host's name or its kernel."""

DEVICE = ("device", "device_uuid", "driver", "cuda", "cudnn", "torch", "triton", "clocks", "tf32")
"""Must be equal too: fields of a benchmark's ``extra_info``, of the ``machine`` in it, or of
``machine_info``."""

FIELDS = (*MACHINE, *DEVICE, "params", "timer", COMMIT)
"""Those that --allow can except."""

DRIFT = "measured at different times: a drift of the machine is not excluded"
SWAPPED = "every run of base was started after those of head: swap them if that is not intended"
NO_GPU = "the files name no device and no torch: whether both sides had the same is unknown"
LAUNCHES = "the stream was still busy when a pass returned: the clock saw launches only"


@dataclass(frozen=True)
class _Process:
    """One benchmark in one run of pytest, as it stands in the ``file``.

    ``conditions`` are what must be equal, by field. ``identity`` is equal only for copies.
    """

    name: str
    file: str
    identity: str
    started: str
    conditions: Mapping[str, str]
    median_s: float
    peak_bytes: int | None
    launches_only: bool

    @property
    def where(self) -> str:
        return f"{self.file}, {self.name}"


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
    every = [*old, *new]
    _reject_copies(every)
    notes, samples = [DRIFT], []
    if all(each.conditions[field] == UNKNOWN for each in every for field in ("device", "torch")):
        notes.append(NO_GPU)
    # ISO 8601 in one time zone sorts as text
    if min(each.started for each in old) > max(each.started for each in new):
        notes.append(SWAPPED)
    for name in dict.fromkeys(each.name for each in every):
        ours, theirs = ([each for each in side if each.name == name] for side in (old, new))
        notes += _differences(ours, theirs, allow)
        samples.append(
            Samples(
                target=name,
                base=tuple(each.median_s for each in ours),
                head=tuple(each.median_s for each in theirs),
                base_bytes=tuple(each.peak_bytes for each in ours if each.peak_bytes is not None),
                head_bytes=tuple(each.peak_bytes for each in theirs if each.peak_bytes is not None),
                invalid=LAUNCHES if any(each.launches_only for each in (*ours, *theirs)) else "",
            )
        )
    return SampleComparison(
        vidcost=version("vidcost"),
        base=str(base),
        head=str(head),
        rule=rule,
        allow=tuple(allow),
        conditions={field: old[0].conditions[field] for field in (*MACHINE, *DEVICE)},
        samples=tuple(samples),
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
    if isinstance(found, dict) and "measured" in found:
        raise ValueError(f"{path} is a gate's result: `vidcost gate replay` judges it again")
    if not isinstance(found, dict) or not {"machine_info", "benchmarks"} <= set(found):
        raise ValueError(f"{path} is another kind of file: name one of pytest's --benchmark-json")
    if not isinstance(found["benchmarks"], list):
        raise ValueError(f"{path}: 'benchmarks' is not a list: run pytest again")
    return [_process(str(path), number, found) for number in range(len(found["benchmarks"]))]


def _process(file: str, number: int, found: Mapping[str, Any]) -> _Process:
    benchmark, machine = _mapping(found["benchmarks"][number]), found["machine_info"]
    name, stats = benchmark.get("fullname"), benchmark.get("stats")
    if not isinstance(name, str) or not isinstance(stats, dict):
        raise ValueError(
            f"{file}: benchmark {number + 1} has no name or no stats: run pytest again"
        )
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
    extra = _mapping(benchmark.get("extra_info"))
    described = {**_mapping(machine), **_mapping(extra.get("machine")), **extra}
    timer = str(_mapping(benchmark.get("options")).get("timer", UNKNOWN))
    peak = extra.get("peak_bytes")
    return _Process(
        name=name,
        file=file,
        identity=json.dumps([found.get("datetime"), benchmark], sort_keys=True),
        started=str(found.get("datetime", "")),
        conditions={field: _at(machine, field) for field in MACHINE}
        | {field: _at(described, field) for field in DEVICE}
        | {"params": json.dumps(params), "timer": timer, COMMIT: _at(found, COMMIT)},
        median_s=median(_number(value, where, "a time in seconds") for value in rounds),
        peak_bytes=None if peak is None else int(_number(peak, where, "a peak in bytes")),
        launches_only=bool(extra.get("stream_busy")) and "cuda" not in timer,
    )


def _number(value: object, where: str, what: str) -> float:
    # JSON's true would pass as 1
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < math.inf:
        raise ValueError(f"{where}: {value!r} is not {what}: run pytest again")
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
    seen: dict[str, str] = {}
    for process in processes:
        before = seen.get(process.identity)
        if process.where in seen.values():
            raise ValueError(f"{process.where} is there twice: a run is one process, remove one")
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

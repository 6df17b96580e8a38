"""JSON files of pytest-benchmark: read, checked, and matched between two versions."""

import json
from collections.abc import Iterator, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, Field, NonNegativeInt, ValidationError

from vidcost.bench.gate.record import Rule, SampleComparison, Samples
from vidcost.bench.timing.record import UNKNOWN
from vidcost.papers.figures import first_of

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
NO_GPU = "the files name no device and no torch: whether both sides had the same is unknown"
LAUNCHES = "the stream was still busy when a pass returned: the clock saw launches only"


class _Stats(BaseModel):
    median: Annotated[float, Field(gt=0, allow_inf_nan=False, strict=True)]


class _Extra(BaseModel, extra="allow"):
    peak_bytes: NonNegativeInt | None = None
    stream_busy: bool = False
    machine: dict[str, Any] = {}


class _Process(BaseModel):
    """One benchmark in one run of pytest; ``conditions`` are what must be equal, by field."""

    fullname: str
    stats: _Stats
    params: dict[str, Any] | None = None
    options: dict[str, Any] = {}
    extra_info: _Extra = _Extra()
    file: Path = Path()
    started: str = ""
    conditions: dict[str, str] = {}

    @property
    def launches_only(self) -> bool:
        """Whether a host clock did not see the device finish."""
        return self.extra_info.stream_busy and "cuda" not in self.conditions["timer"]


class _Run(BaseModel):
    machine_info: dict[str, Any]
    commit_info: dict[str, Any] = {}
    datetime: str = ""
    benchmarks: list[_Process]


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
    for name in dict.fromkeys(each.fullname for each in every):
        ours, theirs = ([each for each in side if each.fullname == name] for side in (old, new))
        notes += _differences(ours, theirs, allow)
        samples.append(
            Samples(
                target=name,
                base=tuple(each.stats.median for each in ours),
                head=tuple(each.stats.median for each in theirs),
                base_bytes=_peaks(ours),
                head_bytes=_peaks(theirs),
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


def _peaks(processes: Sequence[_Process]) -> tuple[int, ...]:
    peaks = [each.extra_info.peak_bytes for each in processes]
    return tuple(peak for peak in peaks if peak is not None)


def _read(path: Path) -> list[_Process]:
    """All benchmarks of a file, or of the files in a folder."""
    files = sorted(path.rglob("*.json")) if path.is_dir() else [path]
    processes = [process for file in files for process in _read_file(file)]
    if not processes:
        raise ValueError(f"{path} holds no benchmark: run pytest with --benchmark-json")
    return processes


def _read_file(path: Path) -> Iterator[_Process]:
    try:
        run = _Run.model_validate(json.loads(path.read_bytes()))
    except OSError as error:
        raise ValueError(f"cannot read {path}: {error.strerror}") from None
    except ValidationError as error:
        raise ValueError(
            f"{path} is no file of pytest's --benchmark-json, or damaged: {first_of(error)}"
        ) from None
    except ValueError:
        raise ValueError(f"{path} is not JSON, or cut short: run pytest again") from None
    for each in run.benchmarks:
        extra, timer = each.extra_info, str(each.options.get("timer", UNKNOWN))
        # a value that JSON cannot hold is stored as its repr, often with an address in memory
        params = {k: v for k, v in (each.params or {}).items() if "UNSERIALIZABLE[" not in str(v)}
        device = {**run.machine_info, **extra.machine, **extra.model_dump()}
        conditions = (
            {field: _at(run.machine_info, field) for field in MACHINE}
            | {field: _at(device, field) for field in DEVICE}
            | {"params": json.dumps(params, sort_keys=True), "timer": timer}
            | {COMMIT: _at({"commit_info": run.commit_info}, COMMIT)}
        )
        known = {"file": path, "started": run.datetime, "conditions": conditions}
        yield each.model_copy(update=known)


def _at(found: Any, path: str) -> str:
    for key in path.split("."):
        found = found.get(key) if isinstance(found, dict) else None
    return UNKNOWN if found is None else str(found)


def _reject_copies(processes: Sequence[_Process]) -> None:
    """A process counts once; the same one on both sides would hide a difference."""
    seen: dict[tuple[str, str, float], _Process] = {}
    for each in processes:
        # runs that began in the same microsecond do not take the same time
        identity = each.fullname, each.started, each.stats.median
        if identity in seen:
            raise ValueError(
                f"{each.file}, {each.fullname} is a copy of that in {seen[identity].file}: a "
                "process counts once, remove one"
            )
        seen[identity] = each


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

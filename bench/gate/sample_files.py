"""Reading two sets of stored records and laying them side by side."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from importlib.metadata import version
from pathlib import Path
from typing import get_args

from pydantic_core import from_json

from vidcost.bench.gate import pytest_benchmark, timing_samples
from vidcost.bench.gate.processes import Contents, Fields, Kind, Process
from vidcost.bench.gate.record import Rule
from vidcost.bench.gate.sample_comparison import SampleComparison, SideSamples, SubjectSamples
from vidcost.bench.timing.record import Machine

SUFFIXES = (".json", ".jsonl")

MEASURED: dict[Kind, str] = {
    "vidcost timings": "vidcost",
    "pytest-benchmark": pytest_benchmark.COMMIT,
}
"""The field that names the version that was measured: one on each side, not the same on both."""

FIELDS: dict[Kind, tuple[str, ...]] = {
    "vidcost timings": tuple(Machine.model_fields),
    "pytest-benchmark": (*pytest_benchmark.MACHINE, pytest_benchmark.COMMIT),
}

DRIFT = "measured at different times: a drift of the machine is not excluded"
SWAPPED = "every record of base was started after those of head: swap them if that is not meant"
NO_GPU = "pytest-benchmark names no GPU and no torch: that both sides had the same was not checked"

_Key = tuple[str, Fields]


def compare_samples(
    base: Path, head: Path, *, rule: Rule, noise: float | None = None, allow: Sequence[str] = ()
) -> SampleComparison:
    """Read two files, or folders of files, of one kind and put like with like.

    Subjects are compared under equal conditions, and if all their processes ran on equal machines
    but for the fields in ``allow``; each side has processes of one version. ``noise`` is the
    standard deviation of the logarithm of process medians.
    Raises: ValueError naming the file if something cannot be read or is a copy, and naming the
        field and both values if machines differ.
    """
    if noise is not None and not 0 < noise < 1:
        raise ValueError(f"a noise of {noise} cannot be: give a standard deviation such as 0.01")
    old, new = _read(base), _read(head)
    if old.kind != new.kind:
        raise ValueError(f"{base} holds {old.kind}, {head} {new.kind}: compare records of one kind")
    _check_allowed(allow, old.kind)
    _refuse_copies((*old.processes, *new.processes))
    sides = _by_key(old.processes), _by_key(new.processes)
    pairs = {key: (sides[0][key], sides[1][key]) for key in dict.fromkeys((*sides[0], *sides[1]))}
    labels = _labels(list(pairs))
    notes = [DRIFT, *old.warnings, *new.warnings]
    if _all_after(old.processes, new.processes):
        notes.append(SWAPPED)
    if old.kind == "pytest-benchmark":
        notes.append(NO_GPU)
    subjects = []
    for key, (of_base, of_head) in pairs.items():
        notes += _unlike(of_base, of_head, MEASURED[old.kind], allow)
        before, after = _side(of_base), _side(of_head)
        if of_base and of_head and not before.medians_s and not after.medians_s:
            notes.append(
                f"{labels[key]} left out: base {before.failures[-1]}, head {after.failures[-1]}"
            )
            continue
        subjects.append(SubjectSamples(subject=labels[key], base=before, head=after))
    return SampleComparison(
        vidcost=version("vidcost"),
        base=str(base),
        head=str(head),
        kind=old.kind,
        rule=rule,
        noise=noise,
        allow=tuple(allow),
        machines=_machines((*old.processes, *new.processes)),
        subjects=tuple(subjects),
        notes=tuple(dict.fromkeys(notes)),
    )


def _read(path: Path) -> Contents:
    """All that a file holds, or the files of a folder."""
    contents = [_read_file(file) for file in _files(path)]
    kinds = sorted({each.kind for each in contents})
    if len(kinds) > 1:
        raise ValueError(f"{path} holds {' and '.join(kinds)}: name files of one kind")
    processes = [process for each in contents for process in each.processes]
    if not any(process.median_s is not None for process in processes):
        raise ValueError(f"{path} holds no measurement that succeeded: measure, then compare")
    return Contents(
        contents[0].kind, processes, [said for each in contents for said in each.warnings]
    )


def _files(path: Path) -> list[Path]:
    if not path.is_dir():
        return [path]
    found = sorted(file for file in path.rglob("*") if file.suffix in SUFFIXES and file.is_file())
    if not found:
        raise ValueError(f"{path} holds no {' or '.join(SUFFIXES)} file: name another folder")
    return found


def _read_file(path: Path) -> Contents:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ValueError(f"cannot read {path}: {error.strerror}") from None
    if not data.strip():
        raise ValueError(f"{path} is empty: measure, then compare")
    if timing_samples.is_timings(data):
        return timing_samples.read_timings(str(path), data)
    try:
        found = from_json(data)
    except ValueError:
        found = None
    if pytest_benchmark.is_pytest_benchmark(found):
        return pytest_benchmark.read_pytest_benchmark(str(path), found)
    if isinstance(found, dict) and str(found.get("file")).startswith("vidcost gate"):
        raise ValueError(f"{path} is a gate's result: `vidcost gate replay` judges it again")
    what = "is cut short or no JSON" if found is None else "is another kind of file"
    raise ValueError(
        f"{path} {what}: name a file of `vidcost time` or of pytest's --benchmark-json"
    )


def _check_allowed(allow: Iterable[str], kind: Kind) -> None:
    assert set(get_args(Kind)) == set(FIELDS)
    if unknown := [field for field in allow if field not in FIELDS[kind]]:
        raise ValueError(
            f"no field {unknown[0]!r} of {kind} can be allowed to differ: "
            f"choose {', '.join(FIELDS[kind])}"
        )


def _refuse_copies(processes: Iterable[Process]) -> None:
    """A process counts once; what is on both sides would hide a difference."""
    seen: dict[bytes, str] = {}
    for process in processes:
        before = seen.get(process.identity)
        if before == process.where:
            raise ValueError(f"{before} is on both sides: name another file for one of them")
        if before is not None:
            raise ValueError(
                f"{process.where} is a copy of {before}: a process counts once, take one out"
            )
        seen[process.identity] = process.where


def _by_key(processes: Iterable[Process]) -> defaultdict[_Key, list[Process]]:
    found = defaultdict(list)
    for process in processes:
        found[process.name, process.details].append(process)
    return found


def _side(processes: Iterable[Process]) -> SideSamples:
    every = list(processes)
    return SideSamples(
        medians_s=tuple(p.median_s for p in every if p.median_s is not None),
        peaks_bytes=tuple(p.peak_bytes for p in every if p.peak_bytes is not None),
        failures=tuple(p.failure for p in every if p.failure),
    )


def _labels(keys: Sequence[_Key]) -> dict[_Key, str]:
    """A name for each, with what tells it from others of that name."""
    same = defaultdict(list)
    for name, details in keys:
        same[name].append(dict(details))
    labels = {}
    for name, details in keys:
        varying = [
            f"{field}={value}"
            for field, value in details
            if any(other.get(field) != value for other in same[name])
        ]
        labels[name, details] = f"{name} ({', '.join(varying)})" if varying else name
    return labels


def _unlike(
    base: Sequence[Process], head: Sequence[Process], measured: str, allow: Sequence[str]
) -> Iterator[str]:
    """Notes of what differs and may.  Raises: ValueError if something differs that may not."""
    old, new = ([p for p in side if p.machine is not None] for side in (base, head))
    within = [(side[0], other) for side in (old, new) for other in side[1:]]
    across = [(old[0], new[0])] if old and new else []
    for first, second in (*within, *across):
        assert first.machine is not None
        assert second.machine is not None
        for field, was in first.machine.items():
            now = second.machine[field]
            if now == was or (field == measured and (first, second) in across):
                continue
            if field not in allow:
                places = (
                    f"{first.file}, {second.file}"
                    if first.file != second.file
                    else f"{first.where} and {second.where}"
                )
                raise ValueError(f"incompatible: {field} was {was!r}, is {now!r} ({places})")
            yield f"{field} was {was!r}, is {now!r}: allowed"


def _machines(processes: Iterable[Process]) -> tuple[dict[str, str], ...]:
    known = [dict(process.machine) for process in processes if process.machine is not None]
    return tuple({tuple(machine.items()): machine for machine in known}.values())


def _all_after(base: Iterable[Process], head: Iterable[Process]) -> bool:
    old, new = ([p.started for p in side if p.median_s is not None] for side in (base, head))
    try:
        return min(map(datetime.fromisoformat, old)) > max(map(datetime.fromisoformat, new))
    except (ValueError, TypeError):
        # not all say when, or not in a way that can be compared
        return False

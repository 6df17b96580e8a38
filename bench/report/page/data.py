"""What the page shows, read from the results folder or counted on the spot."""

from __future__ import annotations

import datetime
import json
import platform
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path

import torch

from vidcost.bench.audit import Judged, judge
from vidcost.bench.count import record
from vidcost.bench.count.reconcile import Entry, examine, reconcile
from vidcost.bench.count.record import Record
from vidcost.bench.gate.versions import git
from vidcost.bench.timing.record import Machine, Timing
from vidcost.bench.timing.store import TIMINGS, Store
from vidcost.bench.timing.stored import of_one_machine, rows_timed_alike
from vidcost.papers import catalog
from vidcost.papers.figures import Paper

PACKAGES = ("vidcost", "torch", "numpy", "scipy", "sympy", "altair", "vl-convert-python")
"""The packages whose versions the page's own numbers and plots depend on."""


@dataclass(frozen=True)
class Device:
    """The latest timings of one device, all taken under the conditions of the latest of them.

    ``notes`` say what was left out or could not be read.
    """

    name: str
    machine: Machine
    timings: tuple[Timing, ...]
    files: tuple[Path, ...]
    notes: tuple[str, ...]

    @property
    def alone(self) -> list[Timing]:
        """The timings that have a latency: measured, and not a pair with another version."""
        return [t for t in self.timings if t.status == "ok" and not t.cell.is_pair and t.samples_s]

    @property
    def rows(self) -> dict[str, Timing]:
        """Rows at their own clips, by name, under the conditions that most were timed under.

        At other clips or with other blocks a row has no printed accuracy.
        """
        return rows_timed_alike(timing for timing in self.timings if timing.status == "ok")


@dataclass(frozen=True)
class Data:
    """The data of a page. ``made`` is when it was made, in UTC."""

    results: Path
    made: datetime.datetime
    paper: Paper
    records: Mapping[str, Record]
    entries: tuple[Entry, ...]
    devices: tuple[Device, ...]
    judged: tuple[Judged, ...]


def gather(results: Path) -> Data:
    """Read ``results`` and count what is not stored; no counter is asked, nothing is timed.

    Raises: ValueError if there are no counts or a file is damaged; ClosedFormMismatch.
    """
    records = record.read(results)
    if not records:
        raise ValueError(f"no {record.COUNTS} in {results}: `vidcost run` writes it")
    paper = catalog.paper()
    return Data(
        results=results,
        made=datetime.datetime.now(datetime.UTC),
        paper=paper,
        records=records,
        entries=tuple(reconciled(records)),
        devices=tuple(devices(results)),
        judged=judge(paper),
    )


def reconciled(records: Mapping[str, Record]) -> Iterator[Entry]:
    """The reconciliation of every stored row that can be built, with the stored answers.

    Rows are counted anew, in about 0.1 s each; no counter is asked.
    Raises: ClosedFormMismatch, UncountedOperator; ValueError as the networks do.
    """
    for row in catalog.rows_beside(records):
        if row.build is not None and row.name in records:
            yield from reconcile(replace(examine(row), record=records[row.name]))


def devices(results: Path) -> list[Device]:
    """Every device in ``results``/timings, by name; none if nothing is stored.

    Raises: ValueError naming file and line if one is damaged.
    """
    timings: dict[str, dict[str, Timing]] = {}
    files: dict[str, dict[Path, str]] = {}
    for path in sorted((results / TIMINGS).glob("*.jsonl")):
        contents = Store(path).load()
        for timing in contents.records.values():
            if timing.machine is not None:
                name = timing.machine.device
                timings.setdefault(name, {})[timing.key] = timing
                files.setdefault(name, {})[path] = contents.warning
    found = []
    for name, of_device in sorted(timings.items()):
        kept, note = of_one_machine(of_device.values())
        machine = next(timing.machine for timing in kept if timing.machine)
        notes = tuple(filter(None, (*files[name].values(), note)))
        found.append(Device(name, machine, tuple(kept), tuple(files[name]), notes))
    return found


def sources(data: Data) -> list[dict[str, str | None]]:
    """Where every number comes from: command, file, versions, device and date, as far as known."""
    counts = data.results / record.COUNTS
    with counts.open(encoding="utf-8") as file:
        header = json.loads(file.readline())
    here = ", ".join(f"{name} {_version(name)}" for name in PACKAGES)
    anywhere = "any: counts do not depend on it"
    versions = {k: value for k, value in header.items() if k not in ("command", "records")}
    lines = [
        ("Printed figures", "transcribed by hand", "figures.toml of the paper", "", "", ""),
        (
            "Counts, and what other counters print",
            header.get("command", ""),
            str(counts),
            ", ".join(f"{name} {value}" for name, value in versions.items()),
            anywhere,
            _committed(counts),
        ),
        (
            "Reconciliation, audit, formulas, growth with N",
            "vidcost report",
            "counted when this page was made",
            here,
            anywhere,
            data.made.date().isoformat(),
        ),
        *map(_timed, data.devices),
        (
            "This page and its plots",
            "vidcost report",
            "from the above",
            here,
            f"Python {platform.python_version()}, {platform.platform()}",
            data.made.isoformat(timespec="minutes"),
        ),
    ]
    keys = ("what", "command", "where", "versions", "device", "date")
    return [dict(zip(keys, (each or None for each in line), strict=True)) for line in lines]


def _committed(path: Path) -> str:
    try:
        return git(path.parent, "log", "-1", "--format=%cs", "--", path.name)
    except ValueError:
        return ""


def _version(package: str) -> str:
    # torch's own says what it was built for
    return str(torch.__version__) if package == "torch" else version(package)


def _timed(device: Device) -> tuple[str, ...]:
    machine = device.machine
    known = {
        "vidcost": machine.vidcost,
        "torch": machine.torch,
        "Python": machine.python,
        "driver": machine.driver,
        "CUDA": machine.cuda,
        "cuDNN": machine.cudnn,
    }
    days = sorted(timing.started[:10] for timing in device.timings if timing.started) or [""]
    return (
        f"{len(device.timings)} timings on {device.name}",
        "vidcost time",
        ", ".join(map(str, device.files)),
        ", ".join(f"{name} {value}" for name, value in known.items() if value != "not available"),
        f"{machine.device}, {machine.cores} cores ({machine.cpu}), {machine.platform}",
        " to ".join(dict.fromkeys((days[0], days[-1]))),
    )

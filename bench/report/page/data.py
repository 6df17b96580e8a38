"""The data of the page: counted now, or read from the results folder."""

import datetime
import json
import platform
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from vidcost.bench.audit import Judged, judge
from vidcost.bench.count import record
from vidcost.bench.count.reconcile import Entry, reconcile, with_stored_answers
from vidcost.bench.count.record import Record
from vidcost.bench.timing.record import UNKNOWN, Machine, Timing
from vidcost.bench.timing.store import of_one_machine, rows_timed_alike, stores
from vidcost.papers import catalog
from vidcost.papers.figures import Paper


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
        return [t for t in self.timings if t.status == "ok" and not t.cell.against and t.samples_s]

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
    """Count every row, and read from ``results`` the answers of other counters and timings.

    No other counter is asked, nothing is timed.
    Raises: ValueError if a file is damaged; ClosedFormMismatch; UncountedOperator.
    """
    stored = record.read(results)
    records: dict[str, Record] = {}
    entries: list[Entry] = []
    for row in catalog.rows_beside(stored):
        if row.build is None:
            continue
        examined = with_stored_answers(row, stored)
        records[row.name] = examined.record
        entries += reconcile(examined)
    paper = catalog.paper()
    return Data(
        results=results,
        made=datetime.datetime.now(datetime.UTC),
        paper=paper,
        records=records,
        entries=tuple(entries),
        devices=tuple(devices(results)),
        judged=judge(paper),
    )


def devices(results: Path) -> Iterator[Device]:
    """Every device in ``results``/timings, by name; none if nothing is stored.

    Raises: ValueError naming file and line if one is damaged.
    """
    timings: dict[str, dict[str, Timing]] = {}
    files: dict[str, dict[Path, str]] = {}
    for store in stores(results):
        for timing in store.read().values():
            if timing.machine is not None:
                name = timing.machine.device
                timings.setdefault(name, {})[timing.key] = timing
                files.setdefault(name, {})[store.path] = store.warning
    for name, of_device in sorted(timings.items()):
        kept, note = of_one_machine(of_device.values())
        machine = next(timing.machine for timing in kept if timing.machine)
        notes = tuple(filter(None, (*files[name].values(), note)))
        yield Device(name, machine, tuple(kept), tuple(files[name]), notes)


def sources(data: Data) -> list[dict[str, str]]:
    """Where every number comes from: command, file, versions and machine, as far as known."""
    counts = data.results / record.COUNTS
    made_by: dict[str, str] = {}
    if counts.is_file():
        with counts.open(encoding="utf-8") as file:
            made_by = json.loads(file.readline())
    here = f"{platform.platform()}, Python {platform.python_version()}"
    packages = {name: version(name) for name in ("vidcost", "torch", "altair")}
    lines = [
        ("Printed figures", "transcribed by hand", "figures.toml of the paper", {}, ""),
        ("Counts, reconciliation, audit", "vidcost report", "counted now", packages, here),
        ("Answers of other counters", made_by.pop("command", ""), str(counts), made_by, ""),
    ]
    for device in data.devices:
        machine = device.machine
        known = {name: getattr(machine, name) for name in ("vidcost", "torch", "driver", "cuda")}
        days = sorted(timing.started[:10] for timing in device.timings if timing.started) or [""]
        when = " to ".join(dict.fromkeys((days[0], days[-1])))
        lines.append(
            (
                f"{len(device.timings)} timings on {device.name}",
                "vidcost time",
                ", ".join(map(str, device.files)),
                {name: value for name, value in known.items() if value != UNKNOWN},
                f"{machine.cpu}, {machine.platform}, {when}",
            )
        )
    return [
        {
            "what": what,
            "command": command,
            "where": where,
            "versions": ", ".join(f"{k} {v}" for k, v in versions.items() if k != "records"),
            "machine": machine,
        }
        for what, command, where, versions, machine in lines
    ]

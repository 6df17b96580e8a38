"""Where every number of the report comes from."""

from __future__ import annotations

import datetime
import json
import platform
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import torch

from vidcost.bench.count.record import COUNTS
from vidcost.bench.gate.versions import git
from vidcost.bench.report.page.measured import Device

HERE = ("vidcost", "torch", "numpy", "scipy", "sympy", "Jinja2", "vl-convert-python")
"""The packages whose versions the report's own numbers and plots depend on."""


@dataclass(frozen=True)
class Source:
    """Numbers of one kind: which command made them, with what, on what, when.

    ``date`` is when they were measured, or of a file that does not say it, when it was committed;
    empty if nobody knows.
    """

    what: str
    where: str
    command: str
    versions: str
    device: str
    date: str


def sources(
    results: Path,
    devices: Sequence[Device],
    *,
    now: datetime.datetime,
) -> list[Source]:
    """All sources, in the order in which the report shows them.

    Raises: ValueError if the first line of counts.jsonl cannot be read.
    """
    made = _header(results / COUNTS)
    command = made.pop("command", "")
    made.pop("records", None)
    here = ", ".join(f"{name} {_version(name)}" for name in HERE)
    day = now.date().isoformat()
    anywhere = "any: counts do not depend on it"
    return [
        Source(
            "Printed figures",
            "papers/pnl2020/figures.toml in the package",
            "transcribed by hand",
            "",
            "",
            "",
        ),
        Source(
            "Counts, and what fvcore, thop and torch print",
            str(results / COUNTS),
            command,
            ", ".join(f"{name} {value}" for name, value in made.items()),
            anywhere,
            _committed(results / COUNTS),
        ),
        Source(
            "Ledger terms, audit, formulas, growth with N",
            "counted when this page was made",
            "vidcost report",
            here,
            anywhere,
            day,
        ),
        *(_timings(device, "timings", "vidcost time") for device in devices),
        Source(
            "This page and its plots",
            "from the above",
            "vidcost report",
            here,
            f"Python {platform.python_version()}, {platform.platform()}",
            now.isoformat(timespec="minutes"),
        ),
    ]


def _header(path: Path) -> dict[str, str]:
    try:
        with path.open(encoding="utf-8") as file:
            return {str(key): str(value) for key, value in json.loads(file.readline()).items()}
    except (OSError, ValueError, AttributeError) as error:
        raise ValueError(f"cannot read the first line of {path}: {error}") from None


def _committed(path: Path) -> str:
    try:
        return git(path.parent, "log", "-1", "--format=%cs", "--", path.name)
    except ValueError:
        return ""


def _version(package: str) -> str:
    if package == "torch":
        # with what it was built for
        return str(torch.__version__)
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"


def _timings(device: Device, what: str, command: str) -> Source:
    machine = device.machine
    known = {
        "vidcost": machine.vidcost,
        "torch": machine.torch,
        "Python": machine.python,
        "driver": machine.driver,
        "CUDA": machine.cuda,
        "cuDNN": machine.cudnn,
    }
    first, last = (time[:10] for time in device.started)
    return Source(
        f"{len(device.timings)} {what} on {device.name}",
        ", ".join(map(str, device.files)),
        command,
        ", ".join(f"{name} {value}" for name, value in known.items() if value != "not available"),
        f"{machine.device}, {machine.cores} cores ({machine.cpu}), {machine.platform}",
        first if first == last else f"{first} to {last}",
    )

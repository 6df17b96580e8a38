"""Baselines of exact counts: TOML files, one table for each network that is counted.

The figures are of the whole network and of its modules down to some depth, so that a difference
says where it is. They are integers, and no tolerance exists.
"""

from __future__ import annotations

import json
import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vidcost.bench import files

if TYPE_CHECKING:
    from vidcost.bench.api.count import NetworkCount
    from vidcost.bench.gate.settings import Settings

CONVENTION = 1
"""Raised when vidcost counts the same network otherwise than before."""

OF_MODULES = ("params", "macs", "backward_macs")

ROW = "row"
"""The field of a change of a whole network: new, gone, or no longer counted."""
PRESENT = "present"

Figure = int | str
"""A count, or what it is of in words."""
Figures = Mapping[str, Figure]


@dataclass(frozen=True)
class Entry:
    """The figures of a network and, by name, those of its modules."""

    figures: Figures
    modules: Mapping[str, Mapping[str, int]] = field(default_factory=dict)

    def flat(self) -> dict[str, Figure]:
        """All figures by name, those of modules as ``MODULE: figure``."""
        inside = {f"{m}: {n}": x for m, found in self.modules.items() for n, x in found.items()}
        return {**self.figures, **inside}


@dataclass(frozen=True)
class Change:
    """One figure of one network that differs from the baseline.

    ``field`` names the figure, ``MODULE: macs`` that of a module; or it is ``row``. ``before`` is
    the figure in the baseline, ``after`` the one counted now or why there is none; None if there is
    no such figure.
    """

    row: str
    field: str
    before: Figure | None
    after: Figure | None

    @property
    def is_broken(self) -> bool:
        """Whether the network cannot be counted: it must be mended and cannot be accepted."""
        return self.field == ROW and self.after not in (None, PRESENT)

    @property
    def difference(self) -> int | None:
        """``after`` - ``before``; None if one is not a number."""
        if not isinstance(self.before, int) or not isinstance(self.after, int):
            return None
        return self.after - self.before

    @property
    def percent(self) -> float | None:
        """The change in percent of ``before``; None if that is 0 or not a number."""
        if self.difference is None or not self.before:
            return None
        return 100 * self.difference / int(self.before)


@dataclass(frozen=True)
class Comparison:
    """The changes, by network and field; ``networks`` are on both sides, ``figures`` are theirs."""

    changes: tuple[Change, ...]
    networks: int
    figures: int

    @property
    def changed(self) -> tuple[str, ...]:
        """The networks with a change, each once."""
        return tuple(dict.fromkeys(change.row for change in self.changes))


def differences(baseline: Mapping[str, Entry], now: Mapping[str, Entry | str]) -> Comparison:
    """Compare two sides exactly, in any order of networks; text says why one was not counted.

    A figure of a category, ``fvcore.flops.BatchNorm``, is left out where its sum differs too.
    """
    found: list[Change] = []
    networks = figures = 0
    for name in dict.fromkeys((*now, *baseline)):
        before, after = baseline.get(name), now.get(name)
        if before is None or not isinstance(after, Entry):
            is_ = PRESENT if isinstance(after, Entry) else after
            found.append(Change(name, ROW, PRESENT if before else None, is_))
            continue
        old, new = before.flat(), after.flat()
        fields = dict.fromkeys((*new, *old))
        changed = [field for field in fields if old.get(field) != new.get(field)]
        found += [
            Change(name, field, old.get(field), new.get(field))
            for field in changed
            if field.rpartition(".")[0] not in changed
        ]
        networks += 1
        figures += len(fields)
    return Comparison(tuple(found), networks, figures)


# the file


@dataclass(frozen=True)
class Baseline:
    """The entries of a file; ``convention`` is that of the vidcost that wrote it."""

    entries: Mapping[str, Entry] = field(default_factory=dict)
    convention: int = CONVENTION

    @property
    def other_convention(self) -> str:
        """Why nothing is compared; empty if it was counted as this vidcost counts."""
        if self.convention == CONVENTION:
            return ""
        return (
            f"has counts by convention {self.convention}, and this vidcost counts by {CONVENTION}"
        )


def entry_of(counted: NetworkCount, chosen: Settings) -> Entry:
    """The figures of ``counted`` that a baseline holds.

    Raises: ValueError if a figure of the settings does not exist.
    """
    from vidcost.bench.api.count import figures

    whole = {"buffers": counted.buffers, **figures(counted.forward, counted.backward)}
    known = [name for name in whole if not name.startswith("backward_")]
    if unknown := [name for name in chosen.figures if name not in known]:
        raise ValueError(f"[tool.vidcost] figures: {unknown[0]!r} is none of {', '.join(known)}")
    wanted = [*chosen.figures, *(f"backward_{name}" for name in chosen.figures)]
    inside = {}
    for module in counted.modules:
        each = figures(module.forward, module.backward)
        held = {name: each[name] for name in OF_MODULES if name in each}
        if module.module and module.module.count(".") < chosen.depth and any(held.values()):
            inside[module.module] = held
    return Entry({name: whole[name] for name in wanted if name in whole}, inside)


def check_writing(option: str) -> None:
    """Let ``option`` write baselines.  Raises: ValueError in CI, which must not."""
    if os.environ.get("CI", "").lower() not in ("", "0", "false"):
        raise ValueError(
            f"{option} writes baselines, and CI is set: run it where you work, and commit the files"
        )


def read(path: Path) -> Baseline | None:
    """The baseline in ``path``; None if there is no such file.

    Raises: ValueError with the path if it is damaged or has merge-conflict markers.
    """
    try:
        content = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise ValueError(f"cannot read {path}: {error}") from None
    for number, line in enumerate(content.splitlines(), start=1):
        if line.startswith(("<<<<<<< ", ">>>>>>> ")):
            raise ValueError(f"{path}, line {number}: a merge conflict is not resolved")
    try:
        found = tomllib.loads(content)
        convention = found.pop("convention")
        return Baseline({name: _entry(table) for name, table in found.items()}, int(convention))
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{path} is damaged: take it from the last commit ({error})") from None


def _entry(table: dict[str, Any]) -> Entry:
    modules = table.pop("modules", {})
    entry = Entry(table, modules)
    if not all(type(figure) is int for figure in entry.flat().values()):
        raise ValueError("a figure is no integer")
    return entry


def write(path: Path, entries: Mapping[str, Entry], *, command: str) -> None:
    """Write ``entries``, sorted by name, as a baseline of this convention.

    Raises: ValueError with the path if it cannot be written.
    """
    lines = [
        f"# Exact counts, written by `{command}`. Every figure is an integer without tolerance.",
        f"convention = {CONVENTION}",
    ]
    for name, entry in sorted(entries.items()):
        key = json.dumps(name)
        lines += ["", f"[{key}]", *(f"{each} = {x:_}" for each, x in entry.figures.items())]
        if entry.modules:
            lines += ["", f"[{key}.modules]"]
        for module, figures in entry.modules.items():
            inside = ", ".join(f"{each} = {x:_}" for each, x in figures.items())
            lines.append(f"{json.dumps(module)} = {{ {inside} }}")
    files.write(path, "\n".join(lines) + "\n")

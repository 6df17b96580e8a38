"""Baselines of exact counts: TOML files, one table for each network that is counted.

The figures are integers of :meth:`NetworkCount.to_json`, of the whole network and of its modules
down to some depth, so that a difference says where it is. No tolerance exists.
"""

from __future__ import annotations

import json
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tabulate import tabulate

from vidcost.bench import files

if TYPE_CHECKING:
    from vidcost.bench.api.count import NetworkCount

CONVENTION = 1
"""Raised when vidcost counts the same network otherwise than before."""

FIGURES = ("params", "macs", "conv", "linear", "matmul")
"""Figures of the whole network that are held by default; in training also the backward pass's."""

OF_MODULES = ("params", "macs", "backward_macs")

Figures = dict[str, int]


@dataclass(frozen=True)
class Settings:
    """The table ``[tool.vidcost]`` of pyproject.toml.

    ``figures`` of the whole network are held, and modules down to ``depth`` levels. ``baselines``
    is the folder beside the tests.
    """

    figures: tuple[str, ...] = FIGURES
    depth: int = 1
    baselines: str = "__counts__"


@dataclass(frozen=True)
class Entry:
    """The figures of a network and, by name, those of its modules."""

    figures: Figures
    modules: Mapping[str, Figures] = field(default_factory=dict)

    def flat(self) -> Figures:
        """All figures by name, those of modules as ``MODULE: figure``."""
        inside = {f"{m}: {n}": x for m, found in self.modules.items() for n, x in found.items()}
        return self.figures | inside


@dataclass(frozen=True)
class Baseline:
    """The entries of a file; ``convention`` is that of the vidcost that wrote it."""

    entries: Mapping[str, Entry] = field(default_factory=dict)
    convention: int = CONVENTION


def settings(folder: Path) -> Settings:
    """The settings of the repository in ``folder``.

    Raises: ValueError if they are not as :class:`Settings` says.
    """
    path = folder / "pyproject.toml"
    try:
        given = tomllib.loads(path.read_text(encoding="utf-8")).get("tool", {}).get("vidcost", {})
    except FileNotFoundError:
        given = {}
    except (OSError, ValueError) as error:
        raise ValueError(f"cannot read {path}: {error}") from None
    made = Settings(**{name: given[name] for name in Settings.__annotations__ if name in given})
    is_right = {
        "figures": isinstance(made.figures, list | tuple)
        and all(isinstance(name, str) for name in made.figures),
        "depth": type(made.depth) is int and made.depth >= 0,
        "baselines": isinstance(made.baselines, str) and made.baselines != "",
    }
    for name in given:
        if not is_right.get(name, False):
            raise ValueError(
                f"{path}: [tool.vidcost] takes figures (a list of names), depth (a number of "
                f"levels) and baselines (a folder), not {name} = {given[name]!r}"
            )
    return made


def entry_of(counted: NetworkCount, chosen: Settings) -> Entry:
    """The figures of ``counted`` that a baseline holds.

    Raises: ValueError if a figure of the settings does not exist.
    """
    whole: dict[str, Any] = json.loads(counted.to_json())
    known = [name for name, value in whole.items() if type(value) is int and name != "calls"]
    for name in chosen.figures:
        if name not in known:
            raise ValueError(f"[tool.vidcost] figures: {name!r} is none of {', '.join(known)}")
    wanted = [*chosen.figures, *(f"backward_{name}" for name in chosen.figures)]
    modules = {}
    for line in whole["modules"]:
        inside = {name: line[name] for name in OF_MODULES if name in line}
        if line["module"].count(".") < chosen.depth and any(inside.values()):
            modules[line["module"]] = inside
    return Entry({name: whole[name] for name in wanted if name in whole}, modules)


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


def difference(before: Entry, after: Entry) -> str:
    """A table of the figures that differ; empty if none does."""
    lines = list(_differing(before.flat(), after.flat()))
    if not lines:
        return ""
    headings = ["Figure", "Before", "After", "Difference", "Percent"]
    return tabulate(lines, headings, disable_numparse=True, colalign=("left", *["right"] * 4))


def _differing(before: Figures, after: Figures) -> Iterator[Sequence[str]]:
    for name in dict.fromkeys((*after, *before)):
        old, new = before.get(name), after.get(name)
        if old == new:
            continue
        change = (new or 0) - (old or 0)
        percent = f"{100 * change / old:+.3g}%" if old else "-"
        shown = ("-" if figure is None else f"{figure:,}" for figure in (old, new))
        yield (name, *shown, f"{change:+,}", percent)

"""Two versions side by side: unpacked from git, each with the environment that it asks for.

The models are compared. Both versions' models are measured by this installation's harness, so that
a change of the measurement is never taken for a change of the models.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from filelock import FileLock

import vidcost
from vidcost import bench
from vidcost.bench import files
from vidcost.bench.gate.record import Version

MEASURED = ("models", "papers")
"""Folders taken from each version: networks, and the rows made of them."""

_NEEDED = (*MEASURED, "pyproject.toml", "constraints.txt")

_ROWS = """\
import json
from vidcost.papers.catalog import rows_of
print(json.dumps([row.name for row in rows_of() if row.build]))
"""


class _Wanted(NamedTuple):
    """What a version asks to be installed: packages, and exact versions of these and others."""

    packages: list[str]
    pins: list[str]


@dataclass(frozen=True)
class Prepared:
    """A version that is ready to run, with ``python`` and the PYTHONPATH ``path``."""

    version: Version
    python: str
    path: Path

    @property
    def variables(self) -> dict[str, str]:
        """The environment variables of a process that runs this version."""
        return {"PYTHONPATH": str(self.path), "PYTHONDONTWRITEBYTECODE": "1"}

    def rows(self) -> list[str]:
        """Names of its rows that can be built.  Raises: ValueError if its models do not import."""
        process = subprocess.run(
            [self.python, "-P", "-c", _ROWS],
            env=os.environ | self.variables,
            capture_output=True,
            text=True,
            check=False,
        )
        if process.returncode:
            last = process.stderr.strip().splitlines()[-1:] or [f"status {process.returncode}"]
            raise ValueError(f"{self.version.ref} cannot be run: {last[0]}")
        names: list[str] = json.loads(process.stdout)
        return names


def cache_folder() -> Path:
    """Where versions and environments are kept."""
    return files.cache_folder() / "gate"


def git(folder: Path, *arguments: str) -> str:
    """The output of git.  Raises: ValueError, in a line, if it fails or is not installed."""
    try:
        process = subprocess.run(
            ["git", "--no-optional-locks", "-C", str(folder), *arguments],
            capture_output=True,
            text=True,
            check=False,
        )
    except OSError:
        raise ValueError("git is not installed: two versions are read from it") from None
    if process.returncode:
        last = process.stderr.strip().splitlines()[-1:] or ["it failed"]
        raise ValueError(f"git {arguments[0]}: {last[0].removeprefix('fatal: ')}")
    return process.stdout.strip()


def prepare(
    repository: Path,
    base: str | None,
    head: str | None,
    *,
    cache: Path,
    same_environment: bool = False,
) -> tuple[Prepared, Prepared]:
    """Make two refs ready to run, in environments of their own if they ask for other packages.

    None is ``repository`` with its uncommitted changes. ``same_environment``: in the gate's
    environment, whatever they ask for.
    Raises: ValueError if there is no repository or no such ref, or a version has no models or its
        dependencies cannot be installed.
    """
    top = Path(git(repository, "rev-parse", "--show-toplevel"))
    cache.mkdir(parents=True, exist_ok=True)
    with FileLock(cache / "lock"):
        sides = []
        for ref in (base, head):
            commit, folder = _unpacked(top, ref, cache)
            sides.append((ref or "working tree", commit, folder, _dependencies(folder)))
        own = sides[0][3] != sides[1][3] and not same_environment
        first, second = (
            _prepared(*side, name=name, own=own, cache=cache)
            for side, name in zip(sides, "ab", strict=True)
        )
    return first, second


def _unpacked(top: Path, ref: str | None, cache: Path) -> tuple[str, Path]:
    """The commit of ``ref`` and a folder with its files, unpacked once."""
    if ref is None:
        changed = git(top, "status", "--porcelain", "--", *_NEEDED)
        return git(top, "rev-parse", "HEAD") + ("+changes" if changed else ""), top
    try:
        commit = git(top, "rev-parse", "--verify", "--end-of-options", f"{ref}^{{commit}}")
    except ValueError:
        raise ValueError(
            f"no ref {ref!r} in {top}: name a branch, tag or commit; "
            "a shallow clone needs `git fetch --unshallow`"
        ) from None
    folder = cache / "versions" / commit
    if not folder.is_dir():
        there = git(top, "ls-tree", "--name-only", commit, *_NEEDED).splitlines()
        draft = _draft(folder)
        archive = draft.with_suffix(".tar")
        git(top, "archive", f"--output={archive}", commit, *there)
        shutil.unpack_archive(archive, draft, filter="data")
        archive.unlink()
        draft.rename(folder)
    return commit, folder


def _prepared(
    ref: str, commit: str, folder: Path, wanted: _Wanted, *, name: str, own: bool, cache: Path
) -> Prepared:
    """``name`` tells the sides apart; ``own``: with an environment that has what is ``wanted``."""
    packages = [folder / package for package in MEASURED]
    for package in packages:
        if not package.is_dir():
            raise ValueError(f"{ref} has no {package.name}/: is it a version of vidcost?")
    harness = Path(bench.__path__[0])
    code = _digest(packages)
    # two copies even of equal code, so that neither side has the files to itself
    path = cache / "sides" / f"{name}-{code[:16]}-{_digest([harness])[:16]}"
    if not path.is_dir():
        draft = _draft(path)
        ignored = shutil.ignore_patterns("__pycache__", "suites")
        for package in (harness, *packages):
            shutil.copytree(package, draft / "vidcost" / package.name, ignore=ignored)
        shutil.copy2(vidcost.__path__[0] + "/__init__.py", draft / "vidcost")
        subprocess.run(
            [sys.executable, "-m", "compileall", "-q", str(draft)], check=False, capture_output=True
        )
        draft.rename(path)
    environment, python = "this", sys.executable
    if own:
        text = json.dumps([wanted, sys.version_info[:2]])
        environment = hashlib.sha256(text.encode()).hexdigest()[:16]
        python = _environment(ref, folder, wanted, cache / "environments" / environment)
    version = Version(ref=ref, commit=commit, code=code, environment=environment)
    return Prepared(version, python, path)


def _dependencies(folder: Path) -> _Wanted:
    try:
        project = tomllib.loads((folder / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    except (OSError, KeyError, tomllib.TOMLDecodeError) as error:
        raise ValueError(f"{folder}/pyproject.toml cannot be read: {error}") from None
    constraints = folder / "constraints.txt"
    exact = constraints.read_text(encoding="utf-8") if constraints.is_file() else ""
    pins = [line for text in exact.splitlines() if (line := text.partition("#")[0].strip())]
    return _Wanted(sorted(project.get("dependencies", ())), sorted(pins))


def _environment(ref: str, version: Path, wanted: _Wanted, folder: Path) -> str:
    """The python of an environment with the version's dependencies, made if it is missing."""
    python = folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    done = folder / "complete"
    if done.is_file():
        return str(python)
    shutil.rmtree(folder, ignore_errors=True)
    exact = ["-c", str(version / "constraints.txt")] if wanted.pins else []
    for command in (
        [sys.executable, "-m", "venv", str(folder)],
        [str(python), "-m", "pip", "install", "--quiet", *exact, *wanted.packages],
    ):
        process = subprocess.run(command, capture_output=True, text=True, check=False)
        if process.returncode:
            last = (process.stderr or process.stdout).strip().splitlines()[-1:]
            raise ValueError(f"the dependencies of {ref} cannot be installed: {' '.join(last)}")
    done.touch()
    return str(python)


def _draft(folder: Path) -> Path:
    """An empty folder, to be renamed to ``folder`` when it is complete."""
    draft = folder.with_suffix(".draft")
    shutil.rmtree(draft, ignore_errors=True)
    draft.mkdir(parents=True)
    return draft


def _digest(folders: Iterable[Path]) -> str:
    digest = hashlib.sha256()
    for folder in folders:
        for file in sorted(folder.rglob("*.py")):
            digest.update(str(file.relative_to(folder)).encode() + b"\0" + file.read_bytes())
    return digest.hexdigest()

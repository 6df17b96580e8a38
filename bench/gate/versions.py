"""Two versions side by side: checked out, each with the environment it asks for.

What is compared are the models. Both versions' are measured by this installation's own harness, so
that a change of the way of measuring is never taken for a change of what is measured.
"""

from __future__ import annotations

import hashlib
import importlib
import json
import os
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from filelock import FileLock

from vidcost.bench import files
from vidcost.bench.gate.git import git

HARNESS = ("vidcost", "vidcost.bench")
"""Packages that come from this installation, above those below them."""

MEASURED = ("models", "papers")
"""Folders that come from the version: networks, and the rows that are made of them."""

_ROWS = """\
import json
from vidcost.papers.catalog import rows_of
print(json.dumps([row.name for row in rows_of() if row.build]))
"""


@dataclass(frozen=True)
class Checkout:
    """The files of one version.

    ``commit`` is its hash, with ``+changes`` where the folder has some that are not committed.
    """

    ref: str
    commit: str
    folder: Path


class _Dependencies(NamedTuple):
    """What a version asks to be installed: packages, and exact versions of these and others."""

    packages: tuple[str, ...]
    pins: tuple[str, ...]

    @property
    def name(self) -> str:
        """Of the environment that has them, for this Python."""
        text = json.dumps([self.packages, self.pins, sys.version_info[:2]])
        return hashlib.sha256(text.encode()).hexdigest()[:16]


@dataclass(frozen=True)
class Prepared:
    """A version that is ready to run: what ``python`` and PYTHONPATH it runs with.

    ``code`` is a digest of its models, ``environment`` names its dependencies.
    """

    checkout: Checkout
    python: str
    path: Path
    code: str
    environment: str

    @property
    def variables(self) -> dict[str, str]:
        """Environment variables by which a process runs this version."""
        return {"PYTHONPATH": str(self.path), "PYTHONDONTWRITEBYTECODE": "1"}

    def rows(self) -> list[str]:
        """Names of the rows that it can build.  Raises: ValueError if its models fail to import."""
        process = subprocess.run(
            [self.python, "-P", "-c", _ROWS],
            env=os.environ | self.variables,
            capture_output=True,
            text=True,
            check=False,
        )
        if process.returncode:
            last = process.stderr.strip().splitlines()[-1:] or [f"status {process.returncode}"]
            raise ValueError(f"{self.checkout.ref} cannot be run: {last[0]}")
        names: list[str] = json.loads(process.stdout)
        return names


def cache_folder() -> Path:
    """Where checkouts and environments are kept."""
    return files.cache_folder() / "gate"


def check_out(repository: Path, ref: str | None, *, cache: Path) -> Checkout:
    """The files of ``ref``; None is ``repository`` as it stands, with what is not committed.

    A ref is checked out into a git worktree, which is kept for the next time.
    Raises: ValueError if there is no repository or no such ref.
    """
    top = Path(git(repository, "rev-parse", "--show-toplevel"))
    if ref is None:
        changed = git(top, "status", "--porcelain", "--", *MEASURED, "pyproject.toml")
        commit = git(top, "rev-parse", "HEAD") + ("+changes" if changed else "")
        return Checkout("working tree", commit, top)
    try:
        commit = git(top, "rev-parse", "--verify", "--end-of-options", f"{ref}^{{commit}}")
    except ValueError:
        raise ValueError(
            f"no ref {ref!r} in {top}: name a branch, tag or commit; "
            "a shallow clone needs `git fetch --unshallow`"
        ) from None
    folder = cache / "worktrees" / commit
    cache.mkdir(parents=True, exist_ok=True)
    with FileLock(cache / "worktrees.lock"):
        if not (folder / ".git").exists():
            shutil.rmtree(folder, ignore_errors=True)
            # git may still know of one that was deleted by hand
            git(top, "worktree", "prune")
            git(top, "worktree", "add", "--detach", "--force", str(folder), commit)
    return Checkout(ref, commit, folder)


def prepare(
    base: Checkout, head: Checkout, *, cache: Path, same_environment: bool = False
) -> tuple[Prepared, Prepared]:
    """Make both ready to run: with environments of their own if they ask for different packages.

    ``same_environment``: with this one's packages, whatever they ask for.
    Raises: ValueError if a version has no models or its dependencies cannot be installed.
    """
    asked = [_dependencies(checkout.folder) for checkout in (base, head)]
    own = asked[0] != asked[1] and not same_environment
    return (
        _prepared(base, asked[0] if own else None, name="a", cache=cache),
        _prepared(head, asked[1] if own else None, name="b", cache=cache),
    )


def installed(ref: str, commit: str, *, cache: Path) -> tuple[Prepared, Prepared]:
    """Two copies of this installation's own models, which are those of ``ref`` and ``commit``."""
    folders = [_folder_of(f"vidcost.{name}") for name in MEASURED]
    checkout = Checkout(ref, commit, folders[0])
    return (
        _copied(checkout, folders, None, name="a", cache=cache),
        _copied(checkout, folders, None, name="b", cache=cache),
    )


def _prepared(
    checkout: Checkout, wanted: _Dependencies | None, *, name: str, cache: Path
) -> Prepared:
    """``wanted`` is for an environment of its own; ``name`` tells one side from the other."""
    folders = [checkout.folder / measured for measured in MEASURED]
    for folder in folders:
        if not folder.is_dir():
            raise ValueError(f"{checkout.ref} has no {folder.name}/: is it a version of vidcost?")
    return _copied(checkout, folders, wanted, name=name, cache=cache)


def _copied(
    checkout: Checkout,
    measured: Sequence[Path],
    wanted: _Dependencies | None,
    *,
    name: str,
    cache: Path,
) -> Prepared:
    code = _digest(measured)
    harness = [_folder_of(package) for package in HARNESS]
    # two copies even of the same code, so that no side has the files to itself
    path = cache / "sides" / f"{name}-{code[:16]}-{_digest(harness)[:16]}"
    python, environment = sys.executable, "this"
    with FileLock(cache / "sides.lock"):
        if not path.is_dir():
            draft = path.with_suffix(".draft")
            shutil.rmtree(draft, ignore_errors=True)
            for package, folder in zip(HARNESS, harness, strict=True):
                _copy(folder, draft.joinpath(*package.split(".")))
            for package, folder in zip(MEASURED, measured, strict=True):
                _copy(folder, draft / "vidcost" / package)
            subprocess.run(
                [python, "-m", "compileall", "-q", str(draft)], check=False, capture_output=True
            )
            draft.rename(path)
        if wanted is not None:
            environment = wanted.name
            python = _environment(checkout, wanted, cache / "environments" / environment)
    return Prepared(checkout, python, path, code, environment)


def _dependencies(folder: Path) -> _Dependencies:
    try:
        project = tomllib.loads((folder / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    except (OSError, KeyError, tomllib.TOMLDecodeError) as error:
        raise ValueError(f"{folder}/pyproject.toml cannot be read: {error}") from None
    constraints = folder / "constraints.txt"
    exact = constraints.read_text(encoding="utf-8") if constraints.is_file() else ""
    pins = sorted(line for text in exact.splitlines() if (line := text.partition("#")[0].strip()))
    return _Dependencies(tuple(sorted(project.get("dependencies", ()))), tuple(pins))


def _environment(checkout: Checkout, wanted: _Dependencies, folder: Path) -> str:
    """The python of an environment with the version's dependencies, made if need be."""
    python = folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    done = folder / "complete"
    if done.is_file():
        return str(python)
    shutil.rmtree(folder, ignore_errors=True)
    exact = ["-c", str(checkout.folder / "constraints.txt")] if wanted.pins else []
    for command in (
        [sys.executable, "-m", "venv", str(folder)],
        [str(python), "-m", "pip", "install", "--quiet", *exact, *wanted.packages],
    ):
        process = subprocess.run(command, capture_output=True, text=True, check=False)
        if process.returncode:
            last = (process.stderr or process.stdout).strip().splitlines()[-1:]
            raise ValueError(
                f"the dependencies of {checkout.ref} cannot be installed: {' '.join(last)}"
            )
    done.touch()
    return str(python)


def _folder_of(package: str) -> Path:
    return Path(next(iter(importlib.import_module(package).__path__)))


def _copy(source: Path, target: Path) -> None:
    target.mkdir(parents=True, exist_ok=True)
    if source == _folder_of("vidcost"):
        # the root's own files alone: the packages in it are copied one by one
        for file in source.iterdir():
            if file.is_file():
                shutil.copy2(file, target)
        return
    left_out = shutil.ignore_patterns("__pycache__", "suites")
    shutil.copytree(source, target, ignore=left_out, dirs_exist_ok=True)


def _digest(folders: Sequence[Path]) -> str:
    digest = hashlib.sha256()
    for folder in folders:
        for file in sorted(folder.rglob("*.py")):
            digest.update(str(file.relative_to(folder)).encode() + b"\0" + file.read_bytes())
    return digest.hexdigest()

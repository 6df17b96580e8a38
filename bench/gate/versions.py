"""Two versions side by side: unpacked from git, each with the environment that it asks for.

The models are compared. Both versions' models are measured by this installation's harness, so that
a change of the measurement is never taken for a change of the models.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib
import io
import json
import os
import shutil
import subprocess
import sys
import tarfile
import tomllib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from filelock import FileLock

from vidcost.bench import files

HARNESS = ("vidcost", "vidcost.bench")
"""Packages taken from this installation; parents before children."""


MEASURED = ("models", "papers")
"""Folders taken from each version: networks, and the rows made of them."""

_NEEDED = (*MEASURED, "pyproject.toml", "constraints.txt")

_ROWS = """\
import json
from vidcost.papers.catalog import rows_of
print(json.dumps([row.name for row in rows_of() if row.build]))
"""


@dataclass(frozen=True)
class Checkout:
    """The files of one version in ``folder``.

    ``commit`` is its hash, with ``+changes`` if the folder has uncommitted changes.
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
    """A version that is ready to run, with ``python`` and the PYTHONPATH ``path``.

    ``code`` is a digest of its models; ``environment`` names its dependencies.
    """

    checkout: Checkout
    python: str
    path: Path
    code: str
    environment: str

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
            raise ValueError(f"{self.checkout.ref} cannot be run: {last[0]}")
        names: list[str] = json.loads(process.stdout)
        return names


def cache_folder() -> Path:
    """Where checkouts and environments are kept."""
    return files.cache_folder() / "gate"


def git(folder: Path, *arguments: str) -> str:
    """The output of git.  Raises: ValueError, in a line, if it fails or is not installed."""
    return _git(folder, *arguments).decode().strip()


def _git(folder: Path, *arguments: str) -> bytes:
    try:
        process = subprocess.run(
            ["git", "-C", str(folder), *arguments], capture_output=True, check=False
        )
    except OSError:
        raise ValueError("git is not installed: two versions are read from it") from None
    if process.returncode:
        last = process.stderr.decode().strip().splitlines()[-1:] or ["it failed"]
        raise ValueError(f"git {arguments[0]}: {last[0].removeprefix('fatal: ')}")
    return process.stdout


def check_out(repository: Path, ref: str | None, *, cache: Path) -> Checkout:
    """The files of ``ref``, unpacked once; None: ``repository`` with its uncommitted changes.

    Raises: ValueError if there is no repository or no such ref.
    """
    top = Path(git(repository, "rev-parse", "--show-toplevel"))
    if ref is None:
        changed = git(top, "status", "--porcelain", "--", *_NEEDED)
        commit = git(top, "rev-parse", "HEAD") + ("+changes" if changed else "")
        return Checkout("working tree", commit, top)
    try:
        commit = git(top, "rev-parse", "--verify", "--end-of-options", f"{ref}^{{commit}}")
    except ValueError:
        raise ValueError(
            f"no ref {ref!r} in {top}: name a branch, tag or commit; "
            "a shallow clone needs `git fetch --unshallow`"
        ) from None
    folder = cache / "checkouts" / commit
    with _locked(cache):
        if not folder.is_dir():
            there = git(top, "ls-tree", "--name-only", commit, *_NEEDED).splitlines()
            draft = _draft(folder)
            with tarfile.open(fileobj=io.BytesIO(_git(top, "archive", commit, *there))) as archive:
                archive.extractall(draft, filter="data")
            draft.rename(folder)
    return Checkout(ref, commit, folder)


def prepare(
    base: Checkout, head: Checkout, *, cache: Path, same_environment: bool = False
) -> tuple[Prepared, Prepared]:
    """Make both ready to run, in environments of their own if they ask for different packages.

    ``same_environment``: in the gate's environment, whatever they ask for.
    Raises: ValueError if a version has no models or its dependencies cannot be installed.
    """
    asked = [_dependencies(checkout.folder) for checkout in (base, head)]
    own = asked[0] != asked[1] and not same_environment
    with _locked(cache):
        first, second = (
            _prepared(checkout, wanted if own else None, name, cache)
            for checkout, wanted, name in zip((base, head), asked, "ab", strict=True)
        )
    return first, second


def _prepared(checkout: Checkout, wanted: _Dependencies | None, name: str, cache: Path) -> Prepared:
    """``wanted`` is for an environment of its own; ``name`` tells the sides apart."""
    folders = [checkout.folder / measured for measured in MEASURED]
    for folder in folders:
        if not folder.is_dir():
            raise ValueError(f"{checkout.ref} has no {folder.name}/: is it a version of vidcost?")
    code, harness = _digest(folders), _digest([_folder_of(package) for package in HARNESS])
    # two copies even of equal code, so that neither side has the files to itself
    path = cache / "sides" / f"{name}-{code[:16]}-{harness[:16]}"
    if not path.is_dir():
        draft = _draft(path)
        for package in HARNESS:
            _copy(_folder_of(package), draft.joinpath(*package.split(".")))
        for folder in folders:
            _copy(folder, draft / "vidcost" / folder.name)
        subprocess.run(
            [sys.executable, "-m", "compileall", "-q", str(draft)], check=False, capture_output=True
        )
        draft.rename(path)
    if wanted is None:
        return Prepared(checkout, sys.executable, path, code, "this")
    python = _environment(checkout, wanted, cache / "environments" / wanted.name)
    return Prepared(checkout, python, path, code, wanted.name)


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
    """The python of an environment with the version's dependencies, made if it is missing."""
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


@contextlib.contextmanager
def _locked(cache: Path) -> Iterator[None]:
    cache.mkdir(parents=True, exist_ok=True)
    with FileLock(cache / "lock"):
        yield


def _draft(folder: Path) -> Path:
    """An empty folder, to be renamed to ``folder`` when it is complete."""
    draft = folder.with_suffix(".draft")
    shutil.rmtree(draft, ignore_errors=True)
    draft.mkdir(parents=True)
    return draft


def _folder_of(package: str) -> Path:
    return Path(next(iter(importlib.import_module(package).__path__)))


def _copy(source: Path, target: Path) -> None:
    target.mkdir(parents=True, exist_ok=True)
    if source == _folder_of("vidcost"):
        # only the files of the root: its packages are copied one by one
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

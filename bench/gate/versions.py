"""Two versions side by side, unpacked from git.

The models are compared. Both versions' models are measured by this installation's harness and
packages, so that a change of the measurement is never taken for a change of the models.
"""

import compileall
import contextlib
import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock

import vidcost
from vidcost import bench
from vidcost.bench import files
from vidcost.bench.gate.record import Version

MEASURED = ("models", "papers")
"""Folders taken from each version: networks, and the rows made of them."""

_REQUIREMENTS = ("pyproject.toml", "constraints.txt")

_ROWS = """\
import json
from vidcost.papers.catalog import rows_of
print(json.dumps([row.name for row in rows_of() if row.build]))
"""


@dataclass(frozen=True)
class Prepared:
    """A version that is ready to run, with the PYTHONPATH ``path``."""

    version: Version
    path: Path

    @property
    def variables(self) -> dict[str, str]:
        """The environment variables of a process that runs this version."""
        return {"PYTHONPATH": str(self.path), "PYTHONDONTWRITEBYTECODE": "1"}

    def rows(self) -> list[str]:
        """Names of its rows that can be built.  Raises: ValueError if its models do not import."""
        process = subprocess.run(
            [sys.executable, "-P", "-c", _ROWS],
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
    repository: Path, base: str | None, head: str | None, *, cache: Path
) -> tuple[Prepared, Prepared]:
    """Make two refs ready to run.  None is ``repository`` with its uncommitted changes.

    Raises: ValueError if there is no repository or no such ref, or a version has no models.
    """
    top = Path(git(repository, "rev-parse", "--show-toplevel"))
    cache.mkdir(parents=True, exist_ok=True)
    with FileLock(cache / "lock"):
        unpacked = [(ref or "working tree", *_unpacked(top, ref, cache)) for ref in (base, head)]
        first, second = (
            _prepared(*side, name=name, cache=cache)
            for side, name in zip(unpacked, "ab", strict=True)
        )
    return first, second


def requirements_differ(repository: Path, base: str, head: str | None) -> bool:
    """Whether two refs ask for other packages: both run with those installed here."""
    top = Path(git(repository, "rev-parse", "--show-toplevel"))

    def asked(ref: str | None, name: str) -> str:
        # a version may lack the file
        with contextlib.suppress(ValueError, FileNotFoundError):
            return (git(top, "show", f"{ref}:{name}") if ref else (top / name).read_text()).strip()
        return ""

    return any(asked(base, name) != asked(head, name) for name in _REQUIREMENTS)


def _unpacked(top: Path, ref: str | None, cache: Path) -> tuple[str, Path]:
    """The commit of ``ref`` and a folder with its files, unpacked once."""
    if ref is None:
        changed = git(top, "status", "--porcelain", "--", *MEASURED)
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
        there = git(top, "ls-tree", "--name-only", commit, *MEASURED).splitlines()
        draft = _draft(folder)
        archive = draft.with_suffix(".tar")
        git(top, "archive", f"--output={archive}", commit, *there)
        shutil.unpack_archive(archive, draft, filter="data")
        archive.unlink()
        draft.rename(folder)
    return commit, folder


def _prepared(ref: str, commit: str, folder: Path, *, name: str, cache: Path) -> Prepared:
    """``folder``'s models beside this harness; ``name`` tells the sides apart."""
    packages = [folder / package for package in MEASURED]
    for package in packages:
        if not package.is_dir():
            raise ValueError(f"{ref} has no {package.name}/: is it a version of vidcost?")
    harness = Path(bench.__path__[0])
    code = digest(packages)
    # two copies even of equal code, so that neither side has the files to itself
    path = cache / "sides" / f"{name}-{code[:16]}-{digest([harness])[:16]}"
    if not path.is_dir():
        draft = _draft(path)
        ignored = shutil.ignore_patterns("__pycache__", "suites")
        for package in (harness, *packages):
            shutil.copytree(package, draft / "vidcost" / package.name, ignore=ignored)
        shutil.copy2(vidcost.__path__[0] + "/__init__.py", draft / "vidcost")
        compileall.compile_dir(draft, quiet=2)
        draft.rename(path)
    return Prepared(Version(ref=ref, commit=commit, code=code), path)


def _draft(folder: Path) -> Path:
    """An empty folder, to be renamed to ``folder`` when it is complete."""
    draft = folder.with_suffix(".draft")
    shutil.rmtree(draft, ignore_errors=True)
    draft.mkdir(parents=True)
    return draft


def digest(folders: Iterable[Path]) -> str:
    """A digest of all Python files in ``folders``."""
    found = hashlib.sha256()
    for folder in folders:
        for file in sorted(folder.rglob("*.py")):
            found.update(str(file.relative_to(folder)).encode() + b"\0" + file.read_bytes())
    return found.hexdigest()

"""Two versions side by side, unpacked from git.

The models are compared. Both versions' models are measured by this installation's harness and
packages, so that a change of the measurement is never taken for a change of the models.
"""

import hashlib
import json
import os
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import vidcost
from vidcost import bench
from vidcost.bench.gate.record import Version
from vidcost.bench.timing.cell import Cell
from vidcost.bench.timing.parent import COMMAND

MEASURED = ("models", "papers")
"""Folders taken from each version: networks, and the rows made of them."""

REQUIREMENTS = (
    *("pyproject.toml", "constraints.txt", "requirements.txt"),
    *("uv.lock", "poetry.lock", "pdm.lock", "pylock.toml", "Pipfile.lock"),
)
"""Files that say which packages a version asks for."""

_ROWS = """\
import json
from vidcost.papers.catalog import rows_of
print(json.dumps([row.name for row in rows_of() if row.build]))
"""


@dataclass(frozen=True)
class Prepared:
    """A version that is ready to run, unpacked at ``path``, which asks for ``requirements``."""

    version: Version
    path: Path
    requirements: tuple[str, ...]

    @property
    def roots(self) -> list[Path]:
        """The folders that hold its packages."""
        return [self.path]

    @property
    def variables(self) -> dict[str, str]:
        """The environment variables of a process that runs this version."""
        # compiled once: the first process writes what all others read
        paths = os.pathsep.join(map(str, self.roots))
        return {"PYTHONPATH": paths, "PYTHONDONTWRITEBYTECODE": ""}

    def command(self, cells: Sequence[Cell]) -> Sequence[str]:
        """The worker that times ``cells``."""
        return COMMAND

    def rows(self) -> list[str]:
        """Names of its rows that can be built.  Raises: ValueError if its models do not import."""
        command = (sys.executable, "-P", "-c", _ROWS)
        said = output(command, f"{self.version.ref} cannot be run", env=os.environ | self.variables)
        names: list[str] = json.loads(said)
        return names


def git(folder: Path, *arguments: str) -> str:
    """The output of git.  Raises: ValueError, in a line, if it fails or is not installed."""
    command = ("git", "--no-optional-locks", "-C", str(folder), *arguments)
    try:
        return output(command, f"git {arguments[0]}")
    except OSError:
        raise ValueError("git is not installed: two versions are read from it") from None


def output(command: Sequence[str], what: str, **known: Any) -> str:
    """What ``command`` prints.  Raises: ValueError with ``what`` and its last line if it fails."""
    ran = subprocess.run(command, capture_output=True, text=True, check=False, **known)
    if ran.returncode:
        lines = (ran.stdout + ran.stderr).strip().splitlines() or [f"status {ran.returncode}"]
        raise ValueError(f"{what}: {lines[-1].removeprefix('fatal: ').strip('= ')}")
    return str(ran.stdout).strip()


def prepare(
    repository: Path, base: str | None, head: str | None, folder: Path
) -> tuple[Prepared, Prepared]:
    """Copy two refs into ``folder``.  None is ``repository`` with its uncommitted changes.

    Raises: ValueError if there is no repository or no such ref, or a version has no models.
    """
    top = Path(git(repository, "rev-parse", "--show-toplevel"))
    # paths of equal length, and two copies even of equal code: no side has the files to itself
    return _prepared(top, base, folder / "base"), _prepared(top, head, folder / "head")


def _prepared(top: Path, ref: str | None, path: Path) -> Prepared:
    """The models of ``ref`` beside this harness."""
    package, ignored = path / "vidcost", shutil.ignore_patterns("__pycache__", "suites")
    shutil.copytree(bench.__path__[0], package / "bench", ignore=ignored)
    shutil.copy2(vidcost.__path__[0] + "/__init__.py", package)
    commit = lay(top, ref, package, *MEASURED, *REQUIREMENTS)
    name = ref or "working tree"
    for each in MEASURED:
        if not (package / each).is_dir():
            raise ValueError(f"{name} has no {each}/: is it a version of vidcost?")
    code = digest(package / each for each in MEASURED)
    version = Version(ref=name, commit=commit, code=code)
    return Prepared(version, path, requirements_in(package))


def other_packages(sides: tuple[Prepared, Prepared]) -> list[str]:
    """A note if the two ask for other packages."""
    note = "the versions ask for other packages: both ran with those installed here"
    return [note] if sides[0].requirements != sides[1].requirements else []


def requirements_in(folder: Path) -> tuple[str, ...]:
    """The texts in ``folder`` that say which packages a version asks for."""
    texts = []
    for file in (folder / name for name in REQUIREMENTS):
        if file.is_file():
            text = file.read_text(encoding="utf-8", errors="replace")
            if file.name == "pyproject.toml":
                # its other tables are no packages
                project = tomllib.loads(text).get("project", {})
                text = f"{project.get('dependencies')}{project.get('optional-dependencies')}"
            texts.append(text)
    return tuple(texts)


def commit_of(top: Path, ref: str) -> str:
    """The commit that ``ref`` names.  Raises: ValueError if there is none."""
    try:
        return git(top, "rev-parse", "--verify", "--end-of-options", f"{ref}^{{commit}}")
    except ValueError:
        raise ValueError(
            f"no ref {ref!r} in {top}: name a branch, tag or commit; "
            "a shallow clone needs `git fetch --unshallow`"
        ) from None


def lay(top: Path, ref: str | None, path: Path, *names: str) -> str:
    """Lay out the files of ``ref`` in ``path``, or those here as they are; all or under ``names``.

    The commit; with ``+changes`` if files here differ from it. What git ignores, such as builds, is
    no part of a version.
    """
    path.mkdir(parents=True, exist_ok=True)
    if ref is not None:
        commit = commit_of(top, ref)
        there = git(top, "ls-tree", "--name-only", commit, *names).splitlines() if names else []
        git(top, "archive", f"--output={path}.tar", commit, *there)
        shutil.unpack_archive(f"{path}.tar", path, filter="data")
        return commit
    listed = git(top, "ls-files", "-z", "-co", "--exclude-standard", "--", *names)
    for name in listed.split("\0"):
        if name and (top / name).is_file():
            (path / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(top / name, path / name)
    changed = git(top, "status", "--porcelain", "--", *names)
    return git(top, "rev-parse", "HEAD") + ("+changes" if changed else "")


def digest(folders: Iterable[Path], pattern: str = "*.py") -> str:
    """A digest of all files in ``folders`` whose names match ``pattern``."""
    found = hashlib.sha256()
    for folder in folders:
        for file in sorted(file for file in folder.rglob(pattern) if file.is_file()):
            found.update(str(file.relative_to(folder)).encode() + b"\0" + file.read_bytes())
    return found.hexdigest()

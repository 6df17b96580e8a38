"""What the commits of a branch did to files of a folder, and those files as they were then."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import IO, Protocol

BRANCHES = ("refs/heads/main", "refs/heads/master", "HEAD")
"""Without a choice the first of these that there is."""

_FORMAT = "%H%x1f%cI%x1f%s"


@dataclass(frozen=True)
class Commit:
    """A commit of the branch; ``date`` is the committer's, ISO 8601."""

    sha: str
    date: str
    subject: str

    @property
    def short(self) -> str:
        """The first eight digits."""
        return self.sha[:8]

    @property
    def when(self) -> datetime:
        """The date, with its time zone."""
        return datetime.fromisoformat(self.date)


@dataclass(frozen=True)
class Step:
    """A commit and the files it wrote: the blob of each by its path in the folder; None: removed.

    A merge shows all that it brought to the branch.
    """

    commit: Commit
    files: Mapping[str, str | None]


class Read(Protocol):
    """Gives the content of a blob."""

    def __call__(self, blob: str) -> bytes:
        """Raises: ValueError if git has no such object."""
        ...


@dataclass(frozen=True)
class Log:
    """The first-parent line of ``branch``, as far as it touched certain files of ``folder``."""

    folder: Path
    branch: str
    _revision: str = field(repr=False)
    _top: Path = field(repr=False)
    _prefix: str = field(repr=False)

    def steps(self, paths: Sequence[str]) -> list[Step]:
        """The commits that touched ``paths`` (files or folders within the folder), oldest first.

        Raises: ValueError with git's words if it fails.
        """
        # settings of the user that would add to what is read, or take from it, are overruled
        options = (
            *("-c", "log.showSignature=false", "-c", "log.showRoot=true"),
            *("-c", "i18n.logOutputEncoding=UTF-8", "--literal-pathspecs", "log"),
            *("--first-parent", "--diff-merges=first-parent", "--reverse", "--raw", "-z"),
            *("--no-abbrev", "--no-renames", "--no-color", "--no-ext-diff", "--no-notes"),
            *(f"--format={_FORMAT}", self._revision, "--"),
        )
        out = _git(self._top, *options, *(self._prefix + path for path in paths))
        return list(_steps(out.decode("utf-8", errors="replace"), self._prefix))

    @contextmanager
    def contents(self) -> Iterator[Read]:
        """A reader of blobs; one process answers for all of them."""
        command = ("git", "-C", str(self._top), "cat-file", "--batch")
        with subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=_environment(),
        ) as process:
            assert process.stdin is not None
            assert process.stdout is not None
            asked, answer = process.stdin, process.stdout
            yield lambda blob: _content(asked, answer, blob)


def open_log(folder: Path, branch: str | None = None) -> Log:
    """The history of ``folder`` on ``branch``; by default on main, else master, else HEAD.

    Raises: ValueError if there is no git, no repository, no such branch, or no whole history.
    """
    if not folder.is_dir():
        raise ValueError(f"no folder {folder}: choose the results folder with --results")
    where = _git(folder, "rev-parse", "--show-toplevel", "--show-prefix", "--is-shallow-repository")
    top, prefix, shallow = where.decode("utf-8", errors="surrogateescape").split("\n")[:3]
    if shallow == "true":
        raise ValueError(
            f"{top} is a shallow clone, which lacks history: `git fetch --unshallow` gets it"
        )
    for name in (branch,) if branch is not None else BRANCHES:
        if revision := _revision(folder, name):
            shown = name.removeprefix("refs/heads/")
            return Log(folder, shown, revision, Path(top), prefix)
    if branch is not None:
        raise ValueError(f"no branch {branch!r} in {top}: `git branch --all` lists them")
    raise ValueError(f"{top} has no commits yet: commit the results folder first")


def _revision(folder: Path, name: str) -> str:
    """The commit that ``name`` stands for; empty if there is none."""
    verify = ("rev-parse", "--verify", "--quiet", "--end-of-options", f"{name}^{{commit}}")
    found = _run(folder, *verify)
    return found.stdout.decode("ascii").strip() if found.returncode == 0 else ""


def _git(folder: Path, *args: str) -> bytes:
    """What git prints.  Raises: ValueError with its words if it fails."""
    done = _run(folder, *args)
    if done.returncode == 0:
        return done.stdout
    said = done.stderr.decode("utf-8", errors="replace").strip().partition("\n")[0]
    if "not a git repository" in said:
        raise ValueError(f"{folder} is in no git repository, so it has no history")
    raise ValueError(f"git cannot read the history of {folder}: {said}")


def _run(folder: Path, *args: str) -> subprocess.CompletedProcess[bytes]:
    command = ("git", "-C", str(folder), *args)
    try:
        return subprocess.run(command, capture_output=True, check=False, env=_environment())
    except OSError as error:
        raise ValueError(f"the history needs git, which cannot be run: {error}") from None


def _environment() -> dict[str, str]:
    # its messages are read
    return {**os.environ, "LC_ALL": "C"}


def _steps(out: str, prefix: str) -> Iterator[Step]:
    """Read the log: a commit, then its files, each as ``:modes blobs status`` and a path."""
    commit: Commit | None = None
    files: dict[str, str | None] = {}
    tokens = iter(out.split("\0"))
    for token in tokens:
        # a line break stands between a commit and the first of its files
        if (line := token.removeprefix("\n")).startswith(":"):
            blob = line.split(" ")[3]
            path = next(tokens).removeprefix(prefix)
            files[path] = blob if blob.strip("0") else None
        elif line:
            if commit is not None:
                yield Step(commit, files)
            sha, date, subject = line.split("\x1f", 2)
            commit, files = Commit(sha, date, subject), {}
    if commit is not None:
        yield Step(commit, files)


def _content(asked: IO[bytes], answer: IO[bytes], blob: str) -> bytes:
    asked.write(f"{blob}\n".encode("ascii"))
    asked.flush()
    size = answer.readline().rpartition(b" ")[2].strip()
    if not size.isdigit():
        raise ValueError(f"git has no object {blob}: `git fsck` says more")
    content = answer.read(int(size))
    answer.read(1)
    return content

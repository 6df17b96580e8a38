"""Repositories of somebody else that tests make, change, and run pytest in."""

import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from _pytest.pytester import SysModulesSnapshot

IDENTITY = ("-c", "user.name=a", "-c", "user.email=a@b.c", "-c", "commit.gpgsign=false")


def git(folder: Path, *words: str, status: int = 0) -> str:
    """Run git, whatever a hook or a worktree has set for it; the output."""
    alone = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    command = ["git", *IDENTITY, "-C", str(folder), *words]
    ran = subprocess.run(command, capture_output=True, text=True, env=alone)
    assert status == ran.returncode, ran.stderr
    return ran.stdout.strip()


class Repository:
    """Files in a folder, and git once :meth:`begin` was called."""

    def __init__(self, folder: Path, **files: str) -> None:
        self.folder = folder
        for stem, text in files.items():
            self.write(f"{stem}.py", text)

    def path(self, name: str) -> Path:
        """The file ``name``."""
        return self.folder / name

    def write(self, name: str, text: str) -> None:
        """Write a file."""
        self.path(name).parent.mkdir(parents=True, exist_ok=True)
        self.path(name).write_text(text)

    def edit(self, name: str, old: str, new: str) -> None:
        """Replace text in a file."""
        text = self.path(name).read_text()
        assert old in text
        self.path(name).write_text(text.replace(old, new))

    def git(self, *words: str, status: int = 0) -> str:
        """Run git; the output."""
        return git(self.folder, *words, status=status)

    def begin(self) -> None:
        """Make what is there the first version, on main."""
        self.git("init", "--quiet", "--initial-branch", "main")
        self.commit()

    def commit(self) -> None:
        """Commit everything."""
        self.git("add", "--all")
        self.git("commit", "--quiet", "--message", "a version")


def pytest_of_a_user(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, foreign: str
) -> Callable[..., str]:
    """A function that runs pytest with the plugin in pytester's folder, and returns its output.

    It runs in this process, because torch takes seconds to import; modules whose names match
    ``foreign`` are imported anew, as another process would.
    """
    snapshot = SysModulesSnapshot(preserve=lambda name: not re.match(foreign, name))
    name = "_Pytester__take_sys_modules_snapshot"
    monkeypatch.setattr(pytest.Pytester, name, lambda self: snapshot)
    # what pip installed is found by a finder
    monkeypatch.setattr(sys, "meta_path", [*sys.meta_path])
    # files are edited within a second, which compiled ones do not notice
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    # pytest-benchmark times nothing in xdist's workers
    for variable in ("CI", "PYTEST_XDIST_WORKER"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    monkeypatch.setenv("PYTEST_PLUGINS", "vidcost.bench.plugin")

    def run(*words: str, status: int = 0) -> str:
        for module in [name for name in sys.modules if re.match(foreign, name)]:
            del sys.modules[module]
        result = pytester.runpytest_inprocess("-p", "no:cacheprovider", *words)
        assert status == result.ret, result.stdout.str()
        return f"{result.stdout}{result.stderr}"

    return run

"""Tests that time: one side of a comparison is pytest in a version's tree.

:func:`prepare` lays two trees side by side. The process ``python -m vidcost.bench.gate.side`` runs
pytest in one of them. It lists the tests that use the fixture ``time_gate``, or it is a worker as
:mod:`vidcost.bench.timing.worker` is, and the fixture answers the parent's tasks one test after the
other.
"""

import contextlib
import json
import os
import shutil
import sys
import time
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from vidcost.bench.gate import versions
from vidcost.bench.gate.record import Version
from vidcost.bench.gate.versions import Prepared
from vidcost.bench.process import ChildProcess, TimedOut, connect
from vidcost.bench.timing.build import Built
from vidcost.bench.timing.cell import Cell
from vidcost.bench.timing.messages import ParentGone
from vidcost.bench.timing.record import Timing
from vidcost.bench.timing.worker import answering, measure

COMMAND = (sys.executable, "-P", "-m", "vidcost.bench.gate.side")

COLLECT = "--collect"

COLLECTING_S = 300.0

CONFIGURATION = ("pytest.ini", "pyproject.toml", "tox.ini", "setup.cfg", "conftest.py")
"""Files that say how head's tests run, on both sides."""

NO_PACKAGES = frozenset("build conftest dist docs examples noxfile setup src test tests".split())
"""Names at the top of a repository that are no package of it."""


def roots(tree: Path) -> list[Path]:
    """The folders that hold a repository's packages: ``src`` if there is one, and the top."""
    return [root for root in (tree / "src", tree) if root.is_dir()]


class Tree(Prepared):
    """A version of any repository, with head's tests in it."""

    @property
    def roots(self) -> list[Path]:
        """The folders that hold its packages."""
        return roots(self.path)

    def command(self, cells: Sequence[Cell]) -> list[str]:
        """The worker that times ``cells``, which are tests, in their order."""
        return [*COMMAND, str(self.path), *(str(cell.test) for cell in cells)]

    def tests(self, words: Sequence[str]) -> tuple[list[str], list[str]]:
        """The tests among ``words`` that use ``time_gate``, and a line on each failure to collect.

        Raises: ValueError if pytest does not answer.
        """
        command = [*COMMAND, str(self.path), COLLECT, *words]
        with ChildProcess(command, self.variables) as child:
            try:
                found, failed = child.receive(time.monotonic() + COLLECTING_S)
            except TimedOut:
                raise ValueError(f"{self.version.ref}: pytest collected too long") from None
            except EOFError:
                raise ValueError(f"{self.version.ref}: pytest: {child.end()[1]}") from None
            child.leave()
        return found, [f"{self.version.ref}: {line}" for line in failed]

    def benchmark(self, words: Sequence[str], path: Path) -> int:
        """Run a suite of pytest-benchmark once, and store its JSON; the number of benchmarks.

        Raises: ValueError if it fails or has no benchmark.
        """
        path.parent.mkdir(exist_ok=True)
        command = [sys.executable, "-P", "-m", "pytest", *words, "-p", "no:cacheprovider"]
        command += ["--rootdir=.", f"--benchmark-json={path}"]
        what = f"{self.version.ref}: pytest failed"
        versions.output(command, what, env=os.environ | self.variables, cwd=self.path)
        if not path.is_file():
            raise ValueError(f"{what}: no test uses the fixture benchmark")
        return len(json.loads(path.read_bytes())["benchmarks"])


def prepare(base: str, words: Sequence[str], folder: Path) -> tuple[Tree, Tree]:
    """Two trees in ``folder``: where ``base`` and HEAD part, and the files here, as they are.

    ``words`` are pytest's, files and folders of head's tests, which both trees get.
    Raises: ValueError if this is no repository, there is no such ref, or a test lies outside.
    """
    top = Path(versions.git(Path(), "rev-parse", "--show-toplevel"))
    commit = versions.git(top, "merge-base", versions.commit_of(top, base), "HEAD")
    paths = folder / "base", folder / "head"
    versions.unpack(top, commit, paths[0])
    # what git ignores, such as builds, is no part of a version
    for name in versions.git(top, "ls-files", "-z", "-co", "--exclude-standard").split("\0"):
        if name and (top / name).is_file():
            (paths[1] / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(top / name, paths[1] / name)
    for word in words:
        test = Path(word.partition("::")[0]).resolve()
        if not (test.exists() and test.is_relative_to(top)):
            raise ValueError(f"the repository {top} has no {word}: name files or folders of tests")
        inside = test.relative_to(top)
        if (paths[1] / inside).is_dir():
            shutil.copytree(paths[1] / inside, paths[0] / inside, dirs_exist_ok=True)
        beside = [parent / name for parent in inside.parents for name in CONFIGURATION]
        for file in (inside, *beside, *(parent / "__init__.py" for parent in inside.parents[:-1])):
            if (paths[1] / file).is_file():
                (paths[0] / file).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(paths[1] / file, paths[0] / file)
    return _tree(base, commit, paths[0]), _tree("working tree", versions.commit_here(top), paths[1])


def _tree(ref: str, commit: str, path: Path) -> Tree:
    return Tree(Version(ref=ref, commit=commit, code=versions.digest([path], "*")), path)


class Call(nn.Module):
    """A call of a module or function with its inputs, as a module without inputs."""

    def __init__(self, call: Callable[..., object], inputs: Sequence[Any]) -> None:
        super().__init__()
        self.call = call
        self._inputs = tuple(inputs)

    def forward(self) -> object:
        """The result; of a function outside of the inference mode, so that it may train."""
        if isinstance(self.call, nn.Module):
            return self.call(*self._inputs)
        with torch.inference_mode(mode=False), torch.enable_grad():
            return self.call(*self._inputs)


class Worker:
    """The plugin of pytest that times one test after the other for the parent."""

    # pytest registers an object under it
    __name__ = "vidcost-side"

    def __init__(self, pipe: Connection, tree: Path) -> None:
        self._pipe = pipe
        self._tree = tree.resolve()
        self._packages = _packages(tree)
        self._why: dict[str, str] = {}

    def time(self, test: str, call: Callable[..., object], inputs: Sequence[Any]) -> None:
        """Answer the task about ``test``; raises ParentGone once the parent hangs up."""
        self.answer_others(test)
        built = Built(Call(call, inputs), ())
        timing = measure(self._task, *answering(self._pipe), make=lambda cell, seed: built)
        if timing.status == "ok" and (strange := self._from_outside()):
            timing = timing.model_copy(update={"status": "raised", "error": strange})
        self._pipe.send(timing)

    def answer_others(self, test: str | None) -> None:
        """Answer tasks about tests that timed nothing, up to the one about ``test``."""
        while True:
            try:
                self._task = self._pipe.recv()
            except (EOFError, OSError):
                raise ParentGone from None
            cell: Cell = self._task.cell
            if cell.test == test:
                return
            error = self._why.get(cell.test or "", "the test did not call time_gate")
            self._pipe.send(Timing(key="", cell=cell, status="raised", error=error))

    def _from_outside(self) -> str:
        """A line on a module of the repository's packages that is not the tree's; empty if none."""
        for name, module in list(sys.modules.items()):
            file = getattr(module, "__file__", None)
            if name.partition(".")[0] not in self._packages or file is None:
                continue
            if not Path(file).resolve().is_relative_to(self._tree):
                return (
                    f"{name} was imported from {file}, not from this version's tree: uninstall "
                    "that copy; what must be built before it runs cannot be compared"
                )
        return ""

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Note why a test did not pass."""
        if not report.passed:
            self._why[report.nodeid] = _last_line(report)


class Collector:
    """The plugin of pytest that lists tests and failures to collect."""

    def __init__(self) -> None:
        self.tests: list[str] = []
        self.failed: list[str] = []

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        """Note a file that does not import."""
        if report.failed:
            self.failed.append(f"{report.nodeid}: {_last_line(report)}")

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        """Note the tests that time."""
        items = (item for item in session.items if "time_gate" in getattr(item, "fixturenames", ()))
        self.tests += [item.nodeid for item in items]


def _last_line(report: pytest.TestReport | pytest.CollectReport) -> str:
    crash = getattr(report.longrepr, "reprcrash", None)
    lines = str(crash.message if crash else report.longrepr).strip().splitlines()
    return lines[0 if crash else -1].removeprefix("E   ").strip() if lines else report.outcome


def _packages(tree: Path) -> set[str]:
    """The names of the packages and modules in a repository."""
    names = set()
    for each in (each for root in roots(tree) for each in root.iterdir()):
        is_package = each.is_dir() and each.name.isidentifier() and any(each.rglob("*.py"))
        if is_package or each.suffix == ".py":
            names.add(each.stem)
    return names - NO_PACKAGES


def main() -> None:
    """List tests, or time them: the tree and pytest's words are the arguments."""
    pipe = connect()
    tree, *words = sys.argv[1:-1]
    os.chdir(tree)
    # the parent reads standard error
    sys.stdout = sys.stderr
    # one process, in the order of the words
    quiet = ["-q", "-p", "no:cacheprovider", "-p", "no:randomly", "--rootdir=."]
    quiet += ["-n0"] * bool(find_spec("xdist"))
    if words[:1] == [COLLECT]:
        collector = Collector()
        pytest.main([*quiet, "--collect-only", *words[1:]], plugins=[collector])
        pipe.send((collector.tests, collector.failed))
        return
    worker = Worker(pipe, Path(tree))
    with contextlib.suppress(ParentGone):
        pytest.main([*quiet, *words], plugins=[worker])
        worker.answer_others(None)


if __name__ == "__main__":
    main()
    # torch and CUDA need not tidy up: all of it goes with the process
    os._exit(0)

"""Tests that time: one side of a comparison is pytest in a version's tree.

:func:`prepare` lays two trees side by side. The process ``python -m vidcost.bench.gate.side`` runs
pytest in one of them. It lists the tests that use the fixture ``time_gate``, or it is a worker as
:mod:`vidcost.bench.timing.worker` is, and the fixture answers the parent's tasks one test after the
other.
"""

import contextlib
import hashlib
import json
import os
import shutil
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.machinery import EXTENSION_SUFFIXES
from importlib.util import find_spec
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from vidcost.bench import files
from vidcost.bench.gate import versions
from vidcost.bench.gate.record import TestTiming, Version
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

INSTALLED = "vidcost-installed"
"""The folder of a tree that its packages are installed in, with ``install = true``."""

SOURCES = (".py", ".pyi", ".pyx", ".c", ".cc", ".cpp", ".cu", ".rs", *EXTENSION_SUFFIXES)
"""Files that a module is made of."""


def roots(tree: Path) -> list[Path]:
    """The folders that hold a repository's packages: ``src`` if there is one, and the top."""
    return [root for root in (tree / INSTALLED, tree / "src", tree) if root.is_dir()]


@dataclass(frozen=True)
class Tree(Prepared):
    """A version of the repository ``checkout``, with head's tests in it."""

    checkout: Path

    @property
    def roots(self) -> list[Path]:
        """The folders that hold its packages."""
        return roots(self.path)

    def command(self, cells: Sequence[Cell]) -> list[str]:
        """The worker that times ``cells``, which are tests, in their order."""
        return self._command(*(str(cell.test) for cell in cells))

    def _command(self, *words: str) -> list[str]:
        return [*COMMAND, str(self.path), str(self.checkout), *words]

    def tests(self, words: Sequence[str]) -> tuple[dict[str, Mapping[str, Any]], list[str]]:
        """The tests among ``words`` that use ``time_gate``, and a line on each failure to collect.

        By id: the arguments of the marker ``vidcost``.
        Raises: ValueError if pytest does not answer.
        """
        command = self._command(COLLECT, *words)
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


def prepare(
    base: str, words: Sequence[str], folder: Path, *, install: bool = False
) -> tuple[Tree, Tree]:
    """Two trees in ``folder``: where ``base`` and HEAD part, and the files here, as they are.

    ``words`` are pytest's, files and folders of head's tests, which both trees get. With
    ``install`` each version is built and installed in its tree, if they differ.
    Raises: ValueError if this is no repository, there is no such ref, a test lies outside, or a
        version cannot be installed.
    """
    top = Path(versions.git(Path(), "rev-parse", "--show-toplevel"))
    parting = versions.git(top, "merge-base", versions.commit_of(top, base), "HEAD")
    paths = folder / "base", folder / "head"
    commits = versions.lay(top, parting, paths[0]), versions.lay(top, None, paths[1])
    requires = [versions.requirements_in(path) for path in paths]
    sources = [
        shutil.copytree(each, folder / f"{each.name}-source") for each in (paths if install else ())
    ]
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
    refs = base, "working tree"
    codes = [versions.digest([path], "*") for path in paths]
    if codes[0] != codes[1]:
        for ref, source, path in zip(refs, sources, paths, strict=bool(sources)):
            _install(ref, source, path)
    old, new = (
        Tree(Version(ref=ref, commit=at, code=code), path, asked, top)
        for ref, at, code, path, asked in zip(refs, commits, codes, paths, requires, strict=True)
    )
    return old, new


def _install(ref: str, source: Path, tree: Path) -> None:
    """Build the packages of ``source`` and install them in ``tree``, which has no compiled files.

    With the packages and compilers of here; cached by the source, Python and torch.
    """
    made_of = versions.digest([source], "*"), sys.version, sys.executable, torch.__version__
    key = hashlib.sha256("\0".join(made_of).encode()).hexdigest()
    cached = files.cache_folder() / "installed" / key
    if not cached.is_dir():
        built = source.with_name(f"{source.name}-built")
        pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        pip += ["--no-deps", "--no-build-isolation", "--no-compile", "--target", str(built)]
        versions.output([*pip, str(source)], f"{ref} cannot be installed")
        cached.parent.mkdir(parents=True, exist_ok=True)
        # whole or not at all
        partly = cached.with_name(f"{key}.{os.getpid()}")
        shutil.copytree(built, partly)
        with contextlib.suppress(OSError):
            partly.rename(cached)
        shutil.rmtree(partly, ignore_errors=True)
    shutil.copytree(cached, tree / INSTALLED)
    # where tests import the sources, they find what was built beside them
    for file in (file for file in cached.rglob("*") if file.is_file()):
        inside = file.relative_to(cached)
        for root in roots(tree)[1:]:
            if (root / inside.parts[0]).is_dir() and not (root / inside).exists():
                (root / inside).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(file, root / inside)


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

    def __init__(self, pipe: Connection, tree: Path, checkout: Path) -> None:
        self._pipe = pipe
        self._tree = tree.resolve()
        self._checkout = checkout
        self._why: dict[str, str] = {}

    def time(self, test: str, call: Callable[..., object], inputs: Sequence[Any]) -> None:
        """Answer the task about ``test``; raises ParentGone once the parent hangs up."""
        self.answer_others(test)
        built = Built(Call(call, inputs), ())
        timing = measure(self._task, *answering(self._pipe), make=lambda cell, seed: built)
        modules, strange = self._modules()
        known: dict[str, Any] = {"modules": modules}
        if strange and timing.status == "ok":
            # neither its time nor its memory is that of this version
            known |= {"status": "raised", "error": strange, "memory": None}
        self._pipe.send(TestTiming(**dict(timing) | known))

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

    def _modules(self) -> tuple[dict[str, tuple[str, str]], str]:
        """The modules of the repository by name, and a line on one that is not the tree's."""
        found, strange = {}, ""
        for name, module in sorted(sys.modules.items()):
            known = getattr(module, "__file__", None)
            # some modules are made up, with the name of a file that is not there
            if known is None or not (file := Path(known).resolve()).is_file():
                continue
            if file.is_relative_to(self._tree):
                where = str(file.relative_to(self._tree))
            elif self._is_own(name, file):
                where = known
                strange = strange or (
                    f"{name} was imported from {known}, not from its tree: uninstall that copy, "
                    "or set install = true in [tool.vidcost.time]"
                )
            else:
                continue
            found[name] = where, hashlib.sha256(file.read_bytes()).hexdigest()
        return found, strange

    def _is_own(self, name: str, file: Path) -> bool:
        """Whether the repository has the module ``name``, which lies elsewhere."""
        # a build may have given the file another name
        in_checkout = file.is_relative_to(self._checkout)
        if in_checkout and (self._tree / file.relative_to(self._checkout)).is_file():
            return True
        for folder in roots(self._tree):
            for part in name.split("."):
                # all of a package is the repository's, but a namespace is shared with others
                if (folder / part / "__init__.py").is_file():
                    return True
                if any((folder / f"{part}{suffix}").is_file() for suffix in SOURCES):
                    return True
                folder /= part
        return False

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Note why a test did not pass."""
        if not report.passed:
            self._why[report.nodeid] = _last_line(report)


class Collector:
    """The plugin of pytest that lists tests and failures to collect."""

    def __init__(self) -> None:
        self.tests: dict[str, dict[str, Any]] = {}
        self.failed: list[str] = []

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        """Note a file that does not import."""
        if report.failed:
            self.failed.append(f"{report.nodeid}: {_last_line(report)}")

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        """Note the tests that time."""
        for item in session.items:
            if "time_gate" in getattr(item, "fixturenames", ()):
                given = self.tests.setdefault(item.nodeid, {})
                for mark in reversed([*item.iter_markers("vidcost")]):
                    # the marker takes names only
                    given |= {**mark.kwargs, **({"args": mark.args} if mark.args else {})}


def _last_line(report: pytest.TestReport | pytest.CollectReport) -> str:
    crash = getattr(report.longrepr, "reprcrash", None)
    lines = str(crash.message if crash else report.longrepr).strip().splitlines()
    return lines[0 if crash else -1].removeprefix("E   ").strip() if lines else report.outcome


def main() -> None:
    """List tests, or time them: the tree, the checkout and pytest's words are the arguments."""
    pipe = connect()
    tree, checkout, *words = sys.argv[1:-1]
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
    worker = Worker(pipe, Path(tree), Path(checkout))
    with contextlib.suppress(ParentGone):
        pytest.main([*quiet, *words], plugins=[worker])
        worker.answer_others(None)


if __name__ == "__main__":
    main()
    # torch and CUDA need not tidy up: all of it goes with the process
    os._exit(0)

"""The pytest plugin: the fixtures ``count_snapshot`` and ``time_gate``, and fields of benchmarks.

It imports neither torch nor the counter before a test uses a fixture, or a benchmark is stored.
"""

from __future__ import annotations

import inspect
import os
import sys
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from torch import nn

    from vidcost.bench.api.count import NetworkCount
    from vidcost.bench.call import Inputs
    from vidcost.bench.gate.baseline import Entry
    from vidcost.bench.gate.settings import Settings

    Snapshot = Callable[..., NetworkCount]


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options that write baselines, and of the suites."""
    group = parser.getgroup("vidcost", "exact counts (vidcost)")
    group.addoption(
        "--count-update", action="store_true", help="Write all counts of this run to the baselines."
    )
    group.addoption(
        "--count-update-new", action="store_true", help="Write only counts without a baseline."
    )
    for name, metavar in (("target", "my_net.py:make"), ("input", "SHAPE")):
        words = f"A network of your own, or its input, for vidcost.bench.suites: {metavar}."
        group.addoption(
            f"--vidcost-{name}", action="append", default=[], metavar=metavar, help=words
        )


def pytest_configure(config: pytest.Config) -> None:
    """Start the session's record of counts."""
    option = next((o for o in ("count_update", "count_update_new") if config.getoption(o)), "")
    if option:
        from vidcost.bench.gate.baseline import check_writing

        try:
            check_writing(f"--{option.replace('_', '-')}")
        except ValueError as error:
            raise pytest.UsageError(str(error)) from None
    config.addinivalue_line(
        "markers", "vidcost(margin, find): bounds of a test that uses time_gate, such as '8%'"
    )
    config.pluginmanager.register(_Counts(config, option), "vidcost-counts")


@pytest.fixture
def time_gate(request: pytest.FixtureRequest) -> Callable[..., object]:
    """Time a module or function: ``time_gate(call, *inputs)``.

    Under ``vidcost gate time`` base and head of the repository are timed interleaved; otherwise it
    is called once, and its result is returned. It is done when it returns: no coroutine.
    """
    side = request.config.pluginmanager.get_plugin("vidcost-side")

    def time(call: Callable[..., object], *inputs: object) -> object:
        if any(map(inspect.iscoroutinefunction, (call, type(call).__call__))):
            pytest.fail("time_gate times what is done when it returns, no coroutine", pytrace=False)
        return call(*inputs) if side is None else side.time(request.node.nodeid, call, inputs)

    return time


@pytest.fixture
def count_snapshot(request: pytest.FixtureRequest) -> Snapshot:
    """Count a network, and hold every figure to the baseline beside the test.

    Called as ``count_snapshot(model, inputs, name="", kwargs=None, training=False)``, with the
    arguments of :func:`vidcost.count`; several calls in one test need names. Returns what
    :func:`vidcost.count` returns. Fails if a figure differs or has no baseline yet; ``pytest
    --count-update`` writes it.
    """
    counts = request.config.pluginmanager.get_plugin("vidcost-counts")
    assert isinstance(counts, _Counts)
    taken: set[str] = set()

    def snapshot(
        model: nn.Module,
        inputs: Inputs,
        *,
        name: str = "",
        kwargs: Mapping[str, Any] | None = None,
        training: bool = False,
    ) -> NetworkCount:
        from vidcost.bench.api.count import count

        if name in taken:
            pytest.fail("this test takes two snapshots: give each another name=...", pytrace=False)
        taken.add(name)
        counted = count(model, inputs, kwargs=kwargs, training=training)
        complaint = counts.check(request.node, name, counted)
        if complaint:
            pytest.fail(complaint, pytrace=False)
        return counted

    return snapshot


@dataclass
class _File:
    """A file of tests: those collected, those that passed, and the counts that they took."""

    tests: set[str] = field(default_factory=set)
    passed: set[str] = field(default_factory=set)
    seen: dict[str, Entry] = field(default_factory=dict)
    is_partial: bool = False
    """Whether some of its tests were left out."""


class _Counts:
    """What was counted in this process, and under xdist what its workers report.

    Test files are named as in the ids of tests. A test's figures stand in its file's baseline under
    its id, with the name of the snapshot behind it, if there is one.
    """

    def __init__(self, config: pytest.Config, option: str) -> None:
        self._config = config
        self._option = option
        self._root = config.rootpath
        self._files: dict[str, _File] = defaultdict(_File)
        self._baselines: dict[str, tuple[Mapping[str, Entry], str]] = {}
        self._is_crashed = False
        self._failures: list[str] = []
        self._notes: list[str] = []

    def check(self, node: pytest.Item, name: str, counted: NetworkCount) -> str:
        """Compare ``counted`` with its baseline: a complaint, or nothing."""
        from vidcost.bench.gate import baseline

        file, _, test = node.nodeid.partition("::")
        key = f"{test} :: {name}" if name else test
        try:
            entry = baseline.entry_of(counted, self._settings)
        except ValueError as error:
            return str(error)
        self._files[file].seen[key] = entry
        (stored, why), where = self._stored(file), self._where(file)
        if why or self._option == "count_update":
            # the end of the session says why
            return ""
        accept = _update(file)
        if key not in stored:
            return "" if self._option else f"{where} has no {key!r}: `{accept}-new` adds it"
        found = baseline.differences({test: stored[key]}, {test: entry})
        if not found.changes:
            return ""
        from vidcost.bench.report.gate import change_table

        table = change_table(found, f"An improvement differs too. To accept it: `{accept}`")
        return f"{where}: {key} is counted otherwise.\n\n{table.markdown()}"

    @cached_property
    def _settings(self) -> Settings:
        from vidcost.bench.gate.settings import settings

        return settings(self._root)

    def _path(self, file: str) -> Path:
        test = self._root / file
        return test.parent / self._settings.baselines / f"{test.stem}.toml"

    def _where(self, file: str) -> str:
        return os.path.relpath(self._path(file), self._root)

    def _stored(self, file: str) -> tuple[Mapping[str, Entry], str]:
        """The baseline of a file of tests, and why nothing can be compared with it."""
        from vidcost.bench.gate.baseline import Baseline, read

        if file not in self._baselines:
            try:
                found = read(self._path(file)) or Baseline()
                why = found.other_convention and f"{self._where(file)} {found.other_convention}"
                self._baselines[file] = found.entries, why
            except ValueError as error:
                self._baselines[file] = {}, str(error)
        return self._baselines[file]

    # which tests ran

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        """Note the tests of each file, and files of which only some were asked for."""
        for item in session.items:
            file, _, test = item.nodeid.partition("::")
            self._files[file].tests.add(test)
        invoked = self._config.invocation_params.dir
        for argument in self._config.args:
            path, some, _ = argument.partition("::")
            if some:
                file = os.path.relpath(invoked / path, self._root).replace(os.sep, "/")
                self._files[file].is_partial = True

    def pytest_deselected(self, items: Iterable[pytest.Item]) -> None:
        """Of a file with deselected tests nothing is known to be unused."""
        for item in items:
            self._files[item.nodeid.partition("::")[0]].is_partial = True

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Note tests that ran to their end."""
        if report.when == "call" and report.passed:
            file, _, test = report.nodeid.partition("::")
            self._files[file].passed.add(test)

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Any, error: object) -> None:
        """Take over what a worker of xdist counted."""
        from vidcost.bench.gate.baseline import Entry

        told = getattr(node, "workeroutput", {}).get("vidcost")
        if error is not None or told is None:
            self._is_crashed = True
            return
        for name, (tests, entries, is_partial) in told.items():
            file = self._files[name]
            file.tests |= set(tests)
            file.seen |= {key: Entry(**entry) for key, entry in entries.items()}
            file.is_partial |= is_partial

    # the end

    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """Report to xdist's controller; else write baselines and find unused entries."""
        if hasattr(self._config, "workerinput"):
            self._config.workeroutput["vidcost"] = {  # type: ignore[attr-defined]
                name: (sorted(file.tests), asdict(file)["seen"], file.is_partial)
                for name, file in self._files.items()
            }
            return
        for name, file in sorted(self._files.items()):
            try:
                if file.seen or (file.tests and self._has_baseline(name)):
                    self._finish(name, file)
            except ValueError as error:
                self._failures.append(str(error))
                break
        if self._failures and session.exitstatus in (0, pytest.ExitCode.NO_TESTS_COLLECTED):
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def _has_baseline(self, file: str) -> bool:
        folder = (self._root / file).parent
        # most repositories and folders have none: do not read the settings for each
        return any(folder.glob(f"*/{Path(file).stem}.toml")) and self._path(file).is_file()

    def _finish(self, name: str, file: _File) -> None:
        """Write the baseline of ``file`` as asked, or note what in it is not used."""
        from vidcost.bench.gate import baseline

        (old, why), where, update = self._stored(name), self._where(name), _update(name)
        is_whole = not self._is_crashed and not file.is_partial
        writes_all = self._option == "count_update"
        if why and not (writes_all and is_whole):
            self._failures.append(f"{why}: nothing was compared; `{update}` counts anew")
            return
        unused = [key for key in old if is_whole and _is_unused(file, key)]
        if writes_all:
            new = {key: entry for key, entry in old.items() if key not in unused} | file.seen
        else:
            self._failures += [
                f"{where}: {key!r} is used by no test; `{update}` removes it" for key in unused
            ]
            new = file.seen | dict(old) if self._option else dict(old)
        if new == old and not why:
            return
        if new:
            baseline.write(self._path(name), new, command="pytest --count-update")
        else:
            self._path(name).unlink(missing_ok=True)
        written = sum(old.get(key) != entry for key, entry in new.items())
        self._notes.append(f"{where}: {written} written, {len(old.keys() - new.keys())} removed")

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Say what was written, and what fails the session beside its tests."""
        if self._notes or self._failures:
            terminalreporter.section("exact counts")
        for line in self._notes:
            terminalreporter.line(line)
        for line in self._failures:
            terminalreporter.line(line, red=True)


def _update(file: str) -> str:
    return f"pytest {file} --count-update"


def _is_unused(file: _File, key: str) -> bool:
    """Whether no test takes the snapshot ``key``: its test is gone, or passed without it."""
    if key in file.seen:
        return False
    owner = next((t for t in file.tests if key == t or key.startswith(f"{t} :: ")), None)
    return owner is None or owner in file.passed


# pytest-benchmark


@pytest.hookimpl(optionalhook=True)
def pytest_benchmark_update_machine_info(machine_info: dict[str, Any]) -> None:
    """Add torch, the current device and the clocks, which ``vidcost gate samples`` compares.

    It is the same at the beginning of a run, where pytest-benchmark compares it, and at the end:
    clocks are the highest that the devices may reach.
    """
    import torch

    from vidcost.bench.timing.machine import clocks, describe

    machine_info["torch"] = torch.__version__
    device = f"cuda:{torch.cuda.current_device()}" if torch.cuda.is_available() else "cpu"
    machine = describe(device)
    if device != "cpu":
        names = ("device", "device_uuid", "driver", "cuda", "cudnn", "triton")
        machine_info.update({name: getattr(machine, name) for name in names})
    machine_info["clocks"] = clocks(machine)
    machine_info["tf32"] = torch.get_float32_matmul_precision() != "highest"


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Iterator[None]:
    """Note a benchmark's peak of CUDA memory, and whether the stream is busy when it returns."""
    if not hasattr(item, "funcargs") or "benchmark" not in item.funcargs:
        return (yield)
    torch = sys.modules.get("torch")
    before = 0
    if torch is not None and torch.cuda.is_initialized():
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
    result = yield
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_initialized():
        extra = item.funcargs["benchmark"].extra_info
        extra["stream_busy"] = not torch.cuda.current_stream().query()
        extra["tf32"] = torch.get_float32_matmul_precision() != "highest"
        if (peak := torch.cuda.max_memory_allocated() - before) > 0:
            extra.setdefault("peak_bytes", peak)
    return result

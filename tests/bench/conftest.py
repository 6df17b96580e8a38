"""Fixtures of the tests of bench: the committed records, fakes, and the command line."""

import importlib
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from vidcost.bench import cli, files, isolation, progress
from vidcost.bench.count import reconcile, record
from vidcost.bench.count.record import Record
from vidcost.bench.count.references import asking, reference
from vidcost.bench.count.references.reference import Answer
from vidcost.bench.inspection import counted as inspection
from vidcost.bench.isolation import Failed
from vidcost.bench.timing import sweep
from vidcost.bench.timing.cell import Cell
from vidcost.bench.timing.record import Machine, Timing
from vidcost.bench.timing.store import Store
from vidcost.bench.user.reference import UserCodeError
from vidcost.papers.row import Row

CHECKOUT = Path(__file__).resolve().parents[2]


class Ran(NamedTuple):
    status: int
    out: str
    err: str


@pytest.fixture(scope="session")
def results() -> Path:
    """The results folder of the checkout."""
    return CHECKOUT / "results"


@pytest.fixture(scope="session")
def committed(results: Path) -> dict[str, Record]:
    """The records of results/counts.jsonl."""
    return record.read(results)


@pytest.fixture(scope="session")
def made_up() -> Callable[..., Record]:
    """Make a record of zeros, but for what is given; a counter gives a number or an error."""

    def make(row: str, *, fvcore: int | str | None = None, thop: int | str | None = None, **known):
        zeros = dict.fromkeys(
            "params buffers conv linear matmul norm pool softmax activation closed_forms".split(), 0
        )
        answers = {}
        for name, version, said in (("fvcore", "1.2", fvcore), ("thop", "3.4", thop)):
            if isinstance(said, str):
                answers[name] = Answer(version=version, status="crashed", error=said)
            elif said is not None:
                answers[name] = Answer(version=version, flops=said, params=7)
        clip = (3, 16, 224, 224)
        return Record(
            row=row, classes=200, inputs=(clip,), reference_counters=answers, **(zeros | known)
        )

    return make


@pytest.fixture(scope="session")
def timed() -> Callable[..., Timing]:
    """Make a timing of eight samples around ``seconds``; None for a cell that was not measured."""

    def make(cell: Cell, seconds: float | None = 0.1, **known: Any) -> Timing:
        machine = Machine(
            device="Abacus",
            cpu="Abacus",
            cores=2,
            memory_bytes=10**9,
            platform="p",
            python="3",
            torch="2.11.0",
            vidcost="0.1.0",
        )
        measured: dict[str, Any] = {}
        if seconds is not None:
            # the interval of the median is from the first to the last but one on either side
            samples = tuple(seconds * (1 + k / 100) for k in (-4, -3, -2, -1, 1, 2, 3, 4))
            protocol = {"warmup_samples": 2, "settled": True, "precision": 0.03, "sampling_s": 1}
            memory = {"weights": 31_500_000, "peak": 61_000_000, "rss_peak": 460_000_000}
            measured = {"samples_s": {"latency": samples}, "protocol": protocol, "memory": memory}
        return Timing.model_validate(
            {"key": cell.key(), "cell": cell, "machine": machine, "macs_total": 10**9}
            | measured
            | known
        )

    return make


class Questions(dict[tuple[str, str], str | dict[str, Any]]):
    """By question (counter, row) an error, or fields to answer otherwise; the questions asked."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[tuple[str, str, bool]] = []


@pytest.fixture
def reference_counters(monkeypatch: pytest.MonkeyPatch) -> Questions:
    """Have every reference counter answer at once what the reconciliation expects of it.

    An error written under ("thop", "mfnet") becomes that answer; fields replace those of it.
    """
    questions, one_at_a_time = Questions(), threading.Lock()

    def ask(
        reference_counter: Any, row: Row, *, use_cache: bool = True, process: Any = None
    ) -> Answer:
        questions.asked.append((reference_counter, row.name, use_cache))
        other = questions.get((reference_counter, row.name), {})
        if isinstance(other, str):
            return Answer(version="0", status="crashed", error=other)
        # counting changes settings of torch, and questions come from several threads
        with one_at_a_time:
            should = reconcile.examine(row).explained[reference_counter]
        answer = asking.ALL[reference_counter].explained_answer(should)
        return answer.model_copy(update={"version": "0"} | other)

    monkeypatch.setattr(asking, "ask", ask)
    return questions


@pytest.fixture(scope="session")
def installed_counters(tmp_path_factory):
    """A cache with the optional counters, in the versions whose conventions are known."""
    cache = tmp_path_factory.mktemp("cache")
    pip = (sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target")
    known = {"ptflops": "0.7.5", "torchinfo": "1.8.0", "ultralytics-thop": "2.2.3"}
    known |= {"torchprofile": "0.1.0", "calflops": "0.3.2", "deepspeed": "0.19.8"}
    needs = {each.distribution: each.needs for each in asking.OPTIONAL.values()}
    for name, version in known.items():
        folder = cache / "vidcost" / "counters" / name
        command = [*pip, str(folder), f"{name}=={version}", *needs[name]]
        subprocess.run(command, check=True)
    return cache


@pytest.fixture
def optional_counters(monkeypatch, installed_counters):
    """Have the optional counters installed."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(installed_counters))
    monkeypatch.setattr(files, "cache_folder", lambda: installed_counters / "vidcost")
    reference.version.cache_clear()
    yield
    reference.version.cache_clear()


class Stopwatch(dict[Cell, Timing]):
    """Stands in for a sweep: has a timing for the cells in it, and notes what it was asked."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[Cell] = []
        self.conditions: dict[str, Any] = {}
        self.notes: list[str] = []
        self.make: Callable[[Cell], Timing] | None = None
        """Makes the timing of a cell that is not in it; None for none."""

    def sweep(
        self, cells: Sequence[Cell], store: Store, *, on_progress: Any, **conditions: Any
    ) -> sweep.Swept:
        self.asked += cells
        self.conditions = conditions | {"path": store.path}
        found = [self.get(cell) or (self.make(cell) if self.make else None) for cell in cells]
        return sweep.Swept([timing for timing in found if timing], [*self.notes])


@pytest.fixture
def stopwatch(monkeypatch: pytest.MonkeyPatch) -> Stopwatch:
    """Have nothing timed but what a test puts in."""
    watch = Stopwatch()
    monkeypatch.setattr(sweep, "sweep", watch.sweep)
    return watch


_SWEEP = sweep.sweep


@pytest.fixture
def real_sweep(stopwatch: Stopwatch, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have cells timed after all."""
    monkeypatch.setattr(sweep, "sweep", _SWEEP)


@pytest.fixture(scope="session", autouse=True)
def own_locks(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Tests at the same time wait for no other's measurements."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("VIDCOST_LOCKS", str(tmp_path_factory.mktemp("locks")))
        yield


@pytest.fixture(autouse=True)
def not_on_github(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a test judges is no verdict on the change that GitHub runs the tests for.

    And no command reports its progress, however slow the machine.
    """
    monkeypatch.setattr(progress, "EVERY_S", 3_600.0)
    for name in ("GITHUB_ACTIONS", "GITHUB_STEP_SUMMARY"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def vidcost(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    stopwatch: Stopwatch,
) -> Callable[..., Ran]:
    """Run the command line in a folder of its own."""
    monkeypatch.chdir(tmp_path)

    def run(*args: str) -> Ran:
        monkeypatch.setattr(sys, "argv", ["vidcost", *args])
        # `python -m pytest` would make "python -m pytest" the name of the program
        monkeypatch.setattr(sys.modules["__main__"], "__package__", None, raising=False)
        capsys.readouterr()
        with pytest.raises(SystemExit) as exit_:
            cli.main()
        status = exit_.value.code or 0
        assert isinstance(status, int), status
        return Ran(status, *capsys.readouterr())

    return run


@pytest.fixture
def complaint(vidcost: Callable[..., Ran], tmp_path: Path) -> Callable[..., str]:
    """Run a rejected command: exit status 2, one line, no file touched; returns the line."""

    def files() -> dict[Path, bytes]:
        found = (p for p in tmp_path.rglob("*") if p.is_file() and p.suffix != ".pyc")
        return {path: path.read_bytes() for path in found}

    def run(*args: str) -> str:
        before = files()
        status, out, err = vidcost(*args)
        assert (2, "", 1) == (status, out, err.count("\n")), err
        assert before == files()
        prefix, _, message = err.rstrip("\n").partition(": ")
        assert prefix == "vidcost"
        return message

    return run


@pytest.fixture
def baseline(vidcost, tmp_path):
    """The committed baseline, to be changed; returns how."""
    folder = tmp_path / "results"
    folder.mkdir()
    shutil.copy(CHECKOUT / "results/counts.jsonl", folder)

    def change(row, **fields):
        records = record.read(folder)
        changed = records[row].model_dump() | fields
        records[row] = Record.model_validate(changed)
        record.write(folder, records.values(), command="vidcost run")

    return change


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """The current folder, a user's, with theirs.py in it; what is imported is then forgotten."""
    shutil.copy(CHECKOUT / "tests/bench/theirs.py", tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    # the folder of an earlier test is remembered
    importlib.invalidate_caches()
    yield tmp_path
    for name, module in list(sys.modules.items()):
        if Path(getattr(module, "__file__", None) or "/").is_relative_to(tmp_path):
            del sys.modules[name]


@pytest.fixture
def in_this_process(monkeypatch, folder):
    """Have users' code counted here, which saves a process of seconds for each.

    That it is a process of its own, whatever happens there, is tested where it is called.
    """

    def call(limit_s, function, *args):
        try:
            return function(*args)
        except UserCodeError as error:
            raise Failed("raised", str(error)) from None

    monkeypatch.setattr(inspection, "isolated", call)
    monkeypatch.setattr(isolation, "isolated", call)

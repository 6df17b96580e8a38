"""Tests of a repository's own, timed at two of its versions by pytest in each."""

import re
from pathlib import Path

import pytest

from vidcost.bench.gate import interleave, side
from vidcost.bench.timing.cell import Cell

from ...repository import Repository

pytestmark = pytest.mark.slow

MODEL_FILE = "src/lab/model.py"
MODEL = "from torch import nn\n\ndef make():\n    return nn.Linear(7, {})\n"
TESTS = """
import torch
from lab.model import make

def test_speed(time_gate):
    time_gate(make(), torch.ones(3, 7))

def test_step(time_gate):
    model = make()
    time_gate(lambda: model(torch.ones(3, 7)).sum().backward())

def test_broken(time_gate):
    raise RuntimeError("no such file")

def test_nothing(time_gate):
    pass

def test_other():
    pass
"""


@pytest.fixture
def lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Repository:
    """The repository in the current folder, whose head has a wider model and the tests."""
    lab = Repository(tmp_path / "repository")
    lab.write(MODEL_FILE, MODEL.format(2))
    lab.write(".gitignore", "*.log\n__pycache__\n")
    lab.begin()
    lab.write(MODEL_FILE, MODEL.format(5))
    lab.write("tests/perf/test_speed.py", TESTS)
    lab.write("pyproject.toml", "[tool.pytest.ini_options]\naddopts = '-ra'\n")
    lab.write("x.log", "")
    monkeypatch.chdir(lab.folder)
    # pytest-benchmark times nothing in xdist's workers
    monkeypatch.delenv("PYTEST_XDIST_WORKER", raising=False)
    return lab


@pytest.fixture
def trees(lab: Repository, tmp_path: Path) -> tuple[side.Tree, side.Tree]:
    return side.prepare("main", ["tests/perf"], tmp_path / "trees")


def timed(trees: tuple[side.Tree, side.Tree], *tests: str) -> dict[tuple[str, str], object]:
    """One pair of processes: the visit of each side at each test."""
    cells = [Cell(test=f"tests/perf/test_speed.py::{test}", code="1") for test in tests]
    of = dict(zip(("base", "head"), trees, strict=True))
    run = interleave.Campaign(
        interleave.new_run((trees[0].version, trees[1].version), cells),
        {name: tree.variables for name, tree in of.items()},
        command=lambda name, cells: of[name].command(cells),
        stages=["memory"],
    ).finish()
    return {(tests[visit.cell], visit.side): visit for visit in run.visits}


def test_trees_have_their_code_and_heads_tests(trees: tuple[side.Tree, side.Tree]) -> None:
    base, head = trees
    assert MODEL.format(2) == (base.path / MODEL_FILE).read_text()
    assert MODEL.format(5) == (head.path / MODEL_FILE).read_text()
    for tree in trees:
        assert TESTS == (tree.path / "tests/perf/test_speed.py").read_text()
        assert (tree.path / "pyproject.toml").is_file()
        assert not (tree.path / "x.log").exists()
    assert base.version.code != head.version.code
    assert head.version.commit.endswith("+changes")


def test_tests_that_time_are_listed(trees: tuple[side.Tree, side.Tree]) -> None:
    base, head = trees
    (base.path / MODEL_FILE).unlink()
    names = ["test_speed", "test_step", "test_broken", "test_nothing"]
    listed = {f"tests/perf/test_speed.py::{name}": {} for name in names}
    assert (listed, []) == head.tests(["tests/perf"])
    found, failed = base.tests(["tests/perf"])
    assert {} == found
    assert failed[0].startswith("main: tests/perf/test_speed.py: ")


def test_both_sides_time_one_test_after_the_other(trees: tuple[side.Tree, side.Tree]) -> None:
    visits = timed(trees, "test_broken", "test_speed", "test_nothing", "test_step")
    for name in ("test_speed", "test_step"):
        for version in ("base", "head"):
            visit = visits[name, version]
            assert ("ok", "") == (visit.status, visit.error)
            assert visit.samples_ns
    # 3x2 and 3x5 numbers of four bytes
    peaks = [visits["test_speed", version].peak_bytes for version in ("base", "head")]
    assert [24, 60] == [peak - peak % 4 for peak in peaks]
    errors = {name: visit.error for (name, _), visit in visits.items() if visit.status == "raised"}
    assert {
        "test_broken": "RuntimeError: no such file",
        "test_nothing": "the test did not call time_gate",
    } == errors


def test_what_cannot_be_compared(vidcost, complaint, lab: Repository) -> None:
    lab.commit()
    status, out, _ = vidcost("gate", "time", "tests/perf")
    assert (0, True) == (status, out.startswith("SAME CODE: all files of both versions are equal"))
    for more in (["mfnet"], ["--batch", "2"], ["--shape", "8x2x4x4"], ["--head", "main"]):
        assert "leave out rows" in complaint("gate", "time", "tests/perf", *more)
    assert "has no tests/lost: name files or folders of tests" in complaint(
        "gate", "time", "tests/lost"
    )
    assert "has no ../x.py: name files" in complaint("gate", "time", "../x.py")
    assert "no ref 'lost'" in complaint("gate", "time", "tests/perf", "--base", "lost")
    lab.write("tests/perf/test_speed.py", "def test_other(): pass\n")
    lab.write(MODEL_FILE, MODEL.format(3))
    status, _, err = vidcost("gate", "time", "tests/perf")
    assert (3, True) == (status, "no test in tests/perf uses time_gate" in err)
    for words in (["time", "tests"], ["pytest", "tests"], ["samples", "a.json", "b.json"]):
        lab.write("pyproject.toml", "[tool.vidcost.time]\nmargin = 0.3\nfind = 0.2\n")
        assert "find 0.2 must lie between margin 0.3" in complaint("gate", *words)
    lab.write("pyproject.toml", "[tool.vidcost.time]\nmargin = '8'\n")
    assert "[tool.vidcost] time.margin: Input should be less" in complaint("gate", "time", "tests")


def test_a_suite_is_run_at_both_versions(vidcost, complaint, lab: Repository) -> None:
    lab.write(MODEL_FILE, "N = 200_000\n")
    lab.write(
        "tests/perf/test_speed.py",
        "from lab.model import N\n\n"
        "def test_sum(benchmark):\n    benchmark(lambda: sum(range(N)))\n",
    )
    lab.commit()
    lab.write(MODEL_FILE, "N = 600_000\n")
    words = ("gate", "pytest", "--base", "main", "--", "tests/perf", "--benchmark-max-time=0.05")
    status, out, _ = vidcost(*words)
    assert (1, True) == (status, "**Gate: 1 REGRESSED**" in out), out
    assert re.search(r"test_sum +\| latency +\| REGRESSED", out)
    assert "name files or folders of benchmarks" in complaint("gate", "pytest", "--", "-q")
    lab.write(MODEL_FILE, "")
    assert "working tree: pytest failed: " in complaint(*words)

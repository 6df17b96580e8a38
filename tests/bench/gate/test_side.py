"""Tests of a repository's own, timed at two of its versions by pytest in each."""

import subprocess
from pathlib import Path

import pytest

from vidcost.bench.gate import interleave, side
from vidcost.bench.timing.cell import Cell

pytestmark = pytest.mark.slow

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


def git(*words: str) -> None:
    subprocess.run(["git", "-c", "user.name=n", "-c", "user.email=e", *words], check=True)


@pytest.fixture
def lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository whose head has a wider model and the tests."""
    top, package = tmp_path / "repository", "src/lab"
    (top / package).mkdir(parents=True)
    monkeypatch.chdir(top)
    # pytest-benchmark times nothing in xdist's workers
    monkeypatch.delenv("PYTEST_XDIST_WORKER", raising=False)
    git("init", "-q", "-b", "main")
    Path(package, "model.py").write_text(MODEL.format(2))
    Path(".gitignore").write_text("*.log\n__pycache__\n")
    git("add", "-A")
    git("commit", "-q", "-m", "one")
    Path(package, "model.py").write_text(MODEL.format(5))
    Path("tests/perf").mkdir(parents=True)
    Path("tests/perf/test_speed.py").write_text(TESTS)
    Path("pyproject.toml").write_text("[tool.pytest.ini_options]\naddopts = '-ra'\n")
    Path("x.log").touch()
    return top


@pytest.fixture
def trees(lab: Path, tmp_path: Path) -> tuple[side.Tree, side.Tree]:
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
    assert MODEL.format(2) == (base.path / "src/lab/model.py").read_text()
    assert MODEL.format(5) == (head.path / "src/lab/model.py").read_text()
    for tree in trees:
        assert TESTS == (tree.path / "tests/perf/test_speed.py").read_text()
        assert (tree.path / "pyproject.toml").is_file()
        assert not (tree.path / "x.log").exists()
    assert base.version.code != head.version.code
    assert head.version.commit.endswith("+changes")


def test_tests_that_time_are_listed(trees: tuple[side.Tree, side.Tree]) -> None:
    base, head = trees
    (base.path / "src/lab/model.py").unlink()
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


def test_what_cannot_be_compared(vidcost, complaint, lab: Path) -> None:
    git("add", "-A")
    git("commit", "-q", "-m", "two")
    status, out, _ = vidcost("gate", "time", "tests/perf")
    assert (0, True) == (status, out.startswith("SAME CODE: all files of both versions are equal"))
    for more in (["mfnet"], ["--batch", "2"], ["--shape", "8x2x4x4"], ["--head", "main"]):
        assert "leave out rows" in complaint("gate", "time", "tests/perf", *more)
    assert "has no tests/lost: name files or folders of tests" in complaint(
        "gate", "time", "tests/lost"
    )
    assert "has no ../x.py: name files" in complaint("gate", "time", "../x.py")
    assert "no ref 'lost'" in complaint("gate", "time", "tests/perf", "--base", "lost")
    Path("tests/perf/test_speed.py").write_text("def test_other(): pass\n")
    Path("src/lab/model.py").write_text(MODEL.format(3))
    status, _, err = vidcost("gate", "time", "tests/perf")
    assert (3, True) == (status, "no test in tests/perf uses time_gate" in err)
    for words in (["time", "tests"], ["pytest", "tests"], ["samples", "a.json", "b.json"]):
        Path("pyproject.toml").write_text("[tool.vidcost.time]\nmargin = 0.3\nfind = 0.2\n")
        assert "--find 0.2 must lie between the margin 0.3" in complaint("gate", *words)
    Path("pyproject.toml").write_text("[tool.vidcost.time]\nmargin = '8'\n")
    assert "[tool.vidcost] time.margin: Input should be less" in complaint("gate", "time", "tests")


def test_a_suite_is_run_at_both_versions(vidcost, complaint, lab: Path) -> None:
    Path("src/lab/model.py").write_text("N = 200_000\n")
    Path("tests/perf/test_speed.py").write_text(
        "from lab.model import N\n\n"
        "def test_sum(benchmark):\n    benchmark(lambda: sum(range(N)))\n"
    )
    git("add", "-A")
    git("commit", "-q", "-m", "two")
    Path("src/lab/model.py").write_text("N = 600_000\n")
    words = ("gate", "pytest", "--base", "main", "--", "tests/perf", "--benchmark-max-time=0.05")
    status, out, _ = vidcost(*words)
    assert (1, True) == (status, "**Gate: 1 REGRESSED**" in out)
    assert "| tests/perf/test_speed.py::test_sum | latency  | REGRESSED |" in out
    assert "name files or folders of benchmarks" in complaint("gate", "pytest", "--", "-q")
    Path("src/lab/model.py").write_text("")
    assert "working tree: pytest failed: " in complaint(*words)

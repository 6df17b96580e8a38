"""The pytest plugin in repositories of its users: exact counts beside tests."""

import json
import subprocess
import sys
import tomllib
from typing import Any

import pytest
import torch

from vidcost import timers
from vidcost.bench.timing.machine import clocks, describe

from ..repository import Repository, pytest_of_a_user

pytest_plugins = ["pytester"]

NET = """
from torch import nn

WIDTH = 7

def Encoder(width=WIDTH):
    body = nn.Sequential(nn.Conv3d(5, width, 1, bias=False), nn.Flatten())
    return nn.Sequential(body, nn.Linear(width * 11, 2))
"""
TEST = """
from net import Encoder

def test_cost(count_snapshot):
    counted = count_snapshot(Encoder(), (3, 5, 11, 1, 1))
    assert counted.params == counted.forward.params
"""
MANY = """
import pytest
from net import Encoder

@pytest.mark.parametrize("width", [2, 3])
def test_width(count_snapshot, width):
    count_snapshot(Encoder(width), (1, 5, 11, 1, 1))

class TestTwo:
    def test_names(self, count_snapshot):
        count_snapshot(Encoder(2), (1, 5, 11, 1, 1), name="small")
        count_snapshot(Encoder(4), (1, 5, 11, 1, 1), name="large", training=True)
"""
ONCE = """
import pytest

def test_once(time_gate):
    calls = []
    assert time_gate(lambda x: calls.append(x) or 3, 5) == 3
    assert calls == [5]

async def later():
    pass

def test_coroutine(time_gate):
    with pytest.raises(pytest.fail.Exception, match="no coroutine"):
        time_gate(later)
"""
BASELINE = "__counts__/test_cost.toml"


class Lab(Repository):
    """A repository with one network and a test of its cost."""

    def __init__(self, pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
        super().__init__(pytester.path, net=NET, test_cost=TEST)
        self.run = pytest_of_a_user(pytester, monkeypatch, "net$|test_")
        self.in_another_process = pytester.runpytest_subprocess

    def written(self, *words: str) -> dict[str, Any]:
        """The baseline after an update."""
        self.run("--count-update", *words)
        return tomllib.loads(self.path(BASELINE).read_text())


@pytest.fixture
def lab(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> Lab:
    return Lab(pytester, monkeypatch)


def test_a_baseline_is_missing_written_and_met(lab: Lab) -> None:
    out = lab.run(status=1)
    assert (
        "__counts__/test_cost.toml has no 'test_cost': `pytest test_cost.py --count-update" in out
    )
    # 3 clips of 11 positions: 7 maps of 5 each, and 77x2
    whole = {"params": 35 + 156, "macs": 1155 + 462, "conv": 1155, "linear": 462, "matmul": 0}
    inside = {"0": {"params": 35, "macs": 1155}, "1": {"params": 156, "macs": 462}}
    assert {"convention": 1, "test_cost": {**whole, "modules": inside}} == lab.written()
    assert "linear = 462\n" in lab.path(BASELINE).read_text()
    assert "1 passed" in lab.run()


def test_parametrised_tests_classes_and_names(lab: Lab) -> None:
    lab.write("test_cost.py", MANY)
    entries = lab.written()
    assert [
        "TestTwo::test_names :: large",
        "TestTwo::test_names :: small",
        "convention",
        "test_width[2]",
        "test_width[3]",
    ] == sorted(entries)
    large = entries["TestTwo::test_names :: large"]
    # the first layer's input needs no gradient
    assert (20 * 11 + 88, 20 * 11 + 2 * 88) == (large["macs"], large["backward_macs"])
    lab.run()
    lab.edit("test_cost.py", ', name="large"', ', name="small"')
    assert "takes two snapshots: give each another name" in lab.run(status=1)


def test_unused_entries_fail_when_the_whole_file_ran(lab: Lab) -> None:
    lab.write("test_cost.py", MANY)
    lab.written()
    lab.edit("test_cost.py", "[2, 3]", "[2]")
    lab.edit("test_cost.py", 'name="small"', 'name="tiny"')
    lab.run("--count-update-new", status=1)
    out = lab.run(status=1)
    update = "`pytest test_cost.py --count-update` removes it"
    for key in ("TestTwo::test_names :: small", "test_width[3]"):
        assert f"__counts__/test_cost.toml: {key!r} is used by no test; {update}" in out
    # a part of the file says nothing about the rest, and deletes nothing
    for part in (["-k", "width"], ["test_cost.py::test_width"]):
        lab.run(*part)
        assert "test_width[3]" in lab.written(*part)
    assert "test_width[3]" not in lab.written()
    lab.run()
    # nor does a test that was skipped
    lab.edit("test_cost.py", "class TestTwo", "@pytest.mark.skip\nclass TestTwo")
    lab.run()
    assert len(lab.written()) == 4


def test_new_entries_alone_are_written(lab: Lab) -> None:
    before = lab.written()
    lab.edit("net.py", "WIDTH = 7", "WIDTH = 8")
    lab.edit(
        "test_cost.py",
        "def test_cost",
        "def test_new(count_snapshot):\n"
        "    count_snapshot(Encoder(1), (1, 5, 11, 1, 1))\n\ndef test_cost",
    )
    lab.run("--count-update-new", status=1)
    after = tomllib.loads(lab.path(BASELINE).read_text())
    assert before["test_cost"] == after["test_cost"]
    assert {"convention", "test_cost", "test_new"} == after.keys()
    # what changed is accepted by the other option alone
    assert "__counts__/test_cost.toml: 1 written, 0 removed" in lab.run("--count-update")


@pytest.mark.parametrize("option", ["--count-update", "--count-update-new"])
def test_ci_writes_nothing(lab: Lab, monkeypatch: pytest.MonkeyPatch, option: str) -> None:
    monkeypatch.setenv("CI", "true")
    said = lab.run(option, status=pytest.ExitCode.USAGE_ERROR)
    assert f"{option} writes baselines, and CI is set: " in said
    assert not lab.path(BASELINE).exists()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("<<<<<<< ours\nconvention = 1\n", "line 1: a merge conflict is not resolved"),
        ("convention = ", "is damaged: take it from the last commit"),
        ("[test_cost]\nmacs = 1\n", "is damaged: take it from the last commit ('convention')"),
        ("convention = 1\n[test_cost]\nmacs = 1.0\n", "is damaged: take it from the last commit"),
        ("convention = 1\ntest_cost = 3\n", "is damaged: take it from the last commit"),
    ],
)
def test_a_damaged_baseline_is_one_line(lab: Lab, content: str, message: str) -> None:
    lab.write(BASELINE, content)
    assert 1 == lab.run(status=1).count(message)
    lab.run("--count-update", "-k", "cost", status=0)
    assert "test_cost" in lab.written()


def test_another_convention_is_said_once(lab: Lab) -> None:
    lab.write("test_cost.py", MANY)
    lab.written()
    lab.edit(BASELINE, "convention = 1", "convention = 0")
    out = lab.run(status=1)
    assert "3 passed" in out
    assert 1 == out.count("has counts by convention 0, and this vidcost counts by 1")
    lab.run("-k", "width", "--count-update", status=1)
    assert 1 == lab.written()["convention"]
    lab.run()


def test_settings_of_the_repository(lab: Lab) -> None:
    def settings(text: str) -> None:
        lab.write("pyproject.toml", f"[tool.pytest.ini_options]\npythonpath='.'\n{text}")

    settings("[tool.vidcost]\nfigures = ['buffers']\ndepth = 2\nbaselines = 'costs'\n")
    lab.run("--count-update")
    found = tomllib.loads(lab.path("costs/test_cost.toml").read_text())["test_cost"]
    assert {"buffers", "modules"} == found.keys()
    assert ["0", "0.0", "1"] == sorted(found["modules"])
    settings("[tool.vidcost]\nfigures = ['flops']\n")
    said = "[tool.vidcost] figures: 'flops' is none of buffers, macs, params, "
    assert said in lab.run(status=1)
    settings("[tool.vidcost]\ndeep = 2\n")
    assert "pyproject.toml: [tool.vidcost] deep: Extra inputs are not" in lab.run(status=1)


@pytest.mark.slow
def test_under_xdist_the_controller_writes(lab: Lab) -> None:
    lab.write("test_cost.py", MANY)
    lab.write("test_more.py", TEST)
    words = ("-p", "xdist", "-p", "no:cacheprovider", "-n", "2", "--dist", "load")
    assert 0 == lab.in_another_process("--count-update", *words).ret
    found = tomllib.loads(lab.path(BASELINE).read_text())
    assert 5 == len(found)
    assert 0 == lab.in_another_process(*words).ret
    lab.edit("test_cost.py", "[2, 3]", "[2]")
    result = lab.in_another_process(*words)
    assert 1 == result.ret
    result.stdout.fnmatch_lines(["*'test_width?3?' is used by no test*"])


def test_pytest_starts_without_torch() -> None:
    code = (
        "import sys, pytest; pytest.main(['--version']); "
        "print([m for m in ('torch', 'numpy', 'pydantic', 'tabulate') if m in sys.modules])"
    )
    script = "import sys, vidcost.bench.plugin\n" + code
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert "[]" == done.stdout.strip().splitlines()[-1], done.stderr


def test_time_gate_alone_calls_once(lab: Lab) -> None:
    lab.write("test_cost.py", ONCE)
    assert "2 passed" in lab.run()


def test_benchmarks_say_which_torch_they_are_of(lab: Lab) -> None:
    lab.write("test_cost.py", "def test_one(benchmark): benchmark.pedantic(lambda: 1)")
    lab.run("-p", "pytest_benchmark.plugin", "--benchmark-json=b.json")
    machine = json.loads(lab.path("b.json").read_text())["machine_info"]
    assert torch.__version__ == machine["torch"]
    assert (clocks(describe("cpu")), False) == (machine["clocks"], machine["tf32"])
    again = lab.run("-p", "pytest_benchmark.plugin", "--benchmark-compare=b.json")
    assert "machine_info is different" not in again


def test_clocks_of_benchmarks(monkeypatch: pytest.MonkeyPatch) -> None:
    waited: list[int] = []
    monkeypatch.setattr(torch.cuda, "synchronize", lambda: waited.append(1))
    first, second = timers.cuda(), timers.cpu()
    assert first <= second
    assert [1] == waited

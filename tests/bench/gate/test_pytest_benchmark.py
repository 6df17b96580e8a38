"""Files of pytest-benchmark: what is matched, and what is rejected."""

import json
import os
import subprocess
import sys
from itertools import count

import pytest
import torch

from vidcost.bench.gate.judge import judge
from vidcost.bench.gate.pytest_benchmark import DRIFT, LAUNCHES, NO_GPU, compare_files
from vidcost.bench.gate.record import Rule

NAN = float("nan")


@pytest.fixture
def compare(tmp_path):
    def run(base="base.json", head="head.json", **known):
        return compare_files(tmp_path / base, tmp_path / head, rule=Rule(), **known)

    return run


@pytest.fixture
def rejected(compare, tmp_path):
    """The message about input that cannot be compared, without the folder."""

    def run(*args, **known):
        with pytest.raises(ValueError) as error:  # noqa: PT011
            compare(*args, **known)
        message = str(error.value)
        assert "\n" not in message
        return message.replace(f"{tmp_path}{os.sep}", "")

    return run


@pytest.fixture
def ran(tmp_path):
    """Write what pytest-benchmark stores of a run, as far as it is read, and some of the rest."""
    second = count()

    def write(name, medians=None, *, machine=None, commit="c0ffee", **known):
        at = next(second)
        info = {"node": f"host{at}", "machine": "x86_64", "cpu": {"brand_raw": "Abacus"}}
        benchmark = {"params": None, "options": {"timer": "perf_counter"}, "extra_info": {"x": NAN}}
        benchmarks = [
            benchmark | {"fullname": fullname, "stats": {"median": median, "mean": 7.0}} | known
            for fullname, median in (medians or {"t.py::a": 0.1}).items()
        ]
        run = {
            "machine_info": info | (machine or {}),
            "commit_info": {"id": commit, "dirty": False},
            "benchmarks": benchmarks,
            "datetime": f"2031-01-01T10:00:{at:02}+00:00",
        }
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(json.dumps(run))
        return path

    return write


def test_single_runs(ran, compare):
    ran("base.json", {"t.py::a": 0.1, "t.py::b": 0.1, "t.py::gone": 0.1})
    ran("head.json", {"t.py::a": 0.2, "t.py::b": 0.1001, "t.py::new": 0.1})
    found = compare()
    assert (DRIFT, NO_GPU) == found.notes
    assert ["INCONCLUSIVE", "INCONCLUSIVE", "INVALID", "INVALID"] == [
        verdict.word for verdict in judge(found)
    ]


def test_runs_in_a_folder_are_processes(ran, compare):
    for k in range(6):
        ran(f"base/000{k}_x.json", {"t.py::a": 0.1 + k / 10_000})
        ran(f"head/000{k}_x.json", {"t.py::a": 0.2 + k / 10_000}, commit="decaf")
    (verdict,) = judge(compare("base", "head"))
    assert ("REGRESSED", "t.py::a") == (verdict.word, verdict.target)


H100 = {"device": "H100", "driver": "570.1", "torch": "2.13.0", "clocks": "1980/2619"}
A100 = H100 | {"device": "A100"}
OLD = H100 | {"driver": "550.9"}


@pytest.mark.parametrize(
    ("base", "head", "field", "was", "is_"),
    [
        ({}, {"machine": {"cpu": {"brand_raw": "Loom"}}}, "cpu.brand_raw", "Abacus", "Loom"),
        ({}, {"machine": {"cpu": None}}, "cpu.brand_raw", "Abacus", "not available"),
        ({"extra_info": H100}, {"extra_info": A100}, "device", "H100", "A100"),
        ({"machine": H100}, {"extra_info": {"machine": OLD}}, "driver", "570.1", "550.9"),
        # an object's address in memory does not count
        (
            {"params": {"n": 3, "x": "UNSERIALIZABLE[<X at 0x7f01>]"}},
            {"params": {"n": 5, "x": "UNSERIALIZABLE[<X at 0x7f02>]"}},
            "params",
            '{"n": 3}',
            '{"n": 5}',
        ),
        ({}, {"options": {"timer": "process_time"}}, "timer", "perf_counter", "process_time"),
    ],
)
def test_unlike_conditions_are_rejected_by_name(
    ran, rejected, compare, base, head, field, was, is_
):
    ran("base.json", **base)
    ran("head.json", **head)
    difference = f"{field} was {was!r}, is {is_!r}"
    assert f"incompatible: {difference} (base.json, head.json)" == rejected()
    assert f"{difference}: allowed" in compare(allow=[field, "cpu.count"]).notes
    assert rejected(allow=["color"]).startswith("no field 'color' can be allowed to differ: choose")


def test_a_side_is_one_commit(ran, rejected):
    ran("base/0001.json", commit="c0ffee")
    ran("base/0002.json", commit="decaf")
    ran("head.json")
    difference = "commit_info.id was 'c0ffee', is 'decaf' (base/0001.json, base/0002.json)"
    assert f"incompatible: {difference}" == rejected("base")


def test_memory_in_extra_info_is_judged(ran, rejected, compare):
    ran("base.json", extra_info={"peak_bytes": 1_000_000})
    ran("head.json", extra_info={"peak_bytes": 900_000_000})
    (_, memory) = judge(compare())
    assert ("memory", "REGRESSED", 9e8) == (memory.metric, memory.word, memory.head)
    ran("head.json")
    (_, memory) = judge(compare())
    assert ("INVALID", "head has no peak") == (memory.word, memory.why)
    ran("head.json", extra_info={"peak_bytes": NAN})
    assert "benchmarks.0.extra_info.peak_bytes: " in rejected()


@pytest.mark.parametrize(("timer", "invalid"), [("perf_counter", True), ("timers.cuda", False)])
def test_a_stream_that_is_still_busy_is_invalid_under_a_host_clock(ran, compare, timer, invalid):
    for name in ("base.json", "head.json"):
        known = {"options": {"timer": timer}, "extra_info": H100 | {"stream_busy": True}}
        ran(name, **known)
    (verdict,) = judge(compare())
    assert (LAUNCHES == verdict.why, "INVALID" == verdict.word) == (invalid, invalid)


def test_copies_count_once(ran, rejected, tmp_path):
    path = ran("base.json")
    copy = "t.py::a is a copy of that in base.json: a process counts once, remove one"
    assert f"base.json, {copy}" == rejected(head="base.json")
    (tmp_path / "head.json").write_bytes(path.read_bytes())
    assert f"head.json, {copy}" == rejected()


OTHER = "x is no file of pytest's --benchmark-json, or damaged: "
TIME = f"{OTHER}benchmarks.0.stats.median: "
NO_TIMES = ("NaN", "-1", "null", "true")


def run_of(benchmark):
    return '{"machine_info": {}, "benchmarks": [{' + benchmark + "}]}"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"machine_info": {}, "ben', "x is not JSON, or cut short: "),
        ("\udcff", "x is not JSON, or cut short: "),
        ("7", OTHER),
        ('{"status": 0, "verdicts": [], "measured": {}}', OTHER),
        ('{"machine_info": {}, "benchmarks": []}', "x holds no benchmark: run pytest with "),
        (run_of(""), OTHER),
        *((run_of('"fullname": "a", "stats": {"median": ' + no + "}"), TIME) for no in NO_TIMES),
    ],
)
def test_files_without_benchmarks(ran, rejected, tmp_path, text, message):
    ran("head.json")
    assert "cannot read x: No such file or directory" == rejected("x")
    (tmp_path / "x").write_bytes(text.encode(errors="surrogateescape"))
    assert rejected("x").startswith(message)
    (tmp_path / "empty").mkdir()
    assert "empty holds no benchmark: run pytest with --benchmark-json" == rejected("empty")


@pytest.mark.slow
def test_files_that_pytest_benchmark_wrote(compare, tmp_path):
    test = tmp_path / "test_sums.py"
    test.write_text(
        "import pytest\n"
        "@pytest.mark.parametrize('n', [7, 1000])\n"
        "def test_sum(benchmark, n):\n"
        "    benchmark.pedantic(sum, args=(range(n),), rounds=5, iterations=3)\n"
    )
    for name in ("base.json", "head.json"):
        command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-c", os.devnull]
        command += ["--rootdir", str(tmp_path), f"--benchmark-json={name}", str(test)]
        # pytest-benchmark is disabled under xdist
        alone = {k: v for k, v in os.environ.items() if not k.startswith("PYTEST_")}
        subprocess.run(command, cwd=tmp_path, env=alone, check=True, stdout=subprocess.DEVNULL)
    found = compare()
    assert [("test_sums.py::test_sum[7]", 1, 1), ("test_sums.py::test_sum[1000]", 1, 1)] == [
        (samples.target, len(samples.base), len(samples.head)) for samples in found.samples
    ]
    # the plugin names torch
    assert (DRIFT,) == found.notes
    assert torch.__version__ == found.conditions["torch"]
    assert sys.version.split()[0] == found.conditions["python_version"]
    assert "INVALID" not in {verdict.word for verdict in judge(found)}

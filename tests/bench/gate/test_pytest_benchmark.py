"""Files of pytest-benchmark: what is matched, and what is rejected."""

import json
import os
import subprocess
import sys
from itertools import count

import pytest

from vidcost.bench.gate.judge import judge, judged
from vidcost.bench.gate.pytest_benchmark import DRIFT, LAUNCHES, NO_GPU, SWAPPED, compare_files
from vidcost.bench.gate.record import Rule


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
    seconds_of_day = count()

    def write(name, medians, *, machine=None, commit="c0ffee", rounds=None, **known):
        info = {
            "node": f"host{next(seconds_of_day)}",
            "machine": "x86_64",
            "system": "Linux",
            "release": "6.1",
            "python_implementation": "CPython",
            "python_version": "3.11.4",
            "cpu": {"brand_raw": "Abacus", "count": 2},
        }
        benchmarks = [
            {
                "fullname": fullname,
                "params": None,
                "extra_info": {"accuracy": float("nan")},
                "options": {"timer": "perf_counter"},
                "stats": {"median": median, "mean": 7.0} | (rounds or {}),
            }
            | known
            for fullname, median in medians.items()
        ]
        run = {
            "machine_info": info | (machine or {}),
            "commit_info": {"id": commit, "dirty": False},
            "benchmarks": benchmarks,
            "datetime": f"2031-01-01T10:00:{next(seconds_of_day):02}+00:00",
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


def test_stored_rounds_are_one_process(ran, compare):
    ran("base.json", {"t.py::a": 7.0}, rounds={"data": [0.1, 0.3, 0.2] * 50})
    ran("head.json", {"t.py::a": 0.5})
    (samples,) = compare().samples
    assert ((0.2,), (0.5,)) == (samples.base, samples.head)


@pytest.mark.parametrize(
    ("rounds", "message"),
    [
        ({"data": [0.1, float("nan")]}, ": nan is not a time in seconds: run pytest again"),
        ({"data": [0.1, -1]}, ": -1 is not a time in seconds: run pytest again"),
        ({"data": []}, ": 'data' is not a list of rounds: run pytest again"),
        ({"median": None}, ": None is not a time in seconds: run pytest again"),
        ({"median": True}, ": True is not a time in seconds: run pytest again"),
    ],
)
def test_rounds_that_are_no_times(ran, rejected, rounds, message):
    ran("base.json", {"t.py::a": 0.1})
    ran("head.json", {"t.py::a": 0.1}, rounds=rounds)
    assert f"head.json, t.py::a{message}" == rejected()


@pytest.mark.parametrize(
    ("machine", "difference"),
    [
        ({"cpu": {"brand_raw": "Loom", "count": 2}}, "cpu.brand_raw was 'Abacus', is 'Loom'"),
        ({"cpu": None}, "cpu.brand_raw was 'Abacus', is 'not available'"),
    ],
)
def test_unlike_machines(ran, rejected, compare, machine, difference):
    ran("base.json", {"t.py::a": 0.1})
    ran("head.json", {"t.py::a": 0.1}, machine=machine)
    assert f"incompatible: {difference} (base.json, head.json)" == rejected()
    fields = ("cpu.brand_raw", "cpu.count", "machine", "python_version")
    assert f"{difference}: allowed" in compare(allow=fields).notes
    assert rejected(allow=["color"]).startswith("no field 'color' can be allowed to differ: choose")


H100 = {"device": "H100", "driver": "570.1", "torch": "2.13.0", "clocks": "1980/2619"}


@pytest.mark.parametrize(
    ("field", "other"),
    [("device", "A100"), ("driver", "550.9"), ("torch", "2.12.0"), ("clocks", "1410/1593")],
)
@pytest.mark.parametrize("nested", [False, True])
def test_unlike_devices_in_extra_info_are_rejected(ran, rejected, compare, field, other, nested):
    for name, device in (("base.json", H100), ("head.json", H100 | {field: other})):
        ran(name, {"t.py::a": 0.1}, extra_info={"machine": device} if nested else device)
    difference = f"{field} was '{H100[field]}', is '{other}'"
    assert f"incompatible: {difference} (base.json, head.json)" == rejected()
    assert (DRIFT, f"{difference}: allowed") == compare(allow=[field]).notes


def test_memory_in_extra_info_is_judged(ran, rejected, compare):
    ran("base.json", {"t.py::a": 0.1}, extra_info={"peak_bytes": 1_000_000})
    ran("head.json", {"t.py::a": 0.1}, extra_info={"peak_bytes": 900_000_000})
    result = judged(compare())
    assert ("memory", "REGRESSED", 9e8, 1) == (
        result.verdicts[1].metric,
        result.verdicts[1].word,
        result.verdicts[1].head,
        result.status,
    )
    ran("head.json", {"t.py::a": 0.1})
    assert ("INVALID", "head has no peak") == (judge(compare())[1].word, judge(compare())[1].why)
    ran("head.json", {"t.py::a": 0.1}, extra_info={"peak_bytes": float("nan")})
    assert "head.json, t.py::a: nan is not a peak in bytes: run " in rejected()


@pytest.mark.parametrize(("timer", "invalid"), [("perf_counter", True), ("timers.cuda", False)])
def test_a_stream_that_is_still_busy_is_invalid_under_a_host_clock(ran, compare, timer, invalid):
    for name in ("base.json", "head.json"):
        known = {"options": {"timer": timer}, "extra_info": H100 | {"stream_busy": True}}
        ran(name, {"t.py::a": 0.1}, **known)
    (verdict,) = judge(compare())
    assert (LAUNCHES == verdict.why, "INVALID" == verdict.word) == (invalid, invalid)


def test_a_side_is_one_commit(ran, rejected):
    ran("base/0001.json", {"t.py::a": 0.1}, commit="c0ffee")
    ran("base/0002.json", {"t.py::a": 0.1}, commit="decaf")
    ran("head.json", {"t.py::a": 0.1})
    difference = "commit_info.id was 'c0ffee', is 'decaf' (base/0001.json, base/0002.json)"
    assert f"incompatible: {difference}" == rejected("base")


def test_parameters_and_the_clock_must_be_equal(ran, rejected, compare):
    # an object's address in memory does not count
    ran("base.json", {"t.py::a": 0.1}, params={"n": 3, "x": "UNSERIALIZABLE[<X at 0x7f01>]"})
    ran("head.json", {"t.py::a": 0.1}, params={"n": 3, "x": "UNSERIALIZABLE[<X at 0x7f02>]"})
    assert (DRIFT, NO_GPU) == compare().notes
    ran("head.json", {"t.py::a": 0.1}, params={"n": 5})
    assert "incompatible: params was '{\"n\": 3}', is '{\"n\": 5}'" in rejected()
    ran("head.json", {"t.py::a": 0.1}, params={"n": 3}, options={"timer": "process_time"})
    assert "incompatible: timer was 'perf_counter', is 'process_time'" in rejected()


def test_swapped_files(ran, compare):
    ran("head.json", {"t.py::a": 0.1})
    ran("base.json", {"t.py::a": 0.1})
    assert (DRIFT, NO_GPU, SWAPPED) == compare().notes


def test_copies_count_once(ran, rejected, tmp_path):
    path = ran("base.json", {"t.py::a": 0.1})
    assert "base.json, t.py::a is there twice: a run is one process, remove one" == rejected(
        head="base.json"
    )
    (tmp_path / "head.json").write_bytes(path.read_bytes())
    assert (
        "head.json, t.py::a is a copy of base.json, t.py::a: a process counts once, remove one"
    ) == rejected()
    run = json.loads(path.read_text())
    path.write_text(json.dumps(run | {"benchmarks": run["benchmarks"] * 2}))
    assert "base.json, t.py::a is there twice: a run is one process, remove one" == rejected()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"machine_info": {}, "ben', "x is not JSON, or cut short: "),
        ("\udcff", "x is not JSON, or cut short: "),
        ('{"file": "vidcost timings"}', "x is another kind of file: "),
        (
            '{"status": 0, "verdicts": [], "measured": {}}',
            "x is a gate's result: `vidcost gate replay` ",
        ),
        ('{"machine_info": {}, "benchmarks": []}', "x holds no benchmark: "),
        ('{"machine_info": {}, "benchmarks": 7}', "x: 'benchmarks' is not a list: "),
        ('{"machine_info": {}, "benchmarks": [7]}', "x: benchmark 1 has no name or no stats: "),
    ],
)
def test_files_without_benchmarks(ran, rejected, tmp_path, text, message):
    ran("head.json", {"t.py::a": 0.1})
    (tmp_path / "x").write_bytes(text.encode(errors="surrogateescape"))
    assert rejected("x").startswith(message)


def test_no_such_file_and_no_file_in_a_folder(ran, rejected, tmp_path):
    ran("head.json", {"t.py::a": 0.1})
    assert "cannot read base.json: No such file or directory" == rejected()
    (tmp_path / "empty").mkdir()
    assert "empty holds no .json file: name another folder" == rejected("empty")


@pytest.mark.slow
def test_files_that_pytest_benchmark_wrote(compare, tmp_path):
    test = tmp_path / "test_sums.py"
    test.write_text(
        "import pytest\n"
        "@pytest.mark.parametrize('n', [7, 1000])\n"
        "def test_sum(benchmark, n):\n"
        "    benchmark.pedantic(sum, args=(range(n),), rounds=5, iterations=3)\n"
    )
    for name, *save in (("base.json", "--benchmark-save-data"), ("head.json",)):
        subprocess.run(
            [
                *(sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-c", os.devnull),
                *("--rootdir", str(tmp_path), f"--benchmark-json={tmp_path / name}", *save),
                str(test),
            ],
            cwd=tmp_path,
            # pytest-benchmark is disabled under xdist
            env={k: v for k, v in os.environ.items() if not k.startswith("PYTEST_")},
            check=True,
            stdout=subprocess.DEVNULL,
        )
    found = compare()
    assert [("test_sums.py::test_sum[7]", 1, 1), ("test_sums.py::test_sum[1000]", 1, 1)] == [
        (samples.target, len(samples.base), len(samples.head)) for samples in found.samples
    ]
    assert (DRIFT, NO_GPU) == found.notes
    assert sys.version.split()[0] == found.conditions["python_version"]
    assert "INVALID" not in {verdict.word for verdict in judge(found)}

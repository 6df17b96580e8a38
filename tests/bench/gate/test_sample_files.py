"""Two sets of stored records, of ours and of pytest-benchmark: what is compared, what refused."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from itertools import count

import pytest

from vidcost.bench.gate.record import Rule
from vidcost.bench.gate.sample_files import DRIFT, NO_GPU, SWAPPED, compare_samples
from vidcost.bench.gate.samples import judge_samples
from vidcost.bench.timing.cell import Cell
from vidcost.bench.timing.store import Store

CELL = Cell(row="mfnet")


@pytest.fixture
def compare(tmp_path):
    def run(base="base.jsonl", head="head.jsonl", **known):
        return compare_samples(tmp_path / base, tmp_path / head, rule=Rule(), **known)

    return run


@pytest.fixture
def refused(compare, tmp_path):
    """What is said of what cannot be compared, without the folder."""

    def run(*args, **known):
        with pytest.raises(ValueError) as error:  # noqa: PT011
            compare(*args, **known)
        said = str(error.value)
        assert "\n" not in said
        return said.replace(f"{tmp_path}{os.sep}", "")

    return run


@pytest.fixture
def stored(tmp_path, timed):
    """Append timings to a file: one process each, a minute apart."""
    minutes = count()

    def add(name, *seconds, cell=CELL, machine=(), **known):
        store = Store(tmp_path / name)
        for each in seconds:
            started = f"2031-01-01T10:{next(minutes):02}:00+00:00"
            timing = timed(cell, each, **({"started": started} | known))
            altered = timing.machine.model_copy(update=dict(machine))
            store.append(timing.model_copy(update={"machine": altered}))
        return store.path

    return add


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
                "name": fullname.rpartition("::")[2],
                "fullname": fullname,
                "params": None,
                "extra_info": {"peak_bytes": float("nan")},
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


def test_every_record_is_a_process_also_of_one_key(stored, compare):
    stored("base.jsonl", 0.1, 0.2, 0.3)
    stored("head.jsonl", 0.4, 0.5)
    found = compare()
    (subject,) = found.subjects
    # the median of samples around 0.1 s, four below and four above
    assert (0.1, 0.2, 0.3) == subject.base.medians_s
    assert (0.4, 0.5) == subject.head.medians_s
    assert (61_000_000,) * 3 == subject.base.peaks_bytes
    assert ("vidcost timings", (DRIFT,)) == (found.kind, found.notes)
    assert "Abacus" == found.machines[0]["device"]


def test_twice_as_slow(stored, compare):
    stored("base.jsonl", *(0.1 + k / 10_000 for k in range(8)))
    stored("head.jsonl", *(0.2 + k / 10_000 for k in range(8)))
    latency, memory = judge_samples(compare())
    assert ("mfnet", "REGRESSED") == (latency.subject, latency.word)
    assert ("memory", "EQUIVALENT") == (memory.metric, memory.word)
    assert "IMPROVED" == judge_samples(compare("head.jsonl", "base.jsonl"))[0].word


def test_a_folder_is_all_its_files(stored, compare, tmp_path):
    stored("base/one.jsonl", 0.1)
    stored("base/deeper/two.jsonl", 0.2)
    (tmp_path / "base/notes.txt").write_text("nothing")
    stored("head.jsonl", 0.3)
    (subject,) = compare("base").subjects
    assert [0.1, 0.2] == sorted(subject.base.medians_s)


def test_other_conditions_are_another_subject(stored, compare):
    bf16 = Cell(row="mfnet", dtype="bf16")
    stored("base.jsonl", 0.1, 0.2)
    stored("base.jsonl", 0.3, cell=bf16)
    stored("head.jsonl", 0.4)
    stored("head.jsonl", 0.5, cell=Cell(row="mfnet", dtype="bf16", batch=2))
    sides = {s.subject: (s.base.medians_s, s.head.medians_s) for s in compare().subjects}
    assert {
        "mfnet (batch=1, dtype=fp32)": ((0.1, 0.2), (0.4,)),
        "mfnet (batch=1, dtype=bf16)": ((0.3,), ()),
        "mfnet (batch=2, dtype=bf16)": ((), (0.5,)),
    } == sides


def test_of_two_cells_in_turns_the_first_is_compared(stored, compare):
    pair = Cell(row="mfnet", mode="compile", against=Cell(row="mfnet"))
    samples = {"subject": (0.3, 0.5, 0.7), "reference": (0.1, 0.1, 0.1)}
    stored("base.jsonl", 0.1, cell=pair, samples_s=samples)
    stored("head.jsonl", 0.1, cell=pair, samples_s=samples)
    assert (0.5,) == compare().subjects[0].base.medians_s


def test_of_a_share_the_network_with_its_blocks_is_compared(stored, compare):
    share = Cell(row="mfnet-pnl", share=True)
    samples = {"with": (0.3, 0.5, 0.7), "without": (0.1, 0.1, 0.1)}
    stored("base.jsonl", 0.1, cell=share, samples_s=samples)
    stored("head.jsonl", 0.1, cell=share, samples_s=samples)
    assert (0.5,) == compare().subjects[0].base.medians_s


@pytest.mark.parametrize(
    ("field", "was", "now"),
    [
        ("device", "A", "B"),
        ("torch", "2.11.0", "2.12.0"),
        ("cores", 2, 3),
        ("device_uuid", "GPU-7", "GPU-9"),
        ("cuda", "not available", "13.0"),
        ("host", "n7", "n9"),
    ],
)
def test_unlike_machines(stored, refused, compare, field, was, now):
    stored("base.jsonl", 0.1, 0.2, machine={field: was})
    stored("head.jsonl", 0.1, machine={field: now})
    difference = f"{field} was {str(was)!r}, is {str(now)!r}"
    assert f"incompatible: {difference} (base.jsonl, head.jsonl)" == refused()
    found = compare(allow=("platform", field))
    assert (DRIFT, f"{difference}: allowed") == found.notes
    assert ("platform", field) == found.allow


def test_a_cluster_s_name_of_the_node_is_new_each_time(stored, compare):
    stored("base.jsonl", 0.1, machine={"host": "n7", "node": "a1"})
    stored("head.jsonl", 0.1, machine={"host": "n7", "node": "b2"})
    assert (DRIFT,) == compare().notes


def test_the_version_measured_is_one_on_each_side(stored, refused, compare):
    stored("base.jsonl", 0.1, machine={"vidcost": "1"})
    stored("head.jsonl", 0.2, machine={"vidcost": "2"})
    assert (DRIFT,) == compare().notes
    stored("head.jsonl", 0.3, machine={"vidcost": "3"})
    assert (
        "incompatible: vidcost was '2', is '3' (head.jsonl, line 2 and head.jsonl, line 3)"
    ) == refused()


def test_a_side_is_of_one_machine(stored, refused):
    stored("base.jsonl", 0.1)
    stored("base.jsonl", 0.2, machine={"driver": "7"})
    stored("head.jsonl", 0.3)
    assert (
        "incompatible: driver was 'not available', is '7' "
        "(base.jsonl, line 2 and base.jsonl, line 3)"
    ) == refused()


def test_cells_of_several_devices_are_compared_each_with_its_like(stored, compare):
    cuda = Cell(row="mfnet", device="cuda")
    for name in ("base.jsonl", "head.jsonl"):
        stored(name, 0.1)
        stored(name, 0.01, cell=cuda, machine={"device": "Loom"})
    found = compare()
    assert ["mfnet (device=cpu)", "mfnet (device=cuda)"] == [s.subject for s in found.subjects]
    assert ["Abacus", "Loom"] == [machine["device"] for machine in found.machines]


def test_only_known_fields_can_be_allowed(stored, refused):
    stored("base.jsonl", 0.1)
    stored("head.jsonl", 0.1)
    said = refused(allow=["colour"])
    assert said.startswith("no field 'colour' of vidcost timings can be allowed to differ: choose ")
    assert "torch" in said


def test_swapped_files(stored, compare):
    stored("head.jsonl", 0.1, 0.2)
    stored("base.jsonl", 0.3, 0.4)
    assert (DRIFT, SWAPPED) == compare().notes
    stored("head.jsonl", 0.5)
    assert (DRIFT,) == compare().notes


def test_failures_are_kept_and_rows_that_fail_on_both_sides_left_out(stored, compare):
    fgs, r50 = Cell(row="r50"), Cell(row="r50-nl")
    stored("base.jsonl", 0.1)
    stored("head.jsonl", None, status="crashed", error="no kernel")
    for name in ("base.jsonl", "head.jsonl"):
        stored(name, None, cell=fgs, status="oom")
        stored(name, 0.1, cell=r50)
    found = compare()
    assert (DRIFT, "r50 left out: base oom, head oom") == found.notes
    assert ["mfnet", "r50-nl"] == [subject.subject for subject in found.subjects]
    assert ("INVALID", "head crashed: no kernel") == (
        judge_samples(found)[0].word,
        judge_samples(found)[0].why,
    )


def test_copies_count_once(stored, refused, tmp_path):
    path = stored("base.jsonl", 0.1)
    assert "base.jsonl, line 2 is on both sides: name another file for one of them" == refused(
        head="base.jsonl"
    )
    (tmp_path / "head.jsonl").write_bytes(path.read_bytes())
    assert (
        "head.jsonl, line 2 is a copy of base.jsonl, line 2: a process counts once, take one out"
    ) == refused()


def test_a_last_line_cut_short_is_left_out_and_told(stored, compare, tmp_path):
    path = stored("base.jsonl", 0.1, 0.2)
    path.write_bytes(path.read_bytes()[:-9])
    stored("head.jsonl", 0.3)
    found = compare()
    assert (0.1,) == found.subjects[0].base.medians_s
    assert (DRIFT, f"{path}, line 3 is cut short and was left out") == found.notes


def test_a_damaged_line_in_between_is_refused(stored, refused):
    path = stored("base.jsonl", 0.1, 0.2)
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(lines[0] + lines[1][:-9] + b"\n" + lines[2])
    stored("head.jsonl", 0.3)
    assert "base.jsonl, line 2 is damaged: mend it or name another file" == refused()


@pytest.mark.parametrize(
    ("samples", "said"),
    [
        ("[0.1, NaN]", "a sample of nan s cannot be: measure it again"),
        ("[0.1, -0.5]", "a sample of -0.5 s cannot be: measure it again"),
        ("[0.0]", "a sample of 0.0 s cannot be: measure it again"),
        ("[Infinity]", "a sample of inf s cannot be: measure it again"),
    ],
)
def test_samples_that_cannot_be(stored, refused, samples, said):
    path = stored("base.jsonl", 0.1, 0.2)
    stored("head.jsonl", 0.3)
    header, first, second = path.read_text().splitlines()
    planted = json.loads(second)
    planted["samples_s"]["latency"] = "here"
    path.write_text("\n".join((header, first, json.dumps(planted).replace('"here"', samples))))
    assert f"base.jsonl, line 3: {said}" == refused()


def test_a_record_without_samples_or_machine(stored, refused, timed):
    stored("head.jsonl", 0.3)
    stored("base.jsonl", 0.1, samples_s={"latency": ()})
    assert "base.jsonl, line 2 has no samples: measure it again, or take it out" == refused()
    Store(stored("other.jsonl", 0.1)).append(timed(CELL, 0.1, machine=None))
    assert (
        "other.jsonl, line 3 says no machine: only what ran on one machine is compared"
    ) == refused("other.jsonl")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "x is empty: measure, then compare"),
        ("\n", "x is empty: measure, then compare"),
        ("[1, 2]", "x is another kind of file: name a file of `vidcost time` or of pytest's "),
        ('{"a": 1}', "x is another kind of file: name a file of `vidcost time` or of pytest's "),
        ('{"machine_info": {}, "ben', "x is cut short or no JSON: name a file of "),
        ("row,seconds\n", "x is cut short or no JSON: name a file of "),
        ('{"file": "vidcost gate samples"}', "x is a gate's result: `vidcost gate replay` "),
        ('{"machine_info": {}, "benchmarks": []}', "x holds no measurement that succeeded: "),
        ('{"machine_info": {}, "benchmarks": 7}', "x: 'benchmarks' is no list: run pytest again"),
        ('{"machine_info": {}, "benchmarks": [7]}', "x: benchmark 1 has no name or no stats: "),
        (
            '{"file":"vidcost timings","command":"c","vidcost":"1"}\n',
            "x holds no measurement that succeeded: measure, then compare",
        ),
    ],
)
def test_files_that_hold_nothing_to_compare(stored, refused, tmp_path, text, said):
    stored("head.jsonl", 0.3)
    (tmp_path / "x").write_text(text)
    assert refused("x").startswith(said)


def test_bytes_that_are_no_text(stored, refused, tmp_path):
    stored("head.jsonl", 0.3)
    (tmp_path / "x").write_bytes(b"\xff\xfe\x00")
    assert refused("x").startswith("x is cut short or no JSON: ")


def test_no_such_file_and_no_file_in_a_folder(stored, refused, tmp_path):
    stored("head.jsonl", 0.3)
    assert "cannot read base.jsonl: No such file or directory" == refused()
    (tmp_path / "empty").mkdir()
    assert "empty holds no .json or .jsonl file: name another folder" == refused("empty")


def test_both_sides_are_of_one_kind(stored, ran, refused):
    stored("base/a.jsonl", 0.1)
    ran("head/0001_a.json", {"t.py::a": 0.2})
    assert "base holds vidcost timings, head pytest-benchmark: compare records of one kind" == (
        refused("base", "head")
    )
    ran("base/0001_a.json", {"t.py::a": 0.2})
    assert "base holds pytest-benchmark and vidcost timings: name files of one kind" == (
        refused("base", "head")
    )


@pytest.mark.parametrize("noise", [0, -0.01, 1, float("nan")])
def test_noise_is_a_share(stored, refused, noise):
    stored("base.jsonl", 0.1)
    stored("head.jsonl", 0.2)
    assert refused(noise=noise).startswith(f"a noise of {noise} cannot be: ")


def test_single_runs_of_pytest_benchmark(ran, compare):
    ran("base.json", {"t.py::a": 0.1, "t.py::b": 0.1, "t.py::gone": 0.1})
    ran("head.json", {"t.py::a": 0.2, "t.py::b": 0.1001, "t.py::new": 0.1})
    found = compare("base.json", "head.json")
    assert ("pytest-benchmark", (DRIFT, NO_GPU)) == (found.kind, found.notes)
    assert ["INCONCLUSIVE", "INCONCLUSIVE", "INVALID", "INVALID"] == [
        verdict.word for verdict in judge_samples(found)
    ]
    known = judge_samples(compare("base.json", "head.json", noise=0.002))
    assert [
        ("t.py::a", "REGRESSED"),
        ("t.py::b", "EQUIVALENT"),
        ("t.py::gone", "INVALID"),
        ("t.py::new", "INVALID"),
    ] == [(verdict.subject, verdict.word) for verdict in known]


def test_runs_in_a_folder_are_processes(ran, compare):
    for k in range(6):
        ran(f"base/000{k}_x.json", {"t.py::a": 0.1 + k / 10_000})
        ran(f"head/000{k}_x.json", {"t.py::a": 0.2 + k / 10_000}, commit="decaf")
    (verdict,) = judge_samples(compare("base", "head"))
    assert ("REGRESSED", "t.py::a") == (verdict.word, verdict.subject)


def test_rounds_that_were_stored_are_one_process(ran, compare):
    ran("base.json", {"t.py::a": 7.0}, rounds={"data": [0.1, 0.3, 0.2] * 50})
    ran("head.json", {"t.py::a": 0.5})
    (subject,) = compare("base.json", "head.json").subjects
    assert ((0.2,), (0.5,)) == (subject.base.medians_s, subject.head.medians_s)


@pytest.mark.parametrize(
    ("rounds", "said"),
    [
        ({"data": [0.1, float("nan")]}, ": a sample of nan s cannot be: measure it again"),
        ({"data": [0.1, -1]}, ": a sample of -1 s cannot be: measure it again"),
        ({"data": []}, " has no samples: measure it again, or take it out"),
        ({"data": 0.1}, ": 'data' is no list of rounds: run pytest again"),
        ({"median": 0.0}, ": a sample of 0.0 s cannot be: measure it again"),
        ({"median": None}, ": None is no number of seconds: measure it again"),
        ({"median": True}, ": True is no number of seconds: measure it again"),
    ],
)
def test_rounds_that_cannot_be(ran, refused, rounds, said):
    ran("base.json", {"t.py::a": 0.1})
    ran("head.json", {"t.py::a": 0.1}, rounds=rounds)
    assert f"head.json, t.py::a{said}" == refused("base.json", "head.json")


@pytest.mark.parametrize(
    ("machine", "difference"),
    [
        ({"cpu": {"brand_raw": "Loom", "count": 2}}, "cpu.brand_raw was 'Abacus', is 'Loom'"),
        ({"cpu": {"brand_raw": "Abacus", "count": 3}}, "cpu.count was '2', is '3'"),
        ({"cpu": {}}, "cpu.brand_raw was 'Abacus', is 'not available'"),
        ({"cpu": None}, "cpu.brand_raw was 'Abacus', is 'not available'"),
        ({"machine": "arm64"}, "machine was 'x86_64', is 'arm64'"),
        ({"python_version": "3.12.0"}, "python_version was '3.11.4', is '3.12.0'"),
    ],
)
def test_unlike_machines_of_pytest_benchmark(ran, refused, compare, machine, difference):
    ran("base.json", {"t.py::a": 0.1})
    ran("head.json", {"t.py::a": 0.1}, machine=machine)
    said = refused("base.json", "head.json")
    assert f"incompatible: {difference} (base.json, head.json)" == said
    fields = ("cpu.brand_raw", "cpu.count", "machine", "python_version")
    assert f"{difference}: allowed" in compare("base.json", "head.json", allow=fields).notes


def test_runs_on_hosts_of_another_name_and_kernel_compare(ran, compare):
    ran("base.json", {"t.py::a": 0.1})
    ran("head.json", {"t.py::a": 0.1}, machine={"node": "other", "release": "7"})
    assert (DRIFT, NO_GPU) == compare("base.json", "head.json").notes


def test_a_folder_of_several_commits_is_no_side(ran, refused):
    ran("base/0001.json", {"t.py::a": 0.1}, commit="c0ffee")
    ran("base/0002.json", {"t.py::a": 0.1}, commit="decaf")
    ran("head.json", {"t.py::a": 0.1})
    assert (
        "incompatible: commit_info.id was 'c0ffee', is 'decaf' (base/0001.json, base/0002.json)"
    ) == refused("base", "head.json")


def test_other_parameters_or_another_clock_are_another_subject(ran, compare):
    ran("base.json", {"t.py::a": 0.1}, params={"n": 3})
    ran("head.json", {"t.py::a": 0.1}, params={"n": 5})
    assert ["t.py::a (params.n=3)", "t.py::a (params.n=5)"] == [
        subject.subject for subject in compare("base.json", "head.json").subjects
    ]
    ran("head.json", {"t.py::a": 0.1}, params={"n": 3}, options={"timer": "process_time"})
    assert ["t.py::a (timer=perf_counter)", "t.py::a (timer=process_time)"] == [
        subject.subject for subject in compare("base.json", "head.json").subjects
    ]


def test_an_address_in_memory_is_no_parameter(ran, compare):
    ran("base.json", {"t.py::a": 0.1}, params={"x": "UNSERIALIZABLE[<X at 0x7f01>]"})
    ran("head.json", {"t.py::a": 0.1}, params={"x": "UNSERIALIZABLE[<X at 0x7f02>]"})
    assert ["t.py::a"] == [s.subject for s in compare("base.json", "head.json").subjects]


def test_a_benchmark_twice_in_one_run(ran, refused):
    path = ran("base.json", {"t.py::a": 0.1})
    run = json.loads(path.read_text())
    path.write_text(json.dumps(run | {"benchmarks": run["benchmarks"] * 2}))
    ran("head.json", {"t.py::a": 0.1})
    assert "base.json, t.py::a is there twice: one run is one process" == (
        refused("base.json", "head.json")
    )


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
            # beside other tests pytest-benchmark does not run
            env={k: v for k, v in os.environ.items() if not k.startswith("PYTEST_")},
            check=True,
            stdout=subprocess.DEVNULL,
        )
    found = compare("base.json", "head.json", noise=0.5)
    assert ["test_sums.py::test_sum[7]", "test_sums.py::test_sum[1000]"] == [
        subject.subject for subject in found.subjects
    ]
    assert [(1, 1)] * 2 == [
        (len(subject.base.medians_s), len(subject.head.medians_s)) for subject in found.subjects
    ]
    assert (DRIFT, NO_GPU) == found.notes
    (machine,) = found.machines
    assert sys.version.split()[0] == machine["python_version"]
    assert machine["cpu.count"].isdecimal()
    assert "INVALID" not in {verdict.word for verdict in judge_samples(found)}

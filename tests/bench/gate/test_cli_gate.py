"""The commands of the gate, as a user runs them."""

import json
import re
import shlex
from pathlib import Path
from xml.etree import ElementTree

import pytest
import typer.main

from vidcost.bench.cli import app
from vidcost.bench.count import record
from vidcost.bench.gate import versions
from vidcost.papers.catalog import select

SLOW, FAST = {"ns": 10_000_000}, {"ns": 9_000_000}


def example(name):
    """The words of the example in a command's help."""
    group = typer.main.get_command(app)
    for word in name.split():
        group = group.commands[word]
    (found,) = re.findall("`vidcost (.*)`", group.epilog)
    return shlex.split(found)


@pytest.fixture
def few(vidcost, committed, monkeypatch):
    """A baseline of two rows, which are all there are; returns how to change one."""
    rows = select(["mfnet", "mfnet-nl"])
    monkeypatch.setattr("vidcost.papers.catalog.rows_beside", lambda stored: rows)

    def write(**fields):
        changed = committed["mfnet-nl"].model_copy(update=fields)
        record.write(Path("results"), [committed["mfnet"], changed], command="vidcost run")

    write()
    return write


@pytest.fixture
def stored(vidcost):
    """JSON of pytest-benchmark of two versions, one process each."""
    for name, median in (("base", 0.01), ("head", 0.02)):
        benchmarks = [{"fullname": "bench.py::test_nl", "stats": {"median": median}}]
        contents = {"machine_info": {}, "commit_info": {"id": name}, "benchmarks": benchmarks}
        Path(f"{name}.json").write_text(json.dumps(contents))


def test_counts_pass_or_fail_everywhere(vidcost, few, monkeypatch, tmp_path):
    status, out, err = vidcost(*example("gate counts"))
    assert (0, "") == (status, err)
    assert re.fullmatch(r"2 networks, \d\d figures compared: all as in results/counts.jsonl\n", out)
    few(linear=153601)
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(tmp_path / "summary.md"))
    status, out, err = vidcost("gate", "counts")
    assert 1 == status
    assert re.search(r"\| linear +\| +153,601 +\| +153,600 +\| +-1 +\| +-0.000651% \|", out)
    assert "::error title=mfnet-nl%3A linear::was 153601, is 153600" in out
    assert "1 differences from results/counts.jsonl in 1 networks" in err
    assert "mfnet-nl" in (tmp_path / "summary.md").read_text()


def test_the_example_of_accept_runs(vidcost, few, reference_counters, complaint):
    assert "nothing to accept" in complaint("gate", "accept", "--reason", "why not")
    few(linear=153601)
    status, out, err = vidcost(*example("gate accept"))
    assert (0, "") == (status, err)
    assert "1 differences in 1 rows accepted. Written: results/counts.jsonl" in out
    assert '"reason":"PNL pools once"' in Path("results/counts-history.jsonl").read_text()
    assert 0 == vidcost("gate", "counts")[0]


def test_a_regression_is_reported_everywhere(git, vidcost, sides, monkeypatch, tmp_path):
    sides({"mfnet-pnl": FAST, "mfnet": FAST}, {"mfnet-pnl": SLOW, "mfnet": FAST})
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(tmp_path / "summary.md"))
    status, out, _ = vidcost(*example("gate time"), "mfnet", "--junit", "o/g.xml")
    assert 1 == status
    assert "::error title=REGRESSED%3A mfnet-pnl%2C latency::slower by more than 3.0%" in out
    assert "**Gate: 1 REGRESSED, 3 EQUIVALENT**" in (tmp_path / "summary.md").read_text()
    suites = ElementTree.parse("o/g.xml").getroot()
    assert ["mfnet-pnl"] == [
        case.get("name") for case in suites.iter("testcase") if case.find("failure") is not None
    ]
    file = Path("gate.json")
    assert 1 == json.loads(file.read_text())["status"]
    assert (1, out) == vidcost(*example("gate replay"))[:2]
    file.write_text(file.read_text().replace("REGRESSED", "EQUIVALENT"))
    status, out, err = vidcost("gate", "replay", "gate.json")
    assert 3 == status
    assert "gate.json holds other verdicts: it was edited, or judged by another version" in err
    assert "1 REGRESSED" in out


def test_a_row_of_one_version_is_left_out_and_progress_is_shown(git, vidcost, sides, monkeypatch):
    sides({"mfnet": SLOW}, {"mfnet": SLOW})
    monkeypatch.setattr("vidcost.bench.progress.EVERY_S", 0.05)
    rows = {"main": ["mfnet", "mfnet-nl"], "working tree": ["mfnet", "mfnet-non-local"]}
    monkeypatch.setattr(versions.Prepared, "rows", lambda side: rows[side.version.ref])
    status, out, err = vidcost("gate", "time", "mfnet", "mfnet-n*", "--base", "main")
    assert 0 == status
    assert re.search(r"^screen: mfnet \(\d of 8\): \d+ s$", err, re.MULTILINE)
    assert "Note: mfnet-non-local is only in head: nothing to compare it with." in out
    assert "Note: mfnet-nl is only in base" in out


def test_blocks_alone_are_timed_on_a_cpu_if_nothing_is_named(git, vidcost, sides, monkeypatch):
    specs = ("nl", "cgnl", "cgd", "pnl:n=2", "pnl:n=3", "pnl:n=4")
    plans = dict.fromkeys(specs, SLOW)
    sides(plans, plans)
    monkeypatch.setattr("vidcost.bench.timing.plan.SHAPES", [(48, 2, 14, 14)])
    status, out, _ = vidcost("gate", "time", "--format", "json")
    assert 0 == status
    assert {f"{spec} at 48x2x14x14" for spec in specs} == {
        line["target"] for line in json.loads(out)
    }


def test_a_stopped_run_is_kept(git, vidcost, sides, monkeypatch):
    sides({"mfnet": SLOW}, {"mfnet": SLOW})

    def stop(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("vidcost.bench.gate.interleave.planned", stop)
    status, _, err = vidcost("gate", "time", "mfnet", "--base", "main")
    assert 130 == status
    assert "stopped before all pairs were measured: gate.json holds those that were" in err
    status, out, _ = vidcost("gate", "replay", "gate.json")
    assert 3 == status
    assert "Incomplete" in out


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("time mfnet --shape 8x2x4x4", "--shape is for blocks alone"),
        ("time --blocks xyz", "no block 'xyz'"),
        ("time --blocks nl --shape 8x2", "8x2"),
        ("time --blocks my_block.py:MyBlock", "both sides would load the same file"),
        ("time mfnet --frames 0", "--frames"),
        ("time mfnet --device tpu", "no device 'tpu'"),
        ("time mfnet --margin 0.05 --find 0.04", "find 0.04 must lie between margin 0.05"),
        ("replay nothing.json", "cannot read nothing.json"),
        ("replay pyproject.toml", "pyproject.toml is not a gate's result"),
    ],
)
def test_bad_input_is_rejected_before_a_version_is_prepared(
    git, complaint, monkeypatch, words, said
):
    monkeypatch.setattr(versions, "prepare", lambda *_, **__: pytest.fail("prepared"))
    assert said in complaint("gate", *words.split())


def test_the_example_of_samples_runs(vidcost, stored):
    # one process a side could not find anything
    status, out, err = vidcost(*example("gate samples"))
    assert (3, "") == (status, err)
    assert "**Gate: 1 INCONCLUSIVE**" in out
    assert "a drift of the machine is not excluded" in out
    assert (3, out) == vidcost("gate", "replay", "gate.json")[:2]
    assert 0 == vidcost(*example("gate samples"), "--inconclusive", "warn")[0]


@pytest.mark.slow
def test_two_versions_are_measured_for_real(git, vidcost, monkeypatch):
    """Head holds 4 MB more in each of two modules; the screen takes half a minute."""
    git.edit(
        "models/blocks/non_local.py",
        "def forward(self, x: Tensor) -> Tensor:",
        "def forward(self, x: Tensor) -> Tensor:\n        held = x.new_empty(1 << 20)  # noqa",
    )
    monkeypatch.setattr("vidcost.bench.gate.interleave.planned", lambda *_: {})
    words = "gate time --base main --blocks nl --shape 24x2x6x6 --format json"
    status, out, _ = vidcost(*words.split())
    (memory,) = (line for line in json.loads(out) if line["metric"] == "memory")
    assert ("REGRESSED", 1) == (memory["word"], status)
    assert 2 << 22 == memory["head_bytes"] - memory["base_bytes"]
    run = json.loads(Path("gate.json").read_text())["measured"]
    assert run["base"]["code"] != run["head"]["code"]
    screen = [visit for visit in run["visits"] if visit["stage"] == "screen"]
    assert (16, {"ok"}) == (len(screen), {visit["status"] for visit in screen})
    # they were interleaved
    taken = {(visit["pair"], visit["side"]): len(visit["samples_ns"]) for visit in screen}
    assert all(taken[pair, "base"] == taken[pair, "head"] >= 10 for pair in range(8))


def test_an_unknown_row_is_rejected(git, complaint, sides):
    sides({}, {})
    assert "no row 'no-such-row' in either version" in complaint("gate", "time", "no-such-row")

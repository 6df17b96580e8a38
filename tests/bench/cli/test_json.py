"""With --json, standard output is JSON and nothing else, of every command."""

from __future__ import annotations

import json
import runpy
import shlex
import shutil
from pathlib import Path

import pytest

from vidcost.bench import files
from vidcost.bench.count.references import asking
from vidcost.bench.timing.cell import Cell

HERE = Path(__file__).parent
CHECKOUT = HERE.parents[2]
COMMANDS = runpy.run_path(str(HERE / "command_line.py"))["commands"]()
SLOW = {"ns": 10_000_000}

# by command the cheapest that shows a result, and what of it the first line must hold; a command
# without an entry fails
CASES = {
    "list": ("mfnet-pnl", {"row": "mfnet-pnl"}),
    "count": ("mfnet-pnl", {"row": "mfnet-pnl", "macs": 11_336_626_944}),
    "compare": (
        "mfnet --at conv4:before-last --block nl --budget 0s --no-fvcore",
        {"block": "none", "params": 7_842_568},
    ),
    "tables": ("3 5", {"table": 3, "row": "mfnet"}),
    "run": ("--budget 0s", {"table": 3, "row": "mfnet"}),
    "time": ("mfnet", {"row": "mfnet", "n": 8}),
    "explain": ("mfnet", {"row": "mfnet", "counter": "fvcore"}),
    "formulas": ("", {}),
    "conformance": ("", {}),
    "audit": ("", {}),
    "gate counts": ("", {"row": "mfnet-nl", "before": 153_601, "after": 153_600}),
    "gate accept": ("--reason because", {"row": "mfnet-nl", "before": 153_601, "after": 153_600}),
    "gate time": ("mfnet", {"target": "mfnet", "word": "EQUIVALENT"}),
    "gate samples": ("base.json head.json", {"target": "bench.py::nl", "word": "INCONCLUSIVE"}),
    "gate replay": ("gate.json", {"target": "mfnet", "word": "EQUIVALENT"}),
    "report": ("--out page.html", {"written": "page.html"}),
    "query": ("'select row, params from counts'", {"row": "mfnet", "params": 7_842_568}),
    "cache clear": ("", {"removed": 1}),
}
FAILING = {"run": 1, "gate counts": 1}
"""Those that find the changed baseline."""


@pytest.fixture
def prepared(
    git,
    baseline,
    vidcost,
    sides,
    reference_counters,
    operators,
    stopwatch,
    timed,
    monkeypatch,
    tmp_path,
):
    """A repository with a baseline that has changed, timings, kept answers."""
    shutil.copytree(tmp_path / "results", "results")
    git.commit("Counts")
    baseline("mfnet-nl", linear=153601)
    shutil.copytree(tmp_path / "results", "results", dirs_exist_ok=True)
    git.commit("Other counts")
    sides({"mfnet": SLOW}, {"mfnet": SLOW})
    cell = Cell(row="mfnet", threads=3)
    monkeypatch.setattr("vidcost.bench.timing.machine.default_threads", lambda _: 3)
    stopwatch[cell] = timed(cell)
    for name, seconds in (("base", 0.1), ("head", 0.2)):
        benchmarks = [{"fullname": "bench.py::nl", "stats": {"median": seconds}}]
        stored = {"machine_info": {}, "benchmarks": benchmarks}
        Path(f"{name}.json").write_text(json.dumps(stored))
    monkeypatch.setattr(asking, "answers_folder", lambda: tmp_path / "answers")
    files.write(tmp_path / "answers/a.json", "{}")


@pytest.mark.parametrize("name", COMMANDS)
def test_standard_output_is_json_alone(name, prepared, vidcost, monkeypatch):
    # there it could be mixed with what GitHub is told
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    arguments, expected = CASES[name]
    if name == "gate replay":
        assert 0 == vidcost("gate", "time", "mfnet")[0]
    status, out, err = vidcost(*name.split(), *shlex.split(arguments), "--json")
    assert FAILING.get(name, 0) == status, err
    lines = json.loads(out)
    assert lines
    assert {dict} == set(map(type, lines))
    assert expected == {key: lines[0].get(key) for key in expected}, lines[0]

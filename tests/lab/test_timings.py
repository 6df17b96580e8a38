"""The life of timings in repositories of somebody else: no change, a slow-down, rejections."""

import functools
import json
import re
import sys
from pathlib import Path

import pytest

from vidcost.bench import cli
from vidcost.bench.gate import interleave, record
from vidcost.bench.gate.record import Rule

from .repositories import Lab

pytestmark = pytest.mark.slow

TEST = "tests/perf/test_speed.py::test_work"
BUILT = ("editable", "extension")
"""Layouts that must be built before they run, or are imported by another name than their folder."""


@pytest.fixture
def gate(monkeypatch, capsys, tmp_path):
    """Run `vidcost gate time tests/perf --base main`, with few short pairs: status, out, err."""
    monkeypatch.setenv("VIDCOST_LOCKS", str(tmp_path / "locks"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    # the fewest that reach the level
    few = {"screen_pairs": 6, "confirm_pairs": 7, "most_pairs": 7}
    monkeypatch.setattr(record, "Rule", functools.partial(Rule, **few))
    brief = functools.partial(interleave.new_run, visit_s=0.1, visit_turns=3)
    monkeypatch.setattr(interleave, "new_run", brief)

    def run(lab, *words):
        monkeypatch.chdir(lab.folder)
        argv = ["vidcost", "gate", "time", "tests/perf", "--base", "main", *words]
        monkeypatch.setattr(sys, "argv", argv)
        capsys.readouterr()
        with pytest.raises(SystemExit) as exit_:
            cli.main()
        return exit_.value.code or 0, *capsys.readouterr()

    return run


def slow_down(lab: Lab) -> str:
    """Three times the work; the file that does it."""
    if lab.name == "lab" and (lab.folder / "setup.py").exists():
        lab.edit("_work.c", "* 50", "* 150")
        return "_work.c"
    lab.edit("work.py", "20_000", "60_000")
    return "work.py"


# src and flat differ from namespace in their folders alone
@pytest.mark.parametrize("layout", ["namespace", *BUILT])
def test_a_slow_down_is_caught(gate, layout, tmp_path):
    lab = Lab(tmp_path / "lab", layout, install=layout in BUILT)
    # the same code is not timed
    status, out, _ = gate(lab)
    assert (0, True) == (status, out.startswith("SAME CODE"))
    slow_down(lab)
    status, out, err = gate(lab)
    assert 1 == status, out + err
    assert f"REGRESSED, {TEST}, latency: slower by more than 50.0%" in " ".join(out.split())
    result = record.read(Path("gate.json"))
    run, (latency, memory) = result.measured, result.verdicts
    assert ("REGRESSED", 0.5, "EQUIVALENT") == (latency.word, latency.margin, memory.word)
    assert 2 < latency.ratio < 4
    # each side ran its own code, and says which
    work = f"{lab.name}.{'_work' if layout == 'extension' else 'work'}"
    base, head = (side.modules[work] for side in (run.base, run.head))
    assert base[0] == head[0]
    assert base[1] != head[1]
    assert all(not Path(path).is_absolute() for path, _ in run.head.modules.values())
    # built once for each version, and then taken from the cache
    built = [*(tmp_path / "cache").glob("vidcost/installed/*")]
    assert (2 if layout in BUILT else 0) == len(built)


@pytest.mark.parametrize("layout", BUILT)
def test_without_install_they_are_rejected_in_a_line(gate, layout, tmp_path):
    lab = Lab(tmp_path / "lab", layout)
    if layout == "extension":
        lab.build()
    slow_down(lab)
    status, out, err = gate(lab)
    assert 3 == status
    if layout == "editable":
        outside = f"raised: lab was imported from {lab.folder}/python/__init__.py, not from its"
        # as Markdown
        said = " ".join(out.replace("\\", "").split())
        for metric in ("latency", "memory"):
            assert re.search(f"INVALID, {re.escape(TEST)}, {metric}: (base|head) {outside}", said)
        assert "set install = true in [tool.vidcost.time]" in said
    else:
        assert 1 == err.count("\n"), err
        assert "No module named 'lab._work'" in err
        assert "install = true in [tool.vidcost.time] builds what" in err


def test_a_version_that_cannot_be_built_is_one_line(gate, tmp_path):
    lab = Lab(tmp_path / "lab", "extension", install=True)
    lab.edit("_work.c", "return PyLong", "return lost PyLong")
    status, _, err = gate(lab)
    assert (2, 1) == (status, err.count("\n"))
    assert err.startswith("vidcost: working tree cannot be installed: ")


def test_parts_of_a_namespace_that_others_ship_are_not_the_repositorys(gate, tmp_path):
    lab = Lab(tmp_path / "lab", "namespace")
    (tmp_path / "site/acme").mkdir(parents=True)
    (tmp_path / "site/acme/other.py").touch()
    path = f"import sys\n\nsys.path.append({str(tmp_path / 'site')!r})\n"
    lab.write("/tests/perf/conftest.py", path)
    lab.write("work.py", "import acme.other\n\n\ndef work():\n    return sum(range(20_001))\n")
    lab.commit()
    lab.git("checkout", "--quiet", "-b", "change")
    lab.edit("work.py", "20_001", "20_002")
    status, out, err = gate(lab, "--inconclusive", "warn")
    assert 0 == status, out + err
    modules = json.loads(Path("gate.json").read_text())["measured"]["head"]["modules"]
    assert {"acme.lab.work", "test_speed"} <= {name.rpartition("perf.")[2] for name in modules}
    assert "acme.other" not in modules

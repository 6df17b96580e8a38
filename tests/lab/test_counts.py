"""The life of exact counts in repositories of somebody else, from the first baseline on."""

import re
import sys
import tomllib

import pytest
from _pytest.pytester import SysModulesSnapshot

from .repositories import LAYOUTS, Lab

pytest_plugins = ["pytester"]

FOREIGN = re.compile(r"(lab|acme|tests\.test_cost)\b|__editable__")
UPDATE = "--count-update"
MUTATIONS = [
    ("one channel more", "WIDE = 6", "WIDE = 7", "blocks"),
    ("a dropped block", "BLOCKS = 2", "BLOCKS = 1", "blocks"),
    # over channels in place of positions: the parameters stay
    (
        "swapped attention",
        "(rows @ rows.transpose(1, 2)).softmax(-1) @ rows",
        "rows @ (rows.transpose(1, 2) @ rows).softmax(-1)",
        "attention",
    ),
]


@pytest.fixture(params=LAYOUTS)
def lab(
    request: pytest.FixtureRequest, pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> Lab:
    """A repository in the current folder; what is imported from it is forgotten after a run."""
    snapshot = SysModulesSnapshot(preserve=lambda name: not FOREIGN.match(name))
    name = "_Pytester__take_sys_modules_snapshot"
    monkeypatch.setattr(pytest.Pytester, name, lambda self: snapshot)
    # what pip installed is found by a finder
    monkeypatch.setattr(sys, "meta_path", [*sys.meta_path])
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    for variable in ("CI", "PYTEST_XDIST_WORKER"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    monkeypatch.setenv("PYTEST_PLUGINS", "vidcost.bench.plugin")
    lab = Lab(pytester.path, request.param)
    if request.param == "extension":
        lab.build()
    return lab


def test_the_life_of_a_baseline(lab: Lab, pytester: pytest.Pytester) -> None:
    baseline = lab.folder / "tests/__counts__/test_cost.toml"

    def run(*words: str, status: int = 0) -> str:
        for name in [name for name in sys.modules if FOREIGN.match(name)]:
            del sys.modules[name]
        words = ("-p", "no:cacheprovider", "tests/test_cost.py", *words)
        result = pytester.runpytest_inprocess(*words)
        assert status == result.ret, result.stdout.str()
        return result.stdout.str()

    def named(out: str) -> set[str]:
        return set(re.findall(r"^\| (\w+): ", out, re.MULTILINE))

    # the first baseline, and no change
    assert "`pytest tests/test_cost.py --count-update-new` adds it" in run(status=1)
    run(UPDATE)
    first = baseline.read_text()
    assert {"stem", "blocks", "attention", "head"} == set(
        tomllib.loads(first)["test_cost"]["modules"]
    )
    lab.edit("net.py", "BLOCKS = 2", "BLOCKS = 2  # a comment")
    run()
    lab.commit()
    # a mutation is caught, and the module named that it is in
    for what, old, new, module in MUTATIONS:
        lab.edit("net.py", old, new)
        out = run(status=1)
        assert (what, {module}) == (what, named(out))
        assert first == baseline.read_text()
        lab.edit("net.py", new, old)
    # an improvement fails too until it is accepted
    lab.edit("net.py", "WIDE = 6", "WIDE = 4")
    assert {"blocks"} == named(out := run(status=1))
    assert "-33.3%" in out
    assert "To accept it: `pytest tests/test_cost.py --count-update`" in out
    lab.git("checkout", "--quiet", "-b", "narrow")
    run(UPDATE)
    run()
    lab.commit()
    # two branches change it: the file is no baseline until the conflict is resolved
    lab.git("checkout", "--quiet", "main")
    lab.edit("net.py", "BLOCKS = 2", "BLOCKS = 3")
    run(UPDATE)
    lab.commit()
    lab.git("merge", "narrow", status=1)
    out = run(status=1)
    assert re.search(r"test_cost.toml, line \d+: a merge conflict is not resolved", out)
    assert "Traceback" not in out
    run(UPDATE)
    # both changes: three blocks of width 4, of 77 positions
    blocks = tomllib.loads(baseline.read_text())["test_cost"]["modules"]["blocks"]
    assert 3 * 2 * 5 * 4 * 77 == blocks["macs"]
    run()

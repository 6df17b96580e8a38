"""The life of exact counts in repositories of somebody else, from the first baseline on."""

import re
import tomllib
from collections.abc import Callable

import pytest

from ..repository import pytest_of_a_user
from .repositories import LAYOUTS, Lab

pytest_plugins = ["pytester"]

FOREIGN = r"(lab|acme|tests\.test_cost)\b|__editable__"
TEST, UPDATE = "tests/test_cost.py", "--count-update"
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


@pytest.fixture
def run(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    return pytest_of_a_user(pytester, monkeypatch, FOREIGN)


@pytest.fixture(params=LAYOUTS)
def lab(request: pytest.FixtureRequest, pytester: pytest.Pytester) -> Lab:
    """A repository in the current folder."""
    lab = Lab(pytester.path, request.param)
    if request.param == "extension":
        lab.build()
    return lab


def test_the_life_of_a_baseline(run: Callable[..., str], lab: Lab) -> None:
    baseline = lab.folder / "tests/__counts__/test_cost.toml"

    def named(out: str) -> set[str]:
        return set(re.findall(r"^\| (\w+): ", out, re.MULTILINE))

    # the first baseline, and no change
    assert "`pytest tests/test_cost.py --count-update-new` adds it" in run(TEST, status=1)
    run(TEST, UPDATE)
    first = baseline.read_text()
    assert {"stem", "blocks", "attention", "head"} == set(
        tomllib.loads(first)["test_cost"]["modules"]
    )
    lab.edit("net.py", "BLOCKS = 2", "BLOCKS = 2  # a comment")
    run(TEST)
    lab.commit()
    # a mutation is caught, and the module named that it is in
    for what, old, new, module in MUTATIONS:
        lab.edit("net.py", old, new)
        out = run(TEST, status=1)
        assert (what, {module}) == (what, named(out))
        assert first == baseline.read_text()
        lab.edit("net.py", new, old)
    # an improvement fails too until it is accepted
    lab.edit("net.py", "WIDE = 6", "WIDE = 4")
    assert {"blocks"} == named(out := run(TEST, status=1))
    assert "__counts__/test_cost.toml: test_cost is counted otherwise." in out
    assert "-33.3%" in out
    assert "To accept it: `pytest tests/test_cost.py --count-update`" in out
    lab.git("checkout", "--quiet", "-b", "narrow")
    run(TEST, UPDATE)
    run(TEST)
    lab.commit()
    # two branches change it: the file is no baseline until the conflict is resolved
    lab.git("checkout", "--quiet", "main")
    lab.edit("net.py", "BLOCKS = 2", "BLOCKS = 3")
    run(TEST, UPDATE)
    lab.commit()
    lab.git("merge", "narrow", status=1)
    out = run(TEST, status=1)
    assert re.search(r"test_cost.toml, line \d+: a merge conflict is not resolved", out)
    assert "Traceback" not in out
    run(TEST, UPDATE)
    # both changes: three blocks of width 4, of 77 positions
    blocks = tomllib.loads(baseline.read_text())["test_cost"]["modules"]["blocks"]
    assert 3 * 2 * 5 * 4 * 77 == blocks["macs"]
    run(TEST)

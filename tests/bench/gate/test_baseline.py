"""Baselines of networks of one's own: the file, and the command that compares with it."""

from pathlib import Path

import pytest

from vidcost.bench.gate import baseline
from vidcost.bench.gate.baseline import Change, Entry, differences

NET = """
from torch import nn

def make(width=7):
    return nn.Sequential(nn.Linear(5, width), nn.Linear(width, 2))
"""
GATE = ["gate", "counts", "net.py:make", "--input", "3x5", "--baseline", "costs.toml"]


def test_networks_on_one_side_and_one_that_cannot_be_counted() -> None:
    a, b, c = (Entry({"macs": number, "params": 2}) for number in (3, 5, 7))
    found = differences({"a": a, "c": c, "gone": b}, {"new": b, "c": "not counted", "a": a})
    assert (
        Change("new", "row", None, "present"),
        Change("c", "row", "present", "not counted"),
        Change("gone", "row", "present", None),
    ) == found.changes
    assert [False, True, False] == [change.is_broken for change in found.changes]
    assert (1, 2, ("new", "c", "gone")) == (found.networks, found.figures, found.changed)


def test_categories_are_named_if_they_cancel_out_in_the_total() -> None:
    def changes(before: dict[str, int], after: dict[str, int]) -> list[tuple[object, ...]]:
        found = differences({"a": Entry(before)}, {"a": Entry(after)}).changes
        return [(change.field, change.before, change.after) for change in found]

    before = {"flops": 18, "flops.norm": 7, "flops.pool": 11}
    moved = [("flops.norm", 7, 5), ("flops.softmax", None, 13), ("flops.pool", 11, None)]
    assert moved == changes(before, {"flops": 18, "flops.norm": 5, "flops.softmax": 13})
    assert [("flops", 18, 20)] == changes(before, before | {"flops": 20, "flops.pool": 13})


@pytest.fixture
def own(vidcost, monkeypatch):
    """Run the gate on a network of one's own: status, output, error."""
    monkeypatch.delenv("CI", raising=False)
    Path("net.py").write_text(NET)
    return lambda *more: vidcost(*GATE, *more)


def test_a_network_is_added_compared_and_accepted(own) -> None:
    status, _, err = own()
    assert (2, True) == (status, "costs.toml has no 'net.py:make 3x5': --update adds it" in err)
    assert 0 == own("--update")[0]
    # 3x5 by 5x7 and 7x2
    entry = Entry(
        {"params": 58, "macs": 147, "conv": 0, "linear": 147, "matmul": 0},
        {"0": {"params": 42, "macs": 105}, "1": {"params": 16, "macs": 42}},
    )
    assert {"net.py:make 3x5": entry} == baseline.read(Path("costs.toml")).entries
    assert (0, "1 networks, 9 figures compared: all as in costs.toml\n", "") == own()
    Path("net.py").write_text(NET.replace("width=7", "width=6"))
    status, out, err = own()
    assert 1 == status
    assert "Counts of net.py:make 3x5 that differ from the baseline" in out
    cells = [line.replace(" ", "") for line in out.splitlines()]
    assert "|macs|147|126|-21|-14.3%|" in cells
    assert "|0:params|42|36|-6|-14.3%|" in cells
    assert 0 == own("--update")[0]
    assert 0 == own()[0]


def test_bad_input_is_one_line(own, monkeypatch, complaint) -> None:
    assert complaint(*GATE[:3]).startswith("name networks of your own and the file --baseline")
    assert complaint("gate", "counts", "--update").startswith("--update and --input are for")
    Path("net.py").write_text("def make(): raise KeyError('no such layer')")
    assert (1, True) == (own("--update")[0], "no such layer" in own("--update")[2])
    assert not Path("costs.toml").exists()
    Path("costs.toml").write_text("convention = 0\n")
    Path("net.py").write_text(NET)
    assert "costs.toml has counts by convention 0, and this vidcost counts by 1" in own()[2]
    monkeypatch.setenv("CI", "true")
    assert "--update writes baselines, and CI is set" in own("--update")[2]


@pytest.mark.parametrize("name", ["a", 'say "hi"', "tab\tand \\", "ü[1-x.y]", "two :: names"])
def test_any_name_is_read_as_it_was_written(name: str, tmp_path: Path) -> None:
    entries = {name: Entry({"macs": 1234567}, {name: {"params": 0, "macs": 3}})}
    baseline.write(tmp_path / "b.toml", entries, command="test")
    assert "macs = 1_234_567" in (tmp_path / "b.toml").read_text()
    read = baseline.read(tmp_path / "b.toml")
    assert read is not None
    assert entries == read.entries

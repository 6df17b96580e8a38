"""Users' networks and blocks timed in real workers, whatever they do."""

from __future__ import annotations

import pytest

from vidcost.bench.timing import predict as predict_module
from vidcost.bench.timing import sweep
from vidcost.bench.timing.cell import Cell, checked_cell
from vidcost.bench.timing.messages import Limits
from vidcost.bench.timing.plan import cells_for, code_of, network_fields
from vidcost.bench.timing.predict import predict, predict_without
from vidcost.bench.timing.store import Store

CODE = """
import sys, time
import torch
from torch import nn

print("printed while it is loaded")

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem = nn.Conv3d(3, 5, 1, bias=False)

    def forward(self, x):
        print("printed in a pass")
        return {"y": [self.stem(x)]}

class Leaves(Net):
    def forward(self, x):
        sys.exit(3)

class Raises(Net):
    def forward(self, x):
        raise KeyError("theirs")

class NotANumber(Net):
    def forward(self, x):
        return [self.stem(x) * float("nan")]

class Hangs(Net):
    def forward(self, x):
        time.sleep(600)

class Alone(Net):
    pass

class Ids(nn.Module):
    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(100, 4)
        self.head = nn.Linear(4, 3)

    def forward(self, ids):
        return self.head(self.embedding(ids))

class Refuses(Net):
    def forward(self, x):
        raise ValueError("theirs")

class ReadsValues(Net):
    def forward(self, x):
        assert x.sum().item() == x.sum().item()
        return self.stem(x)

def fails():
    raise RuntimeError("nothing to build")
"""
QUICK = Limits(sampling_s=0.2, min_samples=3, precision=0.5, warmup_s=0.2, chunk_s=0.05)
CLIP = ["2x3x4x5x6"]


@pytest.fixture(autouse=True)
def theirs(tmp_path, monkeypatch):
    (tmp_path / "theirs.py").write_text(CODE, encoding="utf-8")
    monkeypatch.chdir(tmp_path)


def network(name, **known) -> Cell:
    return checked_cell(network_fields(f"theirs.py:{name}", CLIP) | known)


@pytest.fixture
def measure(tmp_path):
    def measure(cell, limits=QUICK):
        store = Store(tmp_path / "t.jsonl")
        (timing,) = sweep.sweep([cell], store, limits=limits, predict=predict).timings
        return timing

    return measure


def test_a_network_that_prints_is_timed(measure):
    timing = measure(network("Net"))
    assert ("ok", "") == (timing.status, timing.error)
    assert 3 <= len(timing.samples_s["latency"])
    # 15 weights at 2 clips of 120 positions
    assert 15 * 240 == timing.macs == timing.macs_total
    assert 2 == timing.cell.batch


def test_it_is_trained_whatever_it_returns(measure):
    timing = measure(network("Net", phase="training"))
    assert "ok" == timing.status
    assert {"latency", "forward", "backward", "optimizer"} == set(timing.samples_s)
    # the clip takes no gradient
    assert 2 * 15 * 240 == timing.macs_total


@pytest.mark.parametrize(
    ("name", "status", "error"),
    [
        ("Leaves", "raised", "sys.exit(3) ("),
        ("Raises", "raised", "KeyError: 'theirs' ("),
        ("fails", "raised", "RuntimeError: nothing to build ("),
        ("NotANumber", "not finite", "what it returned has values that are not finite"),
    ],
)
def test_what_it_does_instead_is_its_status(measure, name, status, error):
    timing = measure(network(name))
    assert status == timing.status
    assert timing.error.startswith(error)
    assert {} == timing.samples_s


def test_a_network_that_hangs_is_killed(measure, monkeypatch):
    monkeypatch.setattr("vidcost.bench.timing.predict.LIMIT_S", 0.5)
    timing = measure(network("Hangs"), QUICK.model_copy(update={"start_up_s": 8.0, "energy_s": 0}))
    assert "timed out" == timing.status


def test_a_value_error_of_theirs_is_a_status_too(measure):
    timing = measure(network("Refuses"))
    assert ("raised", True) == (timing.status, timing.error.startswith("ValueError: theirs ("))


def test_whole_numbers_stay_what_they_are():
    cell = checked_cell(network_fields("theirs.py:Ids", ["2x7:int64"]) | {"dtype": "bf16"})
    assert 12 * 14 == predict(cell).macs


def test_nothing_is_predicted_of_code_that_needs_values_or_fails():
    assert None is predict(network("ReadsValues")).macs
    assert None is predict(network("fails")).macs


def test_a_share_of_a_network_is_of_the_blocks_put_into_it(measure):
    cell = network("Net", blocks=(("stem", "cgd"),), contribution=True)
    timing = measure(cell)
    assert "ok" == timing.status
    assert {"with", "without"} == set(timing.samples_s)
    # 6 parameters a channel
    assert 4 * 6 * 5 == timing.memory.weights - timing.memory_without.weights
    assert 15 * 240 == predict_without(cell).macs_total


def test_the_network_without_blocks_is_asked_about_once(monkeypatch):
    asked = []
    real = predict_module.isolated

    def isolated(limit_s, function, cell):
        asked.append(cell)
        return real(limit_s, function, cell)

    monkeypatch.setattr(predict_module, "isolated", isolated)
    fields = {"contribution": True, "code": code_of(["theirs.py:Block"], "theirs.py:Alone")}
    contributions = [
        network("Alone", blocks=(("stem", "cgd"),), contribution=True),
        network("Alone", blocks=(("stem", "theirs.py:Block"),), **fields),
    ]
    assert {15 * 240} == {predict_without(cell).macs for cell in contributions}
    assert [network("Alone")] == asked


def test_the_name_of_a_measurement_depends_on_the_code(tmp_path):
    before = network("Net")
    assert before == network("Net")
    (tmp_path / "theirs.py").write_text(f"{CODE}\nx = 1\n", encoding="utf-8")
    assert before.key() != network("Net").key()
    assert "" == code_of(["nl", "pnl:n=3"])
    assert network("Net").code == code_of(["nl"], "theirs.py:Net")


def test_cells_of_networks_keep_their_batch():
    conditions = {"batch": (1, 4), "dtype": ("fp32", "bf16")}
    cells = cells_for([], conditions, networks=[("theirs.py:Net", CLIP)])
    assert [("fp32", 2), ("bf16", 2)] == [(cell.dtype, cell.batch) for cell in cells]


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"network": "theirs.py:Net"}, "a network of your own needs its inputs"),
        ({"row": "mfnet", "inputs": ("1x3",)}, "needs its inputs, and only that does"),
        ({"row": "mfnet", "network": "theirs.py:Net", "inputs": ("1x3",)}, "give one of them"),
        ({"block": "nl", "shape": (4, 1, 2, 2), "blocks": ()}, "blocks have positions in a row"),
        (
            {"network": "n.py:N", "inputs": ("1x3",), "contribution": True},
            "measured inside a row or a",
        ),
        ({"network": "n.py:N", "inputs": ("1x3",), "frames": 3}, "are a row's"),
        ({"network": "n.py:N", "inputs": ("1x3",), "cold": True}, "only a block alone"),
    ],
)
def test_cells_that_contradict_themselves(fields, message):
    with pytest.raises(ValueError, match=message):
        checked_cell(fields)

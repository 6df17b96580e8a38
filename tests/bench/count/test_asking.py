"""Asking the counters about any network, here: numbers by hand, and networks that go wrong."""

from __future__ import annotations

import sys

import pytest
import torch
from torch import nn

from vidcost.bench.count import reconcile
from vidcost.bench.count.asking import ask_about
from vidcost.bench.count.conventions import CONVENTIONS
from vidcost.bench.count.counter import UncountedOperator
from vidcost.bench.count.reconcile import complaints, reconcile_network


class Nested(nn.Module):
    """A convolution to 5 channels, BatchNorm, and a product of two activations, in a dict."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 5, 3, bias=False)
        self.norm = nn.BatchNorm2d(5)

    def forward(self, x, y):
        out = self.norm(self.conv(x))
        return {"scores": [out.flatten(2) @ y], "note": "no tensor"}


CONV = 5 * 11 * 5 * 3 * 9
NORM = 5 * 11 * 5
PRODUCT = 5 * 55 * 7


def network():
    return Nested(), (torch.randn(1, 3, 13, 7), torch.randn(1, 55, 7))


@pytest.mark.parametrize(
    ("reference_counter", "flops", "parts"),
    [
        (
            "fvcore",
            CONV + 2 * NORM + PRODUCT,
            {"convolutions": CONV, "BatchNorm": 2 * NORM, "products": PRODUCT},
        ),
        ("thop", CONV + 4 * NORM, {"convolutions": CONV, "BatchNorm": 4 * NORM}),
        ("thop-2020", CONV + 2 * NORM, {"convolutions": CONV, "BatchNorm": 2 * NORM}),
        ("torch", CONV + PRODUCT, {"convolutions": CONV, "products": PRODUCT}),
    ],
)
def test_a_network_of_two_inputs_with_a_nested_output(reference_counter, flops, parts):
    answer = ask_about(reference_counter, *network())
    assert ("answered", "") == (answer.status, answer.error)
    assert (flops, parts) == (answer.flops, answer.parts)
    assert (None if reference_counter == "torch" else 3 * 5 * 9 + 10) == answer.params


@pytest.mark.parametrize("reference_counter", CONVENTIONS)
def test_a_network_that_raises_is_an_answer(reference_counter):
    class Broken(nn.Module):
        def forward(self, x):
            raise RuntimeError("two\nlines")

    answer = ask_about(reference_counter, Broken(), (torch.ones(1),))
    assert ("crashed", None) == (answer.status, answer.flops)
    assert "RuntimeError: two lines" == answer.error


def test_the_mode_of_the_network_stays():
    model, inputs = network()
    model.norm.eval()
    ask_about("torch", model, inputs)
    assert (True, False) == (model.training, model.norm.training)


def test_every_account_adds_up():
    entries = reconcile_network("mine", *network())
    assert 7 == len(entries)
    assert {"mine"} == {entry.row for entry in entries}
    assert [] == [line for entry in entries for line in complaints(entry)]
    assert {0} == {entry.remainder for entry in entries}


def test_a_reference_counter_that_is_missing_leaves_the_others(monkeypatch):
    monkeypatch.setitem(sys.modules, "fvcore", None)
    entries = reconcile_network("mine", *network())
    status = {entry.counter: entry.answer.status for entry in entries}
    assert ["missing", "answered"] == [status[name] for name in ("fvcore", "thop")]
    assert [None, None] == [e.printed for e in entries if e.counter == "fvcore"]


def test_an_account_that_does_not_add_up_is_named(monkeypatch):
    explain = reconcile.explain

    def without_norms(convention, model, count):
        kept = tuple(o for o in count.operations if o.kind != "norm")
        return explain(convention, model, type(count)(count.params, 0, kept, count.calls))

    monkeypatch.setattr(reconcile, "explain", without_norms)
    lines = [line for entry in reconcile_network("mine", *network()) for line in complaints(entry)]
    assert [
        f"mine: fvcore: BatchNorm: +{2 * NORM} flops are not explained",
        f"mine: thop: BatchNorm: +{4 * NORM:,} flops are not explained",
        f"mine: thop-2020: BatchNorm: +{2 * NORM} flops are not explained",
    ] == lines


def test_what_cannot_be_counted_is_raised():
    class Fourier(nn.Module):
        def forward(self, x):
            return torch.fft.fft(x).real

    with pytest.raises(UncountedOperator, match="fft"):
        reconcile_network("mine", Fourier(), (torch.ones(4),))

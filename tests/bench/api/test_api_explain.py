"""vidcost.explain: the entries of a network that lives here."""

import logging
import threading

import pytest
import torch
from torch import nn

import vidcost
from vidcost.bench.count.references import fvcore

COUNTERS = ["fvcore", "thop", "thop-2020", "torch"]


class Network(nn.Module):
    """A convolution to 5 maps of 11x5, BatchNorm, products of two activations, in a dict."""

    def __init__(self):
        super().__init__()
        self.conv, self.norm = nn.Conv2d(3, 5, 3, bias=False), nn.BatchNorm2d(5)
        self.up = nn.Upsample(scale_factor=2, mode="trilinear")

    def forward(self, image, weights):
        x = self.norm(self.conv(image))
        return {"scores": [x.flatten(2) @ weights], "up": self.up(x[:, :, None])}


INPUTS = {"weights": torch.ones(1, 55, 7), "image": torch.ones(1, 3, 13, 7)}


def test_every_counter_is_explained():
    model = Network()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    random_state = torch.get_rng_state()
    found = vidcost.explain(model, INPUTS)
    assert ("Network", True) == (found.network, found.balanced)
    assert COUNTERS == list(dict.fromkeys(entry.counter for entry in found.entries))
    thop = found.entry("thop")
    assert (7_425 + 1_925, 7_425 + 4 * 275, 0, {}) == (
        thop.ours,
        thop.printed,
        thop.remainder,
        thop.off,
    )
    assert {"BatchNorm, 4 per element": 1_100, "attention products unseen": -1_925} == {
        term.name: term.amount for term in thop.terms
    }
    assert 145 == found.entry("fvcore", "params").printed
    # no counter leaves a trace
    assert before.keys() == model.state_dict().keys()
    assert all(torch.equal(t, model.state_dict()[name]) for name, t in before.items())
    assert [] == [m for m in model.modules() if m._forward_hooks or hasattr(m, "total_ops")]
    assert torch.equal(random_state, torch.get_rng_state())
    assert model.training


def test_what_counters_log_and_how_they_set_logging_up_stays_with_them(monkeypatch, capsys):
    root = logging.getLogger()
    monkeypatch.setattr(root, "handlers", [])
    # thop warns of trilinear upsampling by a function that gives the root logger a handler
    assert vidcost.explain(Network(), INPUTS).balanced
    assert ([], 0) == (root.handlers, root.manager.disable)
    assert ("", "") == capsys.readouterr()


def test_a_table_of_terms():
    table = vidcost.explain(Network(), INPUTS).to_pandas()
    fvcore = table[(table["counter"] == "fvcore") & (table["quantity"] == "flops")]
    assert [
        ("ours", 9_350),
        ("BatchNorm, 2 per element", 550),
        ("printed", 9_900),
        ("remainder", 0),
    ] == list(zip(fvcore["term"], fvcore["amount"], strict=True))


def test_an_unknown_entry_is_rejected():
    found = vidcost.explain(nn.Linear(3, 5), torch.ones(2, 3))
    with pytest.raises(
        ValueError, match=r"^no entry of params with 'torch': choose from fvcore, thop, "
    ):
        found.entry("torch", "params")


def test_what_a_counter_cannot_do_is_said():
    class Product(nn.Module):
        def forward(self, x, y):
            return x @ y

    # fvcore does not expect a vector
    found = vidcost.explain(Product(), (torch.ones(3, 5), torch.ones(5)))
    entry = found.entry("fvcore")
    assert ("crashed", None, None, False) == (
        entry.status,
        entry.printed,
        entry.remainder,
        found.balanced,
    )
    assert entry.error.startswith("IndexError: ")
    assert found.entry("thop").balanced


def test_what_is_not_explained_is_a_remainder(monkeypatch):
    monkeypatch.setattr(fvcore, "_norm", lambda *args: ())
    entry = vidcost.explain(Network(), INPUTS).entry("fvcore")
    assert (550, {"BatchNorm": 550}, False) == (entry.remainder, entry.off, entry.balanced)


def test_what_cannot_run_for_real_is_rejected():
    with pytest.raises(ValueError, match=r"^fvcore runs the network: it cannot be on the"):
        vidcost.explain(nn.Linear(3, 5, device="meta"), torch.ones(2, 3))
    model = nn.Linear(3, 5)
    model.lock = threading.Lock()
    with pytest.raises(ValueError, match=r"^Linear cannot be copied: TypeError"):
        vidcost.explain(model, torch.ones(2, 3))

import dataclasses

import pytest
import torch
from torch import nn

from vidcost.bench.count import reconcile as module
from vidcost.bench.count.reconcile import candidates, candidates_of_row, examine, ranked, reconcile
from vidcost.bench.count.references import asking
from vidcost.bench.count.references.reference import Answer
from vidcost.bench.count.rules import RULES
from vidcost.papers.catalog import select
from vidcost.papers.figures import Figure

(MFNET,) = select(["mfnet"])
(CGNL,) = select(["r50-cgnl"])


def stored(row, committed):
    """The entries of ``row`` with the answers of results/counts.jsonl."""
    # not as it was found before: a test may have changed a rule
    examined = examine.__wrapped__(row)
    found = reconcile(examined.with_answers(committed[row.name].reference_counters))
    return {(entry.counter, entry.quantity): entry for entry in found}


def test_entries_by_hand(committed):
    entries = stored(CGNL, committed)
    flops = entries["thop", "flops"]
    assert 21_722_202_112 == flops.ours
    assert {
        # 71,751,680 elements at 4
        "BatchNorm, 4 per element": 287_006_720,
        # CGNL's two products: 1024 channels at 4 x 14 x 14 positions, half as wide inside, twice
        "attention products unseen": -1024 * 784,
        # 2048 channels: 4 x 7 x 7 + 1
        "adaptive pooling, kernel + 1 per output element": 2048 * 197,
    } == {term.name: term.amount for term in flops.terms}
    assert 22_008_809_472 == flops.printed == flops.explained
    params = entries["thop", "params"]
    assert [("parameters of GroupNorm unseen", -2048)] == [
        (term.name, term.amount) for term in params.terms
    ]
    assert (25_558_280, 25_556_232, 0) == (params.ours, params.printed, params.remainder)
    assert {True} == {entry.balanced for entry in entries.values()}


def test_a_wrong_rule_of_ours_is_named(monkeypatch, committed):
    right = RULES["convolution"]
    monkeypatch.setitem(RULES, "convolution", lambda *args: ("conv", 2 * right(*args)[1]))
    entries = stored(MFNET, committed)
    for counter in ("fvcore", "thop", "thop-2020", "torch"):
        assert [
            f"mfnet: {counter}: convolutions: -11,045,142,528 flops are not explained"
        ] == entries[counter, "flops"].complaints
    assert entries["fvcore", "params"].balanced


@pytest.mark.parametrize(
    ("counter", "rules", "lines"),
    [
        # the installed thop as that of May 2020
        ("thop", asking.ALL["thop-2020"].rules, ["BatchNorm: +143,503,360"]),
        ("fvcore", (), ["BatchNorm: +143,503,360", "GroupNorm: +4,014,080"]),
    ],
)
def test_a_wrong_term_is_named(monkeypatch, committed, counter, rules, lines):
    wrong = dataclasses.replace(asking.ALL[counter], rules=rules)
    monkeypatch.setitem(asking.ALL, counter, wrong)
    entries = stored(CGNL, committed)
    expected = {f"r50-cgnl: {counter}: {line} flops are not explained" for line in lines}
    assert expected == set(entries[counter, "flops"].complaints)
    assert {(counter, "flops")} == {key for key, entry in entries.items() if not entry.balanced}


def test_a_counter_without_an_answer_says_why():
    assert [] == reconcile(examine(MFNET))
    missing = Answer(version="not installed", status="missing", error="no thop: install it")
    for entry in reconcile(examine(MFNET).with_answers({"thop": missing})):
        assert (None, None, False) == (entry.printed, entry.remainder, entry.balanced)
        assert ["mfnet: thop missing: no thop: install it"] == entry.complaints


def test_errors_that_cancel_out_totals_that_are_no_sums_and_parameters_are_seen(committed):
    answer = committed["mfnet"].reference_counters["fvcore"]

    def changed(**fields):
        return reconcile(examine(MFNET).with_answers({"fvcore": answer.model_copy(update=fields)}))

    moved = {"convolutions": answer.parts["convolutions"] - 7, "pooling": 7}
    flops, params = changed(parts=answer.parts | moved)
    assert (0, False, True) == (flops.remainder, flops.balanced, params.balanced)
    assert [
        "mfnet: fvcore: convolutions: -7 flops are not explained",
        "mfnet: fvcore: pooling: +7 flops are not explained",
    ] == flops.complaints
    flops, params = changed(flops=answer.flops + 3, params=answer.params - 5)
    assert (3, {"total": 3}, False) == (flops.remainder, flops.off, flops.balanced)
    assert ["mfnet: fvcore: total: +3 flops are not explained"] == flops.complaints
    assert ["mfnet: fvcore: params: -5 params are not explained"] == params.complaints


class Attention(nn.Module):
    """1.5M products with weights, 0.5M of two activations, 1,000 elements of a norm."""

    def __init__(self):
        super().__init__()
        self.layer, self.norm = nn.Linear(1_000, 1_500, bias=False), nn.LayerNorm(1_000)

    def forward(self, x):
        return self.layer(self.norm(x)), x.view(1, 500, 2) @ x.view(1, 2, 500)


def test_conventions_and_views_are_tried_for_a_printed_figure():
    found = list(candidates("here", Attention(), (torch.ones(1, 1_000),)))

    def best(figure, params=None):
        first = ranked(found, Figure.parse(figure), params and Figure.parse(params))[0]
        assert 1_502_000 == first.params
        # behind it the counters that count the same
        return first.convention.partition(" = ")[0], first.flops

    assert ("MACs", 2_000_000) == best("2.000M")
    assert ("MACs without attention", 1_500_000) == best("1.50000M", "1.502M")
    assert ("MACs, 4 per norm element", 2_004_000) == best("2.004M")
    assert ("30 views of 2 x MACs", 120_000_000) == best("120.000M")
    # several give it: the simplest, which are one
    assert ("MACs", 2_000_000) == best("2.0M")
    assert "MACs = torch = ptflops-aten = deepspeed" == found[0].convention
    # nothing gives it: the nearest
    assert "MACs, 5 per norm element" == best("2.0055M")[0]


def test_classes_and_clips_of_a_row_are_tried(monkeypatch):
    # the block does not fit into 32 x 32
    for name, values in (("CLASSES", (3,)), ("FRAMES", (4,)), ("SIZES", (32, 128))):
        monkeypatch.setattr(module, name, values)
    (row,) = select(["mfnet-pnl"])
    # 7,870,984 parameters with 200 classes; 769 less for each of 197
    found = list(candidates_of_row(row, Figure.parse("7.719M")))
    assert {
        "200 classes, 3x16x224x224": 7_870_984,
        "3 classes, 3x16x224x224": 7_870_984 - 197 * 769,
        "200 classes, 3x4x128x128": 7_870_984,
        "3 classes, 3x4x128x128": 7_870_984 - 197 * 769,
    } == {each.setting: each.params for each in found if each.convention[:7] == "MACs = "}

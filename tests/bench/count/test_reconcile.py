import dataclasses

import pytest
import torch
from torch import nn

from vidcost.bench.count.counter import UncountedOperator
from vidcost.bench.count.reconcile import examine, reconcile, reconcile_network
from vidcost.bench.count.references import asking
from vidcost.bench.count.references.reference import Answer, no_terms
from vidcost.bench.count.rules import RULES
from vidcost.papers.catalog import select
from vidcost.papers.pnl2020.rows import ROWS

BUILDABLE = [row for row in ROWS if row.build is not None]
(MFNET,) = select(["mfnet"])
(CGNL,) = select(["r50-cgnl"])
# not as it was found before: a test may have changed a rule
examine_anew = examine.__wrapped__


def with_answers(examined, answers):
    return dataclasses.replace(
        examined, record=examined.record.model_copy(update={"reference_counters": answers})
    )


def stored(row, committed):
    """The entries of ``row`` with the answers of results/counts.jsonl."""
    answers = committed[row.name].reference_counters
    found = reconcile(with_answers(examine_anew(row), answers))
    return {(entry.counter, entry.quantity): entry for entry in found}


def changed(committed, counter, **fields):
    """The entries of mfnet with one counter, whose stored answer has other ``fields``."""
    answer = committed["mfnet"].reference_counters[counter].model_copy(update=fields)
    return reconcile(with_answers(examine(MFNET), {counter: answer}))


@pytest.mark.slow
@pytest.mark.parametrize("row", BUILDABLE, ids=lambda row: row.name)
def test_every_entry_of_every_row_adds_up(row, committed):
    entries = stored(row, committed).values()
    # torch prints no parameters
    assert 7 == len(entries)
    assert [] == [line for entry in entries for line in entry.complaints]
    assert {(0, True)} == {(entry.remainder, entry.balanced) for entry in entries}


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


def test_what_cannot_be_counted_is_raised():
    class Factors(nn.Module):
        def forward(self, x):
            return torch.linalg.qr(x)[0]

    with pytest.raises(UncountedOperator, match="qr"):
        reconcile_network("mine", Factors(), (torch.ones(4),))


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
    ("counter", "terms", "lines"),
    [
        # the installed thop as that of May 2020
        (
            "thop",
            asking.REFERENCE_COUNTERS["thop-2020"].flop_terms,
            {
                "BatchNorm: +143,503,360 flops are not explained",
                # rounded down it is the same
                "convolutions: +0",
            },
        ),
        (
            "fvcore",
            no_terms,
            {
                "BatchNorm: +143,503,360 flops are not explained",
                "GroupNorm: +4,014,080 flops are not explained",
            },
        ),
    ],
)
def test_a_wrong_term_is_named(monkeypatch, committed, counter, terms, lines):
    wrong = dataclasses.replace(asking.ALL[counter], flop_terms=terms)
    monkeypatch.setitem(asking.ALL, counter, wrong)
    entries = stored(CGNL, committed)
    expected = {f"r50-cgnl: {counter}: {line}" for line in lines if not line.endswith("+0")}
    assert expected == set(entries[counter, "flops"].complaints)
    assert {(counter, "flops")} == {key for key, entry in entries.items() if not entry.balanced}


def test_a_counter_without_an_answer_says_why():
    assert [] == reconcile(examine(MFNET))
    missing = Answer(version="not installed", status="missing", error="no thop: install it")
    for entry in reconcile(with_answers(examine(MFNET), {"thop": missing})):
        assert (None, None, False) == (entry.printed, entry.remainder, entry.balanced)
        assert ["mfnet: thop missing: no thop: install it"] == entry.complaints


def test_errors_that_cancel_out_totals_that_are_no_sums_and_parameters_are_seen(committed):
    answer = committed["mfnet"].reference_counters["fvcore"]
    parts = answer.parts
    moved = parts | {"convolutions": parts["convolutions"] - 7, "pooling": 7}
    flops, params = changed(committed, "fvcore", parts=moved)
    assert (0, False, True) == (flops.remainder, flops.balanced, params.balanced)
    assert [
        "mfnet: fvcore: convolutions: -7 flops are not explained",
        "mfnet: fvcore: pooling: +7 flops are not explained",
    ] == flops.complaints
    flops, params = changed(committed, "fvcore", flops=answer.flops + 3, params=answer.params - 5)
    assert (3, {}, False) == (flops.remainder, flops.off, flops.balanced)
    assert ["mfnet: fvcore: total: +3 flops are not explained"] == flops.complaints
    assert ["mfnet: fvcore: params: -5 params are not explained"] == params.complaints

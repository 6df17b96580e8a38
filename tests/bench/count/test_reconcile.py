"""The ledger: accounts that add up, and every way in which one does not."""

from __future__ import annotations

import dataclasses

import pytest

from vidcost.bench.count import conventions, record, thop_convention
from vidcost.bench.count.answer import Answer
from vidcost.bench.count.reconcile import complaints, examine, reconcile
from vidcost.bench.count.rules import RULES
from vidcost.papers.catalog import select
from vidcost.papers.pnl2020.rows import ROWS

BUILDABLE = [row for row in ROWS if row.build is not None]
(MFNET,) = select(["mfnet"])
(CGNL,) = select(["r50-cgnl"])


def answered(examined, committed):
    """``examined`` with the answers of results/counts.jsonl."""
    answers = committed[examined.record.row].reference_counters
    return dataclasses.replace(
        examined, record=examined.record.model_copy(update={"reference_counters": answers})
    )


# not as it was found before: a test may have changed a rule
examine_anew = examine.__wrapped__


def accounts(row, committed):
    return {
        (entry.counter, entry.quantity): entry
        for entry in reconcile(answered(examine_anew(row), committed))
    }


@pytest.mark.parametrize("row", BUILDABLE, ids=lambda row: row.name)
def test_every_account_of_every_row_adds_up(row, committed):
    entries = reconcile(answered(examine(row), committed))
    # torch prints no parameters
    assert 7 == len(entries)
    assert [] == [line for entry in entries for line in complaints(entry)]
    assert {(0, True)} == {(entry.remainder, entry.balanced) for entry in entries}
    assert [entry.printed for entry in entries] == [entry.explained for entry in entries]


def test_an_account_by_hand(committed):
    flops = accounts(CGNL, committed)["thop", "flops"]
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
    params = accounts(CGNL, committed)["thop", "params"]
    assert [("parameters of GroupNorm unseen", -2048)] == [
        (term.name, term.amount) for term in params.terms
    ]
    assert (25_558_280, 25_556_232, 0) == (params.ours, params.printed, params.remainder)


def test_a_counter_that_was_not_asked_has_no_account():
    assert [] == reconcile(examine(MFNET))


def test_what_needs_gigabytes():
    large = [row.name for row in BUILDABLE if examine(row).is_large]
    assert ["mfnet-pnl-n2-conv2"] == large


# accounts that do not add up


def test_a_convolution_rule_of_ours_that_is_wrong_is_named(monkeypatch, committed):
    right = RULES["convolution"]

    def doubled(*args):
        kind, amount = right(*args)
        return kind, 2 * amount

    monkeypatch.setitem(RULES, "convolution", doubled)
    entries = accounts(MFNET, committed)
    for counter in ("fvcore", "thop", "thop-2020", "torch"):
        entry = entries[counter, "flops"]
        assert -11_045_142_528 == entry.remainder
        assert [
            f"mfnet: {counter}: convolutions: -11,045,142,528 flops are not explained"
        ] == complaints(entry)
    assert entries["fvcore", "params"].balanced


def test_a_wrong_factor_of_a_term_is_named(monkeypatch, committed):
    """As if the thop installed booked BatchNorm as that of May 2020 does."""
    wrong = dataclasses.replace(thop_convention.INSTALLED, norms=thop_convention.MAY_2020.norms)
    monkeypatch.setitem(conventions._TERMS, "thop", conventions._thop(wrong))
    entries = accounts(MFNET, committed)
    assert ["mfnet: thop: BatchNorm: +131,059,712 flops are not explained"] == complaints(
        entries["thop", "flops"]
    )
    assert {("thop", "flops")} == {key for key, entry in entries.items() if not entry.balanced}


def test_a_term_that_is_missing_is_named(monkeypatch, committed):
    monkeypatch.setitem(conventions._TERMS, "fvcore", (conventions._none, conventions._none))
    assert [
        "r50-cgnl: fvcore: BatchNorm: +143,503,360 flops are not explained",
        "r50-cgnl: fvcore: GroupNorm: +4,014,080 flops are not explained",
    ] == sorted(complaints(accounts(CGNL, committed)["fvcore", "flops"]))


def test_errors_that_cancel_out_are_still_seen(committed):
    """The total is right, but it is made up otherwise."""
    record = committed["mfnet"]
    answer = record.reference_counters["fvcore"]
    parts = answer.parts | {
        "convolutions": answer.parts["convolutions"] - 7,
        "pooling": 7,
    }
    moved = {"fvcore": answer.model_copy(update={"parts": parts})}
    case = dataclasses.replace(
        examine(MFNET), record=record.model_copy(update={"reference_counters": moved})
    )
    flops, params = reconcile(case)
    assert (0, False, True) == (flops.remainder, flops.balanced, params.balanced)
    assert [
        "mfnet: fvcore: convolutions: -7 flops are not explained",
        "mfnet: fvcore: pooling: +7 flops are not explained",
    ] == complaints(flops)


def test_a_total_that_is_not_the_sum_of_its_headings_is_seen(committed):
    record = committed["mfnet"]
    answer = record.reference_counters["fvcore"]
    other = {"fvcore": answer.model_copy(update={"flops": answer.flops + 3})}
    case = dataclasses.replace(
        examine(MFNET), record=record.model_copy(update={"reference_counters": other})
    )
    flops, _ = reconcile(case)
    assert (3, {}, False) == (flops.remainder, flops.off, flops.balanced)
    assert ["mfnet: fvcore: total: +3 flops are not explained"] == complaints(flops)


def test_parameters_that_are_not_explained(committed):
    record = committed["mfnet"]
    answer = record.reference_counters["thop"]
    other = {"thop": answer.model_copy(update={"params": answer.params - 5})}
    case = dataclasses.replace(
        examine(MFNET), record=record.model_copy(update={"reference_counters": other})
    )
    flops, params = reconcile(case)
    assert flops.balanced
    assert ["mfnet: thop: params: -5 params are not explained"] == complaints(params)


def test_a_counter_without_an_answer_says_why(committed):
    missing = Answer(version="not installed", status="missing", error="no thop: install it")
    case = dataclasses.replace(
        examine(MFNET),
        record=committed["mfnet"].model_copy(update={"reference_counters": {"thop": missing}}),
    )
    for entry in reconcile(case):
        assert (None, None, False) == (entry.printed, entry.remainder, entry.balanced)
        assert ["mfnet: thop missing: no thop: install it"] == complaints(entry)


def test_a_wrong_closed_form_is_found_first(monkeypatch):
    monkeypatch.setattr(record, "verify", lambda *args: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        examine_anew(MFNET)

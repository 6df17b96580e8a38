from dataclasses import replace

import pytest

from vidcost.bench.count.reconcile import examine, reconcile
from vidcost.bench.count.references.reference import Answer
from vidcost.bench.report.plots.reconciliation import reconciliation_plot, steps
from vidcost.papers import catalog


def reconciled(records):
    rows = catalog.select(list(records))
    return [
        entry
        for row in rows
        for entry in reconcile(replace(examine(row), record=records[row.name]))
    ]


@pytest.fixture(scope="module")
def entries(committed):
    return reconciled({row: committed[row] for row in ("mfnet", "mfnet-nl")})


def answered(record, name, **fields):
    answers = record.reference_counters
    answers = answers | {name: answers[name].model_copy(update=fields)}
    return record.model_copy(update={"reference_counters": answers})


def of(entries, counter, row="mfnet-nl"):
    return [step for step in steps(entries) if (step["row"], step["counter"]) == (row, counter)]


def test_steps_lead_from_our_macs_to_what_is_printed(entries):
    assert [
        ("our MACs", 12_451_829_760),
        ("BatchNorm, 2 per element", 132_263_936),
        ("attention products unseen", -944_111_616),
        ("average pooling, 1 per output element", 768),
        ("printed by thop-2020", 11_639_982_848),
    ] == [(step["what"], step["amount"]) for step in of(entries, "thop-2020")]


def test_each_step_begins_where_the_last_one_ended(entries):
    ours, *terms, printed = of(entries, "thop")
    ends = [ours["end"], *(term["end"] for term in terms)]
    assert [*ends[:-1], printed["start"]] == [term["start"] for term in terms] + [ends[-1]]
    assert ["ours", "added", "unseen", "added", "printed"] == [
        step["kind"] for step in (ours, *terms, printed)
    ]


def test_an_unexplained_remainder_is_a_step_of_its_own(committed):
    record = committed["mfnet-nl"]
    wrong = answered(record, "fvcore", flops=record.reference_counters["fvcore"].flops + 5)
    left = of(reconciled({"mfnet-nl": wrong}), "fvcore")[-2]
    assert ("not explained", "unexplained", 5) == (left["what"], left["kind"], left["amount"])


def test_the_paper_chooses_what_is_shown_first(entries, committed):
    row, counter = reconciliation_plot(entries, ("mfnet-nl", "thop-2020")).choices
    assert ("mfnet-nl", "thop-2020") == (row.first, counter.first)
    row, _ = reconciliation_plot(entries, ("gone", "thop")).choices
    assert "mfnet" == row.first
    assert reconciliation_plot([]) is None
    # a counter without an answer is a choice without data
    silent = Answer(version="1", status="crashed", error="boom").model_dump()
    records = {"mfnet-nl": answered(committed["mfnet-nl"], "thop", **silent)}
    chosen = {"row": "mfnet-nl", "counter": "thop"}
    plot = reconciliation_plot(reconciled({"mfnet": committed["mfnet"]} | records))
    vega = plot.vega(chosen=chosen)
    assert [chosen] in [d.get("values") for d in vega["data"]]

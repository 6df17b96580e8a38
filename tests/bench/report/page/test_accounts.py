import pytest

from vidcost.bench.count.references.reference import Answer
from vidcost.bench.report.page.accounts import accounts, steps
from vidcost.bench.report.page.ledger_plot import ledger_plot


@pytest.fixture(scope="module")
def found(committed):
    return accounts({"mfnet-nl": committed["mfnet-nl"]})


def of(found, counter):
    return [step for step in steps(found) if step.counter == counter]


def test_steps_lead_from_our_macs_to_what_is_printed(found):
    # the figures of README's ledger
    assert [
        ("our MACs", 12_451_829_760),
        ("BatchNorm, 2 per element", 132_263_936),
        ("attention products unseen", -944_111_616),
        ("average pooling, 1 per output element", 768),
        ("printed by thop-2020", 11_639_982_848),
    ] == [(step.what, step.amount) for step in of(found, "thop-2020")]


def test_each_step_begins_where_the_last_one_ended(found):
    ours, *terms, printed = of(found, "thop")
    ends = [ours.end, *(term.end for term in terms)]
    assert [*ends[:-1], printed.start] == [term.start for term in terms] + [ends[-1]]
    assert ["ours", "added", "unseen", "added", "printed"] == [
        step.kind for step in (ours, *terms, printed)
    ]


def test_what_is_left_over_is_a_step_of_its_own(committed):
    record = committed["mfnet-nl"]
    answer = record.reference_counters["fvcore"].model_copy(
        update={"flops": record.reference_counters["fvcore"].flops + 5}
    )
    wrong = record.model_copy(update={"reference_counters": {"fvcore": answer}})
    left = of(accounts({"mfnet-nl": wrong}), "fvcore")[-2]
    assert ("not explained", "unexplained", 5) == (left.what, left.kind, left.amount)


def test_a_counter_without_an_answer_is_said(committed):
    silent = Answer(version="1", status="crashed", error="boom")
    record = committed["mfnet-nl"]
    reference_counters = record.reference_counters | {"thop": silent}
    found = accounts(
        {"mfnet-nl": record.model_copy(update={"reference_counters": reference_counters})}
    )
    other = accounts({"mfnet": committed["mfnet"]})
    plot = ledger_plot(steps([*found, *other]))
    assert {("mfnet-nl", "thop"): "thop gave no answer for mfnet-nl."} == plot.said


def test_a_row_that_is_no_more_has_no_account(made_up):
    assert [] == accounts({"gone": made_up("gone", fvcore=7)})


def test_without_any_answer_there_is_no_plot():
    with pytest.raises(ValueError, match="no counter answered"):
        ledger_plot([])

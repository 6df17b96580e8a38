import pytest

from vidcost.bench.count.reconcile import Entry
from vidcost.bench.count.references.reference import Term
from vidcost.bench.report.reconciliation import reconciliation_table, statement_table, tidy_table

NORM = Term("BatchNorm, 2 per element", "BatchNorm", 140)
UNSEEN = Term("attention products unseen", "products", -10)


def entry(row="a", counter="fvcore", quantity="flops", terms=(NORM, UNSEEN), **known):
    fields = {"ours": 1_000, "printed": 1_130, "off": {}, "version": "7", "status": "answered"}
    return Entry(
        row=row, counter=counter, quantity=quantity, terms=tuple(terms), **(fields | known)
    )


@pytest.fixture
def entries():
    missing = {"version": "not installed", "status": "missing", "error": "install it"}
    return [
        entry(),
        entry(quantity="params", ours=211, printed=210, terms=(Term("unseen", "params", -1),)),
        entry(counter="thop", printed=None, terms=(UNSEEN,), **missing),
        entry(row="b", ours=2_003, printed=2_150, terms=(NORM,), off={"BatchNorm": 7}),
        entry(row="b", counter="thop", ours=2_003, printed=2_003, terms=()),
    ]


@pytest.fixture
def shown(cells):
    """The cells of a table, line by line."""
    return lambda table: [list(line.values()) for line in cells(table)]


def test_a_statement_leads_from_ours_to_what_is_printed(entries, shown):
    assert [
        ["our MACs", "1,000", "1,000"],
        ["BatchNorm, 2 per element", "140", "–"],
        ["attention products unseen", "-10", "-10"],
        ["FLOPs printed", "1,130", "missing"],
        ["remainder", "0", "–"],
        ["our parameters", "211", "–"],
        ["unseen", "-1", "–"],
        ["parameters printed", "210", "–"],
        ["remainder", "0", "–"],
    ] == shown(statement_table(entries[:3]))


def test_the_overview_says_what_is_left(entries, shown):
    assert [
        ["a", "1,000", "1,130", "missing", "3", "thop flops: missing"],
        ["b", "2,003", "2,150", "2,003", "2", "fvcore flops: BatchNorm +7"],
    ] == shown(reconciliation_table(entries))
    assert "0" == shown(reconciliation_table(entries[:2]))[-1][-1]


def test_data_has_a_line_for_each_amount(entries):
    lines = [
        line
        for line in tidy_table(entries).lines
        if ("a", "thop") == (line["row"], line["counter"])
    ]
    assert [
        ("ours", 1_000),
        ("attention products unseen", -10),
        ("printed", None),
        ("remainder", None),
    ] == [(line["what"], line["amount"]) for line in lines]
    assert {("missing", "not installed", "flops")} == {
        (line["status"], line["version"], line["quantity"]) for line in lines
    }

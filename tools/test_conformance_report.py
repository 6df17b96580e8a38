import pytest
from conformance.operators import CASES
from conformance.report import conformance_tables, summary_table
from conformance.statements import Statement

PRODUCTS = 33


def statement(counter, *, error="", terms=None, **figures):
    """A counter that is right on everything but what is given; a string is a status."""
    figures = {o.name: figures.get(o.name, o.macs) for o in CASES}
    return Statement(counter, "3.2.1", figures, terms or {}, error)


def cell(table, operator, key):
    """A cell as people see it, and its footnote."""
    (index,) = (i for i, line in enumerate(table.lines) if line["operator"] == operator)
    (column,) = (column for column in table.columns if column.key == key)
    mark = " ✓" if (index, key) in table.equal else ""
    return column.format(table.lines[index][key]) + mark, table.footnotes.get((index, key))


@pytest.mark.parametrize(
    ("counter", "operator", "said", "shown", "note"),
    [
        ("thop", "nn.Conv1d", 2_310, "2,310 ✓", None),
        ("thop", "nn.Conv1d", 6_930, "6,930", "3.000 times the MACs"),
        ("thop", "torch.mm", "raises TypeError", "raises TypeError", None),
        ("thop", "torch.mm", 0, "0", "attention products unseen"),
        ("ours", "torch.mm", 0, "0", "0.000 times the MACs"),
        # without products, where nobody is right
        ("fvcore", "nn.BatchNorm1d", 60, "60", "BatchNorm, 2 per element"),
        ("fvcore", "nn.BatchNorm1d", 61, "61", "not explained"),
        ("fvcore", "nn.ReLU", 0, "0", None),
    ],
)
def test_only_a_true_figure_has_the_mark_and_others_say_why(counter, operator, said, shown, note):
    explained = {operator: note} if note and " times " not in note and note[:3] != "not" else {}
    found = statement(counter, terms=explained, **{operator: said})
    _, products, networks, without = conformance_tables([found])
    assert (PRODUCTS, 3, len(CASES) - PRODUCTS - 3) == tuple(
        len(table.lines) for table in (products, networks, without)
    )
    has_products = any(line["operator"] == operator for line in products.lines)
    assert (shown, note) == cell(products if has_products else without, operator, counter)
    assert frozenset() == without.equal


def test_the_summary_says_how_often_each_is_right():
    table = summary_table(
        [
            statement("a", **{"torch.mm": 7, "torch.bmm": "raises TypeError"}),
            statement("b", error="exit status 1: boom"),
            # no product, so nobody is wrong
            statement("c", **{"nn.ReLU": 15}),
        ]
    )
    assert ["31 of 33", "not asked", "33 of 33"] == [line["right"] for line in table.lines]
    assert "b could not be asked: exit status 1: boom" in table.legend

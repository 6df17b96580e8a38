import json

import pytest

from vidcost.bench.count.conformance import Statement
from vidcost.bench.count.operators import OPERATORS
from vidcost.bench.report.conformance import (
    convention_table,
    data_table,
    product_table,
    summary_table,
)

PRODUCTS = 34
DIFFERENTIABLE = 33


def statement(counter, *, backward=True, error="", **figures):
    """A counter that is right on everything but what is given; a string is a status."""
    return Statement(
        counter,
        "3.2.1",
        forward={o.name: figures.get(o.name, o.macs) for o in OPERATORS},
        backward={
            o.name: figures.get(f"{o.name} backward", o.backward)
            for o in OPERATORS
            if backward and o.backward is not None
        },
        error=error,
    )


def cell(table, operator, key):
    """A cell as people see it, and its footnote."""
    (index,) = (i for i, line in enumerate(table.lines) if line["operator"] == operator)
    (column,) = (column for column in table.columns if column.key == key)
    mark = " ✓" if (index, key) in table.equal else ""
    return column.format(table.lines[index][key]) + mark, table.footnotes.get((index, key))


def test_backward_leaves_out_who_does_not_count_it():
    name = "nn.Conv3d, 3 groups backward"
    statements = [statement("ours"), statement("a"), statement("b", backward=False)]
    statements[1] = statement("a", **{name: 85_765_680})
    table = product_table(statements, "backward")
    assert ["operator", "true", "ours", "a"] == [column.key for column in table.columns]
    assert DIFFERENTIABLE == len(table.lines)
    assert ("85,765,680", "the weight's gradient as if there were no groups") == (
        cell(table, "nn.Conv3d, 3 groups", "a")
    )
    assert ("42,882,840 ✓", None) == cell(table, "nn.Conv3d, 3 groups", "ours")


@pytest.mark.parametrize(
    ("operator", "said", "shown"),
    [
        ("nn.BatchNorm1d", 60, "2 per element"),
        ("nn.GroupNorm", 150_150, "5 per element"),
        ("nn.ReLU", 0, "0"),
        ("nn.ReLU", "raises KeyError", "raises KeyError"),
        ("nn.ReLU", 31, "31"),
        # (2, 3, 7, 11) in, (2, 3, 3, 5) out
        ("nn.AvgPool2d", 90, "1 per element out"),
        ("nn.AvgPool2d", 462, "1 per element in"),
        ("nn.AvgPool2d", 552, "1 per element in, 1 out"),
        ("nn.AdaptiveAvgPool2d", 858, "1 per element in"),
        # (2, 3, 11, 13) in, four times as many out
        ("F.interpolate, bilinear 2d", 13_728, "4 per element out"),
        # 15 rows of 7
        ("nn.Softmax", 300, "3 per element less 1 per row"),
    ],
)
def test_without_products_figures_are_by_element_and_nobody_is_right(operator, said, shown):
    table = convention_table([statement("other", **{operator: said})])
    assert (shown, None) == cell(table, operator, "other")
    assert (frozenset(), len(OPERATORS) - PRODUCTS) == (table.equal, len(table.lines))


def test_the_summary_says_how_often_each_is_right():
    table = summary_table(
        [
            statement("ours"),
            statement("a", backward=False, **{"torch.mm": 7, "torch.bmm": "raises TypeError"}),
            statement("b", backward=False, error="exit status 1: boom"),
            # no product, so nobody is wrong
            statement("c", **{"nn.ReLU": 15, "torch.mm backward": 7}),
        ]
    )
    assert [
        ("ours", "34 of 34", "33 of 33"),
        ("a", "32 of 34", None),
        ("b", "not asked", "not asked"),
        ("c", "34 of 34", "32 of 33"),
    ] == [(line["counter"], line["forward"], line["backward"]) for line in table.lines]
    assert "b could not be asked: exit status 1: boom" in table.legend


def test_data_hold_plain_integers_and_statuses():
    statements = [
        statement("thop-2020", backward=False, **{"nn.Conv1d": "raises TypeError"}),
        statement("torch on CPU", **{"nn.Conv1d backward": 7}),
    ]
    assert {
        "operator": "nn.Conv1d",
        "inputs": "2x3x17",
        "forward": 2_310,
        "backward": 4_620,
        "thop-2020_forward": None,
        "thop-2020_forward_status": "raises TypeError",
        "torch_on_cpu_forward": 2_310,
        "torch_on_cpu_forward_status": None,
        "torch_on_cpu_backward": 7,
        "torch_on_cpu_backward_status": None,
    } == json.loads(data_table(statements).json())[0]
    assert len(OPERATORS) == len(data_table(statements).lines)


@pytest.mark.parametrize(
    ("operator", "said", "shown", "note"),
    [
        ("nn.Conv1d", 2_310, "2,310 ✓", None),
        ("nn.Conv1d", 2_311, "2,311", "1.000 times the MACs"),
        ("nn.Conv1d", 6_930, "6,930", "3.000 times the MACs"),
        ("torch.mm", "raises TypeError", "raises TypeError", None),
        ("torch.mm", 0, "0", "not seen"),
        # 24,310 out, 126 entries and a bias
        ("nn.Conv3d with bias", 3_087_370, "3,087,370", "1 more per output element, the bias"),
        # 2 x 5 x 17 out, 21 entries
        ("nn.ConvTranspose1d", 3_570, "3,570", "as if not transposed, a filter for each output el"),
    ],
)
def test_only_a_true_figure_has_the_mark_and_others_say_why(operator, said, shown, note):
    table = product_table([statement("other", **{operator: said})], "forward")
    found, why = cell(table, operator, "other")
    assert shown == found
    assert (note or "") == (why or "")[: len(note or "")]
    assert PRODUCTS - ("✓" not in shown) == len(table.equal)
    assert PRODUCTS == len(table.lines)

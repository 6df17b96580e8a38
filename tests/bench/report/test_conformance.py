import json

import pytest

from vidcost.bench.count.conformance import Statement
from vidcost.bench.count.operators import OPERATORS
from vidcost.bench.report.conformance import conformance_tables, data_table, summary_table

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
    wrong = {"nn.Conv3d, 3 groups backward": 85_765_680, "torch.mm backward": 0}
    statements = [statement("ours"), statement("a", **wrong), statement("b", backward=False)]
    table = conformance_tables(statements)[2]
    assert ["operator", "true", "ours", "a"] == [column.key for column in table.columns]
    assert DIFFERENTIABLE == len(table.lines)
    assert ("85,765,680", "2.000 times the MACs") == cell(table, "nn.Conv3d, 3 groups", "a")
    assert ("42,882,840 ✓", None) == cell(table, "nn.Conv3d, 3 groups", "ours")
    assert ("0", "not seen") == cell(table, "torch.mm", "a")


@pytest.mark.parametrize(
    ("counter", "operator", "said", "shown", "note"),
    [
        ("thop", "nn.Conv1d", 2_310, "2,310 ✓", None),
        ("thop", "nn.Conv1d", 6_930, "6,930", "3.000 times the MACs"),
        ("thop", "torch.mm", "raises TypeError", "raises TypeError", None),
        ("thop", "torch.mm", 0, "0", "attention products unseen"),
        ("ours", "torch.mm", 0, "0", "not seen"),
        ("torch on CPU", "2-D @ vector", 0, "0", "mv unseen"),
        # 24,310 out, 126 entries and a bias
        (
            *("thop-2020", "nn.Conv3d with bias", 3_087_370, "3,087,370"),
            "bias of convolutions, 1 per output element",
        ),
        # 2 x 5 x 17 out, 21 entries
        (
            *("thop", "nn.ConvTranspose1d", 3_570, "3,570"),
            "transposed convolutions, per output element",
        ),
        # without products, where nobody is right
        ("fvcore", "nn.BatchNorm1d", 60, "60", "BatchNorm, 2 per element"),
        ("fvcore", "nn.BatchNorm1d", 61, "61", "not explained"),
        ("fvcore", "nn.ReLU", 0, "0", None),
    ],
)
def test_only_a_true_figure_has_the_mark_and_others_say_why(counter, operator, said, shown, note):
    _, forward, _, without = conformance_tables([statement(counter, **{operator: said})])
    assert (PRODUCTS, len(OPERATORS) - PRODUCTS) == (len(forward.lines), len(without.lines))
    has_products = any(line["operator"] == operator for line in forward.lines)
    assert (shown, note) == cell(forward if has_products else without, operator, counter)
    assert frozenset() == without.equal


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

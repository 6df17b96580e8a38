import torch
from torch import nn

from vidcost.bench.count import reconcile
from vidcost.bench.count.reconcile import candidates, candidates_of_row, ranked
from vidcost.papers.catalog import select
from vidcost.papers.figures import Figure


class Attention(nn.Module):
    """1.5M products with weights, 0.5M of two activations, 1,000 elements of a norm."""

    def __init__(self):
        super().__init__()
        self.layer, self.norm = nn.Linear(1_000, 1_500, bias=False), nn.LayerNorm(1_000)

    def forward(self, x):
        return self.layer(self.norm(x)), x.view(1, 500, 2) @ x.view(1, 2, 500)


def best(figure, params=None):
    parsed = None if params is None else Figure.parse(params)
    found = list(candidates("here", Attention(), (torch.ones(1, 1_000),)))
    first = ranked(found, Figure.parse(figure), parsed)[0]
    return first.convention, first.flops, first.params


def test_conventions_and_views_are_tried():
    assert ("MACs", 2_000_000, 1_502_000) == best("2.000M")
    assert ("MACs without attention", 1_500_000, 1_502_000) == best("1.50000M", "1.502M")
    assert ("MACs, 4 per norm element", 2_004_000, 1_502_000) == best("2.004M")
    assert ("30 views of 2 x MACs", 120_000_000, 1_502_000) == best("120.000M")
    # nothing gives it: the nearest
    assert "MACs, 5 per norm element" == best("2.0055M")[0]


def test_classes_and_clips_of_a_row_are_tried(monkeypatch):
    # the block does not fit into 32 x 32
    for name, values in (("CLASSES", (3,)), ("FRAMES", (4,)), ("SIZES", (32, 128))):
        monkeypatch.setattr(reconcile, name, values)
    (row,) = select(["mfnet-pnl"])
    # 7,870,984 parameters with 200 classes; 769 less for each of 197
    found = list(candidates_of_row(row, Figure.parse("7.719M")))
    assert {
        "200 classes, 3x16x224x224": 7_870_984,
        "3 classes, 3x16x224x224": 7_870_984 - 197 * 769,
        "200 classes, 3x4x128x128": 7_870_984,
        "3 classes, 3x4x128x128": 7_870_984 - 197 * 769,
    } == {each.setting: each.params for each in found if each.convention == "MACs"}

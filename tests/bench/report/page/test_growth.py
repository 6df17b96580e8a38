from itertools import pairwise

import pytest

from vidcost.bench.count.modules import ClosedFormMismatch
from vidcost.bench.report.page import growth as module
from vidcost.bench.report.page.growth import growth
from vidcost.bench.report.page.growth_plot import APART, growth_plot
from vidcost.models.blocks import NonLocal


@pytest.fixture(scope="module")
def sizes():
    return growth()


def test_costs_are_the_hand_worked_integers(sizes):
    # C = 384, N = 8 * 14 * 14: 2 C^2 N + C N^2, and C N^2 of them attention
    found = {
        size.quantity: (size.positions, size.formula, size.counted)
        for size in sizes
        if (size.block, size.side) == ("nl", 14)
    }
    positions = 8 * 14 * 14
    attention = 384 * positions**2
    whole = 2 * 384**2 * positions + attention
    assert {
        "macs": (positions, whole, whole),
        "matmul": (positions, attention, attention),
    } == found


def test_a_curve_has_sizes_that_are_not_counted(sizes):
    counted = [size.side for size in sizes if size.block == "nl" and size.counted is not None]
    sides = [size.side for size in sizes if size.block == "nl"]
    assert (2 * 8, 2 * 53) == (len(counted), len(sides))


def test_a_wrong_closed_form_is_refused(monkeypatch):
    cost = NonLocal.cost
    monkeypatch.setattr(NonLocal, "cost", lambda self, shape: cost(self, shape) + cost(self, shape))
    with pytest.raises(ClosedFormMismatch, match="nl at 1x384x8x8x8"):
        module.growth()


def test_a_block_that_does_not_grow_is_said_and_not_drawn(sizes):
    plot = growth_plot(sizes)
    assert plot.caption.endswith("CGD needs 1,152 MACs at every N and is not drawn.")
    assert {False} == {line["drawn"] for line in plot.data.lines if line["block"] == "cgd"}


def test_labels_at_the_ends_stand_apart(sizes):
    heights = sorted(
        line["label_at"]
        for line in growth_plot(sizes).data.lines
        if line["label_at"] and line["quantity"] == "macs"
    )
    assert 5 == len(heights)
    assert all(above >= APART * below for below, above in pairwise(heights))

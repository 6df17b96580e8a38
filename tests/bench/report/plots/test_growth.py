import pytest

from vidcost.bench.count.modules import ClosedFormMismatch
from vidcost.bench.report.plots.growth import growth_lines, growth_plot
from vidcost.models.blocks.non_local import NonLocal
from vidcost.papers.figures import Growth


@pytest.fixture(scope="module")
def plot():
    return growth_plot(Growth(blocks=("nl", "cgd"), channels=384, frames=8, side=14))


def test_costs_are_the_hand_worked_integers(plot):
    # C = 384, N = 8 * 14 * 14: 2 C^2 N + C N^2, and C N^2 of them attention
    found = {
        line["quantity"]: (line["positions"], line["formula"], line["counted"])
        for line in plot.lines
        if (line["block"], line["side"]) == ("nl", 14)
    }
    positions = 8 * 14 * 14
    attention = 384 * positions**2
    whole = 2 * 384**2 * positions + attention
    assert {
        "macs": (positions, whole, whole),
        "matmul": (positions, attention, attention),
    } == found


def test_a_curve_has_sizes_that_are_not_counted(plot):
    nl = [line for line in plot.lines if line["block"] == "nl"]
    assert (2 * 53, 2 * 8) == (len(nl), sum(line["counted"] is not None for line in nl))


def test_a_wrong_closed_form_is_rejected(monkeypatch):
    cost = NonLocal.cost
    monkeypatch.setattr(NonLocal, "cost", lambda self, shape: cost(self, shape) + cost(self, shape))
    with pytest.raises(ClosedFormMismatch, match="nl at 1x384x8x8x8"):
        growth_lines(["nl"], 384, 8)


def test_a_block_that_does_not_grow_is_named_and_not_drawn(plot):
    assert plot.caption.endswith("cgd needs 1,152 MACs at every N and is not drawn.")
    assert {False} == {line["drawn"] for line in plot.lines if line["block"] == "cgd"}

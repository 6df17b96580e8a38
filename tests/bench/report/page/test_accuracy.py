import pytest

from vidcost.bench.report.page.accuracy import SETS, axes, points
from vidcost.bench.report.page.accuracy_plot import accuracy_plot
from vidcost.bench.report.page.measured import devices
from vidcost.papers import catalog


@pytest.fixture
def drawn(committed):
    return points(catalog.paper(), committed, [])


def of(drawn, set_, axis):
    return {point.row: point for point in drawn if (point.set, point.axis) == (set_, axis)}


def test_a_point_has_the_printed_accuracy_and_the_counted_cost(drawn):
    point = of(drawn, "table-5", "macs")["mfnet-nl"]
    assert (79.74, 12.451829760, "counted") == (point.top1, point.cost, point.source)
    assert ("MFNet-NL", "MFNet", 5) == (point.label, point.family, point.table)


def test_printed_flops_are_the_paper_s(drawn):
    point = of(drawn, "table-6", "flops_printed")["r50-ucf101"]
    assert (10.29, "printed in Table 6") == (point.cost, point.source)


def test_a_bound_is_no_cost(drawn):
    # the paper prints >107.9G for the two-stream I3D
    assert "i3d-ts" not in of(drawn, "table-5", "flops_printed")


def test_the_front_has_no_row_that_another_beats(drawn):
    # by hand, from Table 5: ResFrame TS costs least, MFNet, PNL and PNLx5 are each more accurate
    front = {row for row, point in of(drawn, "table-5", "macs").items() if point.on_front}
    assert {"resframe-ts", "mfnet", "mfnet-pnl", "mfnet-pnl-x5"} == front


def test_a_cheaper_and_better_row_takes_the_front(committed):
    cheap = committed["mfnet-pnl-x5"].model_copy(update={"conv": 1, "linear": 0, "matmul": 0})
    found = points(catalog.paper(), committed | {"mfnet-pnl-x5": cheap}, [])
    front = {row for row, point in of(found, "table-5", "macs").items() if point.on_front}
    assert {"mfnet-pnl-x5"} == front


def test_a_set_has_accuracies_of_one_dataset(drawn):
    assert {"table-5", "table-6", "mini-kinetics"} == set(SETS)
    assert {6} == {point.table for point in drawn if point.set == "table-6"}
    assert not [point for point in drawn if point.set != "table-6" and point.table == 6]


def test_timed_costs_are_those_at_the_rows_own_clips(small, committed):
    timed = devices(small)
    assert ["latency@Abacus", "memory@Abacus", "energy@Abacus"] == [
        axis.key for axis in axes(timed)
    ][3:]
    found = points(catalog.paper(), committed, timed)
    latency = {row: point.cost for row, point in of(found, "table-5", "latency@Abacus").items()}
    assert {"mfnet": pytest.approx(500), "mfnet-nl": pytest.approx(700)} == latency
    memory = of(found, "table-5", "memory@Abacus")["mfnet"]
    assert (61.0, "timed on Abacus, batch 1, fp32, eager, inference") == (
        memory.cost,
        memory.source,
    )


def test_what_has_no_data_says_what_makes_them(drawn):
    plot = accuracy_plot(drawn, axes([]))
    assert (
        "Nothing to draw: no row is stored that was timed at its own clip: `vidcost time` makes "
        "timings."
    ) == plot.said["table-5", "latency"]
    assert "--device cuda" in plot.said["table-6", "energy"]
    assert ("table-5", "macs") not in plot.said

import pytest

from vidcost.bench.report.paper import paper_table
from vidcost.bench.report.timing import (
    contribution_table,
    timing_table,
    with_timings,
)
from vidcost.bench.timing.cell import Cell
from vidcost.bench.timing.figures import figures, pair_figures
from vidcost.bench.timing.store import by_kind, of_one_machine
from vidcost.papers import catalog
from vidcost.papers.pnl2020.rows import ROWS

MFNET, NL = Cell(row="mfnet"), Cell(row="mfnet-nl")
PAIR = Cell(row="mfnet-nl", against=Cell(row="mfnet-nl", blocks=()))


@pytest.fixture
def elsewhere(timed):
    """The machine of made-up timings, but for what is given."""
    return lambda **other: timed(MFNET).machine.model_copy(update=other)


def test_figures_are_derived_from_the_samples(timed):
    cell = MFNET.model_copy(update={"batch": 4})
    known = {"macs_total": 10**10, "peak_macs_per_s": 10**11, "energy_j": 6.0}
    found = figures(timed(cell, 0.5, **known))
    # 0.48 0.485 0.49 0.495 | 0.505 0.51 0.515 0.52; with 8 samples the first and the last bound
    # the median with 1 - 2/256, the second and the last but one with 1 - 18/256, too little
    expected = {"median_s": 0.5, "ci_low_s": 0.48, "ci_high_s": 0.52, "half_ci_s": 0.02, "n": 8}
    expected |= {"clips_per_s": 8, "macs_per_s": 2e10, "share_of_matmul": 0.2}
    expected["energy_j_per_clip"] = 1.5
    assert pytest.approx(expected) == {key: found[key] for key in expected}


def test_conditions_that_vary_are_columns_and_the_others_stand_below(timed, cells):
    other = MFNET.model_copy(update={"batch": 8, "cudnn_benchmark": True})
    table = timing_table([timed(MFNET), timed(other)])
    found = [(line["Batch"], line["cuDNN benchmark"]) for line in cells(table)]
    assert [("1", "no"), ("8", "yes")] == found
    assert "Conditions: fp32, contiguous, eager, inference, 1 thread." in table.legend[0]
    assert table.legend[1].startswith("Device: Abacus, torch 2.11.0, 2 CPU cores (Abacus).")


def test_tables_say_whether_intervals_are_of_one_process_or_of_several(timed, table3):
    one = timed(MFNET)
    several = timed(MFNET.model_copy(update={"processes": 2}), processes=(4, 4))
    for table in (timing_table([one]), with_timings(table3, [one])):
        assert "95% confidence interval, of one process" in " ".join(table.legend)
    table = timing_table([several])
    assert "of 2 processes, by Student's t over their medians" in table.legend[0]
    # medians 0.0975 and 0.1025: t of one degree of freedom, over sqrt(2) twice
    assert pytest.approx(12.7062 * 0.005 / 2) == table.lines[0]["half_ci_s"]


def test_what_failed_is_a_status_with_its_reason(timed, cells):
    oom = timed(NL, None, status="oom", error="tried to allocate 20.00 GiB")
    table = timing_table([timed(MFNET), oom])
    measured, failed = cells(table)
    assert ("ok", "–", "oom¹") == (measured["Status"], failed["Latency, ms"], failed["Status"])
    assert "¹ oom: tried to allocate 20.00 GiB" in table.markdown()
    assert "Status" not in cells(timing_table([timed(MFNET)]))[0]


def test_timings_of_two_machines_are_rejected(timed, elsewhere):
    other = timed(NL, machine=elsewhere(device="Slide rule"))
    with pytest.raises(ValueError, match="unlike machines"):
        timing_table([timed(MFNET), other])
    sides = {"target": (0.3,) * 8, "reference": (0.2,) * 8}
    driver = timed(PAIR, samples_s=sides, machine=elsewhere(driver="570"))
    with pytest.raises(ValueError, match="unlike machines"):
        contribution_table([timed(PAIR, samples_s=sides), driver])


def test_of_one_device_those_like_the_latest_are_kept(timed, elsewhere):
    old = timed(MFNET, machine=elsewhere(driver="550"), started="2026-01-01")
    new = [timed(cell, started="2026-02-01") for cell in (MFNET, NL)]
    note = "1 timing left out: taken with driver 550, the latest with not available"
    assert (new, note) == of_one_machine([old, *new])
    assert (new, "") == of_one_machine(new)
    assert ([], "") == of_one_machine([])


def test_unlike_machines_have_tables_of_their_own(timed, elsewhere):
    # two nodes of one kind, a lost cell, and a node with another driver
    like = {"device_uuid": "GPU-7", "host": "n7", "memory_bytes": 10**9 + 4096}
    lost = timed(NL.model_copy(update={"batch": 3}), None, status="killed", machine=None)
    first = [timed(MFNET), timed(NL, machine=elsewhere(**like)), lost]
    second = [timed(MFNET, 0.2, machine=elsewhere(driver="570", host="n9"))]
    assert [first, second] == [list(each) for each in by_kind(first + second)]
    assert [[]] == [list(each) for each in by_kind([])]


def test_a_contribution_is_of_pairs_so_drift_cancels(timed):
    # pairs drift by as much as the block takes
    without = tuple(0.2 + k / 100 for k in range(8))
    samples = {"target": tuple(each + 0.05 for each in without), "reference": without}
    known = {"reference_memory": {"weights": 31_000_000, "peak": 40_000_000}}
    known |= {"macs_total": 12_451_829_760, "reference_macs_total": 11_045_296_128}
    found = pair_figures(timed(PAIR, samples_s=samples, **known))
    # 2C^2 N + C N^2 with C = 384 and N = 1568
    expected = {"added_macs": 1_406_533_632, "s_per_gmac": 0.05 / 1.406533632, "n": 8}
    expected |= {"median_s": 0.05, "ci_low_s": 0.05, "ci_high_s": 0.05}
    expected |= {"target_s": 0.285, "reference_s": 0.235, "added_share": 0.05 / 0.285}
    expected |= {"peak_bytes": 61_000_000, "added_bytes": 21_000_000}
    assert pytest.approx(expected) == {key: found[key] for key in expected}


@pytest.fixture
def table3(made_up):
    records = {row.name: made_up(row.name, conv=10**9) for row in ROWS if row.build}
    return paper_table(3, catalog.paper(), {row.name: row for row in ROWS}, records)


def test_a_table_of_the_paper_gets_latency_and_memory(table3, timed, cells):
    table = with_timings(table3, [timed(MFNET, 0.5)])
    baseline, concat, _ = cells(table)
    expected = {"Latency, ms": "500.0", "±": "20", "n": "8", "Peak memory, MB": "61.0"}
    assert (expected | cells(table3)[0]).items() <= baseline.items()
    assert "–" == concat["Latency, ms"]
    assert 0.5 == pytest.approx(table.lines[0]["median_s"])
    *counted, conditions, device, missing = table.legend
    assert list(table3.legend) == counted
    assert conditions.endswith("Conditions: batch 1, fp32, contiguous, eager, inference, 1 thread.")
    assert device.startswith("Device: Abacus, torch 2.11.0")
    assert "Not timed: `vidcost time mfnet-pnl-concat mfnet-pnl` does it." == missing


@pytest.mark.parametrize(
    "other",
    [
        {"against": Cell(row="mfnet", blocks=())},
        {"phase": "training"},
        {"frames": 8},
        {"blocks": (("conv4:before-last", "nl"),)},
    ],
)
def test_what_is_not_one_pass_at_the_rows_own_clip_has_no_column(other, table3, timed):
    cell = Cell(row="mfnet", **other)
    assert table3 == with_timings(table3, [timed(cell)])

import pytest

from vidcost.bench.report.paper import paper_table
from vidcost.bench.report.timing import (
    contribution_table,
    timing_table,
    with_timings,
)
from vidcost.bench.timing.cell import Cell
from vidcost.bench.timing.figures import contribution_figures, figures
from vidcost.bench.timing.stored import by_kind, of_one_machine
from vidcost.papers import catalog
from vidcost.papers.pnl2020.rows import ROWS

MFNET, NL = Cell(row="mfnet"), Cell(row="mfnet-nl")


def lines(table):
    """The cells as people see them, by heading."""
    rows = [line for line in table.markdown().splitlines() if line.startswith("|")]
    heading, _, *body = [[cell.strip() for cell in row.strip("|").split("|")] for row in rows]
    return [dict(zip(heading, cells, strict=True)) for cells in body]


@pytest.fixture
def elsewhere(timed):
    """The machine of made-up timings, but for what is given."""
    return lambda **other: timed(MFNET).machine.model_copy(update=other)


# --- how a value is written


# --- figures


def test_figures_are_derived_from_the_samples(timed):
    found = figures(
        timed(
            MFNET.model_copy(update={"batch": 4}),
            0.5,
            macs_total=10**10,
            peak_macs_per_s=10**11,
            energy_j=6.0,
        )
    )
    # 0.48 0.485 0.49 0.495 | 0.505 0.51 0.515 0.52; with 8 samples the first and the last bound
    # the median with 1 - 2/256, the second and the last but one with 1 - 18/256, too little
    assert pytest.approx(0.5) == found["median_s"]
    assert pytest.approx((0.48, 0.52, 0.02)) == (
        found["ci_low_s"],
        found["ci_high_s"],
        found["half_ci_s"],
    )
    assert (8, 8.0) == (found["n"], pytest.approx(found["clips_per_s"]))
    assert pytest.approx((2e10, 0.2)) == (found["macs_per_s"], found["share_of_matmul"])
    assert 1.5 == found["energy_j_per_clip"]
    assert None is found["share_of_data_sheet"]


# --- the table of timings


def test_conditions_that_vary_are_columns_and_the_others_stand_below(timed):
    cells = [MFNET, MFNET.model_copy(update={"batch": 8, "cudnn_benchmark": True})]
    table = timing_table([timed(cell) for cell in cells])
    assert [("1", "no"), ("8", "yes")] == [
        (line["Batch"], line["cuDNN benchmark"]) for line in lines(table)
    ]
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


def test_what_failed_is_a_status_with_its_reason(timed):
    oom = timed(NL, None, status="oom", error="tried to allocate 20.00 GiB")
    table = timing_table([timed(MFNET), oom])
    measured, failed = lines(table)
    assert ("ok", "–", "oom¹") == (measured["Status"], failed["Latency, ms"], failed["Status"])
    assert "¹ oom: tried to allocate 20.00 GiB" in table.markdown()
    assert "Status" not in lines(timing_table([timed(MFNET)]))[0]


def test_timings_of_two_machines_are_rejected(timed, elsewhere):
    other = timed(NL, machine=elsewhere(device="Slide rule"))
    with pytest.raises(ValueError, match=r"unlike machines .*: device Abacus and Slide rule"):
        timing_table([timed(MFNET), other])
    cell = Cell(row="mfnet-nl", contribution=True)
    sides = {"with": (0.3,) * 8, "without": (0.2,) * 8}
    driver = timed(cell, samples_s=sides, machine=elsewhere(driver="570"))
    with pytest.raises(ValueError, match="driver not available and 570"):
        contribution_table([timed(cell, samples_s=sides), driver])


# --- one machine


def test_several_devices_are_rejected_by_name_with_the_way_out(timed, elsewhere):
    other = timed(NL, machine=elsewhere(device="Slide rule"))
    with pytest.raises(ValueError, match=r"^timings of Abacus and Slide rule .* --timings DEVICE$"):
        of_one_machine([timed(MFNET), other])


def test_of_one_device_those_like_the_latest_are_kept(timed, elsewhere):
    old = timed(MFNET, machine=elsewhere(driver="550"), started="2026-01-01")
    new = [timed(cell, started="2026-02-01") for cell in (MFNET, NL)]
    kept, note = of_one_machine([old, *new])
    assert new == kept
    assert ("1 timing left out: taken with driver 550, the latest with not available") == note
    assert (new, "") == of_one_machine(new)
    assert ([], "") == of_one_machine([])


# --- machines of one kind


@pytest.fixture
def eight(timed, elsewhere):
    """Two nodes of one kind, and one with another driver; the third cell was lost."""
    like = {"device_uuid": "GPU-7", "host": "n7", "node": "77", "memory_bytes": 10**9 + 4096}
    other = elsewhere(driver="570", host="n9")
    lost = timed(NL.model_copy(update={"batch": 3}), None, status="killed", machine=None)
    return [
        timed(MFNET),
        timed(NL, machine=elsewhere(**like)),
        lost,
        timed(MFNET, 0.2, machine=other),
    ]


def test_unlike_machines_have_tables_of_their_own(eight):
    like, other = by_kind(eight)
    # as often as one likes
    for _ in range(2):
        assert eight[:3] == list(like)
        assert eight[3:] == list(other)
    assert [3, 1] == [len(timing_table(each).lines) for each in (like, other)]
    assert [[]] == [list(each) for each in by_kind([])]


# --- contributions


@pytest.fixture
def contribution(timed):
    """mfnet-nl with a block of 50 ms in pairs that drift by as much again."""
    without = tuple(0.2 + k / 100 for k in range(8))
    parts = {"with": tuple(each + 0.05 for each in without), "without": without}
    cell = Cell(row="mfnet-nl", contribution=True)
    known = {"macs_total": 12_451_829_760}
    bare = {"weights": 31_000_000, "peak": 40_000_000}
    return timed(cell, samples_s=parts, memory_without=bare, **known)


def test_a_contribution_is_of_pairs_so_drift_cancels(contribution):
    found = contribution_figures(contribution)
    assert pytest.approx((0.05, 0.05, 0.05)) == tuple(
        found[key] for key in ("median_s", "ci_low_s", "ci_high_s")
    )
    assert pytest.approx((0.285, 0.235, 0.05 / 0.285)) == tuple(
        found[key] for key in ("with_s", "without_s", "share_of_network")
    )
    # 2C^2 N + C N^2 with C = 384 and N = 1568
    assert 1_406_533_632 == found["macs"]
    assert pytest.approx(0.05 / 1.406533632) == found["s_per_gmac"]
    assert (True, 8) == (found["contribution"], found["n"])
    assert (61_000_000, 21_000_000) == (found["peak_bytes"], found["block_bytes"])


# --- the paper's tables


@pytest.fixture
def table3(made_up):
    records = {row.name: made_up(row.name, conv=10**9) for row in ROWS if row.build}
    return paper_table(3, catalog.paper(), {row.name: row for row in ROWS}, records)


def test_a_table_of_the_paper_gets_latency_and_memory(table3, timed):
    table = with_timings(table3, [timed(MFNET, 0.5), timed(NL)])
    baseline, concat, _ = lines(table)
    assert {"Latency, ms": "500.0", "±": "20", "n": "8", "Peak memory, MB": "61.0"}.items() <= (
        baseline.items()
    )
    assert "–" == concat["Latency, ms"]
    assert lines(table3)[0].items() <= baseline.items()
    assert 0.5 == pytest.approx(table.lines[0]["median_s"])


@pytest.mark.parametrize(
    "other",
    [
        {"contribution": True},
        {"phase": "training"},
        {"frames": 8},
        {"blocks": (("conv4:before-last", "nl"),)},
    ],
)
def test_what_is_not_one_pass_at_the_rows_own_clip_has_no_column(other, table3, timed):
    cell = Cell(row="mfnet", **other)
    assert table3 == with_timings(table3, [timed(cell)])

from pathlib import Path

import pytest

from vidcost.bench.report.paper import paper_table
from vidcost.bench.report.timing import (
    blocks_markdown,
    compare_table,
    pair_table,
    timing_table,
    with_timings,
)
from vidcost.bench.timing.cell import Cell
from vidcost.bench.timing.figures import figures, pair_figures
from vidcost.bench.timing.store import stored_by_device
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
    known = {"macs_total": 10**10, "energy_j": 6.0}
    found = figures(timed(cell, 0.5, **known))
    # 0.48 0.485 0.49 0.495 | 0.505 0.51 0.515 0.52; with 8 samples the first and the last bound
    # the median with 1 - 2/256, the second and the last but one with 1 - 18/256, too little
    expected = {"median_s": 0.5, "ci_low_s": 0.48, "ci_high_s": 0.52, "half_ci_s": 0.02, "n": 8}
    expected |= {"clips_per_s": 8, "macs_per_s": 2e10}
    expected["energy_j_per_clip"] = 1.5
    assert pytest.approx(expected) == {key: found[key] for key in expected}


def test_conditions_that_vary_are_columns_and_the_others_stand_below(timed, cells):
    other = MFNET.model_copy(update={"batch": 8, "cudnn_benchmark": True})
    table = timing_table([timed(MFNET), timed(other)])
    found = [(line["Batch"], line["cuDNN benchmark"]) for line in cells(table)]
    assert [("1", "no"), ("8", "yes")] == found
    assert "Conditions: fp32, contiguous, eager, inference, 1 thread." in table.legend[0]
    assert table.legend[1].startswith("Device: Abacus, torch 2.11.0, 2 CPU cores (Abacus).")


def test_tables_say_whether_intervals_are_of_one_process_or_of_several(timed):
    one = timed(MFNET)
    several = timed(MFNET.model_copy(update={"processes": 2}), processes=(4, 4))
    assert "95% confidence interval, of one process" in timing_table([one]).legend[0]
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
        pair_table([timed(PAIR, samples_s=sides), driver])


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


# implementations

SHAPE = (8, 2, 3, 5)


def pair(**fields):
    fields = {"shape": SHAPE, "threads": 3} | fields
    reference = Cell(block="nl", **fields)
    return Cell(block="nl:impl=optimized", **fields, against=reference)


@pytest.fixture
def timing(timed):
    sides = {"target": (1.0, 1.0, 1.0, 1.0, 1.0, 1.25), "reference": (2.0,) * 6}
    memory, without = {"weights": 1, "peak": 10_000_000}, {"weights": 1, "peak": 40_000_000}
    return timed(pair(), samples_s=sides, memory=memory, reference_memory=without, macs_total=10**9)


def test_a_line_compares_both_implementations(timed, timing):
    failed = timed(pair(phase="training"), status="oom", error="no memory", samples_s={})
    table = pair_table([timing, failed]).markdown()
    # the median of six ratios and, as their 95% interval, the smallest and the largest
    expected = "nl at 8x2x3x5", "1,000", "2,000", "0.50 (0.50 to 0.62)", "6", "10.0", "-30.0"
    line, other = (line for line in table.splitlines() if line.startswith("| nl"))
    assert set(expected) <= {cell.strip() for cell in line.split("|")}
    assert " training " in other
    assert "oom: no memory" in table


def test_a_part_of_the_document_for_each_device_and_conditions(timing):
    other = timing.model_copy(update={"cell": pair(batch=2)})
    document = blocks_markdown({"Abacus": [timing, other]})
    assert 2 == document.count("\n## ")


def test_the_command_times_pairs_and_writes_the_document(vidcost, stopwatch, timing):
    stopwatch[timing.cell] = timing
    words = "time --blocks nl --impl reference,optimized --shape 8x2x3x5 --threads 3".split()
    status, out, err = vidcost(*words)
    assert (0, "") == (status, err)
    assert "0.50 (0.50 to 0.62)" in out
    assert [timing.cell] == list(stopwatch.asked)
    words = "time --blocks all --impl reference,optimized --shape 8x2x3x5 --budget 0s".split()
    status, _, err = vidcost(*words)
    assert 0 == status
    assert "cgd left out: cgd has no optimized implementation" in err
    assert Path("results/blocks.md").read_text().startswith("<!-- written by: vidcost time")


def test_the_committed_document_follows_from_the_committed_records(results):
    committed = (results / "blocks.md").read_text("utf-8").split("\n", 2)[2]
    assert committed == blocks_markdown(stored_by_device(results))


# blocks in one network


def one(block, **known):
    counted = {"params": 7, "macs": 3 * 10**9, "closed_forms": 1}
    return {"block": block, **counted, "status": "ok", "error": None, **known}


TIMED = one(
    "nl",
    added_params=5,
    added_macs=2 * 10**9,
    latency_s=0.0125,
    added_s=-0.00025,
    half_ci_s=0.0003,
    pairs=30,
    not_separated=["none", "cgnl"],
    peak_bytes=12_340_000,
    added_peak_bytes=-1_200_000,
)
PLAIN = one("none", latency_s=0.01275, peak_bytes=13_540_000)


def test_failures_are_footnotes_and_a_sweep_is_a_column(cells):
    bad = one("mine.py:B", frames=8, status="raised", error="KeyError: 'x'")
    table = compare_table([one("none", frames=8), bad], [], where="w", axis="frames")
    none, mine = cells(table)
    assert ("8", "8", "raised¹") == (none["Frames"], mine["Frames"], mine["Status"])
    assert "¹ raised: KeyError: 'x'" in table.markdown()


def test_a_line_for_each_with_the_cost_it_adds(cells):
    table = compare_table([PLAIN, TIMED], [], where="mfnet at conv4:after-1", axis=None)
    assert "**Blocks in mfnet at conv4:after-1**" in table.markdown()
    none, nl = cells(table)
    assert " +5 |" in table.markdown()
    assert {"nl", "12.50", "30", "none, cgnl"} <= set(nl.values())
    assert ("none", "–") == (none["Block"], none["Pairs"])
    assert "intervals overlap" in table.markdown()
    assert "Status" not in nl


# a paper's rows

ALL = {row.name: row for row in ROWS}
DAY = "2026-11-26T20:00:00+00:00"


@pytest.fixture
def table(made_up):
    """A table of the paper, every network of 1 GMAC."""
    records = {row.name: made_up(row.name, conv=10**9) for row in ROWS if row.build}
    return lambda number: paper_table(number, catalog.paper(), ALL, records)


@pytest.fixture
def on(timed):
    """A timing of a row on a GPU, of the name and machine given."""

    def make(row, seconds=0.1, device="Abacus GPU", machine=None, known=None, **conditions):
        cell = Cell(row=row, **({"device": "cuda", "batch": 8} | conditions))
        made = timed(cell, seconds, **({"started": DAY} | (known or {})))
        gpu = {"device": device, "device_uuid": "GPU-1", "driver": "580", "cuda": "13.0"}
        of = made.machine.model_copy(update=gpu | {"cudnn": "91900"} | (machine or {}))
        return made.model_copy(update={"machine": of})

    return make


def test_a_papers_table_gains_latency_and_memory_of_a_device(table, on, cells):
    timings = [on("mfnet", 0.1), on("mfnet", 0.02, dtype="bf16")]
    timings.append(on("mfnet-pnl", None, known={"status": "oom", "error": "20 GiB"}))
    found = with_timings(table(3), [*timings, on("r50-ucf101", 0.3)])
    mfnet, concatenation, pnl = cells(found)
    measured = {
        "fp32, ms": "100.0 ± 4.0",
        "bf16, ms": "20.00 ± 0.80",
        **{f"Peak {dtype}, MB": "61.0" for dtype in ("fp32", "bf16")},
    }
    assert measured == {key: mfnet[key] for key in measured}
    assert ["–"] * 4 == [concatenation[key] for key in measured]
    assert pnl["fp32, ms"].startswith("–")
    assert " oom: 20 GiB\n" in found.markdown()
    assert "batch 8" in found.legend[-1]
    assert "Device: Abacus GPU" in found.legend[-1]


@pytest.mark.parametrize(
    "other",
    [
        {"device": "cpu"},
        {"batch": 1},
        {"dtype": "fp16"},
        {"frames": 8},
        {"mode": "cuda-graph"},
        {"against": Cell(row="mfnet", device="cuda", batch=8)},
    ],
)
def test_what_was_timed_otherwise_is_not_shown(other, table, timed):
    timing = timed(Cell(**({"row": "mfnet-pnl", "device": "cuda", "batch": 8} | other)))
    assert table(3) == with_timings(table(3), [timing])


def test_on_a_cpu_rows_are_timed_at_one_clip(table, timed, cells):
    found = with_timings(table(3), [timed(Cell(row="mfnet", threads=2), 0.5)])
    assert "500.0 ± 20" == cells(found)[0]["fp32, ms"]

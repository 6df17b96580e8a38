from pathlib import Path

import pytest

from vidcost.bench.report.timing import (
    blocks_markdown,
    compare_table,
    pair_table,
    sentences,
    timing_table,
)
from vidcost.bench.timing.cell import Cell
from vidcost.bench.timing.figures import figures, pair_figures
from vidcost.bench.timing.store import stored_by_device

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


def test_unsettled_and_few_samples_are_marked_and_whether_they_were_stored(timed, cells):
    few = timed(NL, samples_s={"latency": (0.1,) * 5}, started="2026-11-26T07:10:00+00:00")
    protocol = few.protocol.model_copy(update={"settled": False})
    few = few.model_copy(update={"protocol": protocol})
    fresh = timed(MFNET, started="2026-11-26T08:00:00+00:00")
    table = timing_table([few, fresh], since="2026-11-26T08:00:00+00:00")
    assert ["5 few ~", "8"] == [line["n"] for line in cells(table)]
    assert "~: the warm-up had not settled; few: under six" in table.legend[0]
    assert (
        "1 stored, 2026-11-26 07:10 to 2026-11-26 07:10 UTC; the others were measured now."
        in table.legend[0]
    )
    fresh = timing_table([fresh], since="2026-11-26T08:00:00+00:00")
    assert fresh.legend[0].endswith("Measured now.")


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
    return {"name": block, **counted, "status": "ok", "error": None, **known}


TIMED = one(
    "nl",
    against_name="none",
    added_params=5,
    added_macs=2 * 10**9,
    target_s=0.0125,
    median_s=-0.00025,
    half_ci_s=0.0003,
    ratio=0.98,
    ratio_low=0.96,
    ratio_high=1.01,
    n=30,
    shown_n="30",
    not_separated=["none", "cgnl"],
    peak_bytes=12_340_000,
    added_bytes=-1_200_000,
)
PLAIN = one("none", target_s=0.01275, peak_bytes=13_540_000)
BLOCK = Cell(row="mfnet", blocks=(("conv4:after-1", "nl"),))


def test_failures_are_footnotes_and_a_sweep_is_a_column(cells):
    bad = one("mine.py:B", frames=8, status="raised", error="KeyError: 'x'")
    swept = [Cell(row="mfnet", frames=frames) for frames in (8, 16)]
    table = compare_table([one("none", frames=8), bad], swept, [], title="w")
    none, mine = cells(table)
    assert ("8", "8", "raised¹") == (none["Frames"], mine["Frames"], mine["Status"])
    assert "¹ raised: KeyError: 'x'" in table.markdown()


def test_a_line_for_each_with_the_cost_it_adds(cells):
    table = compare_table([PLAIN, TIMED], [BLOCK], [], title="Blocks in mfnet")
    none, nl = cells(table.wide())
    assert " +5 |" in table.wide().markdown()
    assert {"nl", "12.50", "30", "none, cgnl"} <= set(nl.values())
    assert ("none", "–") == (none["Block"], none["Pairs"])
    assert "Status" not in nl


@pytest.mark.parametrize(
    ("ratio", "sentence"),
    [
        ((1.12, 1.08, 1.15), "b is 1.12x (1.08 to 1.15) slower than a."),
        ((0.5, 0.4, 0.625), "b is 2.00x (1.60 to 2.50) faster than a."),
        ((1.01, 0.99, 1.02), "No difference between b and a was found: 1.01x (0.99 to 1.02)."),
        ((None, None, None), "b and a: too few pairs for a figure (7)."),
    ],
)
def test_a_comparison_is_a_sentence(ratio, sentence):
    line = one("b", against_name="a", n=7, batch=2)
    line |= dict(zip(("ratio", "ratio_low", "ratio_high"), ratio, strict=True))
    assert [sentence] == sentences([one("a"), line])
    assert [sentence.replace(".", "", 0)[:-1] + " at batch 2."] == sentences([line], ["batch"])

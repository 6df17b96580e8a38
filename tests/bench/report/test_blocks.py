from pathlib import Path

import pytest

from vidcost.bench.report.blocks import blocks_markdown, impl_table
from vidcost.bench.timing.cell import Cell
from vidcost.bench.timing.store import TIMINGS, Store

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
    table = impl_table([timing, failed]).markdown()
    # the median of six ratios and, as their 95% interval, the smallest and the largest
    expected = "nl", "8x2x3x5", "30", "2,000", "1,000", "0.50 (0.50 to 0.62)", "6", "40.0", "10.0"
    line, other = (line for line in table.splitlines() if line.startswith("| nl"))
    assert set(expected) <= {cell.strip() for cell in line.split("|")}
    assert " training " in other
    assert "oom: no memory" in table


def test_other_pairs_are_left_out(timed):
    rows = timed(Cell(row="mfnet-nl-optimized", against=Cell(row="mfnet-nl")))
    assert [] == list(impl_table([rows, timed(Cell(block="nl", shape=SHAPE))]).lines)


def test_a_part_of_the_document_for_each_device_and_conditions(timing):
    other = timing.model_copy(update={"cell": pair(batch=2)})
    document = blocks_markdown([timing, other])
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


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("time --impl optimized", "--shape and --impl are for blocks alone: give --blocks too"),
        ("time --blocks cgd --impl optimized", "cgd has no optimized implementation"),
        ("time --blocks nl --impl fast", "unknown implementation 'fast'"),
        ("fast nl", "`vidcost fast` is gone: `vidcost time --blocks all --impl"),
    ],
)
def test_blocks_that_cannot_be_compared(words, message, complaint):
    assert message in complaint(*words.split())


def test_the_committed_document_follows_from_the_committed_records(results):
    stores = map(Store, sorted((results / TIMINGS).glob("*.jsonl")))
    timings = [timing for store in stores for timing in store.read().values()]
    committed = (results / "blocks.md").read_text("utf-8").split("\n", 2)[2]
    assert committed == blocks_markdown(timings)

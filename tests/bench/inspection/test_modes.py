"""Ways to run a network: which there are, and which is best."""

from __future__ import annotations

import pytest

from vidcost.bench.inspection.modes import alone, best, changed, together
from vidcost.bench.report.compare import modes_table
from vidcost.bench.timing.cell import Cell

PLAIN = Cell(row="mfnet-pnl")


@pytest.fixture
def way(timed):
    def make(cell, ratio, status="ok", spread=0.0):
        ratios = [ratio - spread, *[ratio] * 4, ratio + spread]
        samples = {"target": (1.0,) * 6, "reference": tuple(ratios)}
        known = {"samples_s": samples if status == "ok" else {}, "status": status}
        return timed(cell, **known)

    return make


def test_one_change_at_a_time():
    ways = alone(PLAIN)
    assert ["channels_last_3d", "bf16-autocast", "compile", "optimized"] == list(ways)
    assert {PLAIN} == {cell.against for cell in ways.values()}
    assert "mfnet-pnl-optimized" == ways["optimized"].row
    assert ("compile", "contiguous") == (ways["compile"].mode, ways["compile"].memory_format)


def test_a_gpu_knows_more_and_a_network_without_blocks_no_optimized_row():
    assert ["channels_last_3d", "tf32", "bf16-autocast", "compile", "cuda-graph"] == list(
        alone(Cell(row="mfnet", device="cuda"))
    )
    training = alone(Cell(row="mfnet", device="cuda", phase="training"))
    assert "cuda-graph" not in training


def test_what_helped_is_put_together(way):
    ways = alone(PLAIN)
    ratios = {"channels_last_3d": 1.2, "bf16-autocast": 0.7, "compile": 1.1, "optimized": 1.3}
    timings = {name: way(cell, ratios[name]) for name, cell in ways.items()}
    ((name, cell),) = together(PLAIN, timings).items()
    assert "channels_last_3d + compile + optimized" == name
    assert cell == changed(PLAIN, ["channels_last_3d", "compile", "optimized"])
    assert ("mfnet-pnl-optimized", "compile", "channels_last_3d", "fp32", PLAIN) == (
        cell.row, cell.mode, cell.memory_format, cell.dtype, cell.against,
    )  # fmt: skip


def test_of_one_axis_the_faster_is_taken(way):
    plain = Cell(row="mfnet", device="cuda")
    ways = alone(plain)
    ratios = {"channels_last_3d": 1.0, "tf32": 2.0, "bf16-autocast": 1.5, "compile": 1.4,
              "cuda-graph": 1.6}  # fmt: skip
    timings = {name: way(cell, ratios[name]) for name, cell in ways.items()}
    ((name, cell),) = together(plain, timings).items()
    assert ("tf32 + cuda-graph", "tf32", "cuda-graph") == (name, cell.dtype, cell.mode)


def test_one_change_that_helped_is_not_put_together(way):
    ways = alone(PLAIN)
    timings = {name: way(cell, 0.9) for name, cell in ways.items()}
    assert {} == together(PLAIN, timings)
    timings["compile"] = way(ways["compile"], 1.5)
    assert {} == together(PLAIN, timings)


def test_the_best_is_faster_beyond_noise(way):
    ways = alone(PLAIN)
    timings = {
        "channels_last_3d": way(ways["channels_last_3d"], 1.4, spread=0.5),
        "compile": way(ways["compile"], 1.2),
        "bf16-autocast": way(ways["bf16-autocast"], 9.0, status="unsupported"),
    }
    assert "compile" == best(timings)
    assert None is best({"channels_last_3d": timings["channels_last_3d"]})


def test_the_table_names_the_best(way):
    ways = alone(PLAIN)
    timings = {"compile": way(ways["compile"], 1.2), "optimized": way(ways["optimized"], 1.3)}
    slow = alone(Cell(row="mfnet"))
    table = modes_table({"mfnet-pnl": timings, "mfnet": {"compile": way(slow["compile"], 0.9)}})
    found = {(line["network"], line["way"]): line["is_best"] for line in table.lines}
    assert {
        ("mfnet-pnl", "compile"): False,
        ("mfnet-pnl", "optimized"): True,
        ("mfnet", "compile"): False,
        ("mfnet", "plain"): True,
    } == found
    assert "Plain: batch 1, fp32, contiguous, eager, inference" in table.markdown()


# the command


@pytest.fixture
def timed_ways(stopwatch, way, monkeypatch):
    monkeypatch.setattr("vidcost.bench.timing.machine.default_threads", lambda _: 1)
    ratios = {"channels_last_3d": 1.2, "bf16-autocast": 0.7, "compile": 1.0, "optimized": 1.3}
    for name, cell in alone(PLAIN).items():
        stopwatch[cell] = way(cell, ratios[name])
    both = changed(PLAIN, ["channels_last_3d", "optimized"])
    stopwatch[both] = way(both, 1.5)


def test_the_command(vidcost, timed_ways):
    status, out, err = vidcost("compare", "mfnet-pnl", "--modes")
    assert (0, "") == (status, err)
    (line,) = (line for line in out.splitlines() if "best" in line and "1.50" in line)
    assert "optimized" in line


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--at", "conv4:before-last"), "leave --at, --block, --sweep and --plot out"),
        (("--dtype", "bf16"), "--modes tries --dtype, --memory-format and --mode"),
        (("--engine", "ray"), "--modes times on this machine: leave --engine out"),
        (("--budget", "0s"), "give it more than --budget 0s"),
        (("--input", "1x3x4x4x4"), "--input is for a network of your own"),
    ],
)
def test_refusals(complaint, arguments, words):
    assert words in complaint("compare", "mfnet-pnl", "--modes", *arguments)


def test_without_modes_there_is_something_to_compare(complaint):
    assert "give --at and --block" in complaint("compare", "mfnet")
    assert "one network at a time" in complaint(
        "compare", "mfnet", "r50-nl", "--at", "x", "--block", "nl"
    )

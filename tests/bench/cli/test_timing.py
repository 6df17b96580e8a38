"""The commands that time, and those that show timings."""

import json
import re
import sys

import pytest

from vidcost.bench.timing.cell import Cell
from vidcost.bench.timing.store import store_of


def test_time_asks_for_the_cells_and_prints_what_it_took(vidcost, stopwatch, timed, tmp_path):
    cells = [Cell(row=row, threads=3) for row in ("mfnet", "mfnet-nl")]
    stopwatch |= {cells[0]: timed(cells[0], 0.5), cells[1]: timed(cells[1], 0.7)}
    status, out, err = vidcost("time", "mfnet", "mfnet-nl", "--threads", "3", "--format", "json")
    assert (0, "") == (status, err)
    assert cells == stopwatch.asked
    assert [("mfnet", 0.5), ("mfnet-nl", 0.7)] == [
        (line["row"], pytest.approx(line["median_s"])) for line in json.loads(out)
    ]
    asked = stopwatch.conditions
    assert (None, True) == (asked["budget_s"], asked["resume"])
    assert tmp_path / "results/timings" == asked["path"].resolve().parent


def test_time_takes_conditions_as_axes(vidcost, stopwatch, tmp_path):
    options = (
        "--batch 1,8 --dtype bf16 --memory-format channels_last_3d --phase training --processes 3"
    )
    more = "--budget 1.5m --no-resume --results r --threads 2 "
    more += "--time-limit 3s"
    assert 0 == vidcost("time", "mfnet", *options.split(), *more.split()).status
    assert [
        Cell(
            row="mfnet",
            batch=batch,
            dtype="bf16",
            memory_format="channels_last_3d",
            phase="training",
            processes=3,
            threads=2,
        )
        for batch in (1, 8)
    ] == stopwatch.asked
    asked = stopwatch.conditions
    assert (90.0, False) == (asked["budget_s"], asked["resume"])
    assert 3.0 == asked["limits"].start_up_s
    assert tmp_path / "r/timings" == asked["path"].resolve().parent


def test_time_takes_blocks_alone(vidcost, stopwatch):
    shapes = ["--shape", "12x1x4x4", "--shape", "16x1x4x4"]
    status, _, err = vidcost("time", "--blocks", "nl pnl:n=3", *shapes, "--threads", "1")
    assert 0 == status
    assert err.startswith("pnl:n=3 at 16x1x4x4 left out: 16 channels cannot be split into n=3")
    assert [
        Cell(block="nl", shape=(12, 1, 4, 4)),
        Cell(block="pnl:n=3", shape=(12, 1, 4, 4)),
        Cell(block="nl", shape=(16, 1, 4, 4)),
    ] == stopwatch.asked


def test_time_fails_by_the_name_of_what_failed(vidcost, stopwatch, timed):
    cell = Cell(row="mfnet")
    stopwatch[cell] = timed(cell, None, status="killed", error="killed by SIGKILL")
    status, out, err = vidcost("time", "mfnet", "--threads", "1")
    assert 1 == status
    assert (
        "vidcost: mfnet on cpu (batch 1, fp32, eager, inference): killed: killed by SIGKILL\n"
    ) == err
    assert "killed¹" in out


@pytest.mark.slow
def test_time_measures_a_block_for_real_once(vidcost, real_sweep):
    options = "--shape 8x1x4x4 --threads 1 --format json".split()
    status, out, err = vidcost("time", "--blocks", "nl", *options, "--budget", "30s")
    assert (0, "") == (status, err)
    (timed,) = json.loads(out)
    # 2 x 8^2 x 16 + 8 x 16^2 MACs; the peak holds at least the input and the output
    assert ("ok", 4096, True) == (
        timed["status"],
        timed["macs"],
        timed["peak_bytes"] >= 2 * 8 * 16 * 4,
    )
    assert 0 < timed["ci_low_s"] <= timed["median_s"] <= timed["ci_high_s"] < 1
    # what is stored is not measured again
    (again,) = json.loads(vidcost("time", "--blocks", "nl", *options, "--budget", "1s").out)
    assert (timed["key"], timed["median_s"]) == (again["key"], again["median_s"])


def flat(text):
    """Printed lines are broken, those of files are not."""
    return " ".join(text.split())


def test_run_times_the_rows_it_prints(
    vidcost, reference_counters, stopwatch, timed, monkeypatch, tmp_path
):
    monkeypatch.setattr("vidcost.bench.timing.machine.default_threads", lambda _: 2)
    cell = Cell(row="mfnet", threads=2)
    stopwatch[cell] = timed(cell, 0.5)
    stopwatch.notes = ["no time was left for c3d: raise --budget"]
    status, out, err = vidcost("run", "--budget", "60s")
    assert 0 == status
    assert err.endswith("no time was left for c3d: raise --budget\n")
    assert (60.0, cell) == (stopwatch.conditions["budget_s"], stopwatch.asked[0])
    asked = [cell.row for cell in stopwatch.asked]
    # networks that carry blocks first, then small before large
    assert asked.index("mfnet-pnl") < asked.index("c3d") < asked.index("i3d-ts")
    assert re.search(r"^\| mfnet +\| +500\.0 \| +20 \|", out, re.MULTILINE)
    assert "Conditions: batch 1, fp32, contiguous, eager, inference, 2 threads." in flat(out)
    # a CPU's timings are shown, not written
    assert "Latency" not in (tmp_path / "results/tables/pnl2020/table3.md").read_text()


@pytest.fixture
def on_gpu(timed, tmp_path):
    """Store a timing of a row on the GPU of that name in the results folder."""

    def store(row, seconds, device="Abacus GPU", **known):
        timing = timed(Cell(row=row, device="cuda", batch=8), seconds, **known)
        machine = timing.machine.model_copy(update={"device": device})
        path = store_of(tmp_path / "results", machine)
        path.append(timing.model_copy(update={"machine": machine}))

    return store


def test_damaged_timings_are_rejected_before_anything_is_counted(
    complaint, reference_counters, on_gpu, tmp_path
):
    on_gpu("mfnet", 0.5)
    (path,) = (tmp_path / "results/timings").glob("*.jsonl")
    path.write_text(path.read_text() + "{}\n{}\n")
    assert "line 3 is damaged" in complaint("run")
    assert [] == reference_counters.asked


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("--address h:1", "--address and --gpu are for a Ray cluster: give --engine ray too"),
        ("--budget 1m --engine ray", "--budget divides the time of one machine: leave it out"),
        ("--device cuda:1 --engine ray", "no device 'cuda:1' on a cluster: "),
        ("--gpu H100 --engine ray", "--gpu chooses among GPUs: give --device cuda too"),
    ],
)
def test_options_that_contradict_each_other(complaint, words, message):
    assert complaint("time", "mfnet", *words.split()).startswith(message)


def test_without_ray_the_extra_is_named(complaint, monkeypatch):
    monkeypatch.setattr("vidcost.bench.extras.find_spec", lambda name: None)
    monkeypatch.setitem(sys.modules, "ray", None)
    assert "vidcost[ray]" in complaint("time", "mfnet", "--engine", "ray")

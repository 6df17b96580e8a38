import json
from dataclasses import replace

import pytest

from vidcost.bench.count import record
from vidcost.bench.report.page.data import devices, gather, sources
from vidcost.bench.timing.cell import Cell
from vidcost.bench.timing.store import Store


def test_a_damaged_file_is_rejected(tmp_path):
    assert [] == list(devices(tmp_path))
    path = tmp_path / "timings" / "x.jsonl"
    path.parent.mkdir()
    path.write_text("nonsense\n")
    with pytest.raises(ValueError, match="line 1 is not the first line of a file of timings"):
        list(devices(tmp_path))


def test_rows_are_counted_anew_beside_stored_answers(tmp_path, committed):
    wrong = committed["mfnet"].model_copy(update={"conv": 1})
    record.write(tmp_path, [wrong], command="vidcost run")
    found = gather(tmp_path).records
    assert found["mfnet"] == committed["mfnet"]
    # a row without stored answers is counted all the same
    assert {} == found["mfnet-nl"].reference_counters
    assert committed["mfnet-nl"].macs == found["mfnet-nl"].macs


def test_two_devices_are_kept_apart(tmp_path, timed):
    other = timed(Cell(row="mfnet")).machine.model_copy(update={"device": "Zeta"})
    Store(tmp_path / "timings" / "a.jsonl").append(timed(Cell(row="mfnet")))
    Store(tmp_path / "timings" / "z.jsonl").append(timed(Cell(row="mfnet"), machine=other))
    assert [("Abacus", 1), ("Zeta", 1)] == [(d.name, len(d.timings)) for d in devices(tmp_path)]


def test_timings_unlike_the_latest_are_left_out_with_a_note(tmp_path, timed):
    old = timed(Cell(row="mfnet"), started="2026-11-01")
    new = old.machine.model_copy(update={"torch": "2.12.0"})
    store = Store(tmp_path / "timings" / "a.jsonl")
    store.append(old)
    store.append(timed(Cell(row="mfnet-nl"), machine=new, started="2026-11-02"))
    (device,) = devices(tmp_path)
    assert ["mfnet-nl"] == [timing.cell.row for timing in device.timings]
    assert ("1 timing left out: taken with torch 2.11.0, the latest with 2.12.0",) == device.notes


def test_rows_are_those_of_the_conditions_with_most_rows(small, timed):
    (device,) = devices(small)
    timings = [
        timed(Cell(row="mfnet", batch=8)),
        timed(Cell(row="mfnet")),
        timed(Cell(row="mfnet-nl")),
        timed(Cell(row="mfnet-pnl", frames=8)),
        timed(Cell(row="c3d"), None, status="oom", error="e"),
        timed(Cell(row="s3d", phase="training")),
        timed(Cell(row="mfnet-pnl", against=Cell(row="mfnet-pnl", blocks=()))),
        timed(Cell(row="mfnet-pnl", blocks=(("conv4:before-last", "nl"),))),
    ]
    found = replace(device, timings=tuple(timings)).rows
    assert {"mfnet": 1, "mfnet-nl": 1} == {row: t.cell.batch for row, t in found.items()}


def test_every_source_of_numbers_is_named(data):
    by_what = {line["what"]: line for line in sources(data)}
    answers = by_what["Answers of other counters"]
    assert "vidcost run" == answers["command"]
    header = json.loads((data.results / "counts.jsonl").read_text().splitlines()[0])
    assert f"torch {header['torch']}" in answers["versions"]
    timings = by_what["6 timings on Abacus"]
    assert "vidcost time" == timings["command"]
    assert timings["machine"].endswith(", 2026-11-25")

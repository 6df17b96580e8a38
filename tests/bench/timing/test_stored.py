"""Files of timings in a results folder, and the choice of timings in them."""

import pytest

from vidcost.bench.timing.cell import Cell
from vidcost.bench.timing.store import by_kind, rows_timed_alike, store_of, stored_by_device

CELL = Cell(row="mfnet-nl")


@pytest.fixture
def abacus(timed):
    """The machine of made-up timings."""
    return timed(CELL).machine


def test_a_file_is_named_by_device_and_torch(abacus, tmp_path):
    a100 = abacus.model_copy(update={"device": "NVIDIA A100-SXM4-80GB", "torch": "2.12.1+cu128"})
    name = "nvidia-a100-sxm4-80gb-torch2.12.1.jsonl"
    assert tmp_path / "timings" / name == store_of(tmp_path, a100).path


def test_of_each_device_those_on_machines_like_the_latest_are_kept(abacus, timed, tmp_path):
    other = abacus.model_copy(update={"device": "Slide rule"})
    updated = abacus.model_copy(update={"driver": "570"})
    newer = {"machine": updated, "started": "2026-02-01"}
    for timing in (
        timed(Cell(row="mfnet"), started="2026-01-01"),
        timed(CELL, started="2026-01-01"),
        timed(CELL, **newer),
        timed(CELL, machine=other),
        timed(Cell(row="mfnet-pnl"), None, status="killed", machine=None),
    ):
        machine = timing.machine or abacus
        store_of(tmp_path, machine).append(timing)
    found = stored_by_device(tmp_path)
    assert ["Abacus", "Slide rule"] == list(found)
    assert [(CELL, updated)] == [(each.cell, each.machine) for each in found["Abacus"]]
    assert {} == stored_by_device(tmp_path / "nowhere")


def test_unlike_machines_have_tables_of_their_own(timed, abacus):
    # two nodes of one kind, a lost cell, and a node with another driver
    like = {"device_uuid": "GPU-7", "host": "n7", "memory_bytes": 10**9 + 4096}
    lost = timed(Cell(row="mfnet", batch=3), None, status="killed", machine=None)
    first = [timed(CELL), timed(CELL, machine=abacus.model_copy(update=like)), lost]
    second = [timed(CELL, machine=abacus.model_copy(update={"driver": "570", "host": "n9"}))]
    assert [first, second] == [list(each) for each in by_kind(first + second)]
    assert [[]] == [list(each) for each in by_kind([])]


def test_rows_timed_alike_are_those_of_the_conditions_with_most_rows(timed):
    cells = (
        Cell(row="mfnet", batch=8),
        Cell(row="mfnet"),
        CELL,
        Cell(row="mfnet-pnl", frames=8),
        Cell(row="s3d", phase="training"),
        Cell(row="mfnet-pnl", against=Cell(row="mfnet-pnl", blocks=())),
        Cell(row="mfnet-pnl", blocks=(("conv4:before-last", "nl"),)),
    )
    found = rows_timed_alike(map(timed, cells))
    assert {"mfnet": 1, "mfnet-nl": 1} == {row: each.cell.batch for row, each in found.items()}

import pytest

from vidcost.bench.report.gpu import gpu_table
from vidcost.bench.report.paper import paper_table
from vidcost.bench.timing.cell import Cell
from vidcost.papers import catalog
from vidcost.papers.pnl2020.rows import ROWS

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


def test_lines_are_those_of_all_tables_with_latency_and_memory(table, on, cells):
    latest = on("mfnet-pnl", 0.125, known={"started": "2026-11-27"})
    cell = latest.cell.model_copy(update={"device": "cuda:1"})
    latest = latest.model_copy(update={"cell": cell})
    timings = [latest, on("mfnet-pnl", 0.1), on("mfnet", 0.1), on("mfnet", 0.02, dtype="bf16")]
    found = gpu_table([table(number) for number in (3, 5, 6)], [*timings, on("r50-ucf101", 0.3)])
    assert "Tables 3, 5, 6 on Abacus GPU" == found.title
    lines = cells(found)
    assert [*["3"] * 3, *["5"] * 14, *["6"] * 4] == [line["Table"] for line in lines]
    assert {
        "Table": "3",
        "Method": "MFNet baseline",
        "MACs": "1.000G",
        "fp32, ms": "100.0 ± 4.0",
        "bf16, ms": "20.00 ± 0.80",
        **{f"Peak {dtype}, MB": "61.0" for dtype in ("fp32", "bf16")},
    } == lines[0]
    assert ["3", "Vanilla concatenation", "1.000G", *["–"] * 4] == list(lines[1].values())
    assert ("125.0 ± 5.0", "–") == (lines[2]["fp32, ms"], lines[2]["bf16, ms"])
    # the same network in another table
    assert "100.0 ± 4.0" == next(x for x in lines if x["Method"] == "MFNet [38]")["fp32, ms"]


def test_what_could_not_be_measured_is_a_dash_with_the_reason(table, on, cells):
    failed = on("mfnet-pnl", None, known={"status": "oom", "error": "20 GiB"})
    found = gpu_table([table(3)], [on("mfnet"), failed])
    *_, pnl = cells(found)
    assert ("–¹", "–") == (pnl["fp32, ms"], pnl["Peak fp32, MB"])
    assert "\n¹ oom: 20 GiB\n" in found.markdown()


@pytest.mark.parametrize(
    "other",
    [
        {"device": "cpu"},
        {"batch": 4},
        {"dtype": "fp16"},
        {"frames": 8},
        {"mode": "cuda-graph"},
        {"against": Cell(row="mfnet", device="cuda", batch=8)},
    ],
)
def test_what_was_timed_otherwise_is_not_shown(other, table, timed):
    timing = timed(Cell(**({"row": "mfnet-pnl", "device": "cuda", "batch": 8} | other)))
    assert gpu_table([table(3)], [timing]) is None

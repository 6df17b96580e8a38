"""Latency and memory on GPUs beside the paper's tables."""

import pytest

from vidcost.bench.report.gpu import baseline_of, gpu_summary, gpu_tables, gpus
from vidcost.bench.report.paper import paper_table
from vidcost.bench.timing.cell import Cell
from vidcost.papers import catalog
from vidcost.papers.pnl2020.rows import ROWS

ALL = {row.name: row for row in ROWS}
DAY = "2026-11-26T20:00:00+00:00"


def cells(table):
    """The cells as people see them, by heading."""
    rows = [line for line in table.markdown().splitlines() if line.startswith("|")]
    heading, _, *body = [[cell.strip() for cell in row.strip("|").split("|")] for row in rows]
    return [dict(zip(heading, each, strict=True)) for each in body]


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


def tables_of(table, timings):
    return gpu_tables(table, ALL, gpus(timings))


# --- what a table says


def test_lines_are_those_of_the_paper_with_latency_ratio_and_memory(table, on):
    timings = [
        on("mfnet", 0.1),
        on("mfnet-pnl", 0.125),
        on("mfnet", 0.02, dtype="bf16"),
        on("mfnet", 0.05, dtype="tf32"),
        on("mfnet", 0.03, batch=1),
    ]
    (found,) = tables_of(table(3), timings)
    assert "Table 3 on Abacus GPU" == found.title
    baseline, concat, pnl = cells(found)
    assert {
        "Method": "MFNet baseline",
        "MACs": "1.000G",
        "fp32, batch 8, ms": "100.0 ± 4.0",
        "fp32, × baseline": "1.00",
        "tf32, batch 8, ms": "50.00 ± 2.0",
        "bf16, batch 8, ms": "20.00 ± 0.80",
        "bf16, × baseline": "1.00",
        "fp32, batch 1, ms": "30.00 ± 1.2",
        "Peak fp32, MB": "61.0",
        "Peak bf16, MB": "61.0",
    } == baseline
    assert ["Vanilla concatenation", "1.000G", *["–"] * 8] == list(concat.values())
    assert ("125.0 ± 5.0", "1.25", "–", "–") == tuple(
        pnl[key]
        for key in ("fp32, batch 8, ms", "fp32, × baseline", "bf16, batch 8, ms", "Peak bf16, MB")
    )


def test_what_could_not_be_measured_is_a_dash_with_the_reason(table, on):
    failed = on("mfnet-pnl", None, known={"status": "oom", "error": "20 GiB"})
    (found,) = tables_of(table(3), [on("mfnet"), failed])
    *_, pnl = cells(found)
    assert ("–¹", "–", "–") == tuple(
        pnl[key] for key in ("fp32, batch 8, ms", "fp32, × baseline", "Peak fp32, MB")
    )
    assert "\n¹ oom: 20 GiB\n" in found.markdown()
    # a network cannot be held against one that did not fit
    (found,) = tables_of(table(3), [on("mfnet", None, known={"status": "oom"}), on("mfnet-pnl")])
    assert "fp32, × baseline" not in cells(found)[0]


# --- which records


@pytest.mark.parametrize(
    "other",
    [
        {"device": "cpu"},
        {"batch": 4},
        {"dtype": "fp16"},
        {"contribution": True},
        {"frames": 8},
        {"mode": "cuda-graph"},
        {"against": Cell(row="mfnet", device="cuda", batch=8)},
    ],
)
def test_what_was_timed_otherwise_is_not_shown(other, table, timed):
    timing = timed(Cell(**({"row": "mfnet-pnl", "device": "cuda", "batch": 8} | other)))
    assert [] == tables_of(table(3), [timing])


def test_unlike_machines_with_one_gpu_say_what_differs(table, on):
    like = {"device_uuid": "GPU-2", "host": "n7", "memory_bytes": 7}
    timings = [
        on("mfnet"),
        on("mfnet-pnl", machine=like),
        on("mfnet", machine={"driver": "590"}),
    ]
    found = tables_of(table(3), timings)
    assert ["Table 3 on Abacus GPU (driver 580)", "Table 3 on Abacus GPU (driver 590)"] == [
        each.title for each in found
    ]
    assert "2 such devices shared the work" in found[0].markdown()


def test_the_latest_of_a_cell_counts_whatever_the_device_is_called(table, on):
    timings = [
        on("mfnet", 0.2, device="Abacus GPU", known={"started": "2026-11-27"}),
        on("mfnet", 0.1),
    ]
    timings[0] = timings[0].model_copy(
        update={"cell": timings[0].cell.model_copy(update={"device": "cuda:1"})}
    )
    (found,) = tables_of(table(3), timings)
    assert "200.0 ± 8.0" == cells(found)[0]["fp32, batch 8, ms"]


# --- baselines


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        ("mfnet", "mfnet"),
        ("mfnet-pnl-x5", "mfnet"),
        ("r50-nl-ucf101", "r50-ucf101"),
        # of 200 classes there is none without a block
        ("r50-nl", None),
        ("c3d", None),
        ("2plus-c1-d", None),
    ],
)
def test_a_baseline_is_the_same_network_without_blocks(row, expected):
    assert expected == baseline_of(ALL[row], ROWS)


# --- several tables in one


def test_a_summary_has_the_lines_of_all_tables(table, on):
    tables = [table(number) for number in (3, 5, 6)]
    timings = [
        on("mfnet"),
        on("mfnet", 0.02, dtype="bf16"),
        on("mfnet-nl", 0.15),
        on("r50-ucf101", 0.3),
        on("r50-nl-ucf101", 0.6),
        on("mfnet", dtype="tf32"),
    ]
    (gpu,) = gpus(timings)
    found = gpu_summary(tables, ALL, gpu)
    assert "Tables 3, 5 and 6 on Abacus GPU" == found.title
    lines = cells(found)
    assert [*["3"] * 3, *["5"] * 14, *["6"] * 4] == [line["Table"] for line in lines]
    assert ["100.0 ± 4.0", "100.0 ± 4.0"] == [
        line["fp32, batch 8, ms"] for line in lines if line["Method"].startswith("MFNet ")
    ]
    ratios = {line["Method"]: line["fp32, × baseline"] for line in lines}
    assert ("1.50", "2.00") == (ratios["MFNet-NL [26]"], ratios["R-50 + NL"])
    assert "(mfnet, r50-ucf101)" in found.legend[0]
    assert [*"Table Method MACs".split(), "fp32, batch 8, ms"] == list(lines[0])[:4]
    assert not any("tf32" in heading for heading in lines[0])

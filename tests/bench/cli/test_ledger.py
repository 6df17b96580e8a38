"""The command that accounts for what other counters print."""

from __future__ import annotations

import csv
import io
import json
import re

import pytest

from vidcost.papers.pnl2020.rows import ROWS

BUILDABLE = [row.name for row in ROWS if row.build]
LEFT_OUT = "2plus-c1-d left out: published only: no public definition of the network was found\n"


def test_the_ledger_of_one_row_is_term_by_term(vidcost, witnesses, tmp_path):
    status, out, err = vidcost("ledger", "mfnet-nl")
    assert (0, "") == (status, err)
    assert out.startswith("**Ledger of mfnet-nl**\n")
    assert re.search(r"our MACs +\| +12,451,829,760 \|", out)
    assert re.search(r"attention products unseen +\| +– \| +-944,111,616 \| +-944,111,616 \|", out)
    assert [] == list(tmp_path.iterdir())


def test_the_ledger_of_all_rows_is_written(vidcost, witnesses, tmp_path, results):
    status, out, err = vidcost("ledger")
    assert (0, LEFT_OUT) == (status, err)
    assert out.startswith("**Ledger**\n")
    assert len(BUILDABLE) == len(re.findall(r" 7 \| 0 +\|$", out, re.MULTILINE))
    assert {"ledger.jsonl", "ledger.md"} == {p.name for p in (tmp_path / "results").iterdir()}


def test_the_committed_ledger_is_what_the_committed_records_give(
    vidcost, witnesses, committed, results, tmp_path
):
    for row, record_ in committed.items():
        for name, answer in record_.witnesses.items():
            witnesses[name, row] = answer.model_dump()
    assert 0 == vidcost("ledger").status
    for name in ("ledger.md", "ledger.jsonl"):
        fresh = (tmp_path / "results" / name).read_text()
        kept = (results / name).read_text() if (results / name).is_file() else ""
        assert fresh == kept, f"stale: `vidcost ledger` writes results/{name} anew"


@pytest.mark.parametrize("words", [["mfnet*"], ["--table", "6"], ["--classes", "7"]])
def test_the_ledger_of_some_rows_leaves_the_file_alone(words, vidcost, witnesses, tmp_path):
    status, out, _ = vidcost("ledger", *words, "--results", "elsewhere")
    assert 0 == status
    assert out
    assert [] == list(tmp_path.iterdir())


def test_the_ledger_as_data(vidcost, witnesses):
    lines = json.loads(vidcost("ledger", "mfnet", "--format", "json").out)
    amounts = {(line["counter"], line["quantity"], line["what"]): line["amount"] for line in lines}
    assert 11_045_296_128 == amounts["thop-2020", "flops", "ours"]
    assert 131_059_712 == amounts["thop-2020", "flops", "BatchNorm, 2 per element"]
    assert 768 == amounts["thop-2020", "flops", "average pooling, 1 per output element"]
    assert 11_176_356_608 == amounts["thop-2020", "flops", "printed"]
    assert {0} == {amount for (_, _, what), amount in amounts.items() if what == "remainder"}
    rows = list(csv.DictReader(io.StringIO(vidcost("ledger", "mfnet", "--format", "csv").out)))
    assert len(lines) == len(rows)


def test_a_remainder_fails_and_is_named(vidcost, witnesses):
    witnesses["thop", "mfnet-nl"] = {
        "flops": 11_772_246_784 + 7,
        "parts": {
            "convolutions": 11_507_564_544,
            "BatchNorm": 264_527_872 + 7,
            "products": 153_600,
            "pooling": 768,
        },
    }
    status, out, err = vidcost("ledger", "mfnet", "mfnet-nl")
    assert 1 == status
    assert "vidcost: mfnet-nl: thop: BatchNorm: +7 flops are not explained\n" == err
    # the tables are printed all the same
    assert 2 == out.count("**Ledger of ")
    assert re.search(r"remainder +\| +0 \| +7 \| +0 \| +0 \|", out)


def test_a_remainder_fails_a_run_too(vidcost, witnesses, tmp_path):
    witnesses["fvcore", "c3d"] = {"params": 78_815_177}
    status, out, err = vidcost("run")
    assert 1 == status
    assert f"{LEFT_OUT}vidcost: c3d: fvcore: params: +1 params are not explained\n" == err
    assert "300 of 301 accounts of other counters add up" in out
    assert (tmp_path / "results/counts.jsonl").is_file()


def test_a_witness_that_is_missing_is_a_status_in_its_column(vidcost, witnesses):
    for row in ("mfnet", "c3d"):
        witnesses["thop", row] = {
            "version": "not installed",
            "status": "missing",
            "error": "thop is not installed",
            "flops": None,
            "params": None,
            "parts": {},
        }
    status, out, err = vidcost("ledger", "mfnet", "c3d")
    assert 1 == status
    assert (
        "vidcost: mfnet: thop missing: thop is not installed\n"
        "vidcost: c3d: thop missing: thop is not installed\n"
    ) == err
    assert 2 == len(re.findall(r"FLOPs printed +\| +[\d,]+ \| +missing \| +[\d,]+ \|", out))

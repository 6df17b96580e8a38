"""The command that explains what other counters print."""

import json
import re

import pytest

from vidcost.papers.pnl2020.rows import ROWS

BUILDABLE = [row.name for row in ROWS if row.build]
LEFT_OUT = "2plus-c1-d left out: published only: no public definition of the network was found\n"


def test_the_reconciliation_of_one_row_is_term_by_term(vidcost, reference_counters, tmp_path):
    status, out, err = vidcost("explain", "mfnet-nl")
    assert (0, "") == (status, err)
    assert out.startswith("**Reconciliation of mfnet-nl**\n")
    assert re.search(r"our MACs +\| +12,451,829,760 \|", out)
    assert re.search(r"attention products unseen +\| +– \| +-944,111,616 \| +-944,111,616 \|", out)
    assert [] == list(tmp_path.iterdir())


def test_the_reconciliation_of_all_rows_is_written(vidcost, reference_counters, tmp_path, results):
    status, out, err = vidcost("explain")
    assert (0, True) == (status, err.startswith(LEFT_OUT))
    assert out.startswith("**Reconciliation**\n")
    assert len(BUILDABLE) == len(re.findall(r" 7 \| 0 +\|$", out, re.MULTILINE))
    assert {"reconciliation.jsonl", "reconciliation.md"} == {
        p.name for p in (tmp_path / "results").iterdir()
    }


def test_the_committed_reconciliation_is_what_the_committed_records_give(
    vidcost, reference_counters, committed, results, tmp_path
):
    for row, record_ in committed.items():
        for name, answer in record_.reference_counters.items():
            reference_counters[name, row] = answer.model_dump()
    assert 0 == vidcost("explain").status
    for name in ("reconciliation.md", "reconciliation.jsonl"):
        fresh = (tmp_path / "results" / name).read_text()
        kept = (results / name).read_text() if (results / name).is_file() else ""
        assert fresh == kept, f"stale: `vidcost explain` writes results/{name} anew"


@pytest.mark.parametrize(
    "words",
    [["mfnet*"], ["--table", "6"], pytest.param(["--classes", "7"], marks=pytest.mark.slow)],
)
def test_the_reconciliation_of_some_rows_leaves_the_file_alone(
    words, vidcost, reference_counters, tmp_path
):
    status, out, _ = vidcost("explain", *words, "--results", "elsewhere")
    assert 0 == status
    assert out
    assert [] == list(tmp_path.iterdir())


def test_the_reconciliation_as_data(vidcost, reference_counters):
    lines = json.loads(vidcost("explain", "mfnet", "--format", "json").out)
    amounts = {(line["counter"], line["quantity"], line["what"]): line["amount"] for line in lines}
    assert {
        "ours": 11_045_296_128,
        "BatchNorm, 2 per element": 131_059_712,
        "average pooling, 1 per output element": 768,
        "printed": 11_176_356_608,
        "remainder": 0,
    } == {what: amount for (*of, what), amount in amounts.items() if of == ["thop-2020", "flops"]}
    assert {0} == {amount for (_, _, what), amount in amounts.items() if what == "remainder"}


def test_a_remainder_fails_and_is_named(vidcost, reference_counters):
    parts = {"convolutions": 11_507_564_544, "products": 153_600, "pooling": 768}
    parts["BatchNorm"] = 264_527_872 + 7
    reference_counters["thop", "mfnet-nl"] = {"flops": 11_772_246_784 + 7, "parts": parts}
    status, out, err = vidcost("explain", "mfnet", "mfnet-nl")
    assert 1 == status
    assert "vidcost: mfnet-nl: thop: BatchNorm: +7 flops are not explained\n" == err
    # the tables are printed all the same
    assert 2 == out.count("**Reconciliation of ")
    assert re.search(r"remainder +\| +0 \| +7 \| +0 \| +0 \|", out)


def test_a_reference_counter_that_is_missing_is_a_status_in_its_column(vidcost, reference_counters):
    missing = {"version": "not installed", "status": "missing", "error": "thop is not installed"}
    missing |= {"flops": None, "params": None, "parts": {}}
    for row in ("mfnet", "c3d"):
        reference_counters["thop", row] = missing
    status, out, err = vidcost("explain", "mfnet", "c3d")
    assert 1 == status
    said = "vidcost: {}: thop missing: thop is not installed\n"
    assert said.format("mfnet") + said.format("c3d") == err
    assert 2 == len(re.findall(r"FLOPs printed +\| +[\d,]+ \| +missing \| +[\d,]+ \|", out))

"""Commands that list, count, and explain what other counters print."""

import csv
import io
import json
import re

import pytest

from vidcost.bench.count import record
from vidcost.papers.catalog import every_row
from vidcost.papers.pnl2020.rows import ROWS

LEFT_OUT = "2plus-c1-d left out: published only: no public definition of the network was found\n"
REFERENCE_COUNTERS = ("fvcore", "thop", "thop-2020", "torch")
QUANTITIES = "params macs conv linear matmul".split()


def rows_of(out):
    return [line["row"] for line in json.loads(out)]


@pytest.mark.parametrize(
    ("expected", "arguments"),
    [
        ([row.name for row in ROWS], []),
        (["mfnet-pnl", "mfnet-pnl-concat"], ["mfnet-pnl*", "--table", "3"]),
        (["mars", "2plus-c1-d"], ["mars", "2plus*"]),
    ],
)
def test_list_filters(expected, arguments, vidcost):
    assert expected == rows_of(vidcost("list", *arguments, "--format", "json").out)


def test_count_takes_classes_frames_and_size(vidcost):
    def params_and_macs(*options):
        (line,) = json.loads(vidcost("count", "mfnet", *options, "--format", "json").out)
        return line["classes"], line["params"], line["macs"]

    assert (200, 7_842_568, 11_045_296_128) == params_and_macs()
    # 769 parameters and 768 MACs a class
    assert (201, 7_843_337, 11_045_296_896) == params_and_macs("--classes", "201")
    # all but the classifier's 153,600 MACs is in proportion to the frames and pixels
    assert (200, 7_842_568, 22_090_438_656) == params_and_macs("--frames", "32")
    assert (200, 7_842_568, 44_180_723_712) == params_and_macs("--size", "448")


def test_views_put_the_macs_of_a_video_beside_those_of_a_view(vidcost):
    (line,) = json.loads(vidcost("count", "mfnet", "--views", "10x3", "--json").out)
    assert (11_045_296_128, 331_358_883_840) == (line["macs"], line["video_macs"])
    assert "MACs of 30 views" in vidcost("count", "mfnet", "--views", "30", "--depth", "1").out
    assert "video" not in vidcost("count", "mfnet", "--json").out
    for views, error in (
        ("10x", "'10x' is no number of views"),
        ("0", "'0' is no number of views"),
    ):
        status, _, err = vidcost("count", "mfnet", "--views", views)
        assert (True, True) == (status != 0, err.startswith(f"vidcost: {error} such as 10x3"))
    assert "leave out --training" in vidcost("count", "mfnet", "--training", "--views", "3").err


def test_count_prints_the_macs_of_training(vidcost):
    status, out, err = vidcost("count", "c3d", "--training", "--format", "json")
    assert (0, "") == (status, err)
    (c3d,) = json.loads(out)
    # twice the forward pass, but for the first convolution: 64 x 16 x 112 x 112 x 3 x 27
    assert (38_547_783_680, 2 * 38_547_783_680 - 1_040_449_536) == (
        c3d["macs"],
        c3d["backward_macs"],
    )
    assert c3d["training_macs"] == c3d["macs"] + c3d["backward_macs"]
    printed = vidcost("count", "mfnet-pnl", "--training", "--wide").out
    assert printed.startswith("**Training**\n\n| Row")
    assert "33,287,346,432" in printed


def test_count_asks_the_reference_counters_only_when_told_to(vidcost, reference_counters):
    out = vidcost("count", "mfnet", "--format", "json").out
    assert ([], False) == (reference_counters.asked, "fvcore" in out)
    (line,) = json.loads(vidcost("count", "mfnet", "--references", "--format", "json").out)
    assert (11_176_355_840, 11_307_416_320) == (line["fvcore"], line["thop"])
    assert (11_176_356_608, 11_045_296_128) == (line["thop-2020"], line["torch"])
    assert [(w, "mfnet", True) for w in REFERENCE_COUNTERS] == sorted(reference_counters.asked)


@pytest.mark.parametrize(
    "command", ["count mfnet --references", "tables 4", pytest.param("run", marks=pytest.mark.slow)]
)
def test_no_cache_asks_anew(command, vidcost, reference_counters):
    vidcost(*command.split(), "--no-cache")
    assert {False} == {use_cache for _, _, use_cache in reference_counters.asked}


def test_count_names_a_reference_counter_that_failed(vidcost, reference_counters):
    reference_counters["thop", "mfnet"] = "exit status 1: boom"
    status, out, err = vidcost("count", "mfnet", "--references", "--format", "csv")
    assert (1, "vidcost: mfnet: thop crashed: exit status 1: boom\n") == (status, err)
    (line,) = csv.DictReader(io.StringIO(out))
    assert ("11176355840", "") == (line["fvcore"], line["thop"])


@pytest.mark.parametrize("name", ["mfnet-pnl", "r50-nl", "i3d-ts"])
@pytest.mark.parametrize("depth", [1, 2])
def test_the_modules_of_a_tree_sum_to_the_whole(name, depth, vidcost):
    out = vidcost("count", name, "--depth", str(depth), "--format", "json").out
    root, *below = json.loads(out)
    whole = record.counted(every_row()[name])[0]
    assert {key: getattr(whole, key) for key in QUANTITIES} == {
        key: root[key] for key in QUANTITIES
    }
    paths = [line["module"] for line in below]
    leaves = [
        line for line in below if not any(path.startswith(f"{line['module']}.") for path in paths)
    ]
    assert {key: root[key] for key in QUANTITIES} == {
        key: sum(line[key] for line in leaves) for key in QUANTITIES
    }
    assert depth - 1 == max(path.count(".") for path in paths)


def test_blocks_side_by_side(vidcost):
    # C = 384, P = 1568: 2C^2 + 2C parameters, 2C^2 P + C P^2 MACs
    specs = ["nl", "cgnl", "cgd", "pnl:n=4,combine=concat"]
    lines = json.loads(vidcost("count", *specs, "--shape", "384x8x14x14", "--json").out)
    assert specs == [line["block"] for line in lines]
    assert (295_680, 1_406_533_632) == (lines[0]["params"], lines[0]["macs"])
    assert (19_200, 288_884_736) == (lines[3]["params"], lines[3]["macs"])
    assert 6 * 384 == lines[2]["params"]
    printed = vidcost("count", "nl", "--shape", "6x3x5x7").out
    assert "**Blocks on 6 channels of 3x5x7, batch 1**" in printed


def test_count_prints_whole_numbers_as_json_and_says_what_is_left_out(vidcost):
    status, out, err = vidcost("count", "--table", "5", "--format", "json")
    assert (0, LEFT_OUT) == (status, err)
    lines = {line["row"]: line for line in json.loads(out)}
    assert (13, False) == (len(lines), "2plus-c1-d" in lines)
    assert (11_045_296_128, 0) == (lines["mfnet"]["macs"], lines["mfnet"]["closed_forms"])
    assert (253_692_672, 2) == (lines["mfnet-pnl"]["matmul"], lines["mfnet-pnl"]["closed_forms"])


def test_the_reconciliation_of_one_row_is_term_by_term(vidcost, reference_counters, tmp_path):
    status, out, err = vidcost("explain", "mfnet-nl", "--wide")
    assert (0, "") == (status, err)
    assert out.startswith("**Reconciliation of mfnet-nl**\n")
    assert re.search(r"our MACs +\| +12,451,829,760 \|", out)
    assert re.search(r"attention products unseen +\| +– \| +-944,111,616 \| +-944,111,616 \|", out)
    assert [] == list(tmp_path.iterdir())


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


def test_a_remainder_fails_and_is_named(vidcost, reference_counters):
    parts = {"convolutions": 11_507_564_544, "products": 153_600, "pooling": 768}
    parts["BatchNorm"] = 264_527_872 + 7
    reference_counters["thop", "mfnet-nl"] = {"flops": 11_772_246_784 + 7, "parts": parts}
    status, out, err = vidcost("explain", "mfnet", "mfnet-nl", "--wide")
    assert 1 == status
    assert "vidcost: mfnet-nl: thop: BatchNorm: +7 flops are not explained\n" == err
    # the tables are printed all the same
    assert 2 == out.count("**Reconciliation of ")
    assert re.search(r"remainder +\| +0 \| +7 \| +0 \| +0 \|", out)

import csv
import io
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import typer.main
from packaging.version import Version
from typer.testing import CliRunner

from vidcost.bench import published
from vidcost.bench.audit.verdicts import FindingGone
from vidcost.bench.cli import app
from vidcost.bench.count import cache, measure, record, rules, witness
from vidcost.bench.count.closed_form import ClosedFormMismatch
from vidcost.bench.engine.work import Lost
from vidcost.bench.tables.audit import document as audit_document
from vidcost.bench.timing.sweep import Interrupted
from vidcost.models import rows
from vidcost.models.blocks import PNL
from vidcost.models.cost import Cost
from vidcost.models.rows import ROWS

CHECKOUT = Path(__file__).parents[2]
BUILDABLE = [row.name for row in ROWS if row.build]
LEFT_OUT = "2plus-c1-d left out: published only: no public definition of the network was found\n"
WITNESSES = ("fvcore", "thop", "thop-2020", "torch")
QUANTITIES = "params macs conv linear matmul".split()


def commands(group=None, path=()):
    """Every command of the command line by its words."""
    group = group or typer.main.get_command(app)
    found = {}
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            found |= commands(command, (*path, name))
        else:
            found[" ".join((*path, name))] = command
    return found


def plain(output):
    """Output without colours, which CI asks for."""
    return re.sub(r"\x1b\[[0-9;]*m", "", output)


# --- help and examples


@pytest.mark.parametrize("name", commands())
def test_help_shows_an_example(name):
    result = CliRunner().invoke(app, [*name.split(), "--help"])
    assert 0 == result.exit_code
    assert f"Example: vidcost {name}" in " ".join(plain(result.output).split())


# those need a repository of two versions, or counts: tests/bench/gate/test_cli_gate.py and
# tests/bench/test_cli_report.py run them
@pytest.mark.parametrize(
    "name", [name for name in commands() if name.split()[0] not in ("gate", "history", "report")]
)
def test_the_example_runs(name, vidcost, witnesses, operators, monkeypatch, tmp_path):
    monkeypatch.setattr(cache, "folder", lambda: tmp_path / "cache")
    if name in ("query", "export"):
        # what they show is stored
        shutil.copytree(CHECKOUT / "results", "results", ignore=lambda *_: ["gate"])
    (example,) = re.findall("`vidcost (.*)`", commands()[name].epilog)
    # fvcore runs the networks for real: on a small clip that is seconds instead of a minute
    clip = "--frames 4 --size 128" if name == "compare" else ""
    status, out, err = vidcost(*shlex.split(f"{example} {clip}"))
    assert (0, LEFT_OUT if name == "run" else "") == (status, err)
    assert out


def test_no_arguments_show_the_help():
    result = CliRunner().invoke(app, [])
    assert 2 == result.exit_code
    assert set() == {name.split()[0] for name in commands()} - set(plain(result.output).split())


def test_no_arguments_show_the_help_and_complain_of_nothing(vidcost):
    status, out, err = vidcost()
    assert (2, "") == (status, err)
    assert "Usage:" in out


def test_the_package_runs_as_a_module(tmp_path):
    ran = subprocess.run(
        [sys.executable, "-m", "vidcost.bench", "--help"],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        check=False,
    )
    assert (0, "") == (ran.returncode, ran.stderr)
    assert "vidcost.bench [OPTIONS] COMMAND" in ran.stdout


# --- what is refused


@pytest.mark.parametrize(
    ("command", "words"),
    [
        ("count mfnet-pln", ["no row 'mfnet-pln'", "did you mean 'mfnet-pnl'?", "vidcost list"]),
        ("list r50-mk", ["no row 'r50-mk'", "did you mean 'r50-"]),
        ("show mfnett", ["did you mean 'mfnet'?"]),
        ("count --table 7", ["no table 7: the paper has Tables 1 to 6"]),
        ("list --table 0", ["no table 0"]),
        ("count r50-nl --frames 0", ["0 frames", "at least 1"]),
        ("count c3d --frames 8", ["C3D", "8 frames", "too short", "at least 16"]),
        ("count mfnet --classes 0", ["MFNet", "classes must be at least 1, got 0"]),
        ("count mfnet --size 0", ["MFNet", "0x0"]),
        ("count mfnet --size -3", ["MFNet", "-3x-3"]),
        ("count mfnet-pnl --size 112", ["7x7", "at most n=3", "not n=4"]),
        ("show mfnet-pnl --size 112", ["7x7", "at most n=3"]),
        ("count 2plus-c1-d", ["2plus-c1-d cannot be built", "no public definition"]),
        ("show 2plus-c1-d", ["2plus-c1-d cannot be built", "no public definition"]),
        ("show '2plus*'", ["2plus-c1-d cannot be built", "no public definition"]),
        ("count mfnet --training --witnesses", ["forward pass alone", "leave out --training"]),
        ("count 2plus-c1-d --training", ["2plus-c1-d cannot be built", "no public definition"]),
        ("show 'mfnet*'", ["'mfnet*' matches 24 rows: show one at a time"]),
        ("show mfnet --depth -1", ["--depth"]),
        ("count mfnet --table 6", ["no row of Table 6 matches mfnet"]),
        ("count mfnet --size 99999999999", ["more elements than torch can number"]),
        ("count mfnet --classes 9999999999999999", ["more elements than torch can number"]),
        ("block nl --shape 1x384x999999x9999x9999", ["more elements than torch can number"]),
        ("block pnl:n=3 --shape 1x1024x8x14x14", ["1024", "n=3", "2, 4, 8, 16"]),
        ("block nl --shape 1x3x2x4x4", ["channels must be even", "got 3"]),
        ("block nl --shape 1x0x2x4x4", ["'1x0x2x4x4' is no shape BxCxTxHxW"]),
        ("block nl --shape 384x8x14x14", ["'384x8x14x14' is no shape BxCxTxHxW"]),
        ("block nl:pairwise=cosine", ["'cosine'", "embedded-gaussian, gaussian, dot-product"]),
        ("block nll", ["no block 'nll': choose from nl, cgnl, cgd, pnl"]),
        ("block nl pnl:m=4", ["pnl has no option 'm'"]),
        ("block", ["BLOCK"]),
        ("tables 7 --results r", ["no table 7: the paper has Tables 1 to 6"]),
        ("tables 3 7 --results r", ["no table 7"]),
        ("tables three --results r", ["integer"]),
        ("count --bogus", ["--bogus"]),
        ("run --bogus", ["--bogus"]),
        ("count mfnet --frames many", ["--frames"]),
        ("count mfnet --format xml", ["--format", "'xml'", "'md', 'json', 'csv'"]),
        ("show", ["Missing argument", "row"]),
        ("show mfnet c3d", ["c3d"]),
        ("audition", ["No such command", "audition"]),
        ("cache empty", ["No such command", "empty"]),
        ("formulas --cross cgnl", ["'cgnl' is no pair of blocks such as cgnl,pnl:n=3"]),
        ("formulas --cross cgnl,pln", ["no block 'pln'"]),
        ("formulas --cross nl,pnl --channels 7", ["channels must be even", "got 7"]),
        ("formulas --cross nl,pnl --along W", ["--along", "'W'"]),
        ("audit --search mfnett", ["no row 'mfnett'", "did you mean 'mfnet'?"]),
        ("audit --search 'r50*'", ["'r50*' is no row's name", "one row at a time"]),
        ("audit --search mars", ["prints no costs of mars", "choose from mfnet"]),
        ("audit --search 2plus-c1-d", ["2plus-c1-d cannot be built"]),
        ("audit --recipe 'mfnet keys=pooled'", ["no axis 'keys'", "it has classes, frames"]),
        ("audit --recipe 'r50-nl classes=7'", ["classes cannot be '7': choose from 101"]),
        ("audit --recipe mfnet --search mfnet", ["give one of them"]),
        ("time mfnett", ["no row 'mfnett'", "did you mean 'mfnet'?"]),
        ("time 2plus-c1-d", ["2plus-c1-d cannot be built"]),
        ("time mfnet --device gpu", ["no device 'gpu': choose cpu, cuda"]),
        ("time mfnet --batch 0", ["batch: Input should be greater than 0"]),
        ("time mfnet --batch 1,", ["batch: Input should be a valid integer"]),
        (
            "time mfnet --dtype fp64",
            ["dtype: Input should be 'fp32', 'tf32', 'bf16', 'bf16-autocast' or 'fp16'"],
        ),
        ("time mfnet --dtype tf32", ["TF32 needs a CUDA device"]),
        ("time mfnet --mode cuda-graph", ["CUDA graphs need a CUDA device"]),
        ("time mfnet --mode quick", ["mode: Input should be 'eager'"]),
        ("time mfnet --phase test", ["phase: Input should be 'inference' or 'training'"]),
        ("time mfnet --memory-format dense", ["memory_format: Input should be 'contiguous'"]),
        ("time mfnet --cudnn-benchmark maybe", ["cudnn_benchmark: Input should be a valid boole"]),
        ("time mfnet --threads 0", ["--threads"]),
        ("time mfnet --budget 10", ["'10' is no time such as 90s, 10m or 1h"]),
        ("time mfnet --budget 0s", ["0s is no time: give more than 0s"]),
        ("time mfnet --share", ["none of these rows has a block"]),
        ("time mfnet --share --blocks nl", ["give one of them"]),
        ("time mfnet --sweep", ["for blocks alone: give --blocks too"]),
        ("time mfnet --shape 6x2x5x7", ["for blocks alone: give --blocks too"]),
        ("time mfnet-pnl --size 112", ["7x7", "at most n=3"]),
        ("time mfnet --classes 0", ["classes must be at least 1, got 0"]),
        ("time --blocks nl --shape 1x6x2x5x7", ["'1x6x2x5x7' is no shape CxTxHxW"]),
        ("time --blocks nll", ["no block 'nll': choose from nl, cgnl, cgd, pnl"]),
        ("time --blocks nl --shape 3x2x5x7", ["channels must be even", "got 3"]),
        ("run --budget soon", ["'soon' is no time such as 90s, 10m or 1h"]),
        ("tables 3 --timings H100", ["no timings of 'H100'", "`vidcost time` makes some"]),
    ],
)
def test_bad_input_is_refused_in_one_line(command, words, complaint, witnesses):
    message = complaint(*shlex.split(command))
    assert [] == [word for word in words if word not in message], message
    assert [] == witnesses.asked


HEAD = b'{"command": "vidcost run", "records": 1}\n'


@pytest.mark.parametrize(
    ("content", "line"),
    [
        (b"", 1),
        (b'{"command": \n', 1),
        (b'{"torch": "2"}\n', 1),
        (b"[]\n", 1),
        (HEAD + b'{"row": "mfnet"\n', 2),
        (HEAD + b'{"row": "mfnet"}\n', 2),
        (HEAD + b"\n", 2),
        (HEAD + b"null\n", 2),
    ],
)
def test_damaged_records_are_refused(content, line, complaint, witnesses, tmp_path):
    (tmp_path / "r").mkdir()
    (tmp_path / "r/counts.jsonl").write_bytes(content)
    assert f"r/counts.jsonl, line {line} is damaged: `vidcost run` writes the file anew" == (
        complaint("tables", "3", "--results", "r")
    )
    assert [] == witnesses.asked


def test_records_that_are_cut_off_are_refused(complaint, tmp_path):
    (tmp_path / "counts.jsonl").write_bytes(HEAD)
    assert "counts.jsonl has 0 of 1 records: `vidcost run` writes the file anew" == (
        complaint("tables", "3", "--results", ".")
    )


def test_records_that_are_no_text_are_refused(complaint, witnesses, tmp_path):
    (tmp_path / "counts.jsonl").write_bytes(b"\xff\xfe")
    assert "cannot read counts.jsonl" in complaint("tables", "3", "--results", ".")


@pytest.mark.parametrize("command", ["run", "tables 3", "conformance"])
@pytest.mark.parametrize("folder", ["file", "file/below"])
def test_a_folder_that_cannot_be_written_is_refused_before_any_work(
    command, folder, complaint, witnesses, tmp_path
):
    (tmp_path / "file").write_text("a file")
    message = complaint(*command.split(), "--results", folder)
    assert message.startswith(f"cannot write results to {folder}: ")
    assert "choose another folder with --results" in message
    assert [] == witnesses.asked


@pytest.mark.parametrize(
    ("command", "what"),
    [
        ("count mfnet mfnet-pnl", "mfnet-pnl: conv4.after_B05"),
        ("count mfnet mfnet-pnl --training", "mfnet-pnl: conv4.after_B05"),
        ("tables 3", "mfnet-pnl: conv4.after_B05"),
        ("run", "mfnet-pnl: conv4.after_B05"),
        ("block nl pnl", "pnl: the whole"),
    ],
)
def test_a_closed_form_that_is_not_met_is_something_wrong(
    command, what, vidcost, monkeypatch, tmp_path
):
    def ask(*_, **__):
        raise AssertionError("a witness was asked")

    monkeypatch.setattr(measure, "ask", ask)
    monkeypatch.setattr(PNL, "cost", lambda self, shape: Cost(params=1))
    status, out, err = vidcost(*command.split())
    err = err.removeprefix(LEFT_OUT)
    assert (1, "", 1) == (status, out, err.count("\n"))
    assert err.startswith(f"vidcost: {what} was counted as Cost(params=28416, ")
    assert "its closed form says Cost(params=1, conv=0" in err
    assert [] == [path for path in tmp_path.rglob("*") if path.is_file()]


# --- list, count, show, block


def rows_of(out):
    return [line["row"] for line in json.loads(out)]


def test_list_shows_every_row(vidcost):
    status, out, err = vidcost("list", "--format", "json")
    assert (0, "") == (status, err)
    assert [row.name for row in ROWS] == rows_of(out)


@pytest.mark.parametrize(
    ("expected", "arguments"),
    [
        (["mfnet-pnl", "mfnet-pnl-concat"], ["mfnet-pnl*", "--table", "3"]),
        (["r50-ucf101", "r50-nl-ucf101", "r50-cgnl-ucf101", "r50-pnl-ucf101"], ["--table", "6"]),
        # in the order of the rows, each once
        (["c3d", "s3d"], ["s3d", "c3d", "[cs]3d"]),
        (["mars", "2plus-c1-d"], ["mars", "2plus*"]),
    ],
)
def test_list_filters(expected, arguments, vidcost):
    assert expected == rows_of(vidcost("list", *arguments, "--format", "json").out)


def test_list_shows_what_goes_in_and_what_is_assumed(vidcost):
    out = vidcost("list", "resframe-ts", "i3d-ts").out
    assert "3x16x112x112 + 3x1x112x112" in out
    assert "3x64x224x224 + 2x64x224x224" in out
    assert "assumed: a 3D ResNet-18 on 16 residual frames" in out


def test_count_prints_whole_numbers_as_json(vidcost):
    mfnet, pnl = json.loads(vidcost("count", "mfnet", "mfnet-pnl", "--format", "json").out)
    assert ("mfnet", 11_045_296_128, 0) == (mfnet["row"], mfnet["macs"], mfnet["closed_forms"])
    assert {
        "row": "mfnet-pnl",
        "classes": 200,
        "params": 7_870_984,
        "macs": 11_336_626_944,
        "conv": 11_082_743_808,
        "linear": 190_464,
        "matmul": 253_692_672,
        "norm": 66_131_968,
        "closed_forms": 2,
    }.items() <= pnl.items()
    assert {int} == {type(value) for key, value in pnl.items() if key != "row"}


def test_count_prints_whole_numbers_as_csv(vidcost):
    out = vidcost("count", "mfnet", "mfnet-pnl", "--format", "csv").out
    mfnet, pnl = csv.DictReader(io.StringIO(out))
    assert ("11336626944", "253692672", "2") == (pnl["macs"], pnl["matmul"], pnl["closed_forms"])
    assert ("11045296128", "0", "0") == (mfnet["macs"], mfnet["matmul"], mfnet["closed_forms"])


@pytest.mark.parametrize("arguments", [[], ["--format", "md"]])
def test_count_prints_markdown_into_a_pipe(arguments, vidcost):
    out = vidcost("count", "mfnet-pnl", *arguments).out
    assert out.startswith("**Counts**\n\n| Row")
    assert "11,336,626,944" in out


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


def test_count_leaves_out_what_cannot_be_built_and_says_so(vidcost):
    status, out, err = vidcost("count", "--table", "5", "--format", "json")
    assert 0 == status
    assert (13, False) == (len(rows_of(out)), "2plus-c1-d" in rows_of(out))
    assert LEFT_OUT == err


def test_count_prints_the_macs_of_training(vidcost):
    status, out, err = vidcost("count", "mfnet-pnl", "c3d", "--training", "--format", "json")
    assert (0, "") == (status, err)
    pnl, c3d = json.loads(out)
    # twice the forward pass, but for the first convolution: 64 x 16 x 112 x 112 x 3 x 27
    assert (38_547_783_680, 2 * 38_547_783_680 - 1_040_449_536) == (
        c3d["forward_macs"],
        c3d["backward_macs"],
    )
    assert {
        "row": "mfnet-pnl",
        "forward_macs": 11_336_626_944,
        "backward_macs": 21_950_719_488,
        "training_macs": 33_287_346_432,
        "forward_matmul": 253_692_672,
        "backward_matmul": 507_385_344,
        "backward_linear": 380_928,
    }.items() <= pnl.items()
    assert {int} == {type(value) for key, value in pnl.items() if key != "row"}
    printed = vidcost("count", "mfnet-pnl", "--training").out
    assert printed.startswith("**Training**\n\n| Row")
    assert "33,287,346,432" in printed


def test_count_of_training_takes_frames_and_says_what_is_left_out(vidcost):
    options = ["--training", "--frames", "32", "--format", "json"]
    status, out, err = vidcost("count", "r3d18", "2plus*", *options)
    assert (0, LEFT_OUT) == (status, err)
    (line,) = json.loads(out)
    # 8,307,802,112 in 16 frames, and the classifier
    assert (2 * 8_307_802_112, 102_400) == (line["forward_conv"], line["forward_linear"])
    assert 204_800 == line["backward_linear"]


def test_count_asks_the_witnesses_only_when_told_to(vidcost, witnesses):
    out = vidcost("count", "mfnet", "--format", "json").out
    assert ([], False) == (witnesses.asked, "fvcore" in out)
    (line,) = json.loads(vidcost("count", "mfnet", "--witnesses", "--format", "json").out)
    assert (11_176_355_840, 11_307_416_320) == (line["fvcore"], line["thop"])
    assert (11_176_356_608, 11_045_296_128) == (line["thop-2020"], line["torch"])
    assert [(w, "mfnet", True) for w in WITNESSES] == sorted(witnesses.asked)


@pytest.mark.parametrize("command", ["count mfnet --witnesses", "tables 4", "run"])
def test_no_cache_asks_anew(command, vidcost, witnesses):
    vidcost(*command.split(), "--no-cache")
    assert {False} == {use_cache for _, _, use_cache in witnesses.asked}


def test_count_names_a_witness_that_failed(vidcost, witnesses):
    witnesses["thop", "mfnet"] = "exit status 1: boom"
    status, out, err = vidcost("count", "mfnet", "--witnesses", "--format", "csv")
    assert (1, "vidcost: mfnet: thop crashed: exit status 1: boom\n") == (status, err)
    (line,) = csv.DictReader(io.StringIO(out))
    assert ("11176355840", "") == (line["fvcore"], line["thop"])


@pytest.mark.parametrize("name", ["mfnet-pnl", "r50-nl", "i3d-ts"])
@pytest.mark.parametrize("depth", [1, 2])
def test_the_modules_of_a_tree_sum_to_the_whole(name, depth, vidcost, counted, by_name):
    out = vidcost("show", name, "--depth", str(depth), "--format", "json").out
    root, *below = json.loads(out)
    whole = counted(by_name[name])
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


def test_depth_0_shows_the_whole_alone(vidcost):
    out = vidcost("show", "mfnet", "--depth", "0", "--format", "json").out
    assert [("mfnet", "MFNet")] == [(line["module"], line["kind"]) for line in json.loads(out)]


def test_a_tree_shows_the_block_in_its_place(vidcost):
    lines = json.loads(vidcost("show", "mfnet-pnl", "--format", "json").out)
    (pnl,) = (line for line in lines if line["kind"] == "PNL")
    assert ("conv4.after_B05", 28_416, 253_692_672) == (
        pnl["module"],
        pnl["params"],
        pnl["matmul"],
    )


def test_blocks_side_by_side(vidcost):
    # C = 384, P = 1568: 2C^2 + 2C parameters, 2C^2 P + C P^2 MACs
    specs = ["nl", "cgnl", "cgd", "pnl:n=4,combine=concat"]
    lines = json.loads(vidcost("block", *specs, "--format", "json").out)
    assert specs == [line["block"] for line in lines]
    assert (295_680, 1_406_533_632) == (lines[0]["params"], lines[0]["macs"])
    assert (19_200, 288_884_736) == (lines[3]["params"], lines[3]["macs"])
    assert 6 * 384 == lines[2]["params"]


def test_a_block_at_another_shape(vidcost):
    out = vidcost("block", "nl", "--shape", "2x6x3x5x7", "--format", "json").out
    (line,) = json.loads(out)
    # 105 positions: 2 x 2 x 6^2 x 105 and 2 x 6 x 105^2
    assert (84, 15_120, 132_300) == (line["params"], line["conv"], line["matmul"])
    assert "**Blocks on 6 channels of 3x5x7, batch 2**" in (
        vidcost("block", "nl", "--shape", "2x6x3x5x7").out
    )


# --- run and tables


def test_run_writes_records_and_tables_and_prints_three(vidcost, witnesses, tmp_path):
    status, out, err = vidcost("run", "--results", "here")
    assert 0 == status
    assert LEFT_OUT == err
    names = sorted(path.name for path in (tmp_path / "here").rglob("*") if path.is_file())
    assert ["counts.jsonl", *(f"table{number}.md" for number in range(1, 7))] == names
    assert ["Table 3", "Table 5", "Table 6"] == re.findall(r"^\*\*(Table \d)", out, re.MULTILINE)
    for number in (3, 5, 6):
        written = (tmp_path / f"here/tables/table{number}.md").read_text()
        head, _, body = written.partition("\n\n")
        assert f"<!-- written by: vidcost tables {number} -->" == head
        assert body in out
    assert out.splitlines()[-1].startswith(f"{len(BUILDABLE)} rows built and counted; ")
    assert out.splitlines()[-1].endswith("Written: here/counts.jsonl, here/tables/*.md")
    records = record.read(tmp_path / "here")
    assert BUILDABLE == list(records)
    assert 7_842_568 == records["mfnet"].params
    assert 11_176_356_608 == records["mfnet"].witnesses["thop-2020"].flops
    assert {WITNESSES} == {tuple(r.witnesses) for r in records.values()}
    assert sorted((w, row, True) for w in WITNESSES for row in BUILDABLE) == (
        sorted(witnesses.asked)
    )


def test_run_says_in_its_file_where_it_comes_from(vidcost, witnesses, tmp_path):
    vidcost("run")
    head = json.loads((tmp_path / "results/counts.jsonl").read_text().splitlines()[0])
    assert "vidcost run" == head["command"]
    assert {"vidcost", "python", "torch", "fvcore", "thop", "command", "records"} == set(head)
    assert len(BUILDABLE) == head["records"]


def test_run_with_a_witness_that_fails_writes_the_rest(vidcost, witnesses, tmp_path):
    witnesses["thop", "mfnet"] = "exit status 1: boom"
    status, out, err = vidcost("run")
    assert 1 == status
    assert f"{LEFT_OUT}vidcost: mfnet: thop crashed: exit status 1: boom\n" == err
    assert "thop crashed: exit status 1: boom" in out
    records = record.read(tmp_path / "results")
    assert (None, 11_176_355_840) == tuple(
        records["mfnet"].witnesses[name].flops for name in ("thop", "fvcore")
    )
    assert 11_347_659_136 == records["mfnet-pnl"].witnesses["thop"].flops
    assert 6 == len(list((tmp_path / "results/tables").glob("*.md")))


def test_run_leaves_a_baseline_that_differs_as_it_is(vidcost, witnesses, tmp_path):
    vidcost("run")
    records = record.read(tmp_path / "results")
    changed = records | {"mfnet": records["mfnet"].model_copy(update={"params": 7})}
    path = record.write(tmp_path / "results", changed.values(), command="vidcost run")
    before = path.read_bytes()
    status, out, err = vidcost("run")
    assert (1, before) == (status, path.read_bytes())
    assert "the counts differ from results/counts.jsonl, which was left as it is" in err
    assert out.splitlines()[-1].endswith("Written: results/tables/*.md")


def test_run_adds_the_answer_of_a_counter_that_had_failed(vidcost, witnesses, tmp_path):
    witnesses["thop", "mfnet"] = "exit status 1: boom"
    vidcost("run")
    del witnesses["thop", "mfnet"]
    assert (0, LEFT_OUT) == (lambda ran: (ran.status, ran.err))(vidcost("run"))
    assert 11_307_416_320 == record.read(tmp_path / "results")["mfnet"].witnesses["thop"].flops


def test_tables_read_what_run_has_stored(vidcost, witnesses, tmp_path):
    ran = vidcost("run")
    written = {path.name: path.read_bytes() for path in (tmp_path / "results").rglob("*.*")}
    witnesses.asked.clear()
    shutil.rmtree(tmp_path / "results/tables")
    status, out, err = vidcost("tables")
    assert (0, "", []) == (status, err, witnesses.asked)
    titles = re.findall(r"^\*\*Table (\d)", out, re.MULTILINE)
    assert list("123456") == titles
    assert written == {path.name: path.read_bytes() for path in (tmp_path / "results").rglob("*.*")}
    assert vidcost("tables", "3").out in ran.out


def test_tables_are_printed_in_the_order_asked_for_each_once(vidcost, witnesses):
    out = vidcost("tables", "6", "3", "6").out
    assert ["6", "3"] == re.findall(r"^\*\*Table (\d)", out, re.MULTILINE)


def test_tables_count_only_what_is_missing(vidcost, witnesses, tmp_path):
    vidcost("run")
    records = record.read(tmp_path / "results")
    del records["mfnet-pnl-n3"]
    path = record.write(tmp_path / "results", records.values(), command="vidcost run")
    before = path.read_bytes()
    witnesses.asked.clear()
    assert 0 == vidcost("tables", "3").status
    assert [] == witnesses.asked
    assert 0 == vidcost("tables", "4").status
    assert [(w, "mfnet-pnl-n3", True) for w in WITNESSES] == sorted(witnesses.asked)
    # only run writes the baseline
    assert before == path.read_bytes()


def test_tables_print_data(vidcost, witnesses):
    lines = json.loads(vidcost("tables", "3", "--format", "json").out)
    assert ["mfnet", "mfnet-pnl-concat", "mfnet-pnl"] == [line["row"] for line in lines]
    assert ("7.843M", 7_842_568, ["fvcore", "params", "thop-2020"]) == tuple(
        lines[0][key] for key in ("params_printed", "params", "equal")
    )


# --- conformance


def test_conformance_writes_what_it_prints(vidcost, operators, tmp_path):
    status, out, err = vidcost("conformance", "--results", "here", "--format", "md")
    assert (0, "") == (status, err)
    head, _, body = (tmp_path / "here/conformance.md").read_text().partition("\n\n")
    assert ("<!-- written by: vidcost conformance -->", out) == (head, body)
    # the tables, without a format, too
    assert out.partition("\n\n")[2].strip() == vidcost("conformance").out.strip()


def test_conformance_prints_data(vidcost, operators):
    lines = json.loads(vidcost("conformance", "--format", "json").out)
    (grouped,) = (line for line in lines if line["operator"] == "nn.Conv3d, 3 groups")
    assert {
        "inputs": "2x15x12x15x23",
        "forward": 21_441_420,
        "backward": 42_882_840,
        "ours_backward": 42_882_840,
        "fvcore_forward": 7,
        "torch_on_meta_backward": 85_765_680,
    }.items() <= grouped.items()


def test_conformance_fails_by_the_name_of_what_ours_gets_wrong(vidcost, operators, monkeypatch):
    monkeypatch.setitem(rules.RULES, "baddbmm", lambda *_: ("matmul", 0))
    status, out, err = vidcost("conformance")
    assert 1 == status
    assert "vidcost: torch.baddbmm: ours counts 0, the forward MACs are 210\n" == err
    assert "| ours          | 0.1.0 " in out


def test_conformance_without_a_witness_prints_the_rest(vidcost, operators, tmp_path):
    operators["thop"] = "exit status 1: boom"
    status, out, err = vidcost("conformance", "--format", "json")
    assert (1, "vidcost: thop could not be asked: exit status 1: boom\n") == (status, err)
    line = json.loads(out)[0]
    assert (None, "crashed", 7) == tuple(
        line[key] for key in ("thop_forward", "thop_forward_status", "fvcore_forward")
    )
    assert "not asked" in (tmp_path / "results/conformance.md").read_text()


def test_cache_clear_forgets_the_answers(vidcost, monkeypatch, tmp_path):
    monkeypatch.setattr(cache, "folder", lambda: tmp_path / "answers")
    for key in ("a", "b"):
        cache.store(key, "{}")
    (tmp_path / "answers/other.txt").write_text("not an answer")
    assert f"2 answers removed from {tmp_path / 'answers'}\n" == vidcost("cache", "clear").out
    assert ["other.txt"] == [path.name for path in (tmp_path / "answers").iterdir()]
    assert f"0 answers removed from {tmp_path / 'answers'}\n" == vidcost("cache", "clear").out


# --- the results in the checkout


def test_the_committed_records_are_what_is_counted_now(committed, counted):
    assert BUILDABLE == list(committed), (
        "stale: `vidcost gate accept` writes results/counts.jsonl anew"
    )
    now = {row.name: counted(row) for row in ROWS if row.build}
    stale = [
        name
        for name, kept in committed.items()
        if kept.model_copy(update={"witnesses": {}}) != now[name]
    ]
    assert [] == stale, "stale: `vidcost gate accept` writes results/counts.jsonl anew"


def test_the_committed_records_hold_an_answer_of_every_witness(committed):
    assert {WITNESSES} == {tuple(kept.witnesses) for kept in committed.values()}
    assert [] == [
        (name, witness)
        for name, kept in committed.items()
        for witness, answer in kept.witnesses.items()
        if answer.error or not answer.flops or not answer.parts
    ]


def test_the_committed_tables_are_what_the_committed_records_give(
    results, vidcost, witnesses, tmp_path
):
    (tmp_path / "results").mkdir()
    shutil.copy(results / "counts.jsonl", tmp_path / "results")
    if (results / "timings").is_dir():
        shutil.copytree(results / "timings", tmp_path / "results/timings")
    assert (0, "") == vidcost("tables")[::2]
    assert [] == witnesses.asked
    written = {path.name: path.read_text() for path in (tmp_path / "results/tables").iterdir()}
    committed = {path.name: path.read_text() for path in (results / "tables").glob("*.md")}
    stale = [name for name in written | committed if written.get(name) != committed.get(name)]
    assert [] == stale, "stale: `vidcost tables` writes them anew"


@pytest.mark.witness
def test_the_committed_conformance_is_what_the_counters_say_now(results, vidcost, tmp_path):
    pinned = dict(
        line.split("==")
        for line in (results.parent / "constraints.txt").read_text().splitlines()
        if "==" in line
    )
    for name in ("torch", "fvcore", "thop"):
        # a version may write .post1 or -1
        if Version(witness.version(name)).public != Version(pinned[name]).public:
            pytest.skip(f"{name} is not the version of constraints.txt, other figures are right")
    assert (0, "") == vidcost("conformance")[::2]
    written = (tmp_path / "results/conformance.md").read_text()
    assert written == (results / "conformance.md").read_text(), (
        "stale: `vidcost conformance` writes results/conformance.md anew"
    )


# --- ledger


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


# --- the audit


def test_the_audit_writes_its_document_and_prints_it(vidcost, tmp_path):
    status, out, err = vidcost("audit", "--results", "r")
    assert (0, "") == (status, err)
    assert f"<!-- written by: vidcost audit -->\n\n{out}" == (tmp_path / "r/audit.md").read_text()
    assert out.startswith("# Audit\n")


def test_the_committed_audit_as_lines_is_fresh(vidcost, results, tmp_path):
    assert 0 == vidcost("audit").status
    fresh = (tmp_path / "results/audit.jsonl").read_text()
    assert fresh == (results / "audit.jsonl").read_text(), "stale: run `vidcost audit`"


def test_the_figures_alone_are_printed_and_nothing_is_written(vidcost, tmp_path):
    status, out, _ = vidcost("audit", "--format", "json")
    assert 0 == status
    (x5,) = (
        line
        for line in json.loads(out)
        if (line["row"], line["figure"]) == ("mfnet-pnl-x5", "FLOPs")
    )
    assert ("exact", 11_375_634_944) == (x5["verdict"], x5["ours"])
    assert not (tmp_path / "results/audit.md").exists()


def test_a_figure_that_is_not_met_and_has_no_note_fails_the_audit(vidcost, monkeypatch):
    paper = published.pnl2020()
    figures = tuple(
        entry.model_copy(update={"note": published.Note()}) if entry.row == "c3d" else entry
        for entry in paper.figures
    )
    without = paper.model_copy(update={"figures": figures})
    monkeypatch.setattr(published, "pnl2020", lambda: without)
    status, out, err = vidcost("audit")
    assert (1, 1) == (status, err.count("\n"))
    assert err.startswith("vidcost: Table 5, c3d, params: 33.3M is not reproduced, and no note")
    assert out.startswith("# Audit")


def test_a_finding_that_is_gone_fails_the_audit_and_writes_nothing(vidcost, monkeypatch, tmp_path):
    def gone(*_):
        raise FindingGone("the audit finds no longer that 1 is 1")

    monkeypatch.setattr(audit_document, "findings", gone)
    status, out, err = vidcost("audit")
    assert (1, "") == (status, out)
    assert "vidcost: the audit finds no longer that 1 is 1\n" == err
    assert not (tmp_path / "results/audit.md").exists()


def test_a_search_prints_recipes_that_can_be_counted(vidcost):
    _, out, _ = vidcost("audit", "--search", "r50-ucf101", "--format", "json")
    best = json.loads(out)[0]
    assert ("2 of 2", 23_917_832) == (best["hits"], best["params"])
    _, out, _ = vidcost("audit", "--recipe", best["spec"], "--format", "json")
    (recipe,) = json.loads(out)
    assert (23_917_832, 10_290_606_080) == (recipe["params"], recipe["thop-2020"])


HEAVY = (
    *("torch", "numpy", "pandas", "scipy", "statsmodels", "sympy", "matplotlib", "fvcore"),
    *("thop", "duckdb", "jinja2", "vl_convert", "ray", "triton"),
)


@pytest.mark.parametrize(
    ("status", "words", "completed"),
    [
        (0, "--help", None),
        (0, "time --help", None),
        (2, "count --nope", None),
        (2, "gate tim", None),
        (0, "", "time --dtype fp32,b"),
        (0, "", "compare --mod"),
        (0, "", "time --campaign rows,"),
    ],
)
def test_help_completion_and_a_mistyped_option_wait_for_nothing(status, words, completed):
    program = (
        f"import sys; sys.argv = ['vidcost', *{words.split()}]\n"
        "from vidcost.bench import cli\n"
        "try: cli.main()\n"
        f"finally: print([x for x in {HEAVY} if x in sys.modules], file=sys.stderr)\n"
    )
    asked = {
        "_VIDCOST_COMPLETE": "complete_bash",
        "COMP_WORDS": f"vidcost {completed}",
        "COMP_CWORD": str(len(completed.split())),
    } if completed else {}  # fmt: skip
    ran = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, env=os.environ | asked
    )
    assert (status, "[]") == (ran.returncode, ran.stderr.splitlines()[-1])
    assert ran.stdout or status


@pytest.mark.parametrize(
    ("status", "kind"),
    [(1, ClosedFormMismatch), (1, Lost), (1, FindingGone), (130, Interrupted)],
)
def test_what_ends_a_command_has_a_status_of_its_own(status, kind, monkeypatch, vidcost):
    def ends(*_, **__):
        raise kind("said so")

    monkeypatch.setattr(rows, "select", ends)
    ended = vidcost("list")
    assert (status, "", "vidcost: said so\n") == (ended.status, ended.out, ended.err)

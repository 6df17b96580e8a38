"""Users' networks and blocks on the command line: count, explain, time, compare."""

import json
import re

import pytest

from vidcost.bench.timing.cell import Cell
from vidcost.bench.timing.plan import network_fields

# 2 clips of 3 x 4 x 5 positions
INPUT = "2x3x3x4x5"
MACS = 50 * 120 + 14 * 2
MFNET = "compare mfnet --at conv4:before-last --frames 4 --size 64 --threads 1".split()
UNTIMED = ["--budget", "0s"]

pytestmark = pytest.mark.usefixtures("vidcost", "in_this_process")


def test_count_takes_networks(vidcost):
    status, out, err = vidcost(
        "count", "theirs.py:Net", "theirs.py:Raises", "--input", INPUT, "--references", "--json"
    )
    assert 1 == status
    net, raises = json.loads(out)
    assert ("theirs.py:Net", 64, MACS, "ok") == tuple(
        net[key] for key in ("row", "params", "macs", "status")
    )
    assert [MACS] * 4 == [net[name] for name in ("fvcore", "thop", "thop-2020", "torch")]
    assert ("raised", None) == (raises["status"], raises["macs"])
    said = r"vidcost: theirs\.py:Raises: raised: ValueError: theirs \(.*theirs\.py, line \d+\)\n"
    assert re.fullmatch(said, err)


def test_explain_finds_what_gives_a_printed_figure(vidcost):
    status, out, _ = vidcost(
        "explain", "theirs.py:Net", "--input", INPUT, "--printed", "0.012056M", "--json"
    )
    first, *_ = json.loads(out)
    assert (0, 2 * MACS) == (status, first["flops"])
    assert first["convention"].startswith("2 x MACs = ")
    # every convention of it gives one figure, once or twice, over six numbers of views
    assert first["tried"] == 12


def test_explain_takes_networks_beside_rows(vidcost, reference_counters):
    status, out, err = vidcost("explain", "mfnet", "theirs.py:Net", "--input", INPUT, "--json")
    assert (0, "") == (status, err)
    assert {"mfnet", "theirs.py:Net"} == {line["row"] for line in json.loads(out)}


def test_block_takes_theirs_with_options(vidcost):
    specs = ["nl", "theirs.py:Scale:width=3", "theirs:Scale"]
    status, out, _ = vidcost("count", *specs, "--shape", "8x3x4x5", "--json")
    assert 0 == status
    assert [(spec, params) for spec, params in zip(specs, (144, 27 * 64, 64), strict=True)] == [
        (line["block"], line["params"]) for line in json.loads(out)
    ]


def test_time_takes_networks(vidcost, stopwatch):
    status, _, _ = vidcost(
        "time", "theirs.py:Net", "--input", INPUT, "--dtype", "fp32,bf16", "--threads", "1",
        "--time-limit", "7s",
    )  # fmt: skip
    assert 0 == status
    fields = network_fields("theirs.py:Net", [INPUT])
    assert [Cell(**fields, dtype=dtype) for dtype in ("fp32", "bf16")] == stopwatch.asked
    assert 2 == stopwatch.asked[0].batch
    assert 7.0 == stopwatch.conditions["limits"].start_up_s


def test_a_network_is_swept_over_batches(vidcost, stopwatch):
    words = (
        "time theirs.py:Net --input clip=2x3x3x4x5 --input mask=1x2:bool --batch 1,4 --threads 1"
    )
    assert 0 == vidcost(*words.split()).status
    found = [(cell.batch, *cell.inputs) for cell in stopwatch.asked]
    # an input without that batch stays as it is
    assert [(1, "clip=1x3x3x4x5", "mask=1x2:bool"), (4, "clip=4x3x3x4x5", "mask=1x2:bool")] == found


@pytest.mark.slow
def test_two_networks_are_compared_in_a_sentence(vidcost, real_sweep):
    words = f"compare theirs.py:Net theirs.py:make --input {INPUT} --budget 20s --threads 1"
    ran = vidcost(*words.split())
    assert 0 == ran.status, ran.err
    said = " ".join(ran.out.split())
    number = r"\d+\.\d\dx \(\d+\.\d\d to \d+\.\d\d\)"
    slower = rf"theirs\.py:make is {number} (slower|faster) than theirs\.py:Net\."
    same = rf"No difference between theirs\.py:make and theirs\.py:Net was found: {number}\."
    assert re.search(f"{slower}|{same}", said), said


def test_time_takes_rows_beside_networks_and_blocks_of_theirs(vidcost, stopwatch):
    options = ["--blocks", "theirs.py:Scale", "--shape", "8x2x4x4", "--threads", "1"]
    vidcost("time", "mfnet", "theirs.py:Net", "--input", INPUT, *options)
    mfnet, block, net = stopwatch.asked
    assert ("mfnet", "theirs.py:Net") == (mfnet.row, net.network)
    assert "theirs.py:Scale" == block.block
    assert len(block.code) == len(net.code) == 64
    assert "" == mfnet.code


def test_counts_and_what_each_block_adds(vidcost):
    blocks = ["--block", "nl", "--block", "theirs.py:Scale:width=3", "--block", "theirs:Scale"]
    ran = vidcost(*MFNET, *blocks, *UNTIMED, "--json")
    assert (0, "") == (ran.status, ran.err)
    none, nl, mine, again = json.loads(ran.out)
    assert ("none", None) == (none["block"], none.get("added_macs"))
    # 384 channels at 2 frames of 4 x 4
    assert (295_680, 2 * 384**2 * 32 + 384 * 32**2) == (nl["added_params"], nl["added_macs"])
    assert [(384**2 * taps, 384**2 * taps * 32) for taps in (27, 1)] == [
        (line["added_params"], line["added_macs"]) for line in (mine, again)
    ]
    assert (2, 1) == (nl["closed_forms"], mine["closed_forms"])


def test_a_network_of_their_own_takes_blocks_behind_its_modules(vidcost):
    words = "compare theirs.py:Net --input 2x3x2x4x5 --at body --block cgd".split()
    words += ["--block", "theirs.py:Scale"]
    ran = vidcost(*words, *UNTIMED, "--json")
    assert (0, "") == (ran.status, ran.err)
    *_, added = json.loads(ran.out)
    assert (7 * 7, 7 * 7 * 80) == (added["added_params"], added["added_macs"])


@pytest.mark.slow
def test_contributions_are_timed_and_shown_with_what_cannot_be_separated(vidcost, real_sweep):
    words = [*MFNET, "--block", "theirs.py:Scale", "--budget", "60s"]
    ran = vidcost(*words, "--json")
    assert 0 == ran.status
    none, mine = json.loads(ran.out)
    assert mine["n"] >= 6
    assert mine["target_s"] > 0
    assert set(mine["not_separated"]) <= {"none"}
    assert mine["peak_bytes"] >= none["peak_bytes"] > 0
    # stored, so the second time nothing is measured
    again = vidcost(*words[:-1], "1s", "--json")
    assert json.loads(again.out) == json.loads(ran.out)


def test_a_sweep(vidcost):
    words = "compare mfnet --at conv4:before-last --block nl --block pnl:n=3 --block pnl:n=4"
    sweep = "--size 112 --frames 4,8".split()
    ran = vidcost(*words.split(), *sweep, *UNTIMED, "--json")
    assert 0 == ran.status
    found = json.loads(ran.out)
    assert [(4, "none"), (4, "nl"), (4, "pnl:n=3"), (4, "pnl:n=4")] == [
        (line["frames"], line["block"]) for line in found[:4]
    ]
    # N doubles: 2 C^2 N + C N^2
    assert [2 * 384**2 * n + 384 * n**2 for n in (98, 196)] == [
        line["added_macs"] for line in found if line["block"] == "nl"
    ]
    # what does not fit is part of the answer
    assert {"rejected"} == {line["status"] for line in found if line["block"] == "pnl:n=4"}


def test_what_is_wrong_with_a_block_is_found(vidcost):
    blocks = ["--block", "theirs.py:WrongCost", "--block", "theirs.py:RaisesBlock", "--block", "nl"]
    ran = vidcost(*MFNET, *blocks, *UNTIMED)
    assert 1 == ran.status
    wrong, raises = ran.err.splitlines()
    assert "theirs.py:WrongCost at conv4:before-last: differs: " in wrong
    assert "theirs.py:RaisesBlock at conv4:before-last: raised: KeyError: 'theirs' (" in raises
    assert "differs¹" in ran.out
    assert "raised²" in ran.out


NET = "theirs.py:Net"
NL = "compare mfnet --at conv4:before-last --block nl"
OWN = f"compare {NET} --at stem --block nl --input 1x3x2x2x2"


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ("count theirs.py:Net", "a network of your own needs its inputs, batch first: --input 1x3"),
        ("count theirs.py:Nope --input 1x3", "theirs.py has no 'Nope'"),
        ("count mfnet --input 1x3", "--input is for a network of your own"),
        (f"count {NET} --input 1x3 --time-limit 0s", "--time-limit 0s is no time"),
        (
            f"count {NET} --inputs theirs.py:example --input 1x3",
            "theirs.py:example makes all inputs",
        ),
        ("explain mfnet c3d --printed 11.66G", "--printed is for one network: 2 are given"),
        ("explain --printed 11.66G", "--printed is for one network: 0 are given"),
        ("explain mfnet --printed much", "'much' is no figure like 7.843M"),
        ("explain mfnet --params 3M", "--params is for --printed: give both"),
        ("explain mfnet --counter nope", "no counter 'nope': choose from fvcore, thop"),
        (f"count {NET} --input 1x3 --depth 2 --frames 3", "leave out rows, --table"),
        (
            f"time {NET} --inputs theirs.py:example --batch 4",
            "makes the inputs, of one batch: leave out --batch",
        ),
        (
            "count theirs.py:Net theirs.py:Raises --input 1x3 --depth 2",
            "--depth is for one network: 2",
        ),
        (f"time {NET} --input 2x3 --contribution", "--contribution is for rows: `vidcost compare`"),
        ("count theirs.py:Scale:ratio=3 --shape 8x3x4x5", "has no option 'ratio': it takes"),
        ("count theirs.py:Scale:width=x --shape 8x3x4x5", "width takes a whole number, not 'x'"),
        ("compare mfnet --at conv4:before-last", "or one with --at and --block, where in it"),
        (
            "compare mfnet --at conv9:after-1 --block nl",
            "no position 'conv9:after-1': stages are conv2",
        ),
        ("compare mfnet* --at conv4:before-last --block nl", "24 networks: give several, or one"),
        (
            "compare i3d-ts --at mixed4:after-1 --block nl",
            "takes no blocks: choose a network of one",
        ),
        ("compare mfnet", "give several, or one with --at and --block"),
        ("compare mfnet --at conv4:before-last --block nl --frames 4,x", "frames: Input should be"),
        (f"{NL} --input 1x3", "--input is for a network of"),
        (f"{OWN} --frames 4", "are for rows"),
        (f"{NL} --dtype int4", "dtype: Input should be 'fp32'"),
    ],
)
def test_bad_input_is_rejected(complaint, args, message):
    assert message in complaint(*args.split())

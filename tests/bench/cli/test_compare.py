"""`vidcost compare`, from words to a table."""

import json
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

CODE = """
from torch import nn
from vidcost.models.cost import Cost

class Block(nn.Module):
    def __init__(self, channels, ratio=2):
        super().__init__()
        self.conv = nn.Conv3d(channels, channels, 1, bias=False)

    def forward(self, x):
        return x + self.conv(x)

class Wrong(Block):
    def cost(self, shape):
        return Cost(conv=1)

class Raises(Block):
    def forward(self, x):
        raise KeyError("theirs")

def net():
    return nn.Sequential(nn.Conv3d(3, 6, 1), nn.ReLU(), nn.Conv3d(6, 2, 1))
"""
MFNET = "compare mfnet --at conv4:before-last --frames 4 --size 64 --threads 1".split()
UNTIMED = ["--budget", "0s", "--no-fvcore"]


@pytest.fixture(autouse=True)
def theirs(vidcost, in_this_process):
    Path("mine.py").write_text(CODE, encoding="utf-8")


def lines(ran):
    return json.loads(ran.out)


def test_counts_and_what_each_block_adds(vidcost):
    blocks = ["--block", "nl", "--block", "mine.py:Block:ratio=3", "--block", "mine:Block"]
    ran = vidcost(*MFNET, *blocks, *UNTIMED, "--json")
    assert (0, "") == (ran.status, ran.err)
    none, nl, mine, again = lines(ran)
    assert ("none", None) == (none["block"], none["added_macs"])
    # 384 channels at 2 frames of 4 x 4
    assert (295_680, 2 * 384**2 * 32 + 384 * 32**2) == (nl["added_params"], nl["added_macs"])
    assert [(384**2, 384**2 * 32)] * 2 == [
        (line["added_params"], line["added_macs"]) for line in (mine, again)
    ]
    assert (2, 0) == (nl["closed_forms"], mine["closed_forms"])


def test_a_network_of_their_own_takes_blocks_behind_its_modules(vidcost):
    words = "compare mine.py:net --input 2x3x2x4x5 --at 1 --block nl --block mine.py:Block".split()
    ran = vidcost(*words, *UNTIMED, "--json")
    assert (0, "") == (ran.status, ran.err)
    assert [6 * 6, 6 * 6 * 80] == [lines(ran)[2][key] for key in ("added_params", "added_macs")]


@pytest.mark.slow
def test_contributions_are_timed_and_shown_with_what_cannot_be_separated(vidcost, real_sweep):
    words = [*MFNET, "--block", "mine.py:Block", "--no-fvcore", "--budget", "9s"]
    ran = vidcost(*words, "--json")
    assert 0 == ran.status
    none, mine = lines(ran)
    assert mine["pairs"] >= 1
    assert mine["latency_s"] > 0
    assert set(mine["not_separated"]) <= {"none"}
    assert mine["peak_bytes"] >= none["peak_bytes"] > 0
    # stored, so the second time nothing is measured
    again = vidcost(*words[:-1], "1s", "--json")
    assert lines(again) == lines(ran)


def test_a_sweep_and_its_plot(vidcost):
    words = "compare mfnet --at conv4:before-last --block nl --block pnl:n=3 --block pnl:n=4"
    sweep = "--size 112 --sweep frames=4,8 --plot drawn/growth.svg".split()
    ran = vidcost(*words.split(), *sweep, *UNTIMED, "--json")
    assert 0 == ran.status
    assert "drawn: drawn/growth.svg" in ran.err
    found = lines(ran)
    assert [(4, "none"), (4, "nl"), (4, "pnl:n=3"), (4, "pnl:n=4")] == [
        (line["frames"], line["block"]) for line in found[:4]
    ]
    # N doubles: 2 C^2 N + C N^2
    assert [2 * 384**2 * n + 384 * n**2 for n in (98, 196)] == [
        line["added_macs"] for line in found if line["block"] == "nl"
    ]
    # what does not fit is part of the answer
    assert {"rejected"} == {line["status"] for line in found if line["block"] == "pnl:n=4"}
    text = "".join(ET.fromstring(Path("drawn/growth.svg").read_text()).itertext())
    for word in ("nl", "pnl:n=3", "frames", "added MACs, G", "mfnet at conv4:before-last"):
        assert word in text
    assert "pnl:n=4" not in text
    assert "latency" not in text


def test_what_is_wrong_with_a_block_is_found(vidcost):
    blocks = ["--block", "mine.py:Wrong", "--block", "mine.py:Raises", "--block", "nl"]
    ran = vidcost(*MFNET, *blocks, *UNTIMED)
    assert 1 == ran.status
    wrong, raises = ran.err.splitlines()
    assert "mine.py:Wrong at conv4:before-last: differs: " in wrong
    assert "mine.py:Raises at conv4:before-last: raised: KeyError: 'theirs' (" in raises
    assert "differs¹" in ran.out
    assert "raised²" in ran.out


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ("mfnet --at conv4:before-last", "give --at and --block: where in the network"),
        ("mfnet --at conv9:after-1 --block nl", "no position 'conv9:after-1': stages are conv2"),
        ("mfnet* --at conv4:before-last --block nl", "compare in one at a time"),
        ("i3d-ts --at mixed4:after-1 --block nl", "takes no blocks: choose a network of one"),
        ("mfnet --at conv4:before-last --block nl --sweep depth=3", "goes over frames or size"),
        ("mfnet --at conv4:before-last --block nl --plot a.svg", "give --sweep too"),
        (
            "mfnet --at conv4:before-last --block nl --sweep frames=4 --plot a.pdf",
            "name an .svg or a .png file",
        ),
        ("mfnet --at conv4:before-last --block nl --input 1x3", "--input is for a network of"),
        ("mine.py:net --at 1 --block nl --input 1x3x2x2x2 --frames 4", "are for rows"),
        ("mine.py:net --at 1 --block nl --input 1x3x2x2x2 --batch 2", "hold their batch"),
        ("mfnet --at conv4:before-last --block nl --dtype int4", "dtype: Input should be 'fp32'"),
    ],
)
def test_bad_input_is_rejected(complaint, args, message):
    assert message in complaint("compare", *args.split(), *UNTIMED)

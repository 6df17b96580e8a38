"""What differs between two networks, or between one and its code at a git ref."""

import json

import pytest

from ...repository import Repository

pytestmark = pytest.mark.slow


@pytest.fixture
def versions(tmp_path, monkeypatch):
    """A repository whose network got a channel more since its first version."""
    net = "from part import WIDE\nfrom torch import nn\n\n\n"
    make = "def make():\n    return nn.Sequential(nn.Conv3d(3, WIDE, 1), nn.Conv3d(WIDE, 2, 1))\n"
    found = Repository(tmp_path / "theirs", **{"sub/net": net + make, "sub/part": "WIDE = 5\n"})
    found.begin()
    found.write("sub/part.py", "WIDE = 7\n")
    monkeypatch.chdir(found.folder / "sub")
    return found


@pytest.mark.parametrize("words", ["net.py:make --base main", "mfnet-nl mfnet-pnl --depth 1"])
def test_diff_says_which_modules_differ(vidcost, versions, words):
    inputs = ["--input", "1x3x2x2x2"] * ("net" in words[:3])
    status, out, err = vidcost("diff", *words.split(), *inputs, "--json")
    assert (0, "") == (status, err)
    found = {line["field"]: (line["before"], line["after"]) for line in json.loads(out)}
    if inputs:
        # 3 x W + W and 2 x W + 2 weights, 8 places
        assert found["params"] == (32, 44)
        assert found["0: macs"] == (8 * 15, 8 * 21)
        assert found["1: macs"] == (8 * 10, 8 * 14)
    else:
        assert found["conv4: macs"] == (5_358_796_800, 4_243_593_984)
        assert "conv3: macs" not in found


def test_diff_of_what_is_alike_or_wrong_is_one_line(vidcost, versions):
    at = ("--input", "1x3x2x2x2")
    status, out, _ = vidcost("diff", "net.py:make", "net.py:make", *at)
    assert (0, "net.py:make against net.py:make: 6 figures, no difference\n") == (status, out)
    for words, says in {
        "net.py:make": "give two networks",
        "mfnet --base main": "at a ref name a file",
        "net.py:make --base nowhere": "no ref 'nowhere'",
        "mfnet* mfnet": "names 24 rows",
    }.items():
        status, _, err = vidcost("diff", *words.split(), *at * ("net." in words))
        assert (2, 1) == (status, err.count("\n"))
        assert says in err

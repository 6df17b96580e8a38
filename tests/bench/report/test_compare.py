"""What people see of blocks that were compared."""

from __future__ import annotations

import json

from vidcost.bench.report.compare import compare_table


def one(block, **known):
    counted = {"params": 7, "macs": 3 * 10**9, "closed_forms": 1}
    return {"block": block, **counted, "status": "ok", "error": None, **known}


TIMED = one(
    "nl",
    added_params=5,
    added_macs=2 * 10**9,
    latency_s=0.0125,
    added_s=-0.00025,
    half_ci_s=0.0003,
    pairs=30,
    not_separated=["none", "cgnl"],
    peak_bytes=12_340_000,
    added_peak_bytes=-1_200_000,
    energy_j_per_clip=1.25,
)
PLAIN = one("none", latency_s=0.01275, peak_bytes=13_540_000)


def rows(table):
    return [
        [cell.strip() for cell in line.split("|")[1:-1]]
        for line in table.markdown().splitlines()[2:]
    ]


def test_a_line_for_each_with_what_it_adds():
    table = compare_table([PLAIN, TIMED], [], where="mfnet at conv4:after-1", axis=None)
    assert "**Blocks in mfnet at conv4:after-1**" in table.markdown()
    header, _, none, nl = rows(table)[:4]
    found = dict(zip(header, nl, strict=False))
    assert ("nl", "+5", "12.50", "30", "none, cgnl", "1.250") == (
        found["Block"], nl[2], found["Latency, ms"], found["Pairs"],
        found["Not separated from"], found["J/clip"],
    )  # fmt: skip
    assert "none" == none[0]
    assert {"–"} == {none[header.index("Pairs")], none[2]}
    assert "intervals overlap" in table.markdown()
    assert "Status" not in header


def test_failures_are_footnotes_and_a_sweep_is_a_column():
    bad = one("mine.py:B", frames=8, status="raised", error="KeyError: 'x'")
    table = compare_table([one("none", frames=8), bad], [], where="w", axis="frames")
    header, _, none, mine = rows(table)[:4]
    assert ["Frames", "Block"] == header[:2]
    assert ("8", "8", "raised¹") == (none[0], mine[0], mine[-1])
    assert "¹ raised: KeyError: 'x'" in table.markdown()
    assert "KeyError: 'x'" == json.loads(table.json())[1]["error"]

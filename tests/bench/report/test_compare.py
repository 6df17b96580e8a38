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


def test_failures_are_footnotes_and_a_sweep_is_a_column(cells):
    bad = one("mine.py:B", frames=8, status="raised", error="KeyError: 'x'")
    table = compare_table([one("none", frames=8), bad], [], where="w", axis="frames")
    none, mine = cells(table)
    assert ("8", "8", "raised¹") == (none["Frames"], mine["Frames"], mine["Status"])
    assert "¹ raised: KeyError: 'x'" in table.markdown()
    assert "KeyError: 'x'" == json.loads(table.json())[1]["error"]


def test_a_line_for_each_with_the_cost_it_adds(cells):
    table = compare_table([PLAIN, TIMED], [], where="mfnet at conv4:after-1", axis=None)
    assert "**Blocks in mfnet at conv4:after-1**" in table.markdown()
    none, nl = cells(table)
    assert " +5 |" in table.markdown()
    assert {"nl", "12.50", "30", "none, cgnl", "1.250"} <= set(nl.values())
    assert ("none", "–") == (none["Block"], none["Pairs"])
    assert "intervals overlap" in table.markdown()
    assert "Status" not in nl

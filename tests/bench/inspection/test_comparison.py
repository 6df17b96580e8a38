from dataclasses import fields

import pytest

from vidcost.bench.api.count import NetworkCount
from vidcost.bench.inspection.comparison import (
    PLAIN,
    Variant,
    compared,
    count_all,
    to_time,
    variants,
)
from vidcost.bench.inspection.counted import Counted
from vidcost.bench.timing.record import Memory, Timing
from vidcost.models.cost import Cost

ROW = {"row": "mfnet", "frames": 4, "size": 64}
AT = ["conv4:before-last"]
CPU = {"device": "cpu", "threads": 1}


def chosen(*blocks, network=ROW, conditions=CPU):
    return variants([network], AT, blocks, conditions)


def timing(variant: Variant, adds: float, *, without: float = 1.0, n: int = 20, **fields) -> Timing:
    """Pairs whose differences scatter by a hundredth around ``adds``."""
    scatter = [0.01 * (k % 5 - 2) for k in range(n)]
    return Timing(
        key="k",
        cell=variant.pair,
        samples_s={
            "target": tuple(without + adds + each for each in scatter),
            "reference": (without,) * n,
        },
        memory=Memory(weights=8, peak=130),
        reference_memory=Memory(weights=4, peak=100),
        macs_total=100,
        **fields,
    )


def counted(variant: Variant, *, status: str = "ok", error: str = "", **cost: int) -> Counted:
    unknown = dict.fromkeys([field.name for field in fields(NetworkCount)])
    found = NetworkCount(**unknown | {"forward": Cost(**cost), "checks": ()})
    return Counted(variant.cell, status, error, found)


def test_what_each_adds_and_which_cannot_be_told_apart():
    some = chosen("nl", "cgnl", "cgd", "pnl:n=2")
    counts = [counted(v, params=10, conv=1000 + k) for k, v in enumerate(some)]
    adds = {"nl": 0.5, "cgnl": 0.505, "cgd": 0.0, "pnl:n=2": 0.2}
    timings = [timing(v, adds[v.name]) for v in some if v.pair]
    plain, nl, cgnl, cgd, pnl = compared(some, counts, timings)
    of_plain = [plain.get(key) for key in ("target_s", "peak_bytes", "not_separated")]
    assert [1.0, 100, None] == of_plain
    assert 0.5 == pytest.approx(nl["median_s"])
    assert nl["ci_low_s"] < 0.5 < nl["ci_high_s"]
    keys = ("target_s", "n", "peak_bytes", "added_bytes")
    assert [pytest.approx(1.5), 20, 130, 30] == [nl[key] for key in keys]
    assert [1, 2, 3, 4] == [each["added_macs"] for each in (nl, cgnl, cgd, pnl)]
    separated = [each["not_separated"] for each in (nl, cgnl, cgd, pnl)]
    assert [["cgnl"], ["nl"], [PLAIN], []] == separated


def test_of_too_few_pairs_there_is_no_figure():
    some = chosen("nl", "cgnl")
    counts = [*map(counted, some)]
    few, many = timing(some[1], 5.0, n=5), timing(some[2], 0.1, n=6)
    _, nl, cgnl = compared(some, counts, [few, many])
    keys = ("target_s", "median_s", "ratio", "half_ci_s", "not_separated")
    assert [None] * 5 == [nl.get(key) for key in keys]
    assert (5, 6, []) == (nl["n"], cgnl["n"], cgnl["not_separated"])


def test_what_failed_has_its_status_and_no_figures():
    some = chosen("nl", "cgnl", "cgd")
    counts = [
        counted(some[0], conv=5),
        counted(some[1], conv=8),
        Counted(some[2].cell, status="raised", error="ValueError: theirs"),
        counted(some[3], status="differs", error="counted otherwise", conv=9),
    ]
    oom = {"status": "oom", "error": "out", "samples_s": {}}
    timings = [timing(some[k], 0.1).model_copy(update=oom) for k in (1, 3)]
    _, nl, cgnl, cgd = compared(some, counts, timings)
    keys = ("status", "error", "added_macs", "median_s")
    assert ["oom", "out", 3, None] == [nl.get(key) for key in keys]
    assert ["raised", "ValueError: theirs", None, None] == [cgnl.get(key) for key in keys]
    # what is wrong with the count weighs more than what became of the timing
    assert ["differs", "counted otherwise", 4, None] == [cgd.get(key) for key in keys]


def test_the_cells_that_are_timed():
    some = chosen("nl", "cgnl", "cgd")
    statuses = ["ok", "ok", "raised", "differs"]
    counts = [Counted(v.cell, status=s) for v, s in zip(some, statuses, strict=True)]
    assert [some[1].pair, some[3].pair] == to_time(some, counts)


def test_counts_of_variants_and_of_blocks_that_do_not_fit():
    names = []
    some = chosen("nl", "pnl:n=4")
    plain, nl, pnl = count_all(some, limit_s=60, advance=names.append)
    assert [PLAIN, "nl", "pnl:n=4"] == names
    assert 295_680 == nl.total.params - plain.total.params
    assert ("rejected", None) == (pnl.status, pnl.total)
    assert "at most n=3 scales" in pnl.error
    # none that fits
    with pytest.raises(ValueError, match="at most n=3 scales"):
        count_all(chosen("pnl:n=4"), limit_s=60)


@pytest.mark.usefixtures("folder")
def test_each_block_after_none_at_all_positions_and_values():
    at = ["conv4:before-last", "conv3:every-other", "conv4:before-last"]
    plain, nl, mine = variants([ROW], at, ["nl", "theirs.py:Scale", "nl"], CPU)
    assert (PLAIN, ()) == (plain.name, plain.cell.blocks)
    assert (("conv4:before-last", "nl"), ("conv3:every-other", "nl")) == nl.cell.blocks
    assert ("", None, plain.cell) == (nl.cell.code, nl.cell.against, nl.pair.against)
    assert 64 == len(mine.cell.code)


def test_several_conditions_and_several_networks():
    found = [
        (v.cell.size, v.name, v.pair and v.pair.against.size)
        for v in chosen("nl", network={"row": "mfnet"}, conditions=CPU | {"size": [64, "96"]})
    ]
    assert [(64, PLAIN, None), (64, "nl", 64), (96, PLAIN, None), (96, "nl", 96)] == found
    first, *others = variants([{"row": "mfnet"}, {"row": "c3d"}, {"row": "r3d18"}], (), (), CPU)
    assert ("mfnet", None) == (first.name, first.pair)
    assert [("c3d", first.cell), ("r3d18", first.cell)] == [
        (v.name, v.pair.against) for v in others
    ]

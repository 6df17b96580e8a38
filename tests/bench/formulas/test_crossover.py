"""Crossovers: solved by hand, confirmed by counting, and refused when the formula is wrong."""

from __future__ import annotations

from functools import partial

import pytest
import sympy
from sympy import Integer

from vidcost.bench.count.modules import ClosedFormMismatch
from vidcost.bench.formulas import crossover as module
from vidcost.bench.formulas.crossover import crossover
from vidcost.bench.report.formulas import crossover_table
from vidcost.models.blocks.cgd import CGD
from vidcost.models.blocks.cgnl import CGNL
from vidcost.models.blocks.non_local import NonLocal
from vidcost.models.blocks.pnl import PNL

LINEAR = partial(CGNL, groups=1)


def test_along_n():
    # C = 16, maps of 4 x 4. CGNL with one group: (2 C^2 + C) N = 528 N.
    # PNL, n = 2, concatenated: 2 x 64 (N + N/4) + 8 (N^2 + N^2/16) = 160 N + 17/2 N^2.
    # Equal at N = 368 x 2/17 = 736/17 = 43.3: between 2 frames, N = 32, and 3, N = 48.
    found = crossover(LINEAR, partial(PNL, n=2, combine="concat"), channels=16, size=4)
    (crossing,) = found.crossings
    assert sympy.Rational(736, 17) == crossing.root
    assert (32, 528 * 32, 160 * 32 + 8704) == (
        crossing.below.at,
        crossing.below.first,
        crossing.below.second,
    )
    assert (48, 528 * 48, 160 * 48 + 19_584) == (
        crossing.above.at,
        crossing.above.first,
        crossing.above.second,
    )
    assert (1, 16, 3, 4, 4) == crossing.above.shape
    assert "second" == found.cheaper == crossing.cheaper_below
    assert () == found.beyond


def test_along_t_is_the_same_in_frames():
    found = crossover(LINEAR, partial(PNL, n=2, combine="concat"), channels=16, along="T", size=4)
    (crossing,) = found.crossings
    assert (2, 3, sympy.Rational(46, 17)) == (crossing.below.at, crossing.above.at, crossing.root)


def test_the_other_way_round():
    found = crossover(partial(PNL, n=2, combine="concat"), LINEAR, channels=16, size=4)
    assert "first" == found.cheaper == found.crossings[0].cheaper_below


def test_every_change_of_sign_along_sides_is_found_with_floors():
    # all sides, by the blocks' own integers
    first, second = partial(CGNL, groups=2), partial(PNL, n=3)
    found = crossover(first, second, channels=24, along="H=W", frames=1, most=64)
    a, b = first(24), second(24)
    dearer = {
        s: a.cost((1, 24, 1, s, s)).macs > b.cost((1, 24, 1, s, s)).macs for s in range(4, 65)
    }
    expected = [(s, s + 1) for s in range(4, 64) if dearer[s] != dearer[s + 1]]
    assert expected
    assert expected == [(c.below.at, c.above.at) for c in found.crossings]
    assert all(c.root is None for c in found.crossings)
    assert 4 == found.least  # three scales need four pixels


def wave(monkeypatch, formulas):
    """Blocks that cost what they are told to along T; nothing is counted."""
    forms = iter(formulas)

    class Told:
        def __init__(self, macs):
            self.macs = macs

    monkeypatch.setattr(module, "derived", lambda block: Told(next(forms)))

    class Counts:
        def __init__(self, macs):
            self.total = Told(macs)

    def counted(block, x):
        mine = formulas[0] if isinstance(block, NonLocal) else formulas[1]
        return Counts(int(mine.subs(module.T, x.shape[2])))

    monkeypatch.setattr(module, "count", counted)


def test_several_crossovers_and_one_at_a_whole_number(monkeypatch):
    t = module.T
    wave(monkeypatch, [sympy.expand((t - 3) * (t - 7) * (t - 7) * (2 * t - 21) + 5), Integer(5)])
    found = crossover(NonLocal, CGD, channels=2, along="T")
    # they are equal at 3 and change places; at 7 they touch; at 10.5 they change back
    assert [(2, 4, 3), (10, 11, sympy.Rational(21, 2))] == [
        (c.below.at, c.above.at, c.root) for c in found.crossings
    ]
    assert ["second", "first"] == [c.cheaper_below for c in found.crossings]


def test_a_root_out_of_range_is_named(monkeypatch):
    wave(monkeypatch, [module.T, Integer(40)])
    found = crossover(NonLocal, CGD, channels=2, along="T", most=20)
    assert ((), (40,), "first") == (found.crossings, found.beyond, found.cheaper)


def test_no_crossover_is_an_answer():
    found = crossover(NonLocal, CGNL, channels=16, along="T")
    assert ((), "second", 1) == (found.crossings, found.cheaper, found.start.at)


def test_a_block_against_itself():
    found = crossover(NonLocal, NonLocal, channels=16)
    assert ((), None) == (found.crossings, found.cheaper)


def test_a_wrong_formula_is_noticed_by_the_count(monkeypatch):
    right = module.derived

    def wrong(block):
        formula = right(block)
        return formula.each(lambda expr: expr + 1) if isinstance(block, CGNL) else formula

    monkeypatch.setattr(module, "derived", wrong)
    with pytest.raises(ClosedFormMismatch, match="1x16x1x14x14 the blocks were counted as"):
        crossover(NonLocal, CGNL, channels=16)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"channels": 385}, "channels must be even"),
        ({"channels": 12}, "channels must be a positive multiple of 16"),
        ({"channels": 16, "size": 0}, "size must be at least 1, got 0"),
        ({"channels": 16, "frames": 0, "along": "H=W"}, "frames must be at least 1, got 0"),
        ({"channels": 16, "most": -1}, "most must be at least 1, got -1"),
        ({"channels": 16, "along": "C"}, "cannot go along 'C': choose from N, T, H=W"),
    ],
)
def test_refused(options, message):
    with pytest.raises(ValueError, match=message):
        crossover(NonLocal, CGNL, **options)


@pytest.mark.parametrize("options", [{"size": 3}, {"along": "H=W", "most": 3}])
def test_a_map_that_is_too_small_is_refused_by_the_block(options):
    with pytest.raises(ValueError, match="a feature map of 3x3 has room for at most n=2 scales"):
        crossover(CGD, partial(PNL, n=3), channels=12, **options)


# for people


def test_table():
    pairs = [
        (("cgnl", LINEAR), ("pnl", partial(PNL, n=2, combine="concat"))),
        (("nl", NonLocal), ("cgd", CGD)),
        (("nl", NonLocal), ("nl", NonLocal)),
    ]
    lines = crossover_table(pairs, channels=16, size=4).lines
    assert ["43.29", "none", "none: equal everywhere"] == [line["crossover"] for line in lines]
    assert ["pnl", "cgd", None] == [line["cheaper_below"] for line in lines]
    assert ("736/17", "cgnl") == (lines[0]["root"], lines[0]["cheaper_above"])
    assert (32, 16_896, 13_824) == tuple(
        lines[0][key] for key in ("below", "below_first", "below_second")
    )

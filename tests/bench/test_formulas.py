from dataclasses import replace
from functools import partial
from types import SimpleNamespace

import pytest
import sympy
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sympy import Integer
from torch import nn

from vidcost.bench import formulas as module
from vidcost.bench.count.modules import ClosedFormMismatch
from vidcost.bench.formulas import (
    KINDS,
    C,
    Formula,
    at_shape,
    crossover,
    derived,
    smooth,
)
from vidcost.bench.report.formulas import crossover_table
from vidcost.models.blocks.cgd import CGD
from vidcost.models.blocks.cgnl import CGNL
from vidcost.models.blocks.non_local import PAIRWISE, NonLocal
from vidcost.models.blocks.pnl import PNL
from vidcost.models.cost import Cost

many = settings(max_examples=25, deadline=None)
batches, frames = st.integers(1, 3), st.integers(1, 4)


def counted_quantities(cost):
    """What formulas speak of: parameters and MACs."""
    return tuple(getattr(cost, kind) for kind in KINDS)


def at(formula, shape):
    """The integers of a formula for an input of ``shape``."""
    return tuple(at_shape(getattr(formula, kind), shape) for kind in KINDS)


def check(build, shape):
    with torch.device("meta"):
        block = build()
        assert counted_quantities(block.cost(shape)) == at(derived(block), shape)


@pytest.mark.parametrize("pairwise", PAIRWISE)
@many
@given(data=st.data(), half=st.integers(1, 13), pool_keys=st.booleans(), bias=st.booleans())
def test_non_local(pairwise, data, half, pool_keys, bias):
    side = st.integers(2 if pool_keys else 1, 13)
    shape = data.draw(st.tuples(batches, st.just(2 * half), frames, side, side))
    check(lambda: NonLocal(2 * half, pairwise=pairwise, pool_keys=pool_keys, bias=bias), shape)


@pytest.mark.parametrize("combine", ["concat", "attention"])
@pytest.mark.parametrize("pairwise", PAIRWISE)
@many
@given(data=st.data(), n=st.integers(1, 5), half=st.integers(1, 5), shared=st.booleans())
def test_pnl(pairwise, combine, data, n, half, shared):
    side = st.integers(2 ** (n - 1), 2 ** (n - 1) + 17)
    channels = 2 * n * half
    shape = data.draw(st.tuples(batches, st.just(channels), frames, side, side))
    check(lambda: PNL(channels, n=n, combine=combine, pairwise=pairwise, shared=shared), shape)


@many
@given(data=st.data(), groups=st.integers(1, 8), half=st.integers(1, 5))
def test_cgnl(data, groups, half):
    channels, side = 2 * groups * half, st.integers(1, 13)
    shape = data.draw(st.tuples(batches, st.just(channels), frames, side, side))
    check(lambda: CGNL(channels, groups=groups), shape)


def test_a_wrong_form_is_no_longer_the_block():
    # 28 x 28 twice halved leaves no remainder, so that N/4^k is right there; at 14 x 16 it is not
    block, shape = PNL(24, n=3), (1, 24, 2, 14, 16)
    right, integers = derived(block), counted_quantities(block.cost(shape))
    assert integers == at(right, shape)
    assert integers != at(replace(right, conv=right.conv * C), shape)
    assert integers != at(replace(right, params=right.params + 1), shape)
    assert integers != at(right.each(smooth), shape)
    even = (1, 24, 2, 28, 28)
    assert counted_quantities(block.cost(even)) == at(right.each(smooth), even)


LINEAR = partial(CGNL, groups=1)


@pytest.fixture
def small(monkeypatch):
    """Maps of 4 x 4, or one frame on sides up to 64."""
    for name, value in (("SIZE", 4), ("FRAMES", 1), ("MOST_SIDE", 64)):
        monkeypatch.setattr(module, name, value)


def test_every_change_of_sign_along_sides_is_found_with_floors(small):
    # all sides, by the blocks' own integers
    first, second = partial(CGNL, groups=2), partial(PNL, n=3)
    (start, *_), found = crossover(first, second, channels=24, along="H=W")
    a, b = first(24), second(24)
    dearer = {
        s: a.cost((1, 24, 1, s, s)).macs > b.cost((1, 24, 1, s, s)).macs for s in range(4, 65)
    }
    expected = [(s, s + 1) for s in range(4, 64) if dearer[s] != dearer[s + 1]]
    assert expected
    assert expected == [(c.below[0], c.above[0]) for c in found]
    assert all(c.root is None for c in found)
    assert 4 == start  # three scales need four pixels


def test_several_crossovers_and_one_at_a_whole_number(small, monkeypatch):
    t = module.T
    several = sympy.expand((t - 3) * (t - 7) * (t - 7) * (2 * t - 21) + 5)

    def told(block):
        return Formula(conv=several if isinstance(block, NonLocal) else Integer(5))

    def counted(block, x):
        macs = int(told(block).conv.subs(t, x.shape[2]))
        return SimpleNamespace(total=SimpleNamespace(macs=macs))

    monkeypatch.setattr(module, "derived", told)
    monkeypatch.setattr(module, "count", counted)
    _, found = crossover(NonLocal, CGD, channels=2)
    # they are equal at 3 and change places; at 7 they touch; at 10.5 they change back
    assert [(2 * 16, 4 * 16, 3 * 16), (10 * 16, 11 * 16, 21 * 8)] == [
        (c.below[0], c.above[0], c.root) for c in found
    ]


def test_a_wrong_formula_is_noticed_by_the_count(monkeypatch):
    right = module.derived

    def wrong(block):
        formula = right(block)
        return formula.each(lambda expr: expr + 1) if isinstance(block, CGNL) else formula

    monkeypatch.setattr(module, "derived", wrong)
    with pytest.raises(ClosedFormMismatch, match="1x16x1x14x14 the blocks were counted as"):
        crossover(NonLocal, CGNL, channels=16)


def test_channels_and_maps_that_do_not_fit_are_rejected_by_the_block(small):
    with pytest.raises(ValueError, match="channels must be even"):
        crossover(NonLocal, CGNL, channels=385)
    with pytest.raises(ValueError, match="a feature map of 4x4 has room for at most n=3 scales"):
        crossover(CGD, partial(PNL, n=4), channels=16)


def test_table(small):
    pairs = [
        (("cgnl", LINEAR), ("pnl", partial(PNL, n=2, combine="concat"))),
        (("nl", NonLocal), ("cgd", CGD)),
        (("nl", NonLocal), ("nl", NonLocal)),
    ]
    lines = crossover_table(pairs, channels=16).lines
    assert ["43.29", "none", "none: equal everywhere"] == [line["crossover"] for line in lines]
    assert ["pnl", "cgd", None] == [line.get("cheaper_below") for line in lines]
    assert "cgnl" == lines[0]["cheaper_above"]
    assert (32, 16_896, 13_824) == tuple(
        lines[0][key] for key in ("below", "below_first", "below_second")
    )


@many
@given(shape=st.tuples(batches, st.integers(1, 29), frames, st.integers(1, 13), st.integers(1, 13)))
def test_cgd(shape):
    check(lambda: CGD(shape[1]), shape)
    with pytest.raises(ValueError, match="no formula for Identity"):
        derived(nn.Identity())


@pytest.mark.parametrize(
    ("block", "shape", "expected"),
    [
        # B 2, N 3 x 5 x 7 = 105: four convolutions 10 x 5 x 105 x 2; two products 5 x 105 x 105 x 2
        (NonLocal(10), (2, 10, 3, 5, 7), Cost(params=4 * 50 + 20, conv=42_000, matmul=220_500)),
        # groups of 6 on 2 x 5 x 7 = 70, 2 x 2 x 3 = 12 and 2 x 1 x 1 = 2 positions: 84 in all.
        # conv 4 x 6 x 3 x 84; matmul 6 x (4900 + 144 + 4), then 9 x 3 and 9 x 6 x 70;
        # linear 2 x 3 x 6 x 3; params 72 + 36 of the BatchNorm + 36 of Q and K
        (
            PNL(18, n=3),
            (1, 18, 2, 5, 7),
            Cost(params=144, conv=6_048, linear=108, matmul=30_288 + 27 + 3_780),
        ),
    ],
)
def test_formulas_by_hand(block, shape, expected):
    assert counted_quantities(expected) == at(derived(block), shape)


def test_along_n(small):
    # C = 16, maps of 4 x 4. CGNL with one group: (2 C^2 + C) N = 528 N.
    # PNL, n = 2, concatenated: 2 x 64 (N + N/4) + 8 (N^2 + N^2/16) = 160 N + 17/2 N^2.
    # Equal at N = 368 x 2/17 = 736/17 = 43.3: between 2 frames, N = 32, and 3, N = 48.
    start, (crossing,) = crossover(LINEAR, partial(PNL, n=2, combine="concat"), channels=16)
    assert (16, 528 * 16, 160 * 16 + 17 * 128) == start
    below, above = (32, 528 * 32, 160 * 32 + 8704), (48, 528 * 48, 160 * 48 + 19_584)
    assert (below, above, sympy.Rational(736, 17)) == crossing

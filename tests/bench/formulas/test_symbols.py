"""Formulas as symbols: against integers worked by hand, the blocks' own integers, and the paper."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sympy import Rational, expand
from torch import nn

from vidcost.bench.formulas.symbols import (
    EQUATIONS,
    POSITIONS,
    C,
    Formula,
    N,
    derived,
    general,
    in_extents,
    k,
    lower_bound,
    n,
    printed,
    smooth,
    surely_positive,
)
from vidcost.models.blocks.cgd import CGD
from vidcost.models.blocks.cgnl import CGNL
from vidcost.models.blocks.non_local import NonLocal
from vidcost.models.blocks.operation import PAIRWISE
from vidcost.models.blocks.pnl import PNL
from vidcost.models.cost import Cost

many = settings(max_examples=25, deadline=None)
batches, frames = st.integers(1, 3), st.integers(1, 4)


def counted_quantities(cost):
    """What formulas speak of: parameters and MACs."""
    return Cost(params=cost.params, conv=cost.conv, linear=cost.linear, matmul=cost.matmul)


def check(build, shape):
    with torch.device("meta"):
        block = build()
        assert counted_quantities(block.cost(shape)) == derived(block).at(shape)


# derived forms against the blocks' own integers


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


@many
@given(shape=st.tuples(batches, st.integers(1, 29), frames, st.integers(1, 13), st.integers(1, 13)))
def test_cgd(shape):
    check(lambda: CGD(shape[1]), shape)


# and against integers worked by hand, which no closed form in the code has a share in


def test_non_local_by_hand():
    # B 2, N 3 x 5 x 7 = 105: four convolutions 10 x 5 x 105 x 2; two products 5 x 105 x 105 x 2
    expected = Cost(params=4 * 50 + 20, conv=42_000, matmul=220_500)
    assert expected == derived(NonLocal(10)).at((2, 10, 3, 5, 7))


def test_pnl_by_hand():
    # groups of 6 on 2 x 5 x 7 = 70, 2 x 2 x 3 = 12 and 2 x 1 x 1 = 2 positions: 84 in all.
    # conv 4 x 6 x 3 x 84; matmul 6 x (4900 + 144 + 4), then 9 x 3 and 9 x 6 x 70;
    # linear 2 x 3 x 6 x 3; params 72 + 36 of the BatchNorm + 36 of Q and K
    expected = Cost(params=144, conv=6_048, linear=108, matmul=30_288 + 27 + 3_780)
    assert expected == derived(PNL(18, n=3)).at((1, 18, 2, 5, 7))


def test_a_sum_over_scales_stays_a_sum_until_n_is_given():
    form = general(PNL(18, n=3))
    assert {n} <= form.conv.free_symbols
    expected = 2 * C**2 * (N + POSITIONS[1] + POSITIONS[2]) / 9
    assert expand(expected) == expand(form.given(n=3, B=1).conv)


def test_scales_are_floored_in_extents_and_smooth_without():
    # 14 x 7 halved twice: 3 x 1; smooth 2 x 14 x 7 / 16
    shape = {"T": 2, "H": 14, "W": 7}
    opened = in_extents(POSITIONS[2])
    assert 6 == opened.subs({s: shape[s.name] for s in opened.free_symbols})
    assert N / 16 == smooth(POSITIONS[2])


def test_a_wrong_form_is_no_longer_the_block():
    # 28 x 28 twice halved leaves no remainder, so that N/4^k is right there; at 14 x 16 it is not
    block, shape = PNL(24, n=3), (1, 24, 2, 14, 16)
    right, integers = derived(block), counted_quantities(block.cost(shape))
    assert integers == right.at(shape)
    assert integers != replace(right, conv=right.conv * C).at(shape)
    assert integers != replace(right, params=right.params + 1).at(shape)
    assert integers != right.each(smooth).at(shape)
    even = (1, 24, 2, 28, 28)
    assert counted_quantities(block.cost(even)) == right.each(smooth).at(even)


def test_a_form_that_is_not_whole_there_is_refused():
    with pytest.raises(ValueError, match="params is 21/4, no whole number, at"):
        derived(NonLocal(2)).each(lambda expr: expr / 16).at((1, 6, 1, 1, 1))


def test_a_module_without_a_formula_is_refused():
    with pytest.raises(ValueError, match="no formula for Identity"):
        derived(nn.Identity())


# as printed


def test_printed_forms():
    assert Formula(None, 2 * C**3 * N, None, C * N**2) == printed("nl")
    # n = 2: (1 + 1/4) / 8 and (1 + 1/16) / 2
    at_2 = printed("pnl").given(n=2)
    assert Rational(5, 32) * 2 * C**3 * N == at_2.conv
    assert Rational(17, 32) * C * N**2 == at_2.matmul


def test_equation_8_is_what_9_sums():
    at_3 = [EQUATIONS[8].subs({n: 3, k: scale}) for scale in range(3)]
    assert 0 == expand(sum(at_3) - printed("pnl").given(n=3).macs)


# proofs


def test_lower_bound_drops_what_adds_and_takes_the_most_of_what_subtracts():
    assert C * N - 3 * N / 4 == lower_bound(C * N + 5 * POSITIONS[2] - 3 * POSITIONS[1])


@pytest.mark.parametrize(
    ("expr", "channels", "proved"),
    [
        (C * N - C + 1, 1, True),
        (C * N - 2 * N + 1, 1, False),  # C = 1: 1 - N
        (C * N - 2 * N + 1, 2, True),
        (C - N, 1, False),
        (C * N - C, 1, False),  # 0 at N = 1
    ],
)
def test_surely_positive(expr, channels, proved):
    assert proved == surely_positive(expr, channels=channels)

"""Closed forms in symbols are the blocks' own integers, and those worked by hand."""

from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from vidcost.bench import formulas
from vidcost.bench.formulas import COMBINATION, DEPENDENCIES, KINDS, C, Formula, at_shape, smooth
from vidcost.models.blocks.cgd import CGD
from vidcost.models.blocks.cgnl import CGNL
from vidcost.models.blocks.non_local import NonLocal
from vidcost.models.blocks.pnl import PNL

many = settings(max_examples=25, deadline=None)


def integers(formula, *shape):
    """The integers of a formula for one clip of ``shape``."""
    return tuple(at_shape(getattr(formula, kind), shape) for kind in KINDS)


def of_block(build, *shape):
    """The same by the block's own closed form."""
    with torch.device("meta"):
        cost = build().cost((1, *shape))
    return tuple(getattr(cost, kind) for kind in KINDS)


@many
@given(half=st.integers(1, 13), clip=st.tuples(*[st.integers(1, 13)] * 3), groups=st.integers(1, 5))
def test_nl_cgnl_and_cgd(half, clip, groups):
    shape = (2 * half * groups, *clip)
    assert of_block(lambda: NonLocal(shape[0]), *shape) == integers(formulas.NL, *shape)
    assert of_block(lambda: CGD(shape[0]), *shape) == integers(formulas.CGD, *shape)
    cgnl = formulas.CGNL.given(G=groups)
    assert of_block(lambda: CGNL(shape[0], groups=groups), *shape) == integers(cgnl, *shape)


@pytest.mark.parametrize("combine", ["concat", "attention"])
@many
@given(data=st.data(), n=st.integers(1, 5), half=st.integers(1, 5))
def test_pnl(combine, data, n, half):
    side = st.integers(2 ** (n - 1), 2 ** (n - 1) + 17)
    shape = (2 * n * half, *data.draw(st.tuples(st.integers(1, 4), side, side)))
    norm = Formula(params=2 * C)
    formula = formulas.PNL if combine == "attention" else DEPENDENCIES + norm
    build = of_block(lambda: PNL(shape[0], n=n, combine=combine), *shape)
    assert build == integers(formula.given(n=n), *shape)


def test_a_wrong_form_is_no_longer_the_block():
    # 28 x 28 twice halved leaves no remainder, so that N/4^k is right there; at 14 x 16 it is not
    right, block = formulas.PNL.given(n=3), of_block(lambda: PNL(24, n=3), 24, 2, 14, 16)
    assert block == integers(right, 24, 2, 14, 16)
    for wrong in (replace(right, conv=right.conv * C), right.each(smooth)):
        assert block != integers(wrong, 24, 2, 14, 16)
    even = of_block(lambda: PNL(24, n=3), 24, 2, 28, 28)
    assert even == integers(right.each(smooth), 24, 2, 28, 28)


def test_formulas_by_hand():
    # N = 3 x 5 x 7 = 105: four convolutions 10 x 5 x 105; two products 5 x 105 x 105
    assert (4 * 50 + 20, 21_000, 0, 110_250) == integers(formulas.NL, 10, 3, 5, 7)
    # groups of 6 on 2 x 5 x 7 = 70, 2 x 2 x 3 = 12 and 2 x 1 x 1 = 2 positions: 84 in all.
    # conv 4 x 6 x 3 x 84; matmul 6 x (4900 + 144 + 4), then 9 x 3 and 9 x 6 x 70;
    # linear 2 x 3 x 6 x 3; params 72, and 36 of Q and K
    assert (72, 6_048, 0, 30_288) == integers(DEPENDENCIES.given(n=3), 18, 2, 5, 7)
    assert (36, 0, 108, 27 + 3_780) == integers(COMBINATION.given(n=3), 18, 2, 5, 7)

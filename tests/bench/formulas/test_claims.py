"""Verdicts on what the paper says of its formulas: each must turn when the formula does."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from sympy import expand

from vidcost.bench.formulas.claims import (
    CLAIMED_N,
    cheaper_above,
    fitting_scales,
    negligible_from,
    plain,
    saved_with_f_comb,
    verdicts,
)
from vidcost.bench.formulas.symbols import POSITIONS, C, N, n, printed
from vidcost.models.blocks.pnl import PNL
from vidcost.papers import catalog


def found(verdict_list):
    return {v.printed: (v.under_printed, v.under_derived) for v in verdict_list}


def test_verdicts():
    negligible = (
        "holds only if T is at least 3 (N 588) with n = 3 and T is at least 7 (N 1,372) "
        "with n = 4, on 384 channels of 14x14"
    )
    assert {
        "2C^3N": ("holds", "does not hold"),
        "2C^3N + CN^2": ("holds", "does not hold"),
        "(sum 1/4^k) (1/n^3) 2C^3N + (sum 1/16^k) (1/n) CN^2": ("holds", "does not hold"),
        "2, 3 or 4": (
            "holds only if the block stands at MFNet conv2",
            "holds only if the block stands at MFNet conv3 or MFNet conv4",
        ),
        "5/32 2C^3N + 17/32 CN^2": ("holds", "does not hold"),
        "negligible": ("holds", negligible),
        "lower computation cost": ("holds", "holds"),
        "decreases": ("holds", "holds"),
    } == found(verdicts())


def test_another_printed_form_gets_other_verdicts():
    def corrected(name):
        form = printed(name)
        return replace(form, conv=expand(form.conv / C) * (n if name == "pnl" else 1))

    verdict = found(verdicts(corrected))
    # what the paper says no longer fits its own form, but the form fits the derived one
    assert ("does not hold", "holds") == verdict["2C^3N"]
    assert ("does not hold", "holds") == verdict["2C^3N + CN^2"]
    assert "does not hold" == verdict["5/32 2C^3N + 17/32 CN^2"][0]
    equation_9 = verdict["(sum 1/4^k) (1/n^3) 2C^3N + (sum 1/16^k) (1/n) CN^2"]
    assert ("does not hold", "holds") == equation_9

    def dear(name):
        form = printed(name)
        return replace(form, matmul=form.matmul * (n**3 if name == "pnl" else 1))

    verdict = found(verdicts(dear))
    assert "does not hold" == verdict["lower computation cost"][0]
    assert "does not hold" == verdict["decreases"][0]


def test_every_verdict_is_about_a_claim_of_the_paper():
    claims = {(claim.where, claim.printed) for claim in catalog.paper().claims}
    assert {(v.where, v.printed) for v in verdicts()} <= claims


def test_the_numbers_of_the_verdicts():
    because = {v.printed: v.because for v in verdicts()}
    assert "178,514,165,760 printed, 1,406,533,632 derived" in because["2C^3N + CN^2"]
    assert "5/16·2C²N + 17/32·CN²" in because["5/32 2C^3N + 17/32 CN^2"]
    # (147456/4 + 768 + 4 x 384 x 1568) / (288884736 + 2446080)
    assert "0.840% with n = 4" in because["negligible"]


@pytest.mark.parametrize(("scales", "fewest"), [(2, 1), (3, 3), (4, 7)])
def test_negligible_from(scales, fewest):
    def share(frames):
        shape = (1, 384, frames, 14, 14)
        with torch.device("meta"):
            whole, rest = (PNL(384, n=scales, combine=c) for c in ("attention", "concat"))
        return 1 - rest.cost(shape).macs / whole.cost(shape).macs

    assert fewest == negligible_from(scales)
    assert share(fewest) < 0.01
    assert fewest == 1 or share(fewest - 1) >= 0.01


# what they rest on


@pytest.mark.parametrize("scales", CLAIMED_N)
def test_the_condition_is_where_nl_and_pnl_cost_the_same(scales):
    saved = saved_with_f_comb(scales)
    for positions in (1, 2, 3, 64):
        boundary = cheaper_above(scales).subs(N, positions)
        assert 0 == saved.subs({N: positions, C: boundary})
        # cheaper on the side above it
        assert expand(saved / C).subs({N: positions, C: boundary + 1}) > 0
        # 2n is the narrowest that can be split
        assert boundary < 2 * scales


@pytest.mark.parametrize(
    ("channels", "side", "exact", "floor"),
    [
        (96, 56, [2, 3, 4], [2, 3, 4, 6]),
        (192, 28, [2, 3], [2, 3, 4]),
        (384, 14, [2], [2, 3, 4]),
        (768, 7, [], [2, 3]),
        (1024, 14, [2], [2, 4]),
        (160, 28, [2], [2, 4, 5]),
        (6, 64, [3], [3]),
    ],
)
def test_fitting_scales(channels, side, exact, floor):
    assert exact == fitting_scales(channels, side, exact=True)
    assert floor == fitting_scales(channels, side, exact=False)


def test_plain():
    assert "2C³N + CN₁²/3" == plain(2 * C**3 * N + C * POSITIONS[1] ** 2 / 3)

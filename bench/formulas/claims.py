"""The paper's claims about its formulas, judged under the printed and under the derived forms."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Literal

import sympy
from sympy import Expr, Rational
from torch import nn

from vidcost.bench.formulas.symbols import (
    EQUATIONS,
    C,
    Formula,
    H,
    N,
    T,
    W,
    at_shape,
    combination,
    dependencies,
    general,
    in_extents,
    k,
    lower_bound,
    n,
    printed,
    smooth,
    surely_positive,
)
from vidcost.models.backbones.mfnet import STAGES
from vidcost.models.blocks.non_local import NonLocal
from vidcost.models.blocks.pnl import PNL

SHAPE = (1, 384, 8, 14, 14)
"""conv4 of MFNet on a clip of 16x224x224: where the paper puts its module by default."""
CLAIMED_N = (2, 3, 4)
NEGLIGIBLE = Rational(1, 100)
"""The share up to which we call a cost negligible; the paper gives no figure."""
HOLDS, HOLDS_NOT = "holds", "does not hold"

MAPS = {
    **{f"MFNet {stage}": (width, 56 >> i) for i, (stage, (_, width)) in enumerate(STAGES.items())},
    **{f"ResNet-50 res{i + 2}": (256 << i, 56 >> i) for i in range(4)},
}
"""Channels and map side of the stages, for clips of 224x224."""

Print = Callable[[Literal["nl", "pnl"]], Formula]


@dataclass(frozen=True)
class Verdict:
    """What is left of a claim about the formulas, under the printed form and under the derived one.

    ``where`` and ``printed`` are those of the claim in figures.toml.
    """

    where: str
    printed: str
    under_printed: str
    under_derived: str
    because: str


@cache
def verdicts(print_form: Print = printed) -> tuple[Verdict, ...]:
    """The paper's claims about its formulas, each computed under both forms.

    ``print_form`` gives the printed forms.
    """
    nl = print_form("nl"), for_one_clip(NonLocal(2))
    pnl = print_form("pnl"), without_f_comb()
    return (
        _equation_4(*nl),
        _equation_6(*nl),
        _equation_9(*pnl),
        _possible_n(),
        _largest_at_2(*pnl),
        _negligible(*pnl),
        _cheaper_than_nl(nl, pnl),
        _decreasing(*pnl),
    )


def for_one_clip(block: nn.Module) -> Formula:
    """The general form for one clip."""
    return general(block).given(B=1)


def without_f_comb(scales: int | None = None) -> Formula:
    """What Equation 9 counts, derived; in n unless ``scales`` are given."""
    formula = dependencies(PNL(2, n=1))
    return formula if scales is None else formula.given(n=scales)


def _equation_4(print_form: Formula, derived_form: Formula) -> Verdict:
    own = 4 * C**2 * N * (C / 2)
    ratio = sympy.cancel(print_form.conv / derived_form.conv)
    return Verdict(
        "Equation 4",
        "2C^3N",
        _holds(sympy.expand(own - print_form.conv) == 0),
        _holds(ratio == 1),
        f"4·C²·N·C/2 is {plain(sympy.expand(own))}; four convolutions C to C/2 or back, C·C/2 per "
        f"position each, are {plain(derived_form.conv)}. Printed over derived: {plain(ratio)}.",
    )


def _equation_6(print_form: Formula, derived_form: Formula) -> Verdict:
    total = print_form.macs
    difference = sympy.expand(total - derived_form.macs)
    numbers = [int(at_place(expr)) for expr in (total, derived_form.macs)]
    return Verdict(
        "Equation 6",
        "2C^3N + CN^2",
        _holds(sympy.expand(total - EQUATIONS[6]) == 0),
        _holds(difference == 0),
        f"Derived: {plain(derived_form.macs)}; CN² is right. With {place()}: "
        f"{numbers[0]:,} printed, {numbers[1]:,} derived and counted.",
    )


def _equation_9(print_form: Formula, derived_form: Formula) -> Verdict:
    smoothed = [smooth(derived_form.given(n=m).macs) for m in CLAIMED_N]
    same = all(
        sympy.expand(print_form.given(n=m).macs - form) == 0
        for m, form in zip(CLAIMED_N, smoothed, strict=True)
    )
    ratio = sympy.cancel(
        sympy.simplify(print_form.given(n=2).conv / smooth(derived_form.given(n=2).conv))
    )
    one_scale = EQUATIONS[6].subs({C: C / n, N: EQUATIONS[7]}, simultaneous=True)
    follows = all(
        sympy.expand(print_form.given(n=m).macs - sum(_scales(one_scale, m))) == 0
        for m in CLAIMED_N
    )
    return Verdict(
        "Equation 9",
        "(sum 1/4^k) (1/n^3) 2C^3N + (sum 1/16^k) (1/n) CN^2",
        _holds(follows),
        _holds(same),
        "It follows from Equations 4 to 8, and keeps the extra factor of Equation 4, here C' = "
        f"C/n: {plain(ratio)} at n = 2. 1/n³ · 2C³N should be 1/n² · 2C²N; the second sum is "
        "right. N/4^k also stands for T·floor(H/2^k)·floor(W/2^k), and f_comb is left out.",
    )


def _scales(one_scale: Expr, scales: int) -> list[Expr]:
    return [one_scale.subs({n: scales, k: number}) for number in range(scales)]


def fitting_scales(channels: int, side: int, *, exact: bool) -> list[int]:
    """The n >= 2 for which ``channels`` split into groups of even width and every map is whole.

    ``exact``: each halving must come out even, as N/4^k says; else it is rounded down, as pooling
    does, and must leave a pixel.
    """
    fit = []
    for m in range(2, channels // 2 + 1):
        whole = side % 2 ** (m - 1) == 0 if exact else side >= 2 ** (m - 1)
        if whole and channels % (2 * m) == 0:
            fit.append(m)
    return fit


def _possible_n() -> Verdict:
    stages = {name: at for name, at in MAPS.items() if name.startswith("MFNet")}

    def verdict(*, exact: bool) -> str:
        places = [
            name
            for name, (width, side) in stages.items()
            if fitting_scales(width, side, exact=exact) == list(CLAIMED_N)
        ]
        if len(places) == len(stages):
            return HOLDS
        return f"holds only if the block stands at {_either(places)}" if places else HOLDS_NOT

    return Verdict(
        "Section 3.3",
        "2, 3 or 4",
        verdict(exact=True),
        verdict(exact=False),
        "Printed: N/4^k must be whole, so the side must be divisible by 2^(n-1). Derived: pooling "
        "rounds down, so it must be at least 2^(n-1). Both: C divisible by 2n. See the table of n.",
    )


def _largest_at_2(print_form: Formula, derived_form: Formula) -> Verdict:
    said = Rational(5, 32) * 2 * C**3 * N + Rational(17, 32) * C * N**2
    at_2 = print_form.given(n=2).macs, smooth(derived_form.given(n=2).macs)
    falls = _falls(print_form), _falls(derived_form)
    under = [
        _holds(down and sympy.expand(form - said) == 0)
        for form, down in zip(at_2, falls, strict=True)
    ]
    conv = smooth(derived_form.given(n=2).conv) / (2 * C**2 * N)
    products = smooth(derived_form.given(n=2).matmul) / (C * N**2)
    return Verdict(
        "Section 3.3",
        "5/32 2C^3N + 17/32 CN^2",
        under[0],
        under[1],
        f"Derived, with N/4 for N₁: {conv}·2C²N + {products}·CN². That n = 2 costs most of "
        f"2, 3 and 4 {_holds(falls[0])} under the printed form, and {_holds(falls[1])} under the "
        "derived one.",
    )


def _falls(formula: Formula, *, channels: Sequence[int] = (1, 1)) -> bool:
    """Whether the MACs are proved to fall from n = 2 to 3 to 4, with floors or without."""
    return all(
        surely_positive(
            lower_bound(formula.given(n=m).macs - formula.given(n=m + 1).macs), channels=least
        )
        for m, least in zip((2, 3), channels, strict=True)
    )


def _decreasing(print_form: Formula, derived_form: Formula) -> Verdict:
    # C is divisible by 2n for both n that are compared
    whole = _falls(derived_form + combination(), channels=(12, 24))
    return Verdict(
        "Section 4.2.4",
        "decreases",
        _holds(_falls(print_form)),
        _holds(_falls(derived_form) and whole),
        "Proved from n = 2 to 3 to 4 for all C and N, whatever the floors take off; "
        f"with f_comb, for all C divisible by 2n: {_holds(whole)}.",
    )


def _cheaper_than_nl(nl: tuple[Formula, Formula], pnl: tuple[Formula, Formula]) -> Verdict:
    below = [
        all(surely_positive(lower_bound(whole.macs - parts.given(n=m).macs)) for m in CLAIMED_N)
        for whole, parts in zip(nl, pnl, strict=True)
    ]
    with_f_comb = all(surely_positive(saved_with_f_comb(m), channels=2 * m) for m in CLAIMED_N)
    bounds = "; ".join(f"n = {m}: C > {plain(cheaper_above(m))}" for m in CLAIMED_N)
    return Verdict(
        "Section 3.3",
        "lower computation cost",
        _holds(below[0]),
        _holds(below[1] and with_f_comb),
        "Without f_comb proved for n = 2, 3, 4 and all C and N: each coefficient of the difference "
        f"is positive. With f_comb it takes {bounds} (with N/4^k; floors only take off). Proved "
        f"for every C that n can split (C ≥ 2n) and every N ≥ 1: {_holds(with_f_comb)}.",
    )


def saved_with_f_comb(scales: int) -> Expr:
    """MACs of NL less those of PNL with attention, one clip; with N/4^k it is least."""
    return lower_bound(
        for_one_clip(NonLocal(2)).macs - (without_f_comb(scales).macs + f_comb(scales))
    )


def cheaper_above(scales: int) -> Expr:
    """The C, in N, above which PNL with attention costs fewer MACs than NL."""
    (boundary,) = sympy.solve(sympy.expand(saved_with_f_comb(scales) / C), C)
    above, below = sympy.fraction(sympy.cancel(boundary))
    # a fraction whose denominator is positive from N = 1 on reads best
    sign = 1 if below.subs(N, 1) > 0 else -1
    return sympy.expand(sign * above) / sympy.expand(sign * below)


def f_comb(scales: int) -> Expr:
    """MACs of f_comb as attention over ``scales`` scales, one clip, in C and N."""
    return combination().given(n=scales).macs


def share_of_f_comb(scales: int) -> Expr:
    """f_comb's share of the MACs of PNL with attention, in C, N and the N_k."""
    return f_comb(scales) / (f_comb(scales) + without_f_comb(scales).macs)


def negligible_from(scales: int, share: Expr = NEGLIGIBLE) -> int:
    """The fewest frames from which on f_comb's share is below ``share``, at the place of SHAPE."""
    _, channels, _, side, _ = SHAPE
    excess = in_extents(f_comb(scales) * (1 - share) - without_f_comb(scales).macs * share)
    frames = sympy.Symbol("frames")
    polynomial = sympy.Poly(excess.subs({C: channels, H: side, W: side}).subs(T, frames), frames)
    # the products of the scales grow with T^2, f_comb with T: beyond the last root it is below
    assert polynomial.LC() < 0
    return max(1, *(int(sympy.floor(root)) + 1 for root in sympy.real_roots(polynomial)))


def _negligible(print_form: Formula, derived_form: Formula) -> Verdict:
    shares = {m: at_place(share_of_f_comb(m)) for m in CLAIMED_N}
    printed_shares = {
        m: at_place(f_comb(m) / (f_comb(m) + print_form.given(n=m).macs)) for m in CLAIMED_N
    }
    from_frames = {m: negligible_from(m) for m in CLAIMED_N}
    side = SHAPE[3]
    needed = " and ".join(
        f"T is at least {frames} (N {frames * side * side:,}) with n = {m}"
        for m, frames in from_frames.items()
        if frames > 1
    )
    return Verdict(
        "Section 3.3",
        "negligible",
        _holds(max(printed_shares.values()) < NEGLIGIBLE),
        (f"holds only if {needed}, on {SHAPE[1]} channels of {side}x{side}" if needed else HOLDS)
        if max(shares.values()) < NEGLIGIBLE
        else HOLDS_NOT,
        f"Negligible: below {float(NEGLIGIBLE):.0%}. f_comb is "
        f"{plain(sympy.expand(combination().macs))}; its share with {place()} is "
        + "; ".join(f"{float(share):.3%} with n = {m}" for m, share in shares.items())
        + f". Beside Equation 9 it would be {float(max(printed_shares.values())):.3%} at most.",
    )


def _holds(is_so: bool) -> str:
    return HOLDS if is_so else HOLDS_NOT


def _either(words: Sequence[str]) -> str:
    return " or ".join(words)


def at_place(expr: Expr) -> Expr:
    """``expr`` at the place of ``SHAPE``."""
    return in_extents(expr).subs(at_shape(SHAPE))


def place() -> str:
    """C and N of ``SHAPE`` in a line of plain text."""
    _, channels, frames, height, width = SHAPE
    return f"C = {channels}, N = {frames}·{height}·{width} = {frames * height * width:,}"


def plain(expr: Expr) -> str:
    """An expression in a line of plain text: 2*C**2*N is 2C²N."""
    written = re.sub(r"N\[(\d)\]", lambda m: f"N{'₀₁₂₃₄₅₆₇₈₉'[int(m[1])]}", sympy.sstr(expr))
    written = re.sub(r"\*\*(\d)", lambda m: "⁰¹²³⁴⁵⁶⁷⁸⁹"[int(m[1])], written)
    return written.replace("*", "")

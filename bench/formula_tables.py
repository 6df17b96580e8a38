"""The formulas beside each other, for people: what is printed, what follows, what holds of it."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import Literal

import sympy
import torch
from sympy import Expr, Rational
from torch import nn

from vidcost.bench import published
from vidcost.bench.crossover import Along, Crossing, crossover
from vidcost.bench.formulas import (
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
from vidcost.bench.table import Column, Table, integer
from vidcost.models.backbones.mfnet import STAGES
from vidcost.models.backbones.positions import BlockFactory
from vidcost.models.blocks import CGD, CGNL, PNL, NonLocal

SHAPE = (1, 384, 8, 14, 14)
"""conv4 of MFNet on a clip of 16x224x224: where the paper puts its module by default."""
CLAIMED_N = (2, 3, 4)
NEGLIGIBLE = Rational(1, 100)
"""The share up to which we call a cost negligible; the paper gives no figure."""
HOLDS, HOLDS_NOT = "holds", "does not hold"

_MAPS = {
    **{f"MFNet {stage}": (width, 56 >> i) for i, (stage, (_, width)) in enumerate(STAGES.items())},
    **{f"ResNet-50 res{i + 2}": (256 << i, 56 >> i) for i in range(4)},
}
"""Channels and map side of the stages, for clips of 224x224."""

Print = Callable[[Literal["nl", "pnl"]], Formula]


@dataclass(frozen=True)
class Verdict:
    """What is left of a claim about the formulas, under the printed form and under the derived one.

    ``where`` and ``printed`` are those of the claim in ``published``.
    """

    where: str
    printed: str
    under_printed: str
    under_derived: str
    because: str


def verdicts(print_form: Print = printed) -> tuple[Verdict, ...]:
    """The paper's claims about its formulas, each computed under both forms.

    ``print_form`` gives the printed forms.
    """
    nl = print_form("nl"), _alone(NonLocal(2))
    pnl = print_form("pnl"), _dependencies()
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


def _alone(block: nn.Module) -> Formula:
    """The general form for one clip."""
    return general(block).given(B=1)


def _dependencies(scales: int | None = None) -> Formula:
    """What Equation 9 counts, derived."""
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
    numbers = [int(_value(expr)) for expr in (total, derived_form.macs)]
    return Verdict(
        "Equation 6",
        "2C^3N + CN^2",
        _holds(sympy.expand(total - EQUATIONS[6]) == 0),
        _holds(difference == 0),
        f"Derived: {plain(derived_form.macs)}; CN² is right. With {_place()}: "
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
    stages = {name: place for name, place in _MAPS.items() if name.startswith("MFNet")}

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
    return lower_bound(_alone(NonLocal(2)).macs - (_dependencies(scales).macs + _f_comb(scales)))


def cheaper_above(scales: int) -> Expr:
    """The C, in N, above which PNL with attention costs fewer MACs than NL."""
    (boundary,) = sympy.solve(sympy.expand(saved_with_f_comb(scales) / C), C)
    above, below = sympy.fraction(sympy.cancel(boundary))
    # a fraction whose denominator is positive from N = 1 on reads best
    sign = 1 if below.subs(N, 1) > 0 else -1
    return sympy.expand(sign * above) / sympy.expand(sign * below)


def _f_comb(scales: int) -> Expr:
    return combination().given(n=scales).macs


def share_of_f_comb(scales: int) -> Expr:
    """f_comb's share of the MACs of PNL with attention, in C, N and the N_k."""
    return _f_comb(scales) / (_f_comb(scales) + _dependencies(scales).macs)


def negligible_from(scales: int, share: Expr = NEGLIGIBLE) -> int:
    """The fewest frames from which on f_comb's share is below ``share``, at the place of SHAPE."""
    _, channels, _, side, _ = SHAPE
    excess = in_extents(_f_comb(scales) * (1 - share) - _dependencies(scales).macs * share)
    frames = sympy.Symbol("frames")
    polynomial = sympy.Poly(excess.subs({C: channels, H: side, W: side}).subs(T, frames), frames)
    # the products of the scales grow with T^2, f_comb with T: beyond the last root it is below
    assert polynomial.LC() < 0
    return max(1, *(int(sympy.floor(root)) + 1 for root in sympy.real_roots(polynomial)))


def _negligible(print_form: Formula, derived_form: Formula) -> Verdict:
    shares = {m: _value(share_of_f_comb(m)) for m in CLAIMED_N}
    printed_shares = {
        m: _value(_f_comb(m) / (_f_comb(m) + print_form.given(n=m).macs)) for m in CLAIMED_N
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
        f"{plain(sympy.expand(combination().macs))}; its share with {_place()} is "
        + "; ".join(f"{float(share):.3%} with n = {m}" for m, share in shares.items())
        + f". Beside Equation 9 it would be {float(max(printed_shares.values())):.3%} at most.",
    )


def _holds(is_so: bool) -> str:
    return HOLDS if is_so else HOLDS_NOT


def _either(words: Sequence[str]) -> str:
    return " or ".join(words)


def _value(expr: Expr) -> Expr:
    """``expr`` at the place of ``SHAPE``."""
    return in_extents(expr).subs(at_shape(SHAPE))


def _nearest(value: Expr) -> int:
    return int(sympy.floor(value + Rational(1, 2)))


def _place() -> str:
    _, channels, frames, height, width = SHAPE
    return f"C = {channels}, N = {frames}·{height}·{width} = {frames * height * width:,}"


# Tables


def verdict_table(print_form: Print = printed) -> Table:
    """The paper's claims about its formulas, with a verdict under both forms."""
    says = {(claim.where, claim.printed): claim.says for claim in published.pnl2020().claims}
    return Table(
        title="Claims about the formulas",
        columns=(
            Column("where", "Where"),
            Column("printed", "Printed"),
            Column("says", "Claim"),
            Column("under_printed", "Under the printed form"),
            Column("under_derived", "Under the derived form"),
            Column("because", "Why"),
        ),
        lines=[
            asdict(verdict) | {"says": says[verdict.where, verdict.printed]}
            for verdict in verdicts(print_form)
        ],
        legend=("Every verdict is computed from the formulas.",),
    )


def scales_table() -> Table:
    """Which n fit the maps that the paper's networks have."""

    def names(scales: list[int]) -> str:
        return ", ".join(map(str, scales)) or "none"

    return Table(
        title="Which n fit",
        columns=(
            Column("stage", "Stage"),
            Column("channels", "C", integer),
            Column("side", "H = W", integer),
            Column("divisible", "n with C divisible by 2n"),
            Column("exact", "and H/2^k whole (printed)", names),
            Column("floor", "and floor(H/2^k) at least 1 (derived)", names),
        ),
        lines=[
            {
                "stage": stage,
                "channels": channels,
                "side": side,
                "divisible": _some([m for m in range(2, 9) if channels % (2 * m) == 0]),
                "exact": fitting_scales(channels, side, exact=True),
                "floor": fitting_scales(channels, side, exact=False),
            }
            for stage, (channels, side) in _MAPS.items()
        ],
        legend=(
            "Clips of 224x224, n from 2 on (n = 1 is the non-local block); "
            "the fourth column stops at n = 8.",
        ),
    )


def _some(numbers: list[int]) -> str:
    return ", ".join(map(str, numbers))


def value_table() -> Table:
    """What the forms give where the paper puts its module."""
    lines = [
        {
            "block": "NL",
            "printed": int(_value(printed("nl").macs)),
            "smooth": int(_value(_alone(NonLocal(2)).macs)),
            "derived": int(_value(_alone(NonLocal(2)).macs)),
            "f_comb": None,
        }
    ]
    for m in CLAIMED_N:
        form = _dependencies(m)
        lines.append(
            {
                "block": f"PNL, n = {m}",
                "printed": _nearest(_value(printed("pnl").given(n=m).macs)),
                "smooth": _nearest(_value(smooth(form.macs))),
                "derived": int(_value(form.macs)),
                "f_comb": int(_value(_f_comb(m))),
            }
        )
    return Table(
        title=f"MACs with {_place()}",
        columns=(
            Column("block", "Block"),
            Column("printed", "Printed (Eq. 6, 9)", integer),
            Column("smooth", "Derived, N/4^k", integer),
            Column("derived", "Derived, with floors", integer),
            Column("f_comb", "f_comb, attention", integer),
        ),
        lines=lines,
        legend=("Derived with floors and f_comb are exact, and equal to the count.",),
    )


def crossover_table(
    pairs: Iterable[tuple[tuple[str, BlockFactory], tuple[str, BlockFactory]]],
    *,
    channels: int,
    along: Along = "N",
    frames: int = 8,
    size: int = 14,
    most: int | None = None,
) -> Table:
    """Where the blocks of each pair change places along one axis; a pair without a change says so.

    Raises: ValueError and ClosedFormMismatch as :func:`vidcost.bench.crossover.crossover` does.
    """
    lines: list[dict[str, object]] = []
    for (name, factory), (other, other_factory) in pairs:
        found = crossover(
            factory,
            other_factory,
            channels=channels,
            along=along,
            frames=frames,
            size=size,
            most=most,
        )
        names = {"first": name, "second": other, None: None}
        line = {"first": name, "second": other, "least": found.least, "most": found.most}
        if not found.crossings:
            lines.append(
                line
                | {
                    "cheaper_below": names[found.cheaper],
                    "crossover": "none" if found.cheaper else "none: equal everywhere",
                    "below": found.start.at,
                    "below_first": found.start.first,
                    "below_second": found.start.second,
                    "root": ", ".join(map(str, found.beyond)) or None,
                }
            )
        for crossing in found.crossings:
            after = "second" if crossing.cheaper_below == "first" else "first"
            lines.append(
                line
                | {
                    "cheaper_below": names[crossing.cheaper_below],
                    "crossover": _where(crossing),
                    "cheaper_above": names[after],
                    "root": None if crossing.root is None else str(crossing.root),
                    "below": crossing.below.at,
                    "below_first": crossing.below.first,
                    "below_second": crossing.below.second,
                    "above": crossing.above.at,
                    "above_first": crossing.above.first,
                    "above_second": crossing.above.second,
                }
            )
    fixed = f"{frames} frames" if along == "H=W" else f"a map of {size}x{size}"
    most_searched = f"{lines[0]['most']:,}" if lines else "0"
    return Table(
        title=f"Crossovers along {along}: {channels} channels, {fixed}, MACs forward, batch 1",
        columns=(
            Column("first", "Block"),
            Column("second", "Other block"),
            Column("cheaper_below", "Cheaper before"),
            Column("crossover", f"Equal at {along} ="),
            Column("cheaper_above", "Cheaper after"),
            Column("below", f"{along} before", integer),
            Column("below_first", "Block", integer),
            Column("below_second", "Other block", integer),
            Column("above", f"{along} after", integer),
            Column("above_first", "Block", integer),
            Column("above_second", "Other block", integer),
        ),
        lines=lines,
        legend=(
            "The MACs on both sides are counted, and equal the formulas. "
            f"Searched: {along} from the smallest that both blocks take to {most_searched}. "
            "Where there is no crossover, that smallest stands under before.",
        ),
    )


def _where(crossing: Crossing) -> str:
    if crossing.root is None:
        return f"between {crossing.below.at} and {crossing.above.at}"
    whole = crossing.root.is_Integer
    return f"{crossing.root}" if whole else f"{float(crossing.root):.2f}"


# Text


def plain(expr: Expr) -> str:
    """An expression in a line of plain text: 2*C**2*N is 2C²N."""
    written = re.sub(r"N\[(\d)\]", lambda m: f"N{'₀₁₂₃₄₅₆₇₈₉'[int(m[1])]}", sympy.sstr(expr))
    written = re.sub(r"\*\*(\d)", lambda m: "⁰¹²³⁴⁵⁶⁷⁸⁹"[int(m[1])], written)
    return written.replace("*", "")


def formula_markdown() -> str:
    """The whole document: a section per block, then the claims, the n that fit, the crossovers."""
    with torch.device("meta"):
        blocks = _blocks()
    named: tuple[tuple[str, BlockFactory], ...] = (("cgnl", CGNL), ("nl", NonLocal))
    pairs = [(block, (f"pnl:n={m}", partial(PNL, n=m))) for block in named for m in CLAIMED_N]
    return "\n".join(
        [
            _HEAD,
            *(_section(*block) for block in blocks),
            "## In numbers\n",
            value_table().markdown(),
            "## Claims\n",
            verdict_table().markdown(),
            scales_table().markdown(),
            "## Crossovers\n",
            crossover_table(pairs, channels=SHAPE[1]).markdown(),
            crossover_table(pairs, channels=SHAPE[1], along="H=W").markdown(),
        ]
    )


_HEAD = """# Formulas

Closed forms of the long-range blocks: as printed in Xu et al. 2020, arXiv:2006.05091, section \
3.3, and as derived from the layers of the blocks. The derived ones equal each block's own \
integers and the count of its operators.

MACs of one forward pass, one clip: $`C`$ channels, $`N = THW`$ positions, \
$`N_k = T \\lfloor H/2^k \\rfloor \\lfloor W/2^k \\rfloor`$ positions of scale $`k`$ (so \
$`N_0 = N`$), $`n`$ scales, $`G`$ groups. Convolutions are 1x1x1 without bias, the pairwise \
function is the embedded Gaussian. conv and linear are products with parameters, attention \
products of two activations. A batch of $`B`$ costs $`B`$ times as many MACs.
"""

_KINDS = (("params", "params"), ("conv", "conv"), ("linear", "linear"), ("matmul", "attention"))


def _blocks() -> list[tuple[str, nn.Module, Formula | None, str]]:
    """Title, block, printed form and where the two differ, in order."""
    return [
        (
            "NL, the non-local block",
            NonLocal(2),
            printed("nl"),
            "Equation 4 multiplies $`4 \\cdot C^2 \\cdot N \\cdot C/2`$. A convolution from $`C`$ "
            "to $`C/2`$ channels takes $`C \\cdot C/2`$ products per position, so the four take "
            f"{_math(_alone(NonLocal(2)).conv)}: one factor $`C`$ is too many. Equation 5, twice, "
            "is right. Parameters are not printed; $`2C`$ of them are BatchNorm's.",
        ),
        (
            "CGNL, the compact generalised non-local block",
            CGNL(16),
            None,
            "The paper prints no form. Three convolutions $`C \\to C/2`$ and one $`C/2 \\to C`$ "
            "in $`G`$ groups; one scalar per group, linear in $`N`$. $`2C`$ parameters are "
            "GroupNorm's.",
        ),
        (
            "CGD, the compact global descriptor",
            CGD(2),
            None,
            "The paper prints no form. The MACs do not depend on $`N`$: averages, maxima and the "
            "scaling of the input are no products with weights.",
        ),
        (
            "PNL, the pyramid non-local module",
            PNL(2, n=1),
            printed("pnl"),
            f"Equations 8 and 9 inherit the factor of Equation 4, here $`C' = C/n`$: "
            f"{_math(EQUATIONS[4].subs(C, C / n))} should be {_math(2 * (C / n) ** 2 * N)}, so "
            "$`1/n^3`$ becomes $`1/n^2`$. Equation 7 has $`N/4^k`$ for $`N_k`$, which is too much "
            "wherever a side is odd: 14, 7, 3, 1. Equation 9 is without f_comb, which is "
            f"{_math(combination().macs)} with attention (Equations 2 and 3): Q and K of the "
            "scales' averages, their product, and the weighted sum of all scales.\n\n"
            f"With `combine=concat` f_comb costs nothing and {_math(combination().params)} "
            "parameters fall away. With `shared=False` the non-local operations have "
            f"{_math(_unshared().params)} parameters instead of {_math(_shared().params)}.",
        ),
    ]


def _unshared() -> Formula:
    return dependencies(PNL(2, n=1, shared=False))


def _shared() -> Formula:
    return dependencies(PNL(2, n=1))


def _section(title: str, block: nn.Module, print_form: Formula | None, differ: str) -> str:
    formula = _alone(block)
    lines = ["| | printed | derived |", "|:--|:--|:--|"]
    for kind, heading in _KINDS:
        left = getattr(print_form, kind) if print_form else None
        lines.append(f"| {heading} | {_cell(left)} | {_cell(getattr(formula, kind))} |")
    lines.append(
        f"| MACs | {_cell(print_form.macs if print_form else None)} | {_cell(formula.macs)} |"
    )
    parts = [f"## {title}\n", "\n".join(lines), ""]
    parts += [f"{differ}\n"]
    return "\n".join(parts)


def _cell(expr: Expr | None) -> str:
    return "not printed" if expr is None else _math(expr)


def _math(expr: Expr) -> str:
    return f"$`{latex(expr)}`$"


def latex(expr: Expr) -> str:
    """LaTeX that GitHub renders, with N_k as the paper writes it."""
    return str(sympy.latex(sympy.expand(expr))).replace("{N}_", "N_")

"""What the paper claims of costs, in formulas and in prose, checked one by one.

Source: Xu et al. 2020, arXiv:2006.05091. The derived formulas are those of the blocks as built;
figures of rows are counted.
"""

import itertools
import re
from collections.abc import Callable, Sequence
from decimal import Decimal
from typing import NamedTuple

import sympy
from sympy import Expr, Integer, Rational

from vidcost.bench.audit import HOLDS, HOLDS_NOT, Check, Said, holds, ours
from vidcost.bench.formulas import (
    C,
    Formula,
    N,
    at_shape,
    combination,
    dependencies,
    for_one_clip,
    k,
    n,
    smooth,
)
from vidcost.models.backbones.mfnet import STAGES
from vidcost.models.blocks.cgd import CGD
from vidcost.models.blocks.cgnl import CGNL
from vidcost.models.blocks.non_local import NonLocal
from vidcost.models.blocks.pnl import PNL
from vidcost.papers.figures import Claim, Figure, Kind, Paper, TableId

SHAPE = (1, 384, 8, 14, 14)
"""conv4 of MFNet on a clip of 16x224x224: where the paper puts its module by default."""
CLAIMED_N = (2, 3, 4)
NEGLIGIBLE = Rational(1, 100)
"""The share up to which we call a cost negligible; the paper gives no figure."""
MAPS = {
    **{f"MFNet {stage}": (width, 56 >> i) for i, (stage, (_, width)) in enumerate(STAGES.items())},
    **{f"ResNet-50 res{i + 2}": (256 << i, 56 >> i) for i in range(4)},
}
"""Channels and map side of the stages, for clips of 224x224."""

EQUATIONS: dict[int, Expr] = {
    4: 2 * C**3 * N,
    5: C * N**2 / 2,
    6: 2 * C**3 * N + C * N**2,
    7: N / 4**k,
    9: sympy.Sum(4**-k, (k, 0, n - 1)) / n**3 * 2 * C**3 * N
    + sympy.Sum(16**-k, (k, 0, n - 1)) / n * C * N**2,
}
"""The right-hand sides of section 3.3, by number, for one clip."""


class Forms(NamedTuple):
    """The forms of both blocks: as printed by the paper, or as derived without f_comb."""

    nl: Formula
    pnl: Formula


def printed_forms() -> Forms:
    """Equations 4 to 6 and 9: convolutions and products; the paper prints nothing else."""
    embeddings, products = (EQUATIONS[9].coeff(C, power) * C**power for power in (3, 1))
    return Forms(
        Formula(conv=EQUATIONS[4], matmul=2 * EQUATIONS[5]),
        Formula(conv=embeddings, matmul=products),
    )


def derived_forms() -> Forms:
    """The same as they follow from the layers of the blocks."""
    return Forms(for_one_clip(NonLocal(2)), without_f_comb())


def block_forms() -> dict[str, Formula]:
    """The derived forms of all blocks, PNL with f_comb."""
    blocks = {"nl": NonLocal(2), "cgnl": CGNL(16), "cgd": CGD(2), "pnl": PNL(2, n=1)}
    return {name: for_one_clip(block) for name, block in blocks.items()}


def without_f_comb(scales: int | None = None, *, shared: bool = True) -> Formula:
    """What Equation 9 counts, derived; in n unless ``scales`` are given."""
    formula = dependencies(PNL(2, n=1, shared=shared))
    return formula if scales is None else formula.given(n=scales)


def f_comb(scales: int) -> Expr:
    """MACs of f_comb as attention over ``scales`` scales, one clip, in C and N."""
    return combination().given(n=scales).macs


def at_place(expr: Expr) -> Expr:
    """``expr`` at the place of ``SHAPE``."""
    return at_shape(expr, SHAPE)


def value(expr: Expr) -> str:
    """``expr`` at the place of ``SHAPE``, rounded: 28,246,880,256."""
    return f"{int(sympy.floor(at_place(expr) + Rational(1, 2))):,}"


def place() -> str:
    """C and N of ``SHAPE`` in a line of plain text."""
    _, channels, frames, height, width = SHAPE
    return f"C = {channels}, N = {frames}·{height}·{width} = {frames * height * width:,}"


def plain(expr: Expr) -> str:
    """An expression in a line of plain text: 2*C**2*N is 2C²N."""
    written = re.sub(r"\*\*(\d)", lambda m: "⁰¹²³⁴⁵⁶⁷⁸⁹"[int(m[1])], sympy.sstr(expr))
    return written.replace("*", "")


def positive_at_every_stage(expr: Expr) -> bool:
    """Whether ``expr`` is above 0 at each of ``MAPS``, with as many frames as ``SHAPE``."""
    return all(
        at_shape(expr, (1, channels, SHAPE[2], side, side)) > 0 for channels, side in MAPS.values()
    )


def falls(formula: Formula) -> bool:
    """Whether the MACs fall from n = 2 to 3 to 4 at every stage."""
    steps = (formula.given(n=m).macs - formula.given(n=m + 1).macs for m in (2, 3))
    return all(map(positive_at_every_stage, steps))


def fitting_scales(channels: int, side: int, *, exact: bool) -> list[int]:
    """The n >= 2 for which ``channels`` split into groups of even width and every map is whole.

    ``exact``: each halving must come out even, as N/4^k says; else it is rounded down, as pooling
    does, and must leave a pixel.
    """
    return [
        m
        for m in range(2, channels // 2 + 1)
        if (side % 2 ** (m - 1) == 0 if exact else side >= 2 ** (m - 1)) and channels % (2 * m) == 0
    ]


def share_of_f_comb(scales: int, frames: int = SHAPE[2]) -> Expr:
    """Of f_comb in the MACs of a module at the place of ``SHAPE``, for any number of frames."""
    shape = (*SHAPE[:2], frames, *SHAPE[3:])
    comb = at_shape(f_comb(scales), shape)
    return comb / (comb + at_shape(without_f_comb(scales).macs, shape))


def negligible_from(scales: int) -> int:
    """The fewest frames from which on f_comb's share is negligible."""
    # the products of the scales grow with T^2, f_comb with T: once below, it stays below
    return next(t for t in itertools.count(1) if share_of_f_comb(scales, t) < NEGLIGIBLE)


# claims about formulas: under the printed forms, under the derived ones


def _of_formulas(check: Callable[[Forms, Forms], Said]) -> Check:
    def checked(claim: Claim, paper: Paper) -> Said:
        return check(printed_forms(), derived_forms())._replace(of_formulas=True)

    return checked


@_of_formulas
def equation_4(printed: Forms, derived: Forms) -> Said:
    own = sympy.expand(4 * C**2 * N * (C / 2))
    ratio = sympy.cancel(printed.nl.conv / derived.nl.conv)
    return Said(
        holds(own == sympy.expand(printed.nl.conv)),
        holds(ratio == 1),
        f"4·C²·N·C/2 is {plain(own)}; four convolutions C to C/2 or back, C·C/2 per position "
        f"each, are {plain(derived.nl.conv)}. Printed over derived: {plain(ratio)}.",
    )


@_of_formulas
def equation_6(printed: Forms, derived: Forms) -> Said:
    said, is_so = printed.nl.macs, derived.nl.macs
    return Said(
        holds(sympy.expand(said - EQUATIONS[6]) == 0),
        holds(sympy.expand(said - is_so) == 0),
        f"Derived: {plain(is_so)}; CN² is right. With {place()}: {int(at_place(said)):,} printed, "
        f"{int(at_place(is_so)):,} derived and counted.",
    )


@_of_formulas
def equation_9(printed: Forms, derived: Forms) -> Said:
    one_scale = EQUATIONS[6].subs({C: C / n, N: EQUATIONS[7]}, simultaneous=True)

    def equals_printed(form: Callable[[int], Expr]) -> bool:
        off = (printed.pnl.given(n=scales).macs - form(scales) for scales in CLAIMED_N)
        return all(sympy.expand(each) == 0 for each in off)

    summed = equals_printed(lambda m: sum(one_scale.subs({n: m, k: scale}) for scale in range(m)))
    ratio = sympy.simplify(printed.pnl.given(n=2).conv / smooth(derived.pnl.given(n=2).conv))
    return Said(
        holds(summed),
        holds(equals_printed(lambda m: smooth(derived.pnl.given(n=m).macs))),
        "It follows from Equations 4 to 8, and keeps the extra factor of Equation 4, here C' = "
        f"C/n: {plain(sympy.cancel(ratio))} at n = 2. 1/n³ · 2C³N should be 1/n² · 2C²N; the "
        "second sum is right. N/4^k also stands for T·floor(H/2^k)·floor(W/2^k), and f_comb is "
        "left out.",
    )


@_of_formulas
def possible_n(printed: Forms, derived: Forms) -> Said:
    stages = {name: at for name, at in MAPS.items() if name.startswith("MFNet")}

    def verdict(*, exact: bool) -> str:
        places = [
            name
            for name, (width, side) in stages.items()
            if fitting_scales(width, side, exact=exact) == list(CLAIMED_N)
        ]
        if len(places) == len(stages):
            return HOLDS
        return f"holds only if the block stands at {' or '.join(places)}" if places else HOLDS_NOT

    return Said(
        verdict(exact=True),
        verdict(exact=False),
        "Printed: N/4^k must be whole, so the side must be divisible by 2^(n-1). Derived: pooling "
        "rounds down, so it must be at least 2^(n-1). Both: C divisible by 2n. See the table of n.",
    )


@_of_formulas
def largest_at_2(printed: Forms, derived: Forms) -> Said:
    said = Rational(5, 32) * 2 * C**3 * N + Rational(17, 32) * C * N**2
    fall = falls(printed.pnl), falls(derived.pnl)
    at_2 = derived.pnl.given(n=2).each(smooth)
    met = [sympy.expand(form.macs - said) == 0 for form in (printed.pnl.given(n=2), at_2)]
    return Said(
        holds(fall[0] and met[0]),
        holds(fall[1] and met[1]),
        f"Derived, with N/4 for N₁: {at_2.conv / (2 * C**2 * N)}·2C²N + "
        f"{at_2.matmul / (C * N**2)}·CN². That n = 2 costs most of 2, 3 and 4 {holds(fall[0])} "
        f"under the printed form, and {holds(fall[1])} under the derived one.",
    )


@_of_formulas
def negligible(printed: Forms, derived: Forms) -> Said:
    shares = {m: share_of_f_comb(m) for m in CLAIMED_N}
    costs = {m: (at_place(f_comb(m)), at_place(printed.pnl.given(n=m).macs)) for m in CLAIMED_N}
    beside_printed = max(comb / (comb + rest) for comb, rest in costs.values())
    side = SHAPE[3]
    needed = " and ".join(
        f"T is at least {frames} (N {frames * side * side:,}) with n = {m}"
        for m in CLAIMED_N
        if (frames := negligible_from(m)) > 1
    )
    by_count = f"holds only if {needed}, on {SHAPE[1]} channels of {side}x{side}"
    listed = "; ".join(f"{float(share):.3%} with n = {m}" for m, share in shares.items())
    return Said(
        holds(beside_printed < NEGLIGIBLE),
        (by_count if needed else HOLDS) if max(shares.values()) < NEGLIGIBLE else HOLDS_NOT,
        f"Negligible: below {float(NEGLIGIBLE):.0%}. f_comb is "
        f"{plain(sympy.expand(combination().macs))}; its share with {place()} is {listed}. Beside "
        f"Equation 9 it would be {float(beside_printed):.3%} at most.",
    )


@_of_formulas
def cheaper_than_nl(printed: Forms, derived: Forms) -> Said:
    def is_cheaper(forms: Forms, more: Callable[[int], Expr]) -> bool:
        saved = (forms.nl.macs - forms.pnl.given(n=m).macs - more(m) for m in CLAIMED_N)
        return all(map(positive_at_every_stage, saved))

    with_f_comb = is_cheaper(derived, f_comb)
    return Said(
        holds(is_cheaper(printed, lambda m: Integer(0))),
        holds(is_cheaper(derived, lambda m: Integer(0)) and with_f_comb),
        f"With n = 2, 3 and 4 {_AT_STAGES}, without f_comb; with it: {holds(with_f_comb)}.",
    )


@_of_formulas
def decreasing(printed: Forms, derived: Forms) -> Said:
    whole = falls(derived.pnl + combination())
    return Said(
        holds(falls(printed.pnl)),
        holds(falls(derived.pnl) and whole),
        f"From n = 2 to 3 to 4 {_AT_STAGES}, without f_comb; with it: {holds(whole)}.",
    )


_AT_STAGES = f"at all {len(MAPS)} stages of MFNet and ResNet-50 ({SHAPE[2]} frames)"


# claims about rows


def figures(paper: Paper, table: TableId, rows: Sequence[str], kind: Kind) -> list[Figure]:
    """The figures that a table prints of rows."""
    found = [getattr(paper.entry(table, row), kind) for row in rows]
    assert all(isinstance(each, Figure) for each in found), (table, rows, kind)
    return found


def _table_of(paper: Paper, rows: Sequence[str]) -> TableId:
    """The last table that holds all of these rows."""
    return [t for t in paper.titles if all(t in paper.tables_of(row) for row in rows)][-1]


def within_rounding(claim: Figure, left: Figure, right: Figure) -> bool:
    """Whether numbers that round to ``left`` and ``right`` can differ by about ``claim``."""
    off = abs(left.minus(right) - claim.digits)
    steps = (Decimal(1).scaleb(int(e.digits.as_tuple().exponent)) for e in (claim, left, right))
    return off <= sum(steps) / 2


def _written(value: int, kind: Kind) -> str:
    return f"{value / 1e6:.3f}M" if kind == "params" else f"{value / 1e9:.3f}G"


def _listed(words: Sequence[str]) -> str:
    return " and ".join(filter(None, (", ".join(words[:-1]), *words[-1:])))


def less_by(claim: Claim, paper: Paper) -> Said:
    """The claim that a row has so many parameters or FLOPs less than another."""
    said, unit = Figure.parse(claim.printed), claim.printed[-1]
    kind: Kind = "params" if unit == "M" else "flops"
    small, large = claim.rows
    table = _table_of(paper, claim.rows)
    left, right = figures(paper, table, (large, small), kind)
    printed = f"{left.minus(right)}{unit}"
    counted, less = ours(large).of(kind), ours(small).of(kind)
    gaps = {name: value - less[name] for name, value in counted.items()}
    met = [name for name, value in gaps.items() if said.equals(value)]
    names = {name: "" if kind == "params" else f" {name}" for name in gaps}
    because = (
        f"Table {table} prints {left.printed} and {right.printed}, which differ by {printed}. "
        f"Counted: {', '.join(_written(v, kind) + names[name] for name, v in gaps.items())}."
    )
    is_exact = left.minus(right) == said.digits
    finest = paper.finest(small, kind)
    assert finest is not None
    mixed = [name for name, v in counted.items() if said.equals(round(v - finest.value))]
    if mixed and not is_exact:
        seen_by = "" if kind == "params" else f" ({_listed(mixed)})"
        because += f" {large} as counted{seen_by} less {small} as printed, "
        because += f"{finest.printed}, is {said.printed}."
    rounded = within_rounding(said, left, right) and not is_exact
    return Said(
        f"holds within rounding ({printed})" if rounded else holds(is_exact),
        f"holds in {_listed(met)} only" if met and kind == "flops" else holds(bool(met)),
        because,
    )


def increase_by_attention(claim: Claim, paper: Paper) -> Said:
    """Attention beside concatenation: parameters below a percentage, or negligible FLOPs."""
    kind: Kind = "flops"
    limit = float(NEGLIGIBLE)
    because = f"of FLOPs. Negligible: below {limit:.0%}, as the paper gives no figure."
    if claim.printed.endswith("%"):
        limit = float(claim.printed.removeprefix("less than ").removesuffix("%")) / 100
        kind, because = "params", "of parameters."
    left, right = figures(paper, 3, claim.rows, kind)
    more, less = (next(iter(ours(row).of(kind).values())) for row in claim.rows)
    printed, counted = float(left.minus(right) / right.digits), more / less - 1
    return Said(
        holds(printed < limit),
        holds(counted < limit),
        f"{printed:.3%} by Table 3, {counted:.3%} counted, {because}",
    )


def accuracy(claim: Claim, paper: Paper) -> Said:
    top1 = {each.row: Decimal(str(each.top1).removesuffix("%")) for each in paper.table(5)}
    labels = {each.row: each.label for each in paper.table(5)}
    best, baseline = claim.rows
    said = Decimal(claim.printed.removesuffix("%"))
    by = {row: top1[best] - value for row, value in top1.items()}
    over = [labels[row] for row, gap in by.items() if gap == said]
    because = f"Over the baseline it is {by[baseline]}%"
    because += f"; {said}% is over {_listed(over)}." if over else "."
    return Said(holds(by[baseline] == said), "not a cost", because)


def less_than_nl(claim: Claim, paper: Paper) -> Said:
    *pnls, nl = claim.rows
    of_nl, verdicts, sentences, by_paper = ours(nl).flops, [], [], True
    for pnl in pnls:
        more, less = figures(paper, 5, (nl, pnl), "flops")
        by_paper &= more.minus(less) > 0
        counted = ours(pnl).flops
        below = [name for name, value in counted.items() if value < of_nl[name]]
        others = [name for name in of_nl if name not in below]
        mixed = f"holds in {_listed(below)}, not in {_listed(others)}"
        verdict = mixed if below and others else holds(bool(below))
        verdicts.append(f"{pnl}: {verdict}" if len(pnls) > 1 else verdict)
        values = (
            f"{_written(value, 'flops')} against {_written(of_nl[name], 'flops')} {name}"
            for name, value in counted.items()
        )
        sentences.append(f"{pnl}: {', '.join(values)}")
    return Said(holds(by_paper), "; ".join(verdicts), ". ".join(sentences) + ".")


def both_lower(claim: Claim, paper: Paper) -> Said:
    said = less_than_nl(claim, paper)
    pnl, nl = (ours(row).params for row in claim.rows)
    counted = f"Parameters counted: {_written(pnl, 'params')} against {_written(nl, 'params')}. "
    by_count = f"parameters: {holds(pnl < nl)}; FLOPs: {said.by_count}"
    return said._replace(by_count=by_count, because=counted + said.because)


def increases(claim: Claim, paper: Paper) -> Said:
    """What blocks add to the network without them, which comes last."""
    by_paper, by_count = [], []
    *blocks, plain_row = claim.rows
    for block in blocks:
        more, less = figures(paper, _table_of(paper, claim.rows), (block, plain_row), "flops")
        by_paper.append(f"{float(more.minus(less)) / float(less.digits):+.1%} FLOPs ({block})")
        with_block, without = (ours(row).flops["macs"] for row in (block, plain_row))
        by_count.append(f"{(with_block - without) / without:+.1%} MACs ({block})")
    because = "The paper gives no figure to check; these are the increases over the network alone."
    return Said(", ".join(by_paper), ", ".join(by_count), because)


def fewer_classes(claim: Claim, paper: Paper) -> Said:
    sentences, lower, enough = [], True, True
    for small, large in zip(claim.rows[::2], claim.rows[1::2], strict=True):
        params, flops = (
            getattr(paper.entry(5, large), kind).minus(getattr(paper.entry(6, small), kind))
            for kind in ("params", "flops")
        )
        lower = lower and params > 0 and flops > 0
        of_classes = ours(large).params - ours(small).params
        macs = ours(large).flops["macs"] - ours(small).flops["macs"]
        enough = enough and of_classes >= float(params) * 1e6 and macs >= float(flops) * 1e9
        sentences.append(
            f"{small} is printed {params}M and {flops}G below {large}; the classes make "
            f"{of_classes:,} parameters and {macs:,} MACs"
        )
    account = f"lower, but the classes {'' if enough else 'do not '}account for it"
    return Said(holds(lower), account, ". ".join(sentences) + ".")

"""What the paper claims of costs, in formulas and in prose, checked one by one.

Source: Xu et al. 2020, arXiv:2006.05091. The derived formulas are those of the blocks as built;
figures of rows are counted. A claim without rows in figures.toml is about formulas.
"""

import itertools
import re
from collections.abc import Callable, Sequence
from decimal import Decimal
from typing import NamedTuple

import sympy
from sympy import Expr, Rational

from vidcost.bench import formulas
from vidcost.bench.audit import HOLDS, HOLDS_NOT, Said, holds, ours
from vidcost.bench.formulas import COMBINATION, DEPENDENCIES, NL, C, Formula, N, k, n
from vidcost.models.backbones.mfnet import STAGES
from vidcost.papers.figures import Claim, Figure, Kind, Paper

PLACE = (384, 8, 14, 14)
"""conv4 of MFNet on a clip of 16x224x224: where the paper puts its module by default."""
CLAIMED_N = (2, 3, 4)
NEGLIGIBLE = Rational(1, 100)
"""The share up to which we call a cost negligible; the paper gives no figure."""
MAPS = {
    **{f"MFNet {stage}": (width, 56 >> i) for i, (stage, (_, width)) in enumerate(STAGES.items())},
    **{f"ResNet-50 res{i + 2}": (256 << i, 56 >> i) for i in range(4)},
}
"""Channels and map side of the stages, for clips of 224x224."""


class Forms(NamedTuple):
    """The forms of both blocks: as printed by the paper, or as derived without f_comb."""

    nl: Formula
    pnl: Formula


PRINTED = Forms(
    Formula(conv=2 * C**3 * N, matmul=C * N**2),
    Formula(
        conv=sympy.Sum(4**-k, (k, 0, n - 1)) / n**3 * 2 * C**3 * N,
        matmul=sympy.Sum(16**-k, (k, 0, n - 1)) / n * C * N**2,
    ),
)
"""Equation 4, Equation 5 twice, and Equation 9 of section 3.3, for one clip."""
EQUATION_6 = 2 * C**3 * N + C * N**2
DERIVED = Forms(NL, DEPENDENCIES)


def at_place(expr: Expr) -> Expr:
    """``expr`` at the place of ``PLACE``."""
    return formulas.at_shape(expr, PLACE)


def value(expr: Expr) -> str:
    """``expr`` at the place of ``PLACE``, rounded: 28,246,880,256."""
    return f"{int(sympy.floor(at_place(expr) + Rational(1, 2))):,}"


def place() -> str:
    """C and N of ``PLACE`` in a line of plain text."""
    channels, frames, height, width = PLACE
    return f"C = {channels}, N = {frames}·{height}·{width} = {frames * height * width:,}"


def plain(expr: Expr) -> str:
    """An expression in a line of plain text: 2*C**2*N is 2C²N."""
    written = re.sub(r"\*\*(\d)", lambda m: "⁰¹²³⁴⁵⁶⁷⁸⁹"[int(m[1])], sympy.sstr(expr))
    return written.replace("*", "")


def costs_less(expr: Expr, than: Expr) -> bool:
    """Whether ``expr`` is below ``than`` at each of ``MAPS``, with as many frames as ``PLACE``."""
    shapes = [(channels, PLACE[1], side, side) for channels, side in MAPS.values()]
    return all(formulas.at_shape(than - expr, shape) > 0 for shape in shapes)


def falls(formula: Formula) -> bool:
    """Whether the MACs fall from n = 2 to 3 to 4 at every stage."""
    return all(costs_less(formula.given(n=m + 1).macs, formula.given(n=m).macs) for m in (2, 3))


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


# claims about formulas: under the printed forms, under the derived ones


def equation_4(claim: Claim, paper: Paper) -> Said:
    own = sympy.expand(4 * C**2 * N * (C / 2))
    ratio = sympy.cancel(PRINTED.nl.conv / DERIVED.nl.conv)
    return Said(
        holds(own == sympy.expand(PRINTED.nl.conv)),
        holds(ratio == 1),
        f"4·C²·N·C/2 is {plain(own)}; four convolutions C to C/2 or back, C·C/2 per position "
        f"each, are {plain(DERIVED.nl.conv)}. Printed over derived: {plain(ratio)}.",
    )


def equation_6(claim: Claim, paper: Paper) -> Said:
    said, is_so = PRINTED.nl.macs, DERIVED.nl.macs
    return Said(
        holds(sympy.expand(said - EQUATION_6) == 0),
        holds(sympy.expand(said - is_so) == 0),
        f"Derived: {plain(is_so)}; CN² is right. With {place()}: {int(at_place(said)):,} printed, "
        f"{int(at_place(is_so)):,} derived and counted.",
    )


def equation_9(claim: Claim, paper: Paper) -> Said:
    one_scale = EQUATION_6.subs({C: C / n, N: N / 4**k}, simultaneous=True)

    def equals_printed(form: Callable[[int], Expr]) -> bool:
        off = (PRINTED.pnl.given(n=scales).macs - form(scales) for scales in CLAIMED_N)
        return all(sympy.expand(each) == 0 for each in off)

    summed = equals_printed(lambda m: sum(one_scale.subs({n: m, k: scale}) for scale in range(m)))
    ratio = sympy.simplify(
        PRINTED.pnl.given(n=2).conv / formulas.smooth(DERIVED.pnl.given(n=2).conv)
    )
    return Said(
        holds(summed),
        holds(equals_printed(lambda m: formulas.smooth(DERIVED.pnl.given(n=m).macs))),
        "It follows from Equations 4 to 8, and keeps the extra factor of Equation 4, here C' = "
        f"C/n: {plain(sympy.cancel(ratio))} at n = 2. 1/n³ · 2C³N should be 1/n² · 2C²N; the "
        "second sum is right. N/4^k also stands for T·floor(H/2^k)·floor(W/2^k), and f_comb is "
        "left out.",
    )


def possible_n(claim: Claim, paper: Paper) -> Said:
    def verdict(*, exact: bool) -> str:
        places = [
            name
            for name, at in MAPS.items()
            if name.startswith("MFNet") and fitting_scales(*at, exact=exact) == list(CLAIMED_N)
        ]
        return f"holds only if the block stands at {' or '.join(places)}" if places else HOLDS_NOT

    return Said(
        verdict(exact=True),
        verdict(exact=False),
        "Printed: N/4^k must be whole, so the side must be divisible by 2^(n-1). Derived: pooling "
        "rounds down, so it must be at least 2^(n-1). Both: C divisible by 2n. See the table of n.",
    )


def largest_at_2(claim: Claim, paper: Paper) -> Said:
    said = Rational(5, 32) * 2 * C**3 * N + Rational(17, 32) * C * N**2
    fall = falls(PRINTED.pnl), falls(DERIVED.pnl)
    at_2 = DERIVED.pnl.given(n=2).each(formulas.smooth)
    met = [sympy.expand(form.macs - said) == 0 for form in (PRINTED.pnl.given(n=2), at_2)]
    return Said(
        holds(fall[0] and met[0]),
        holds(fall[1] and met[1]),
        f"Derived, with N/4 for N₁: {at_2.conv / (2 * C**2 * N)}·2C²N + "
        f"{at_2.matmul / (C * N**2)}·CN². That n = 2 costs most of 2, 3 and 4 {holds(fall[0])} "
        f"under the printed form, and {holds(fall[1])} under the derived one.",
    )


def negligible(claim: Claim, paper: Paper) -> Said:
    channels, at_frames, side, _ = PLACE

    def share(m: int, rest: Formula, frames: int = at_frames) -> Expr:
        shape = (channels, frames, side, side)
        comb, others = (formulas.at_shape(f.given(n=m).macs, shape) for f in (COMBINATION, rest))
        return comb / (comb + others)

    def first_frames(m: int) -> int:
        # the products of the scales grow with T^2, f_comb with T: once below, it stays below
        return next(t for t in itertools.count(1) if share(m, DERIVED.pnl, t) < NEGLIGIBLE)

    needed = " and ".join(
        f"T is at least {frames} (N {frames * side * side:,}) with n = {m}"
        for m in CLAIMED_N
        if (frames := first_frames(m)) > 1
    )
    beside_printed = max(share(m, PRINTED.pnl) for m in CLAIMED_N)
    listed = "; ".join(f"{float(share(m, DERIVED.pnl)):.3%} with n = {m}" for m in CLAIMED_N)
    return Said(
        holds(beside_printed < NEGLIGIBLE),
        f"holds only if {needed}, on {channels} channels of {side}x{side}" if needed else HOLDS,
        f"Negligible: below {float(NEGLIGIBLE):.0%}. f_comb is "
        f"{plain(sympy.expand(COMBINATION.macs))}; its share with {place()} is {listed}. Beside "
        f"Equation 9 it would be {float(beside_printed):.3%} at most.",
    )


def cheaper_than_nl(claim: Claim, paper: Paper) -> Said:
    def is_cheaper(forms: Forms) -> bool:
        return all(costs_less(forms.pnl.given(n=m).macs, forms.nl.macs) for m in CLAIMED_N)

    return _at_all_stages(is_cheaper, "With n = 2, 3 and 4")


def decreasing(claim: Claim, paper: Paper) -> Said:
    return _at_all_stages(lambda forms: falls(forms.pnl), "From n = 2 to 3 to 4")


def _at_all_stages(is_so: Callable[[Forms], bool], where: str) -> Said:
    whole = is_so(Forms(NL, DERIVED.pnl + COMBINATION))
    return Said(
        holds(is_so(PRINTED)),
        holds(is_so(DERIVED) and whole),
        f"{where} at all {len(MAPS)} stages of MFNet and ResNet-50 ({PLACE[1]} frames), without "
        f"f_comb; with it: {holds(whole)}.",
    )


# claims about rows


def _printed(paper: Paper, kind: Kind, one: str, other: str) -> tuple[int | str, Figure, Figure]:
    """The last table that holds both rows, and what it prints of them."""
    table = [t for t in paper.titles if all(t in paper.tables_of(row) for row in (one, other))][-1]
    left, right = (getattr(paper.entry(table, row), kind) for row in (one, other))
    return table, left, right


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
    table, left, right = _printed(paper, kind, large, small)
    gap = left.minus(right)
    counted, less = ours(large).of(kind), ours(small).of(kind)
    gaps = {name: value - less[name] for name, value in counted.items()}
    met = [name for name, value in gaps.items() if said.equals(value)]
    listed = ", ".join(f"{_written(v, kind)} {name}" for name, v in gaps.items())
    because = (
        f"Table {table} prints {left.printed} and {right.printed}, which differ by {gap}{unit}. "
        f"Counted: {listed.removesuffix(' params')}."
    )
    is_exact = gap == said.digits
    finest = paper.finest(small, kind) or right
    mixed = [name for name, v in counted.items() if said.equals(round(v - finest.value))]
    if mixed and not is_exact:
        seen_by = "" if kind == "params" else f" ({_listed(mixed)})"
        because += f" {large} as counted{seen_by} less {small} as printed, "
        because += f"{finest.printed}, is {said.printed}."
    rounded = within_rounding(said, left, right) and not is_exact
    return Said(
        f"holds within rounding ({gap}{unit})" if rounded else holds(is_exact),
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
    table, left, right = _printed(paper, kind, *claim.rows)
    more, less = (next(iter(ours(row).of(kind).values())) for row in claim.rows)
    printed, counted = float(left.minus(right) / right.digits), more / less - 1
    return Said(
        holds(printed < limit),
        holds(counted < limit),
        f"{printed:.3%} by Table {table}, {counted:.3%} counted, {because}",
    )


def accuracy(claim: Claim, paper: Paper) -> Said:
    best, baseline = claim.rows
    top1 = {each.row: Decimal(str(each.top1).removesuffix("%")) for each in paper.table(5)}
    said = Decimal(claim.printed.removesuffix("%"))
    over = [each.label for each in paper.table(5) if top1[best] - top1[each.row] == said]
    gap = top1[best] - top1[baseline]
    because = f"Over the baseline it is {gap}%; {said}% is over {_listed(over) or 'no other'}."
    return Said(holds(gap == said), "not a cost", because)


def less_than_nl(claim: Claim, paper: Paper) -> Said:
    *pnls, nl = claim.rows
    of_nl, verdicts, sentences, by_paper = ours(nl).flops, [], [], True
    for pnl in pnls:
        _, more, less = _printed(paper, "flops", nl, pnl)
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
        _, more, less = _printed(paper, "flops", block, plain_row)
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

"""The formulas beside each other, for people: what is printed, what follows, what holds of it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict
from functools import partial

import sympy
import torch
from sympy import Expr, Rational
from torch import nn

from vidcost.bench.formulas.claims import (
    CLAIMED_N,
    MAPS,
    SHAPE,
    Print,
    at_place,
    f_comb,
    fitting_scales,
    for_one_clip,
    place,
    verdicts,
    without_f_comb,
)
from vidcost.bench.formulas.crossover import Along, Crossing, crossover
from vidcost.bench.formulas.symbols import (
    EQUATIONS,
    C,
    Formula,
    N,
    combination,
    dependencies,
    n,
    printed,
    smooth,
)
from vidcost.bench.report.table import Column, Table, integer
from vidcost.models.backbones.positions import BlockFactory
from vidcost.models.blocks.cgd import CGD
from vidcost.models.blocks.cgnl import CGNL
from vidcost.models.blocks.non_local import NonLocal
from vidcost.models.blocks.pnl import PNL
from vidcost.papers import catalog


def verdict_table(print_form: Print = printed) -> Table:
    """The paper's claims about its formulas, with a verdict under both forms."""
    says = {(claim.where, claim.printed): claim.says for claim in catalog.paper().claims}
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
            for stage, (channels, side) in MAPS.items()
        ],
        legend=(
            "Clips of 224x224, n from 2 on (n = 1 is the non-local block); "
            "the fourth column stops at n = 8.",
        ),
    )


def _some(numbers: list[int]) -> str:
    return ", ".join(map(str, numbers))


def _nearest(value: Expr) -> int:
    return int(sympy.floor(value + Rational(1, 2)))


def value_table() -> Table:
    """What the forms give where the paper puts its module."""
    lines = [
        {
            "block": "NL",
            "printed": int(at_place(printed("nl").macs)),
            "smooth": int(at_place(for_one_clip(NonLocal(2)).macs)),
            "derived": int(at_place(for_one_clip(NonLocal(2)).macs)),
            "f_comb": None,
        }
    ]
    for m in CLAIMED_N:
        form = without_f_comb(m)
        lines.append(
            {
                "block": f"PNL, n = {m}",
                "printed": _nearest(at_place(printed("pnl").given(n=m).macs)),
                "smooth": _nearest(at_place(smooth(form.macs))),
                "derived": int(at_place(form.macs)),
                "f_comb": int(at_place(f_comb(m))),
            }
        )
    return Table(
        title=f"MACs with {place()}",
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
            f"{_math(for_one_clip(NonLocal(2)).conv)}: one factor $`C`$ is too many. Equation 5, "
            "twice, is right. Parameters are not printed; $`2C`$ of them are BatchNorm's.",
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
            f"{_math(_unshared().params)} parameters instead of {_math(without_f_comb().params)}.",
        ),
    ]


def _unshared() -> Formula:
    return dependencies(PNL(2, n=1, shared=False))


def _section(title: str, block: nn.Module, print_form: Formula | None, differ: str) -> str:
    formula = for_one_clip(block)
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

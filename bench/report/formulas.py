"""Formulas for people: a paper's document of them, verdicts on its claims, crossovers."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import sympy
from sympy import Expr

from vidcost.bench.audit import judge_claims
from vidcost.bench.block_spec import block_factory
from vidcost.bench.formulas import Along, Crossing, crossover
from vidcost.bench.report.audit import claim_table, render
from vidcost.bench.report.table import Column, Table, integer
from vidcost.models.backbones.positions import BlockFactory
from vidcost.papers.figures import Paper


def formula_claims(paper: Paper) -> Table:
    """The paper's claims about its formulas: by the printed forms, by the derived ones."""
    return claim_table([each for each in judge_claims(paper) if each.said.of_formulas])


def formula_markdown(paper: Paper) -> str:
    """The document that the paper's formulas.md.j2 makes.

    Raises: ValueError if the paper has none.
    """

    def crossovers(specs: Sequence[Sequence[str]], channels: int, along: Along) -> str:
        pairs = [((one, block_factory(one)), (two, block_factory(two))) for one, two in specs]
        return crossover_table(pairs, channels=channels, along=along).markdown()

    return render(
        paper,
        "formulas.md.j2",
        filters={"math": lambda expr: f"$`{latex(expr)}`$"},
        claim_table=formula_claims(paper).markdown(),
        crossovers=crossovers,
    )


def latex(expr: Expr) -> str:
    """LaTeX that GitHub renders, with N_k as the paper writes it."""
    return str(sympy.latex(sympy.expand(expr))).replace("{N}_", "N_")


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

    Raises: ValueError and ClosedFormMismatch as :func:`crossover` does.
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

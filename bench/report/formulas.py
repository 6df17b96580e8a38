"""Formulas for people: a paper's document of them, verdicts on its claims, crossovers."""

from collections.abc import Iterable, Sequence

import sympy
from sympy import Expr

from vidcost.bench.audit import judge_claims
from vidcost.bench.block_spec import block_factory
from vidcost.bench.formulas import (
    FRAMES,
    MOST_FRAMES,
    MOST_SIDE,
    SIZE,
    Along,
    Crossing,
    Place,
    crossover,
)
from vidcost.bench.report.audit import claim_table, render
from vidcost.bench.report.table import Column, Table, integer
from vidcost.models.backbones.backbone import BlockFactory
from vidcost.papers.figures import Paper


def formula_claims(paper: Paper) -> Table:
    """The paper's claims about its formulas: by the printed forms, by the derived ones."""
    return claim_table([each for each in judge_claims(paper) if each[1].of_formulas])


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
) -> Table:
    """Where the blocks of each pair change places along one axis; a pair without a change says so.

    Raises: ValueError and ClosedFormMismatch as :func:`crossover` does.
    """
    lines: list[dict[str, object]] = []
    for (name, factory), (other, other_factory) in pairs:
        start, crossings = crossover(factory, other_factory, channels=channels, along=along)
        for crossing in crossings or (None,):
            below = crossing.below if crossing else start
            before, after = (name, other) if below[1] < below[2] else (other, name)
            line: dict[str, object] = {"first": name, "second": other}
            if below[1] == below[2]:
                line |= {"crossover": "none: equal everywhere"}
            else:
                line |= {"cheaper_below": before, "crossover": _where(crossing)}
            if crossing:
                line |= {"cheaper_above": after} | _place("above", crossing.above)
            lines.append(line | _place("below", below))
    fixed = f"{FRAMES} frames" if along == "H=W" else f"a map of {SIZE}x{SIZE}"
    most = MOST_SIDE if along == "H=W" else MOST_FRAMES * SIZE * SIZE
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
            f"Searched: {along} from the smallest that both blocks take to {most:,}. "
            "Where there is no crossover, that smallest stands under before.",
        ),
    )


def _place(side: str, place: Place) -> dict[str, object]:
    return dict(zip((side, f"{side}_first", f"{side}_second"), place, strict=True))


def _where(crossing: Crossing | None) -> str:
    if crossing is None:
        return "none"
    if crossing.root is None:
        return f"between {crossing.below[0]} and {crossing.above[0]}"
    whole = crossing.root.is_Integer
    return f"{crossing.root}" if whole else f"{float(crossing.root):.2f}"

"""The audit and the recipe search as tables."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from vidcost.bench.audit.recipe_search import NEAR, Odds, Search, Target, match, target_of
from vidcost.bench.audit.recipes import AXES, CONVENTIONS, Recipe, figures
from vidcost.bench.audit.verdicts import Fit, Judged, Verdict, values
from vidcost.bench.report.audit.claims import ClaimVerdict
from vidcost.bench.report.table import Cell, Column, Table, billions, integer
from vidcost.papers.figures import Figure, Paper

_CONVENTIONS = (
    "macs: our count, products of two activations included. fvcore: 2 per BatchNorm element and 5 "
    "per GroupNorm element on top. thop: 4 per BatchNorm element, and blind to products that are "
    "no layer. thop-2020: thop as of May 2020, 2 per BatchNorm element and as blind."
)


def figure_table(judged: Sequence[Judged]) -> Table:
    """Every printed figure with its verdict."""
    lines: list[dict[str, Any]] = []
    footnotes: dict[Cell, str] = {}
    for index, each in enumerate(judged):
        fit = each.fit
        nearest = each.nearest
        given = None
        if fit is not None:
            counted = values(each.kind, figures(fit.recipe))
            given = next(((n, v) for n, v in counted if each.printed.equals(v)), None)
        lines.append(
            {
                "table": each.table,
                "method": each.label,
                "row": each.row,
                "figure": "params" if each.kind == "params" else "FLOPs",
                "printed": each.printed.printed,
                "printed_value": each.printed.value,
                "verdict": str(each.verdict),
                "ours": nearest and nearest[1],
                "convention": _convention(each),
                "difference": None if each.printed.is_bound else each.difference,
                "macs": each.ours.flops["macs"] if each.ours and each.kind == "flops" else None,
                "recipe": fit and _words(fit),
                "given": given and given[1],
                "given_by": given and given[0] if each.kind == "flops" else None,
                "tried": fit and fit.tried,
                "note": each.note or None,
            }
        )
        if each.note:
            footnotes[index, "printed"] = each.note
    return Table(
        title="Every printed figure",
        columns=(
            Column("table", "Table"),
            Column("method", "Method"),
            Column("figure", "Figure"),
            Column("printed", "Printed", lambda value: str(value)),
            Column("verdict", "Verdict"),
            Column("ours", "Ours, as described", integer),
            Column("convention", "In"),
            Column("difference", "Off", lambda value: f"{value:+.2%}"),
            Column("macs", "MACs", billions),
            Column("recipe", "A recipe that gives it, fitted"),
            Column("given", "Gives", integer),
            Column("given_by", "In"),
            Column("tried", "One of", integer),
        ),
        lines=lines,
        footnotes=footnotes,
        legend=(
            "exact: some convention gives the figure to the digits printed, for the network as "
            "described; close: within 1% of it; not reproduced: farther, or no network to count. "
            "Ours: all parameters, or the FLOPs of the convention that comes nearest, with the "
            "MACs beside. A bound is exact if it holds.",
            _CONVENTIONS,
            "Recipes are fitted: found by trying as many as the last column says, around the row "
            "or, where another row is named, among all rows. The axes were chosen with the printed "
            "figures in view, so that number is the least that was tried. `vidcost audit --search "
            "ROW` tries them all and says how many figures like the printed one they give.",
        ),
    )


def _convention(each: Judged) -> str | None:
    if each.kind == "params" or each.nearest is None:
        return None
    return ", ".join(each.met) or f"nearest: {each.nearest[0]}"


def verdict_counts(judged: Sequence[Judged]) -> dict[Verdict, int]:
    """How many figures have each verdict."""
    return {verdict: sum(each.verdict is verdict for each in judged) for verdict in Verdict}


def _words(fit: Fit) -> str:
    recipe = fit.recipe
    return recipe.words if recipe.row.name == fit.row else f"row {fit.spec}"


def claim_table(judged: Sequence[ClaimVerdict]) -> Table:
    """Every cost claim with its verdicts."""
    return Table(
        title="Every cost claim",
        columns=(
            Column("where", "Where"),
            Column("printed", "Printed"),
            Column("says", "Claim"),
            Column("by_paper", "By the paper's own figures or forms"),
            Column("by_count", "By the count"),
            Column("because", "Why"),
            Column("command", "Shown by"),
        ),
        lines=[
            {
                "where": each.claim.where,
                "printed": each.claim.printed,
                "says": each.claim.says,
                "by_paper": each.by_paper,
                "by_count": each.by_count,
                "because": each.because,
                "command": each.command,
            }
            for each in judged
        ],
        legend=(
            "Rows are counted as described. Where a claim gives no figure and no direction, the "
            "columns give the figures instead of a verdict.",
        ),
    )


def recipe_table(recipe: Recipe, paper: Paper) -> Table:
    """One recipe in every convention, beside what the paper prints for its row, if anything."""
    try:
        target = target_of(recipe.row, paper)
    except ValueError:
        target = Target(None, None)
    counted = figures(recipe)
    equal = {
        (0, key)
        for key, figure, value in (
            ("params", target.params, counted.params),
            *((name, target.flops, value) for name, value in counted.flops.items()),
        )
        if figure is not None and figure.equals(value)
    }
    return Table(
        title=recipe.spec,
        columns=(
            Column("words", "Recipe"),
            Column("params_printed", "Params printed", lambda value: str(value)),
            Column("params", "Params", integer),
            Column("flops_printed", "FLOPs printed", lambda value: str(value)),
            *(Column(name, name, integer) for name in CONVENTIONS),
        ),
        lines=[
            {
                "recipe": recipe.spec,
                "words": recipe.words,
                "params_printed": _text(target.params),
                "params": counted.params,
                "flops_printed": _text(target.flops),
                **counted.flops,
            }
        ],
        equal=frozenset(equal),
        legend=("✓ equals the printed figure to its precision. Batch 1.", _CONVENTIONS),
    )


def search_table(search: Search, *, most: int = 10) -> Table:
    """The ``most`` best recipes, and how much a hit is worth.

    Raises: AssertionError if a recipe, counted as a whole, differs from the sum of its parts.
    """
    shown = search.matches[:most]
    lines: list[dict[str, Any]] = []
    equal: set[Cell] = set()
    for index, each in enumerate(shown):
        recounted = match(each.recipe, figures(each.recipe), search.target)
        assert recounted == each, (recounted, each)
        convention = each.conventions[0] if each.conventions else None
        lines.append(
            {
                "hits": f"{each.hits} of {search.target.printed}",
                "recipe": each.recipe.words,
                "params": each.figures.params,
                "params_off": each.off[0],
                "flops": each.figures.flops[convention] if convention else None,
                "convention": ", ".join(each.conventions) or None,
                "flops_off": each.off[1],
                "spec": each.recipe.spec,
            }
        )
        equal |= {
            (index, key)
            for key, hit in (("params", each.params_hit), ("flops", each.flops_hit))
            if hit
        }
    names = [("params", search.target.params), ("FLOPs", search.target.flops)]
    printed = " and ".join(f"{figure.printed} {name}" for name, figure in names if figure)
    return Table(
        title=f"Recipes around {search.row.name} for {printed}",
        columns=(
            Column("hits", "Hits"),
            Column("recipe", "Recipe"),
            Column("params", "Params", integer),
            Column("params_off", "Off", lambda value: f"{value:.3%}"),
            Column("flops", "FLOPs", integer),
            Column("convention", "In"),
            Column("flops_off", "Off", lambda value: f"{value:.3%}"),
            Column("spec", "vidcost audit --recipe"),
        ),
        lines=lines,
        equal=frozenset(equal),
        legend=(
            _worth(search),
            "✓ equals the printed figure to its precision. Off: the relative difference, of the "
            "nearest convention. Best first: most figures hit, most within 1%, fewest departures. "
            f"The {len(shown)} best are counted anew, each as a whole.",
            f"Tried on each axis: {_axes(search)}.",
        ),
    )


def _worth(search: Search) -> str:
    tried = f"{search.tried} recipes tried, each in {len(CONVENTIONS)} conventions"
    if search.refused:
        tried += f" ({search.refused} more cannot be built)"
    sentences = [f"{tried}."]
    for name, odds in (
        ("the parameters", search.params),
        ("the FLOPs", search.flops),
        ("both", search.both),
    ):
        if odds is not None:
            sentences.append(_odds(name, odds))
    sentences.append(
        "A hit on a figure of which the recipes give a large share like it is worth little."
    )
    return " ".join(sentences)


def _odds(name: str, odds: Odds) -> str:
    pairs = "pairs of figures" if name == "both" else "figures"
    return (
        f"{odds.hits} hit {name}; of the {odds.like:,} {pairs} of as many digits within "
        f"{NEAR:.0%} they give {odds.given:,} ({odds.chance:.2%})."
    )


def _axes(search: Search) -> str:
    offered: dict[str, dict[str, None]] = {}
    for each in search.matches:
        for axis, choice in each.recipe.settings:
            offered.setdefault(axis, {})[choice] = None
    tried = {
        name: [choice for choice in axis.choices if choice in offered.get(name, ())]
        for name, axis in AXES.items()
    }
    return "; ".join(
        f"{name}: as described, {', '.join(choices)}" for name, choices in tried.items() if choices
    )


def _text(figure: Figure | None) -> str | None:
    return None if figure is None else figure.printed

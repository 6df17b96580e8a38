"""The audit for people: its findings, which a paper's template words, its figures and claims."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, get_args

import jinja2

from vidcost.bench import audit
from vidcost.bench.count.modules import closed_forms
from vidcost.bench.report.table import Column, Table, billions, integer, millions
from vidcost.papers import catalog
from vidcost.papers.figures import Claim, Figure, Kind, Paper

_CONVENTIONS = (
    "macs: our count, products of two activations included. fvcore: 2 per BatchNorm element and 5 "
    "per GroupNorm element on top. thop: 4 per BatchNorm element, and blind to products that are "
    "no layer. thop-2020: thop of May 2020, re-implemented, 2 per BatchNorm element and as blind."
)
_TEMPLATE_ERRORS = (jinja2.TemplateError, AttributeError, LookupError, TypeError)


@dataclass(frozen=True)
class Finding:
    """A finding of the audit: its paragraphs, and the commands that show it.

    ``gone`` are the conditions of it that hold no longer.
    """

    title: str
    paragraphs: tuple[str, ...]
    commands: tuple[str, ...]
    gone: tuple[str, ...]

    @property
    def mark(self) -> str:
        """What a reader must know of a finding that no longer holds; empty if it does."""
        if not self.gone:
            return ""
        return f"This finding no longer holds: the audit does not find that {'; '.join(self.gone)}."


def render(paper: Paper, template: str, **context: Any) -> str:
    """A template of the paper's folder, with its claims.py as ``claims``.

    Raises: ValueError that names the file if the paper has no such template or it cannot be
            rendered.
    """
    folder = catalog.folders()[paper.name]
    made = jinja2.Environment(
        loader=jinja2.FileSystemLoader(folder),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    made.filters |= {"billions": billions, "millions": millions, "integer": integer}
    made.filters |= context.pop("filters", {})
    claims = catalog.module_of(paper.name, "claims")
    try:
        return made.get_template(template).render(claims=claims, **context)
    except jinja2.TemplateNotFound:
        raise ValueError(f"paper {paper.name} has no {template}") from None
    except jinja2.TemplateSyntaxError as error:
        raise ValueError(f"{folder / template}, line {error.lineno}: {error.message}") from None
    except _TEMPLATE_ERRORS as error:
        raise ValueError(f"{folder / template} cannot be rendered: {error}") from None


def findings(paper: Paper, judged: Sequence[audit.Judged]) -> tuple[Finding, ...]:
    """What the paper's findings.md.j2 says, with numbers counted now; none if it has no such file.

    The template calls ``finding(title, conditions, commands)`` around the text of each. Conditions
    are words and whether they are so. One that is not marks the finding.
    Raises: ValueError as :func:`render` does.
    """
    if not (catalog.folders()[paper.name] / "findings.md.j2").is_file():
        return ()
    found: list[Finding] = []

    def finding(
        title: str,
        conditions: Mapping[str, object],
        commands: Sequence[str],
        caller: Callable[[], str],
    ) -> str:
        gone = tuple(words for words, is_so in conditions.items() if not is_so)
        try:
            text = caller()
        except _TEMPLATE_ERRORS:
            # the words of a finding that is gone may have nothing to say
            if not gone:
                raise
            text = ""
        paragraphs = (" ".join(each.split()) for each in text.split("\n\n"))
        found.append(Finding(title, tuple(filter(None, paragraphs)), tuple(commands), gone))
        return ""

    places = {(each.table, each.row.name, each.kind): each for each in judged}
    render(
        paper,
        "findings.md.j2",
        finding=finding,
        printed=paper.entry,
        judged=lambda *place: places[place],
        figure=Figure.parse,
        counted=audit.ours,
        recipe=audit.Recipe.parse,
        words=_words,
        row=lambda name: catalog.select([name])[0],
        blocks=_blocks,
    )
    return tuple(found)


def _blocks(row: str, inside: str) -> list[int]:
    """The different MACs of blocks with closed forms ``inside`` a part of a row's network."""
    model, counted = audit.built(audit.Recipe.parse(row))
    checks = [check for check in closed_forms(model, counted)[0] if check.module.startswith(inside)]
    names = [check.module for check in checks]
    outermost = (c for c in checks if not any(c.module.startswith(f"{name}.") for name in names))
    return sorted({check.counted.macs for check in outermost})


def audit_markdown(paper: Paper, judged: Sequence[audit.Judged], found: Sequence[Finding]) -> str:
    """The whole document: findings first, then every figure and every claim."""
    counts = ", ".join(f"{count} {verdict}" for verdict, count in verdict_counts(judged).items())
    tables = f"Table {', '.join(map(str, paper.cost_tables))}"
    claims = audit.judge_claims(paper)
    of_text = ", and every cost claim of its text" if claims else ""
    parts = [
        f"# Audit\n\nEvery parameter and FLOPs figure that {paper.paper} prints in {tables}"
        f"{of_text}, held against the networks as they are described, built and counted here. Of "
        f"{len(judged)} figures: {counts}. Every number of ours is counted when this file is "
        "written. A difference does not say who is right: the paper leaves settings open, and a "
        "recipe that gives a printed figure shows only that it could have come about so.\n"
    ]
    if found:
        parts.append("## What changes a conclusion\n")
    for number, each in enumerate(found, start=1):
        shown = " · ".join(f"`{command}`" for command in each.commands)
        mark = (f"**{each.mark}**",) if each.mark else ()
        paragraphs = (f"### {number}. {each.title}", *mark, *each.paragraphs, f"Shown by {shown}")
        parts.append("\n\n".join(paragraphs) + "\n")
    parts += ["## Figures\n", figure_table(judged).markdown()]
    if claims:
        parts += ["## Claims\n", claim_table(claims).markdown()]
    return "\n".join(parts)


def figure_table(judged: Sequence[audit.Judged]) -> Table:
    """Every printed figure with its verdict."""
    lines: list[dict[str, Any]] = []
    for each in judged:
        given, is_flops = each.given(), each.kind == "flops"
        convention = ", ".join(each.met) or (each.nearest and f"nearest: {each.nearest[0]}")
        lines.append(
            {
                "table": each.table,
                "method": each.label,
                "row": each.row.name,
                "figure": audit.KINDS[each.kind],
                "printed": each.printed.printed,
                "printed_value": each.printed.value,
                "verdict": str(each.verdict),
                "ours": each.nearest and each.nearest[1],
                "convention": convention if is_flops else None,
                "difference": None if each.printed.is_bound else each.difference,
                "macs": each.ours.flops["macs"] if each.ours and is_flops else None,
                "recipe": each.recipe and _words(each),
                "given": given and given[1],
                "given_by": given and given[0] if is_flops else None,
                "tried": each.tried,
                "note": each.note or None,
            }
        )
    return Table(
        title="Every printed figure",
        columns=(
            Column("table", "Table"),
            Column("method", "Method"),
            Column("figure", "Figure"),
            Column("printed", "Printed", str),
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
        footnotes={(i, "printed"): each.note for i, each in enumerate(judged) if each.note},
        legend=(
            "exact: some convention gives the figure to the digits printed, for the network as "
            "described; close: within 1% of it; not reproduced: farther, or no network to count. "
            "Ours: all parameters, or the FLOPs of the convention that comes nearest, with the "
            "MACs beside. A bound holds if all conventions are above it.",
            _CONVENTIONS,
            "Recipes are fitted: found by trying as many as the last column says, around the row "
            "or, where another row is named, among all rows. The axes were chosen with the printed "
            "figures in view, so that number is the least that was tried.",
        ),
    )


def _words(each: audit.Judged) -> str:
    assert each.recipe is not None
    is_own = each.recipe.row.name == each.row.name
    return each.recipe.words if is_own else f"row {each.recipe.spec}"


def verdict_counts(judged: Sequence[audit.Judged]) -> dict[audit.Verdict, int]:
    """How many figures have each verdict."""
    return {verdict: sum(each.verdict is verdict for each in judged) for verdict in audit.Verdict}


def claim_table(judged: Iterable[tuple[Claim, audit.Said]]) -> Table:
    """Cost claims with their verdicts."""
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
                **{key: getattr(claim, key) for key in ("where", "printed", "says")},
                **{key: getattr(said, key) for key in ("by_paper", "by_count", "because")},
                "command": f"vidcost count {' '.join(claim.rows)}"
                if claim.rows
                else "vidcost formulas --format md",
            }
            for claim, said in judged
        ],
        legend=(
            "Rows are counted as described. Where a claim gives no figure and no direction, the "
            "columns give the figures instead of a verdict.",
        ),
    )


def formula_claims(paper: Paper) -> Table:
    """The paper's claims about its formulas: by the printed forms, by the derived ones."""
    return claim_table([each for each in audit.judge_claims(paper) if not each[0].rows])


def formula_markdown(paper: Paper) -> str:
    """The document that the paper's formulas.md.j2 makes, N_k written as the paper does.

    Raises: ValueError if the paper has none.
    """
    import sympy

    from vidcost.bench import formulas

    def math(expr: sympy.Expr) -> str:
        return f"$`{sympy.latex(sympy.expand(expr)).replace('{N}_', 'N_')}`$"

    table = formula_claims(paper).markdown()
    return render(
        paper, "formulas.md.j2", filters={"math": math}, formulas=formulas, claim_table=table
    )


def recipe_table(recipe: audit.Recipe) -> Table:
    """One recipe in every convention, beside what the paper prints for its row, if anything."""
    paper, counted = catalog.paper_of(recipe.row.name), audit.figures(recipe)
    lines: list[dict[str, Any]] = []
    for kind in get_args(Kind):
        printed = paper.finest(recipe.row.name, kind) if paper else None
        met = counted.met(kind, printed)
        given = {"params": counted.params} if kind == "params" else counted.flops
        lines += [
            {
                "recipe": recipe.spec,
                "figure": audit.KINDS[kind],
                "convention": convention,
                "ours": value,
            }
            | {"printed": printed and printed.printed, "met": convention in met}
            for convention, value in given.items()
        ]
    return Table(
        title=f"{recipe.spec}: {recipe.words}",
        columns=(
            Column("figure", "Figure"),
            Column("convention", "In"),
            Column("ours", "Ours", integer),
            Column("printed", "Printed", str),
        ),
        lines=lines,
        equal=frozenset((at, "ours") for at, line in enumerate(lines) if line["met"]),
        legend=("✓ equals the printed figure to its precision. Batch 1.", _CONVENTIONS),
    )

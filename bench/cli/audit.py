"""The command that judges every printed figure."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from vidcost.bench import files
from vidcost.bench.cli import completion
from vidcost.bench.cli.options import As, Json, Results
from vidcost.bench.cli.output import print_table, report, write_document, write_lines

audit_app = typer.Typer()


@audit_app.command("audit", epilog="Example: `vidcost audit --search r50-ucf101`")
def audit(
    search: Annotated[
        str | None,
        typer.Option(
            metavar="ROW",
            help="Rank recipes around a row by the figures they hit.",
            autocompletion=completion.rows,
        ),
    ] = None,
    recipe: Annotated[
        str | None,
        typer.Option(
            metavar="'ROW AXIS=CHOICE ...'", help="Count a row otherwise than it is described."
        ),
    ] = None,
    results: Results = Path("results"),
    as_: As = None,
    json: Json = False,
) -> None:
    """A verdict on every figure the paper prints and every cost it claims, counted on the spot.

    Writes audit.md and audit.jsonl to the results folder; --format prints the figures alone. Fails
    if a figure that is not met has no note in figures.toml, if one that is met has one, or if
    a recipe no longer gives its figure. --search tries the recipes around a row; --recipe
    counts one.
    """
    from vidcost.bench.audit.recipe_grid import size
    from vidcost.bench.audit.recipe_search import search as search_recipes
    from vidcost.bench.audit.recipes import Recipe
    from vidcost.bench.audit.verdicts import judge, printed_figures, problems
    from vidcost.bench.cli.rows import progress
    from vidcost.bench.report.audit.document import audit_markdown
    from vidcost.bench.report.audit.tables import figure_table, recipe_table, search_table
    from vidcost.papers import catalog
    from vidcost.papers.catalog import select

    paper = catalog.paper()
    if search is not None and recipe is not None:
        raise ValueError("--search and --recipe are two things: give one of them")
    if recipe is not None:
        print_table(recipe_table(Recipe.parse(recipe), paper), as_)
        return
    if search is not None:
        (row,) = select([search])[:1]
        if row.name != search:
            raise ValueError(f"{search!r} is no row's name: search around one row at a time")
        with progress(size(row)) as advance:
            found = search_recipes(row, paper, advance=advance)
        print_table(search_table(found), as_)
        return
    files.check_folder(results)
    with progress(printed_figures(paper)) as advance:
        judged = judge(paper, advance=advance)
    if as_ is not None:
        print_table(figure_table(judged), as_)
    else:
        document = audit_markdown(paper, judged)
        write_document(results / "audit.md", document, command="audit")
        write_lines(results / "audit.jsonl", figure_table(judged).lines, command="audit")
        sys.stdout.write(document)
    report(problems(judged))

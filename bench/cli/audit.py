"""The command that judges every figure and claim of a paper."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from vidcost.bench import extras, files
from vidcost.bench.cli.options import As, Json, PaperName, Results, Wide
from vidcost.bench.cli.output import print_table, report, write_document, write_lines

audit_app = typer.Typer()


@audit_app.command("audit", epilog="Example: `vidcost audit --results results`")
def audit(
    paper_name: PaperName = None,
    recipe: Annotated[
        str | None,
        typer.Option(
            metavar="'ROW AXIS=CHOICE ...'", help="Count a row otherwise than it is described."
        ),
    ] = None,
    results: Results = Path("results"),
    as_: As = None,
    wide: Wide = False,
    json: Json = False,
) -> None:
    """A verdict on every figure a paper prints and every cost it claims, counted on the spot.

    Writes audits/PAPER.md and .jsonl to the results folder; --format prints the figures alone.
    Fails if a figure that is not met has no note in the paper's figures.toml, if one that is met
    has one, if a recipe no longer gives its figure, or if a finding no longer holds.
    """
    extras.require("report")
    from vidcost.bench.audit import Recipe, judge, problems
    from vidcost.bench.progress import progress
    from vidcost.bench.report.audit import (
        audit_markdown,
        figure_table,
        findings,
        gone,
        recipe_table,
    )
    from vidcost.papers import catalog

    if recipe is not None:
        print_table(recipe_table(Recipe.parse(recipe)), as_)
        return
    paper = catalog.paper(paper_name or catalog.DEFAULT)
    files.check_folder(results)
    with progress("counting", len(paper.figures)) as advance:
        judged = judge(paper, advance=advance)
    found = findings(paper, judged)
    if as_ is not None:
        print_table(figure_table(judged), as_)
    else:
        document, folder = audit_markdown(paper, judged, found), results / "audits"
        command = f"audit {paper.name}"
        write_document(folder / f"{paper.name}.md", document, command=command)
        lines = figure_table(judged).lines
        write_lines(folder / f"{paper.name}.jsonl", lines, command=command)
        sys.stdout.write(document)
    report((*problems(paper, judged), *gone(found)))

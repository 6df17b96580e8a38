"""Commands about what costs are by hand: the blocks' formulas, single operators."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Literal

import typer

from vidcost.bench import extras, files
from vidcost.bench.cli.options import As, Format, Json, PaperName, Results, Wide
from vidcost.bench.cli.output import print_table, report, write_document

formulas_app = typer.Typer()


@formulas_app.command(
    "formulas", epilog="Example: `vidcost formulas --cross cgnl,pnl:n=3 --channels 384`"
)
def formulas(
    paper_name: PaperName = None,
    cross: Annotated[
        str | None,
        typer.Option(metavar="BLOCK,BLOCK", help="Where one block becomes cheaper than the other."),
    ] = None,
    channels: Annotated[int, typer.Option(min=1, help="Channels, with --cross.")] = 384,
    along: Annotated[
        Literal["N", "H=W"], typer.Option(help="The extent that grows, with --cross.")
    ] = "N",
    results: Results = Path("results"),
    as_: As = None,
    wide: Wide = False,
    json: Json = False,
) -> None:
    """Costs of blocks as a paper prints them and as derived, and verdicts on its claims of them.

    Writes formulas/PAPER.md to the results folder; --format prints the verdicts alone. With
    --cross, solves where two blocks cost the same and counts on both sides.
    """
    extras.require("report")
    from vidcost.bench.block_spec import block_factory, reference_of, two_specs
    from vidcost.bench.report.formulas import crossover_table, formula_claims, formula_markdown
    from vidcost.models.registry import BLOCKS
    from vidcost.papers import catalog

    if cross is not None:
        specs = two_specs(cross)
        if any(map(reference_of, specs)):
            raise ValueError(f"--cross is for {', '.join(BLOCKS)}: no formula of yours is known")
        left, right = ((spec, block_factory(spec)) for spec in specs)
        print_table(crossover_table([(left, right)], channels=channels, along=along), as_)
        return
    paper = catalog.paper(paper_name or catalog.DEFAULT)
    if as_ is not None:
        print_table(formula_claims(paper), as_)
        return
    files.check_folder(results)
    document = formula_markdown(paper)
    path = results / "formulas" / f"{paper.name}.md"
    write_document(path, document, command=f"formulas {paper.name}")
    sys.stdout.write(document)


@formulas_app.command("conformance", epilog="Example: `vidcost conformance --results results`")
def conformance(results: Results = Path("results"), as_: As = None, json: Json = False) -> None:
    """Ask every counter about single operators whose MACs were worked out by hand.

    Writes conformance.md to the results folder; JSON and CSV hold a line per operator.
    """
    from vidcost.bench.count.conformance import ask_counters, failures
    from vidcost.bench.report.conformance import (
        conformance_markdown,
        conformance_tables,
        data_table,
    )

    files.check_folder(results)
    statements = ask_counters()
    document = conformance_markdown(statements)
    write_document(results / "conformance.md", document, command="conformance")
    if as_ is None:
        for table in conformance_tables(statements):
            print_table(table, None)
    elif as_ is Format.MD:
        sys.stdout.write(document)
    else:
        print_table(data_table(statements), as_)
    report(failures(statements))

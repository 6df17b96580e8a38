"""Commands that list rows, and count rows, networks, their modules, and blocks alone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from vidcost.bench.cli import completion, options
from vidcost.bench.cli.output import print_table, report, report_failures

if TYPE_CHECKING:
    from vidcost.bench.timing.cell import Cell

counts_app = typer.Typer()


@counts_app.command("list", epilog="Example: `vidcost list 'mfnet-pnl*' --table 3`")
def list_rows(
    rows: options.Rows = None,
    table: options.PaperTable = None,
    paper: Annotated[
        str | None,
        typer.Option(help="Only the rows of this paper.", autocompletion=completion.papers),
    ] = None,
    papers: Annotated[bool, typer.Option("--papers", help="List the papers instead.")] = False,
    as_: options.As = None,
    wide: options.Wide = False,
    json: options.Json = False,
) -> None:
    """List the rows: name, tables, input, what is assumed."""
    from vidcost.bench.report.counts import list_table
    from vidcost.bench.report.paper import papers_table
    from vidcost.papers.catalog import select

    if papers:
        if rows or table or paper:
            raise ValueError("--papers lists all papers: leave out rows, --table and --paper")
        print_table(papers_table(), as_)
        return
    print_table(list_table(select(rows or (), paper_name=paper, table=table)), as_)


@counts_app.command("count", epilog="Example: `vidcost count mfnet-nl mfnet-pnl-x5 --format csv`")
def count(
    rows: options.Rows = None,
    table: options.PaperTable = None,
    classes: options.Classes = None,
    frames: options.Frames = None,
    size: options.Size = None,
    references: Annotated[
        bool, typer.Option("--references", help="Ask fvcore, thop and torch's counter too.")
    ] = False,
    no_cache: options.NoCache = False,
    training: Annotated[
        bool, typer.Option("--training", help="MACs of the forward and the backward pass.")
    ] = False,
    depth: Annotated[
        int | None,
        typer.Option(min=0, help="Show the modules of one network down to this many levels."),
    ] = None,
    shape: Annotated[
        str | None,
        typer.Option(
            metavar="CxTxHxW",
            help="Count blocks, such as pnl:n=3 or my_block.py:MyBlock, alone at this input shape.",
        ),
    ] = None,
    inputs: options.Inputs = None,
    time_limit: options.TimeLimit = options.TIME_LIMIT,
    as_: options.As = None,
    wide: options.Wide = False,
    json: options.Json = False,
) -> None:
    """Count rows exactly, in seconds, and check every block against its closed form.

    A network of your own is named by a file or module and what in it makes the network, or is one:
    my_net.py:make_model. It is built and counted in a process of its own. With --shape the words
    are blocks: nl, cgnl, cgd or pnl with options behind a colon, pnl:n=3,combine=concat, or your
    own, a class or function that takes the number of channels. A method cost(shape), which returns
    a vidcost.models.Cost, is a closed form.
    """
    from vidcost.bench.cli.targets import (
        at,
        buildable,
        failures,
        limit_s,
        measured,
        network_cells,
        parted,
    )
    from vidcost.bench.count.record import count_row
    from vidcost.bench.count.references.asking import REFERENCE_COUNTERS
    from vidcost.bench.inspection.counted import counted
    from vidcost.bench.report.counts import count_table, counted_table, modules_table
    from vidcost.bench.timing.cell import checked_cell
    from vidcost.bench.timing.plan import row_fields

    if sum((training, references, depth is not None)) > 1:
        raise ValueError("--training, --references and --depth are three tables: give one of them")
    of_rows = table or any((classes, frames, size))
    if shape:
        if of_rows or inputs or training or references or depth is not None:
            raise ValueError("--shape is for blocks alone: give blocks and --shape only")
        cells = _block_cells(rows or (), shape)
    else:
        names, own = parted(rows)
        cells = network_cells(own, inputs)
        if cells and (names or of_rows):
            raise ValueError(
                "networks of your own are counted by themselves, at --input: leave out rows, "
                "--table, --classes, --frames and --size"
            )
        chosen = [] if cells else at(buildable(names, table=table), classes, frames, size)
        if depth is not None and len(cells or chosen) != 1:
            number = f"{len(cells)} are given" if cells else f"{len(chosen)} rows are chosen"
            raise ValueError(f"--depth is for one network: {number}")
        if chosen and references:
            records = [each.record for each in measured(chosen, use_cache=not no_cache)]
            print_table(count_table(records), as_)
            report_failures(records)
            return
        if chosen and not training and depth is None:
            print_table(count_table([count_row(row) for row in chosen]), as_)
            return
        cells = cells or [checked_cell(row_fields(row)) for row in chosen]
    asked = tuple(REFERENCE_COUNTERS) if references else ()
    limit = limit_s(time_limit)
    found = [
        counted(cell, reference_counters=asked, training=training, limit_s=limit) for cell in cells
    ]
    if depth is None:
        print_table(counted_table(found), as_)
    elif found[0].modules:
        print_table(modules_table(found[0], depth), as_)
    report(failures(found))


def _block_cells(specs: Sequence[str], shape: str) -> list[Cell]:
    from vidcost.bench.timing.cell import checked_cell
    from vidcost.bench.timing.plan import code_of, shape_of

    if not specs:
        raise ValueError("--shape is for blocks: name some, such as nl or pnl:n=3")
    each = shape_of(shape)
    return [checked_cell({"block": spec, "shape": each, "code": code_of([spec])}) for spec in specs]

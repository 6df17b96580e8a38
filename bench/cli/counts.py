"""Commands that count: rows, the modules of one, blocks alone."""

from __future__ import annotations

from typing import Annotated

import typer

from vidcost.bench.cli import completion
from vidcost.bench.cli.options import (
    TIME_LIMIT,
    As,
    Classes,
    Frames,
    Inputs,
    Json,
    NoCache,
    PaperTable,
    Rows,
    Size,
    TimeLimit,
)
from vidcost.bench.cli.output import print_table, report, report_failures

counts_app = typer.Typer()


@counts_app.command("list", epilog="Example: `vidcost list 'mfnet-pnl*' --table 3`")
def list_rows(
    rows: Rows = None,
    table: PaperTable = None,
    paper: Annotated[
        str | None,
        typer.Option(help="Only the rows of this paper.", autocompletion=completion.papers),
    ] = None,
    papers: Annotated[bool, typer.Option("--papers", help="List the papers instead.")] = False,
    as_: As = None,
    json: Json = False,
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
def count_rows(
    rows: Rows = None,
    table: PaperTable = None,
    classes: Classes = None,
    frames: Frames = None,
    size: Size = None,
    reference_counters: Annotated[
        bool,
        typer.Option("--reference-counters", help="Ask other counters too, which takes longer."),
    ] = False,
    no_cache: NoCache = False,
    training: Annotated[
        bool, typer.Option("--training", help="MACs of the forward and the backward pass.")
    ] = False,
    inputs: Inputs = None,
    time_limit: TimeLimit = TIME_LIMIT,
    as_: As = None,
    json: Json = False,
) -> None:
    """Count rows exactly, in seconds, and check every block against its closed form.

    A network of your own is named by a file or module and what in it makes the network, or is one:
    my_net.py:make_model. It is built and counted in a process of its own.
    """
    from vidcost.bench.cli.networks import failures, limit_s, network_cells, parted
    from vidcost.bench.cli.rows import at, buildable, measured
    from vidcost.bench.count.record import count_row
    from vidcost.bench.count.references.asking import REFERENCE_COUNTERS
    from vidcost.bench.inspection.counted import counted
    from vidcost.bench.report.counts import count_table, network_table, training_table

    if training and reference_counters:
        raise ValueError(
            "the counters are asked about the forward pass alone: leave out --training or "
            "--reference-counters"
        )
    rows, references = parted(rows)
    networks = network_cells(references, inputs)
    if networks:
        if rows or table or any((classes, frames, size)):
            raise ValueError(
                "networks of your own are counted by themselves, at --input: leave out rows, "
                "--table, --classes, --frames and --size"
            )
        asked = REFERENCE_COUNTERS if reference_counters else ()
        limit = limit_s(time_limit)
        found = [
            counted(cell, reference_counters=asked, training=training, limit_s=limit)
            for cell in networks
        ]
        print_table(network_table(found), as_)
        report(failures(found))
        return
    chosen = at(buildable(rows, table=table), classes, frames, size)
    if training:
        print_table(training_table(chosen), as_)
        return
    if reference_counters:
        records = [each.record for each in measured(chosen, use_cache=not no_cache)]
    else:
        records = [count_row(row) for row in chosen]
    print_table(count_table(records), as_)
    report_failures(records)


@counts_app.command("show", epilog="Example: `vidcost show mfnet-pnl --depth 2`")
def show_row(
    row: Annotated[
        str,
        typer.Argument(
            help="A row's name, or a network of your own.", autocompletion=completion.rows
        ),
    ],
    depth: Annotated[int, typer.Option(min=0, help="Levels of modules to show.")] = 2,
    classes: Classes = None,
    frames: Frames = None,
    size: Size = None,
    inputs: Inputs = None,
    time_limit: TimeLimit = TIME_LIMIT,
    as_: As = None,
    json: Json = False,
) -> None:
    """Show a row's modules with the parameters and MACs inside each."""
    from vidcost.bench.cli.networks import failures, limit_s, network_cells, parted
    from vidcost.bench.inspection.counted import counted
    from vidcost.bench.report.counts import network_tree_table, tree_table
    from vidcost.papers.catalog import select

    _, references = parted([row])
    networks = network_cells(references, inputs)
    if networks:
        if any((classes, frames, size)):
            raise ValueError("a network of your own is shown at --input: leave out the rest")
        found = counted(networks[0], limit_s=limit_s(time_limit))
        if found.modules:
            print_table(network_tree_table(found, depth), as_)
        report(failures([found]))
        return
    chosen = select([row])
    if len(chosen) > 1:
        raise ValueError(f"{row!r} matches {len(chosen)} rows: show one at a time")
    print_table(tree_table(chosen[0].at(classes=classes, frames=frames, size=size), depth), as_)


@counts_app.command(
    "block", epilog="Example: `vidcost block nl cgnl pnl:n=4 --shape 1x384x8x14x14`"
)
def compare_blocks(
    blocks: Annotated[
        list[str],
        typer.Argument(
            metavar="BLOCK...",
            help="A block, as nl, with options behind a colon: pnl:n=3,combine=concat; or "
            "your own, my_block.py:MyBlock.",
            autocompletion=completion.blocks,
        ),
    ],
    shape_: Annotated[
        str, typer.Option("--shape", metavar="BxCxTxHxW", help="Shape of the blocks' input.")
    ] = "1x384x8x14x14",
    time_limit: TimeLimit = TIME_LIMIT,
    as_: As = None,
    json: Json = False,
) -> None:
    """Count blocks alone at one input shape, beside their closed forms.

    A block of your own is a class or function that takes the number of channels; where it has a
    method cost(shape), which returns a vidcost.models.Cost, its count is held against that.
    """
    from vidcost.bench.block_spec import shape
    from vidcost.bench.cli.networks import failures, limit_s
    from vidcost.bench.inspection.counted import counted
    from vidcost.bench.report.counts import block_table
    from vidcost.bench.timing.cell import checked_cell
    from vidcost.bench.timing.plan import code_of

    input_shape = shape(shape_)
    batch, *each = input_shape
    cells = [
        checked_cell({"block": spec, "shape": each, "batch": batch, "code": code_of([spec])})
        for spec in blocks
    ]
    found = [counted(cell, limit_s=limit_s(time_limit)) for cell in cells]
    print_table(block_table(found, input_shape), as_)
    report(failures(found))

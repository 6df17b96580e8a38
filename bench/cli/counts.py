"""Commands that count: rows, the modules of one, blocks alone."""

from __future__ import annotations

from typing import Annotated

import typer

from vidcost.bench.block_spec import block_factory, shape
from vidcost.bench.cli import completion
from vidcost.bench.cli.options import As, Classes, Frames, Json, NoCache, PaperTable, Rows, Size
from vidcost.bench.cli.output import print_table, report_failures
from vidcost.bench.cli.rows import at, buildable, measured
from vidcost.bench.count.record import count_row
from vidcost.bench.tables.counts import (
    block_table,
    count_table,
    list_table,
    training_table,
    tree_table,
)
from vidcost.models.rows import select

counts_app = typer.Typer()


@counts_app.command("list", epilog="Example: `vidcost list 'mfnet-pnl*' --table 3`")
def list_rows(
    rows: Rows = None, table: PaperTable = None, as_: As = None, json: Json = False
) -> None:
    """List the rows: name, tables, input, what is assumed."""
    print_table(list_table(select(rows or (), table=table)), as_)


@counts_app.command("count", epilog="Example: `vidcost count mfnet-nl mfnet-pnl-x5 --format csv`")
def count_rows(
    rows: Rows = None,
    table: PaperTable = None,
    classes: Classes = None,
    frames: Frames = None,
    size: Size = None,
    witnesses: Annotated[
        bool, typer.Option("--witnesses", help="Ask other counters too, which takes longer.")
    ] = False,
    no_cache: NoCache = False,
    training: Annotated[
        bool, typer.Option("--training", help="MACs of the forward and the backward pass.")
    ] = False,
    as_: As = None,
    json: Json = False,
) -> None:
    """Count rows exactly, in seconds, and check every block against its closed form."""
    if training and witnesses:
        raise ValueError(
            "the witnesses are asked about the forward pass alone: leave out --training or "
            "--witnesses"
        )
    chosen = at(buildable(rows, table=table), classes, frames, size)
    if training:
        print_table(training_table(chosen), as_)
        return
    if witnesses:
        records = [each.record for each in measured(chosen, use_cache=not no_cache)]
    else:
        records = [count_row(row) for row in chosen]
    print_table(count_table(records), as_)
    report_failures(records)


@counts_app.command("show", epilog="Example: `vidcost show mfnet-pnl --depth 2`")
def show_row(
    row: Annotated[str, typer.Argument(help="A row's name.", autocompletion=completion.rows)],
    depth: Annotated[int, typer.Option(min=0, help="Levels of modules to show.")] = 2,
    classes: Classes = None,
    frames: Frames = None,
    size: Size = None,
    as_: As = None,
    json: Json = False,
) -> None:
    """Show a row's modules with the parameters and MACs inside each."""
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
            help="nl, cgnl, cgd or pnl, with options behind a colon: pnl:n=3,combine=concat.",
            autocompletion=completion.blocks,
        ),
    ],
    shape_: Annotated[
        str, typer.Option("--shape", metavar="BxCxTxHxW", help="Shape of the blocks' input.")
    ] = "1x384x8x14x14",
    as_: As = None,
    json: Json = False,
) -> None:
    """Count blocks alone at one input shape, beside their closed forms."""
    input_shape = shape(shape_)
    print_table(block_table([(spec, block_factory(spec)) for spec in blocks], input_shape), as_)

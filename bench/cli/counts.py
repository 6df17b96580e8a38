"""Commands that list rows, count rows, networks and blocks, and explain other counters."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vidcost.bench import files
from vidcost.bench.cli import options
from vidcost.bench.cli.output import print_table, report, write_document, write_lines

if TYPE_CHECKING:
    from vidcost.bench.report.table import Table
    from vidcost.bench.timing.cell import Cell

counts_app = typer.Typer()

SHOWN_BY_TERM = 4
"""Up to so many rows ``explain`` shows term by term."""
SHOWN_OF_PRINTED = 10


@counts_app.command("list", epilog="Example: `vidcost list 'mfnet-pnl*' --table 3`")
def list_rows(
    rows: options.Rows = None,
    table: options.PaperTable = None,
    paper: Annotated[str | None, typer.Option(help="Only the rows of this paper.")] = None,
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
    views: Annotated[
        str, typer.Option(metavar="10x3", help="Clips and crops of a video: its MACs stand beside.")
    ] = "1",
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
    from vidcost.bench.cli import targets

    if sum((training, references, depth is not None)) > 1:
        raise ValueError("--training, --references and --depth are three tables: give one of them")
    if training and views != "1":
        raise ValueError("--views is for tests: leave out --training")
    seen = options.views_of(views)
    clip = {"classes": classes, "frames": frames, "size": size}
    names, own = (rows, []) if shape else targets.parted(rows)
    of_rows = table or any(clip.values())
    if shape and (of_rows or inputs or training or references or depth is not None):
        raise ValueError("--shape is for blocks alone: give blocks and --shape only")
    if own and (names or of_rows):
        raise ValueError(
            "networks of your own are counted by themselves, at --input: leave out rows, "
            "--table, --classes, --frames and --size"
        )
    limit = targets.limit_s(time_limit)
    failed = None
    if len(own) == 1 and not references:
        # without what is imported below, which takes a second of every count
        from vidcost.bench.isolation import Failed, isolated
        from vidcost.bench.report.own import own_table

        try:
            shown, lines = isolated(limit, own_table, own[0], inputs or (), training, depth, seen)
        except Failed as error:
            failed = error
        else:
            print_table(shown, as_)
            report(lines)
            return
    from vidcost.bench.count.references.asking import REFERENCE_COUNTERS
    from vidcost.bench.inspection.counted import Counted, counted
    from vidcost.bench.report.counts import counted_table, modules_table
    from vidcost.bench.timing.cell import checked_cell
    from vidcost.bench.timing.plan import code_of, row_fields, shape_of

    cells = targets.network_cells(own, inputs)
    chosen = [] if shape or own else targets.buildable(names, table=table, clip=clip)
    cells += [checked_cell(row_fields(row)) for row in chosen]
    if shape:
        if not names:
            raise ValueError("--shape is for blocks: name some, such as nl or pnl:n=3")
        at = shape_of(shape)
        cells = [checked_cell({"block": b, "shape": at, "code": code_of([b])}) for b in names]
    if depth is not None and len(cells) != 1:
        raise ValueError(f"--depth is for one network: {len(cells)} are chosen")
    asked = tuple(REFERENCE_COUNTERS) if references and own else ()
    found = (
        [Counted(cells[0], failed.status, str(failed))]
        if failed
        else [
            counted(cell, reference_counters=asked, training=training, limit_s=limit)
            for cell in cells
        ]
    )
    if references and chosen:
        examined = targets.measured(chosen, use_cache=not no_cache)
        found = [
            replace(each, answers=other.record.reference_counters)
            for each, other in zip(found, examined, strict=True)
        ]
    if depth is None:
        print_table(counted_table(found, seen), as_)
    elif found[0].count:
        print_table(modules_table(found[0], depth, seen), as_)
    report(targets.failures(found))


@counts_app.command("explain", epilog="Example: `vidcost explain mfnet-nl mfnet-pnl-x5`")
def explain(
    rows: options.Rows = None,
    table: options.PaperTable = None,
    classes: options.Classes = None,
    frames: options.Frames = None,
    size: options.Size = None,
    results: options.Results = Path("results"),
    no_cache: options.NoCache = False,
    counter: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME",
            help="Ask this counter instead of fvcore, thop, thop-2020 and torch; repeat it for "
            "several. Optional ones: ptflops, ptflops-aten, torchinfo, ultralytics-thop, "
            "torchprofile, calflops, deepspeed.",
        ),
    ] = None,
    printed: Annotated[
        str | None,
        typer.Option(metavar="FLOPS", help="Which convention and setting give this figure: 36.1G."),
    ] = None,
    params: Annotated[
        str | None, typer.Option(metavar="PARAMS", help="Printed with --printed: 34.6M.")
    ] = None,
    inputs: options.Inputs = None,
    time_limit: options.TimeLimit = options.TIME_LIMIT,
    as_: options.As = None,
    wide: options.Wide = False,
    json: options.Json = False,
) -> None:
    """From our MACs to what each counter prints, by named terms; fails if anything is left over.

    Up to four rows are shown term by term. Over all rows it writes reconciliation.md and
    reconciliation.jsonl, with every row's terms, to the results folder; --format json or csv prints
    a line for each term.
    """
    from vidcost.bench.cli.targets import buildable, limit_s, measured, network_cells, parted
    from vidcost.bench.count.reconcile import Entry, reconcile
    from vidcost.bench.count.references.asking import chosen as chosen_counters
    from vidcost.bench.inspection.counted import explained
    from vidcost.bench.isolation import Failed, isolated
    from vidcost.bench.report.reconciliation import (
        reconciliation_markdown,
        reconciliation_table,
        statement_table,
        tidy_table,
    )

    counters = chosen_counters(counter or ())
    rows, references = parted(rows)
    networks = network_cells(references, inputs)
    if printed is not None:
        print_table(_printed(rows, networks, printed, params, limit_s(time_limit)), as_)
        return
    if params is not None:
        raise ValueError("--params is for --printed: give both")
    clip = {"classes": classes, "frames": frames, "size": size}
    everything = not any((rows, networks, table, counter, *clip.values()))
    if everything:
        files.check_folder(results)
    entries: dict[str, list[Entry]] = {}
    failed: list[str] = []
    if rows or not networks:
        chosen = buildable(rows, table=table, clip=clip)
        examined = measured(chosen, counters, use_cache=not no_cache)
        entries = {each.record.row: reconcile(each) for each in examined}
    for network in networks:
        try:
            found = isolated(limit_s(time_limit), explained, network, counters)
            entries[network.target] = found
        except Failed as error:
            failed.append(f"{network.target}: {error.status}: {error}")
    shown = [entry for each in entries.values() for entry in each]
    if as_ in (options.Format.JSON, options.Format.CSV):
        print_table(tidy_table(shown), as_)
    elif len(entries) > SHOWN_BY_TERM:
        print_table(reconciliation_table(shown), as_)
    else:
        for each in entries.values():
            print_table(statement_table(each), as_)
    if everything:
        text = reconciliation_markdown(shown)
        write_document(results / "reconciliation.md", text, command="explain")
        write_lines(results / "reconciliation.jsonl", tidy_table(shown).lines, command="explain")
    off = (line for entry in shown if not entry.balanced for line in entry.complaints)
    report((*failed, *off))


def _printed(
    rows: list[str] | None, networks: list[Cell], printed: str, params: str | None, limit_s: float
) -> Table:
    from vidcost.bench.cli.targets import buildable
    from vidcost.bench.count.reconcile import candidates_of_row, ranked
    from vidcost.bench.inspection.counted import candidates_of
    from vidcost.bench.isolation import isolated
    from vidcost.bench.report.reconciliation import printed_table
    from vidcost.papers.figures import Figure

    flops, parameters = Figure.parse(printed), Figure.parse(params) if params else None
    chosen = buildable(rows) if rows else []
    if len(chosen) + len(networks) != 1:
        raise ValueError(f"--printed is for one network: {len(chosen) + len(networks)} are given")
    if chosen:
        found = list(candidates_of_row(chosen[0], parameters))
    else:
        found = isolated(limit_s, candidates_of, networks[0])
    best = ranked(found, flops, parameters)[:SHOWN_OF_PRINTED]
    return printed_table(best, flops, parameters, tried=len(found))

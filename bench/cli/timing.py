"""The command that times rows and blocks."""

from itertools import chain
from pathlib import Path
from time import monotonic
from typing import Annotated, Any

import typer

from vidcost.bench import files
from vidcost.bench.cli import options
from vidcost.bench.cli.axis_options import with_axes
from vidcost.bench.cli.output import print_tables, report, write_document
from vidcost.bench.timing.cell import OPTIONS

timing_app = typer.Typer()


@timing_app.command(
    "time", epilog="Example: `vidcost time mfnet-nl mfnet-pnl --contribution --budget 2m`"
)
@with_axes(*OPTIONS, several=True)
def time_rows(
    rows: options.Rows = None,
    blocks: Annotated[
        list[str] | None,
        typer.Option(
            metavar="BLOCK",
            help="Time blocks alone: 'all', or names such as nl and pnl:n=4; may be repeated.",
        ),
    ] = None,
    shape_: Annotated[
        list[str] | None,
        typer.Option(
            "--shape",
            metavar="CxTxHxW",
            help="Input of the blocks alone; default: 384x8x14x14 and 1024x4x14x14.",
        ),
    ] = None,
    impl: Annotated[
        str | None,
        typer.Option(
            metavar="IMPL,...",
            help="reference, optimized, or both interleaved; both of all blocks write blocks.md.",
        ),
    ] = None,
    contribution: Annotated[
        bool,
        typer.Option(
            "--contribution", help="Time rows interleaved with the same networks without blocks."
        ),
    ] = False,
    device: options.Device = "cpu",
    axes: dict[str, Any] = {},  # noqa: B006  with_axes puts the options here
    threads: options.Threads = None,
    budget: Annotated[
        str | None,
        typer.Option(metavar="TIME", help="90s, 10m, 1h in all; default: until precise."),
    ] = None,
    inputs: options.Inputs = None,
    time_limit: options.TimeLimit = "5m",
    resume: options.Resume = True,
    engine: options.EngineName = "here",
    address: options.Address = None,
    gpu: options.GpuType = None,
    results: options.Results = Path("results"),
    as_: options.As = None,
    wide: options.Wide = False,
    json: options.Json = False,
) -> None:
    """Time rows, blocks alone, or with --contribution what blocks add to their networks.

    Each measurement runs in a process of its own and is appended to timings/*.jsonl in the results
    folder with its raw samples and conditions. Sampling ends when the median is known to 1%, after
    a minute, or as --budget allows. Conditions take several values, as in --dtype fp32,bf16: all
    combinations are timed. The same command again goes on. With --impl reference,optimized of all
    blocks, blocks.md in the results folder is written from all stored records; with --budget 0s
    nothing is timed. Fails if a measurement failed.
    """
    from vidcost.bench.cli.engines import Place, take
    from vidcost.bench.cli.targets import buildable, check_options, limit_s, parted
    from vidcost.bench.report.timing import blocks_markdown, pair_table, timing_table
    from vidcost.bench.timing import plan
    from vidcost.bench.timing.record import now
    from vidcost.bench.timing.store import by_kind, stored_by_device

    began, since = monotonic(), now()
    if contribution and blocks:
        raise ValueError(
            "--contribution times blocks in their networks, --blocks alone: give one of them"
        )
    if blocks is None and (shape_ or impl):
        raise ValueError("--shape and --impl are for blocks alone: give --blocks too")
    place = Place(engine, address, gpu, device, budget)
    budget_s = None if budget is None else options.seconds(budget)
    both = impl is not None and "," in impl
    if budget_s == 0 and not both:
        raise ValueError(f"--budget {budget} is no time: give more than 0s")
    rows, references = parted(rows)
    check_options(references, inputs)
    chosen = [] if (blocks or references) and not rows else buildable(rows)
    alone, reasons = plan.blocks_alone(blocks or (), shape_ or (), impl=impl)
    if references and contribution:
        raise ValueError(
            "--contribution is for rows: `vidcost compare` puts blocks into your network"
        )
    networks = [(reference, inputs or ()) for reference in references]
    files.check_folder(results)
    with place.joined([*references, *(blocks or ())]) as cores:
        conditions = {"device": device, "threads": threads or cores, **axes}
        cells = plan.cells_for(
            chosen,
            conditions,
            contribution=contribution,
            blocks=alone,
            both_impls=both,
            networks=networks,
        )
        taken = take(
            [] if budget_s == 0 else cells,
            results,
            place=place,
            resume=resume,
            start_up_s=limit_s(time_limit),
            budget_s=budget_s,
            began=began,
        )
    for line in (*reasons, *taken.notes):
        typer.echo(line, err=True)
    stored = stored_by_device(results) if both else {}
    if budget_s == 0:
        every = chain.from_iterable(stored.values())
        taken.timings = [each for each in every if each.cell in cells]
    if both and blocks is not None and plan.ALL in blocks:
        document = blocks_markdown(stored)
        write_document(results / "blocks.md", document, command="time --blocks all --impl")
    write = pair_table if contribution or both else timing_table
    # each kind of machine has its own table
    print_tables([write(each, since=since) for each in by_kind(taken.timings)], as_)
    report(taken.failures, taken.untimed)

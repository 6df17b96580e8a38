"""The command that sets the fast path against the textbook's."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from vidcost.bench import files
from vidcost.bench.cli import completion
from vidcost.bench.cli.options import (
    As,
    Batch,
    Device,
    Json,
    OneDtype,
    OneMode,
    Phases,
    Results,
    Resume,
    Threads,
)
from vidcost.bench.cli.output import print_tables, report, write_document

fast_app = typer.Typer()


@fast_app.command(
    "fast", epilog="Example: `vidcost fast nl pnl:n=4 --shape 384x8x14x14 --budget 1m`"
)
def set_against_textbook(
    blocks: Annotated[
        list[str] | None,
        typer.Argument(
            help="nl, cgnl, pnl:n=4; none: all, and what was tried and did not help.",
            autocompletion=completion.blocks,
        ),
    ] = None,
    shape_: Annotated[
        list[str] | None,
        typer.Option(
            "--shape",
            metavar="CxTxHxW",
            help="Of the input, without the batch; repeat it; default: 384 channels of 14x14 "
            "pixels at N = 392, 1568, 6272 and 25088.",
        ),
    ] = None,
    device: Device = "cpu",
    batch: Batch = 1,
    dtype: OneDtype = "fp32",
    mode: OneMode = "eager",
    phase: Phases = "inference,training",
    threads: Threads = None,
    budget: Annotated[
        str | None,
        typer.Option(
            metavar="TIME",
            help="Time for so long in all: 90s, 10m, 0s for what is stored; default: until "
            "precise.",
        ),
    ] = None,
    resume: Resume = True,
    results: Results = Path("results"),
    as_: As = None,
    json: Json = False,
) -> None:
    """The fast path of blocks against the textbook's: latency and peak memory, in turns.

    Both compute the same function of the same parameters. Records go to fast/timings in the results
    folder. Of all blocks it writes fast.md there, from everything that is stored; --format prints
    the figures alone.
    """
    from vidcost.bench.cli.engines import take
    from vidcost.bench.report.fast import alike, fast_markdown, fast_tables
    from vidcost.bench.timing import fast_plan, plan
    from vidcost.bench.timing.machine import check_device, default_threads
    from vidcost.bench.timing.stored import PAIRS, stored_anywhere
    from vidcost.bench.timing.sweep import Swept

    budget_s = None if budget is None else plan.seconds(budget)
    conditions = {
        "device": check_device(device),
        "threads": threads or default_threads(device),
        "batch": batch,
        "dtype": dtype,
        "mode": mode,
    }
    specs = plan.named_specs(blocks or ()) or list(fast_plan.SPECS)
    shapes = [plan.shape_of(text) for text in shape_ or ()] or list(fast_plan.SHAPES)
    cells, reasons = [], []
    for each in dict.fromkeys(phase.split(",")):
        found, left_out = fast_plan.fast_cells(specs, shapes, conditions, phase=each)
        cells += found
        reasons += left_out
    everything = not blocks and not shape_
    if everything:
        cells += fast_plan.tried_cells(conditions)
        files.check_folder(results)
    files.check_folder(results / PAIRS)
    taken = Swept()
    if budget_s != 0:
        taken = take(
            cells,
            results / PAIRS,
            resume=resume,
            budget_s=budget_s,
            command="vidcost fast",
        )
    for line in (*dict.fromkeys(reasons), *taken.notes):
        typer.echo(line, err=True)
    known = stored_anywhere(results / PAIRS) if everything or budget_s == 0 else []
    timings = list(taken.timings)
    if budget_s == 0:
        asked = {(cell.block, cell.shape, cell.phase) for cell in cells}
        timings = [t for t in known if (t.cell.block, t.cell.shape, t.cell.phase) in asked]
    if everything:
        document = fast_markdown(known)
        write_document(results / "fast.md", document, command="fast")
        if as_ is None:
            sys.stdout.write(document)
    if not everything or as_ is not None:
        parts = [part for _, part in alike(timings)] or [[]]
        print_tables([table for part in parts for table in fast_tables(part)], as_)
    report(taken.failures)

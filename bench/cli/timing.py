"""The command that times rows and blocks."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from vidcost.bench import files
from vidcost.bench.cli import completion
from vidcost.bench.cli.options import (
    Address,
    As,
    Classes,
    Device,
    EngineName,
    Frames,
    GpuTypes,
    Inputs,
    Json,
    Phases,
    Results,
    Resume,
    Rows,
    Size,
    Threads,
    TimeLimit,
    Where,
)
from vidcost.bench.cli.output import print_tables, report, write_document
from vidcost.bench.timing.choices import STAGES

timing_app = typer.Typer()

_CHOSEN = (
    "rows blocks shape_ impl sweep contribution batch dtype memory_format mode phase "
    "cudnn_benchmark threads classes frames size inputs"
).split()
"""The parameters of ``time`` that a campaign has its own values of."""


@timing_app.command(
    "time", epilog="Example: `vidcost time mfnet-nl mfnet-pnl --contribution --budget 2m`"
)
def time_rows(
    context: typer.Context,
    rows: Rows = None,
    blocks: Annotated[
        list[str] | None,
        typer.Option(
            metavar="BLOCK",
            help="Time blocks alone: 'all', or names such as nl and pnl:n=4, as in "
            "`vidcost count --shape`; may be repeated.",
            autocompletion=completion.blocks_or_all,
        ),
    ] = None,
    shape_: Annotated[
        list[str] | None,
        typer.Option(
            "--shape",
            metavar="CxTxHxW",
            help="Input of the blocks alone; default: where rows put different blocks.",
        ),
    ] = None,
    impl: Annotated[
        str | None,
        typer.Option(
            metavar="IMPL,...",
            help="reference, optimized, or both interleaved; both of all blocks write blocks.md.",
            autocompletion=completion.impls,
        ),
    ] = None,
    sweep: Annotated[
        bool, typer.Option("--sweep", help="Blocks alone in 1 to 32 frames, so N grows.")
    ] = False,
    contribution: Annotated[
        bool,
        typer.Option(
            "--contribution", help="Time rows interleaved with the same networks without blocks."
        ),
    ] = False,
    device: Device = "cpu",
    batch: Annotated[str, typer.Option(metavar="N,...", help="Clips in a pass.")] = "1",
    dtype: Annotated[
        str,
        typer.Option(
            metavar="TYPE,...",
            help="fp32, tf32, bf16, bf16-autocast or fp16.",
            autocompletion=completion.dtypes,
        ),
    ] = "fp32",
    memory_format: Annotated[
        str,
        typer.Option(
            metavar="FORMAT,...",
            help="contiguous or channels_last_3d.",
            autocompletion=completion.memory_formats,
        ),
    ] = "contiguous",
    mode: Annotated[
        str,
        typer.Option(
            metavar="MODE,...",
            help="eager, cuda-graph or compile.",
            autocompletion=completion.modes,
        ),
    ] = "eager",
    phase: Phases = "inference",
    cudnn_benchmark: Annotated[
        str,
        typer.Option(
            metavar="CHOICE,...",
            help="off or on: cuDNN tries its algorithms.",
            autocompletion=completion.on_off,
        ),
    ] = "off",
    threads: Threads = None,
    classes: Classes = None,
    frames: Frames = None,
    size: Size = None,
    campaign: Annotated[
        str | None,
        typer.Option(
            metavar="STAGE,...",
            help="All that is worth knowing of a GPU, the most telling first: full, or some of "
            f"its stages {', '.join(STAGES)}.",
            autocompletion=completion.campaigns,
        ),
    ] = None,
    budget: Annotated[
        str | None,
        typer.Option(metavar="TIME", help="90s, 10m, 1h in all; default: until precise."),
    ] = None,
    inputs: Inputs = None,
    time_limit: TimeLimit = "5m",
    resume: Resume = True,
    engine: EngineName = Where.HERE,
    address: Address = None,
    gpu: GpuTypes = None,
    results: Results = Path("results"),
    as_: As = None,
    json: Json = False,
) -> None:
    """Time rows, blocks alone, or with --contribution what blocks add to their networks.

    Each measurement runs in a process of its own and is appended to timings/*.jsonl in the results
    folder with its raw samples and conditions. Sampling ends when the median is known to 1%, after
    a minute, or as --budget allows. Conditions take several values, as in --dtype fp32,bf16: all
    combinations are timed. With --engine ray each measurement has a GPU, or a node's CPU, of a
    cluster for itself. --campaign chooses targets and conditions itself; with --budget 9m it is
    done in slices: give the same command again to go on. With --impl reference,optimized of all
    blocks, blocks.md in the results folder is written from all stored records; with --budget 0s
    nothing is timed. Fails if a measurement failed.
    """
    from vidcost.bench.cli.engines import NO_BUDGET, Choice, take
    from vidcost.bench.cli.networks import limit_s, parted, refuse_batch, refuse_inputs
    from vidcost.bench.cli.rows import at, buildable
    from vidcost.bench.count.record import count_row
    from vidcost.bench.report.blocks import blocks_markdown, impl_table
    from vidcost.bench.report.timing import contribution_table, timing_table
    from vidcost.bench.timing import plan
    from vidcost.bench.timing.campaign import campaign_cells
    from vidcost.bench.timing.figures import by_kind
    from vidcost.bench.timing.stored import stored_anywhere
    from vidcost.papers.catalog import rows_of

    if campaign is not None:
        _refuse_choices(context)
    if contribution and blocks:
        raise ValueError(
            "--contribution times blocks in their networks, --blocks alone: give one of them"
        )
    if blocks is None and (shape_ or sweep or impl):
        raise ValueError("--shape, --impl and --sweep are for blocks alone: give --blocks too")
    where = Choice(engine, address, gpu, device)
    if where.is_ray and budget is not None:
        raise ValueError(NO_BUDGET)
    budget_s = None if budget is None else plan.seconds(budget)
    both = impl is not None and "," in impl
    if budget_s == 0 and not both:
        raise ValueError(f"--budget {budget} is no time: give more than 0s")
    rows, references = parted(rows)
    if references:
        refuse_batch(batch != "1")
    else:
        refuse_inputs(inputs)
    others = blocks or references or campaign
    chosen = [] if others and not rows else buildable(rows)
    alone: list[tuple[str, plan.Shape]] = []
    reasons: list[str] = []
    if blocks:
        specs = plan.named_specs(blocks, functions=both)
        if impl is not None:
            specs, reasons = plan.implemented(specs, impl, every=plan.ALL in blocks)
        shapes = [plan.shape_of(text) for text in shape_ or ()] or plan.shared_shapes(rows_of())
        alone, unfit = plan.fitting(specs, plan.swept(shapes) if sweep else shapes)
        reasons += unfit
    if (classes, frames, size) != (None, None, None):
        chosen = at(chosen, classes, frames, size)
        for row in chosen:
            # a clip that does not suit a network is refused before any is timed
            count_row(row)
    if references and contribution:
        raise ValueError(
            "--contribution is for rows: `vidcost compare` puts blocks into your network"
        )
    networks = [(reference, inputs or ()) for reference in references]
    where.check_device()
    files.check_folder(results)
    with where.engine([*references, *(blocks or ())]) as machines:
        conditions = plan.Conditions(
            device=device,
            threads=threads or where.threads(),
            batch=batch.split(","),
            dtype=dtype.split(","),
            memory_format=memory_format.split(","),
            mode=mode.split(","),
            phase=phase.split(","),
            cudnn_benchmark=cudnn_benchmark.split(","),
        )
        cells = (
            plan.cells_for(
                chosen, conditions, contribution=contribution, blocks=alone, networks=networks
            )
            if campaign is None
            else campaign_cells(campaign.split(","), device)
        )
        if both:
            cells = plan.pairs_for(alone, conditions)
        taken = take(
            [] if budget_s == 0 else cells,
            results,
            engine=machines,
            resume=resume,
            start_up_s=limit_s(time_limit),
            budget_s=budget_s,
        )
    for line in (*reasons, *taken.notes):
        typer.echo(line, err=True)
    # unlike nodes are never mixed: each kind has its table
    if budget_s == 0:
        taken.timings = [each for each in stored_anywhere(results) if each.cell in cells]
    writers = [contribution_table] if contribution else [impl_table] if both else [timing_table]
    if both and blocks is not None and plan.ALL in blocks:
        document = blocks_markdown(stored_anywhere(results))
        write_document(results / "blocks.md", document, command="time --blocks all --impl")
    if campaign is not None:
        writers.append(contribution_table)
    tables = [write(each) for each in by_kind(taken.timings) for write in writers]
    print_tables([table for table in tables if table.lines or len(tables) == 1], as_)
    report(taken.failures)


def _refuse_choices(context: typer.Context) -> None:
    """Raises: ValueError if something is chosen that a campaign chooses itself."""
    for name in _CHOSEN:
        source = context.get_parameter_source(name)
        if source is not None and source.name == "COMMANDLINE":
            option = "rows" if name == "rows" else f"--{name.strip('_').replace('_', '-')}"
            raise ValueError(f"--campaign chooses what is timed, and how: leave out {option}")

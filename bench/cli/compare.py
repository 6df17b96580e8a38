"""The command that compares networks, or blocks in one network."""

from pathlib import Path
from time import monotonic
from typing import Annotated, Any

import typer

from vidcost.bench import files
from vidcost.bench.cli import options
from vidcost.bench.cli.axis_options import with_axes
from vidcost.bench.cli.output import print_table, report

compare_app = typer.Typer()


@compare_app.command(
    "compare",
    epilog="Example: `vidcost compare mfnet --at conv4:before-last --block nl --block pnl:n=4 "
    "--block cgnl --budget 90s`",
)
@with_axes("frames", "size", "batch", "dtype", "memory_format", "mode", "phase", several=True)
def compare(
    networks: Annotated[
        list[str],
        typer.Argument(
            metavar="NETWORK...",
            help="Rows, or networks of your own, my_net.py:make_model; with --block one of them, "
            "whose own blocks are left out.",
        ),
    ],
    at: Annotated[
        list[str] | None,
        typer.Option(
            "--at",
            metavar="POSITION",
            help="Where the block goes: conv4:before-last, res4:after-2; in a network of your "
            "own behind a module, by its name; repeat it for several places.",
        ),
    ] = None,
    block: Annotated[
        list[str] | None,
        typer.Option(
            "--block",
            metavar="BLOCK",
            help="A block, as nl or pnl:n=4, or your own: my_block.py:MyBlock or "
            "my_pkg.my_module:MyBlock, with options behind another colon; repeat it.",
        ),
    ] = None,
    inputs: options.Inputs = None,
    classes: options.Classes = None,
    device: options.Device = "cpu",
    axes: dict[str, Any] = {},  # noqa: B006  with_axes puts the options here
    threads: options.Threads = None,
    budget: Annotated[
        str, typer.Option(metavar="TIME", help="Time for so long in all: 90s, 10m, 0s for not.")
    ] = "2m",
    time_limit: options.TimeLimit = "5m",
    resume: options.Resume = True,
    results: options.Results = Path("results"),
    as_: options.As = None,
    wide: options.Wide = False,
    json: options.Json = False,
) -> None:
    """Compare networks, or blocks in one: counts, latency, memory, and what they add to the first.

    Each network is counted in a process of its own and checked against closed forms of its blocks.
    All are timed in one rotation with the first, or with the network without any block. Timings are
    stored like those of `vidcost time`. Several conditions, as in --frames 8,16,32, are all
    compared.
    """
    from vidcost.bench.cli.engines import take
    from vidcost.bench.cli.targets import check_options, limit_s, parted, targets
    from vidcost.bench.inspection.comparison import (
        compared,
        count_all,
        predicted,
        to_time,
        variants,
    )
    from vidcost.bench.progress import progress
    from vidcost.bench.report.timing import compare_table, marked
    from vidcost.bench.timing import machine
    from vidcost.bench.timing.record import now
    from vidcost.bench.timing.sweep import Swept

    began, since = monotonic(), now()
    machine.check_device(device)
    budget_s, limit = options.seconds(budget), limit_s(time_limit)
    _, own = parted(networks)
    check_options(own, inputs)
    if own and (classes or axes.keys() & {"frames", "size"}):
        raise ValueError(
            "--classes, --frames and --size are for rows: the inputs of your own network are "
            "given by --input"
        )
    chosen_targets = targets(networks, inputs)
    many = len(chosen_targets)
    if bool(at) != bool(block) or (many != 1 if block else many < 2):
        raise ValueError(
            f"{many} networks: give several, or one with --at and --block, where in it and what"
        )
    files.check_folder(results)
    known = {"device": device, "threads": threads or machine.default_threads(device)}
    chosen = variants(chosen_targets, at or (), block or (), {**known, "classes": classes, **axes})
    with progress("counting", len(chosen)) as advance:
        counts = count_all(chosen, limit_s=limit, advance=advance)
    taken = Swept()
    if budget_s:
        taken = take(
            to_time(chosen, counts),
            results,
            resume=resume,
            start_up_s=limit,
            budget_s=budget_s,
            began=began,
            predicted=predicted(chosen, counts),
            command="vidcost compare",
        )
    found = compared(chosen, counts, taken.timings)
    title = f"Blocks in {networks[0]} at {', '.join(dict.fromkeys(at))}" if at else "Networks"
    by_cell = {timing.cell: timing for timing in taken.timings}
    for variant, line in zip(chosen, found, strict=True):
        if variant.pair in by_cell:
            line["shown_n"] = marked(by_cell[variant.pair], line.get("n"))
    cells = [each.cell for each in chosen]
    table = compare_table(found, cells, taken.timings, title=title, since=since)
    for note in taken.notes:
        typer.echo(note, err=True)
    print_table(table, as_)
    # that a block does not fit one of several clips is a fact, not a failure
    fine = ("ok", "rejected") if axes.keys() & {"frames", "size"} else ("ok",)
    report(
        (
            f"{variant.cell.target}: {line['status']}: {line['error']}"
            for variant, line in zip(chosen, found, strict=True)
            if line["status"] not in fine
        ),
        taken.untimed,
    )

"""The command that compares blocks in one network."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from vidcost.bench import files
from vidcost.bench.cli import completion
from vidcost.bench.cli.options import (
    Address,
    As,
    Batch,
    Classes,
    Device,
    EngineName,
    Frames,
    GpuTypes,
    Inputs,
    Json,
    OneDtype,
    OneMode,
    Results,
    Resume,
    Size,
    Threads,
    TimeLimit,
    Where,
)
from vidcost.bench.cli.output import print_table, report
from vidcost.bench.user.reference import is_reference

compare_app = typer.Typer()

BUDGET = "2m"

EXAMPLE = (
    "Example: `vidcost compare mfnet --at conv4:before-last --block nl --block pnl:n=4 "
    "--block cgnl --budget 90s`"
)


@compare_app.command("compare", epilog=EXAMPLE)
def compare(
    networks: Annotated[
        list[str],
        typer.Argument(
            metavar="NETWORK",
            help="A row's name, whose own blocks are left out, or a network of your own, "
            "my_net.py:make_model; with --modes several, as they are.",
            autocompletion=completion.rows,
        ),
    ],
    at: Annotated[
        list[str] | None,
        typer.Option(
            "--at",
            metavar="POSITION",
            help="Where the block goes: conv4:before-last, res4:after-2; in a network of your "
            "own behind a module, by its name; repeat it for several places.",
            autocompletion=completion.positions,
        ),
    ] = None,
    block: Annotated[
        list[str] | None,
        typer.Option(
            "--block",
            metavar="BLOCK",
            help="nl, cgnl, cgd, pnl:n=4 or your own: my_block.py:MyBlock or "
            "my_pkg.my_module:MyBlock, with options behind another colon; repeat it.",
            autocompletion=completion.blocks,
        ),
    ] = None,
    modes: Annotated[
        bool,
        typer.Option(
            "--modes",
            help="Compare ways to run the networks instead: channels_last_3d, tf32, bf16 autocast, "
            "torch.compile, CUDA graphs, the optimized implementation.",
        ),
    ] = False,
    inputs: Inputs = None,
    sweep: Annotated[
        str | None,
        typer.Option(
            metavar="AXIS=N,...", help="Compare at several clips: frames=8,16,32 or size=112,224."
        ),
    ] = None,
    plot: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Draw the sweep to an .svg or .png file."),
    ] = None,
    classes: Classes = None,
    frames: Frames = None,
    size: Size = None,
    device: Device = "cpu",
    batch: Batch = 1,
    dtype: OneDtype = "fp32",
    memory_format: Annotated[
        str,
        typer.Option(
            help="contiguous or channels_last_3d.", autocompletion=completion.memory_format
        ),
    ] = "contiguous",
    mode: OneMode = "eager",
    phase: Annotated[
        str, typer.Option(help="inference or training.", autocompletion=completion.phase)
    ] = "inference",
    threads: Threads = None,
    budget: Annotated[
        str | None,
        typer.Option(
            metavar="TIME",
            help="Time for so long in all: 90s, 10m, 0s for not; default: 2m, on a cluster until "
            "precise.",
        ),
    ] = None,
    reference_counter: Annotated[
        bool, typer.Option("--fvcore/--no-fvcore", help="Ask fvcore, which runs each for real.")
    ] = True,
    time_limit: TimeLimit = "5m",
    resume: Resume = True,
    engine: EngineName = Where.HERE,
    address: Address = None,
    gpu: GpuTypes = None,
    results: Results = Path("results"),
    as_: As = None,
    json: Json = False,
) -> None:
    """Compare blocks in one network: counts, latency, memory, and what they add to it.

    The network is built with each block in turn at all the positions given, counted in a process of
    its own, checked against the block's closed form if it has one, and timed interleaved with
    the same
    network without any block. Timings are stored like those of `vidcost time`. With --engine
    ray both are done on the nodes of a cluster.
    """
    from vidcost.bench.cli.compare_modes import print_modes
    from vidcost.bench.cli.engines import NO_BUDGET, Choice
    from vidcost.bench.cli.networks import limit_s
    from vidcost.bench.cli.rows import progress
    from vidcost.bench.inspection.comparison import compared, count_all, to_time, variants
    from vidcost.bench.report.compare import compare_table
    from vidcost.bench.session.timing import Taken
    from vidcost.bench.timing.kinds import most_of_one_kind
    from vidcost.bench.timing.plan import seconds

    place = Choice(engine, address, gpu, device)
    place.check_device()
    if modes:
        if place.is_ray:
            raise ValueError("--modes times on this machine: leave --engine out")
        if at or block or sweep or plot:
            raise ValueError(
                "--modes compares networks as they are: leave --at, --block, --sweep and --plot out"
            )
        if (dtype, memory_format, mode) != ("fp32", "contiguous", "eager"):
            raise ValueError("--modes tries --dtype, --memory-format and --mode: leave them out")
        plain = {
            "device": device,
            "threads": threads or place.threads(),
            "batch": batch,
            "phase": phase,
        }
        clip = {"classes": classes, "frames": frames, "size": size}
        print_modes(
            networks,
            inputs or [],
            clip,
            plain,
            budget_s=seconds(budget or BUDGET),
            start_up_s=limit_s(time_limit),
            results=results,
            resume=resume,
            as_=as_,
        )
        return
    if not at or not block:
        raise ValueError("give --at and --block for what goes where, or --modes")
    if len(networks) > 1:
        raise ValueError("blocks are compared in one network at a time: leave the others out")
    (network,) = networks
    swept = None if sweep is None else _axis(sweep)
    if plot is not None:
        _check_plot(plot, swept)
    budget_s = seconds(budget or BUDGET)
    if place.is_ray and budget is not None and budget_s:
        raise ValueError(NO_BUDGET)
    limit = limit_s(time_limit)
    clip = {"classes": classes, "frames": frames, "size": size}
    fields = _network(network, inputs or [], clip, batch, swept is not None)
    files.check_folder(results)
    with place.engine([network, *block]) as machines:
        conditions = {
            "device": device,
            "threads": threads or place.threads(),
            "batch": batch,
            "dtype": dtype,
            "memory_format": memory_format,
            "mode": mode,
            "phase": phase,
        }
        chosen = variants(fields, at, block, conditions, swept)
        with progress(len(chosen)) as advance:
            counts = count_all(
                chosen,
                reference_counters=("fvcore",) if reference_counter else (),
                limit_s=limit,
                advance=advance,
                engine=machines,
            )
        taken = Taken()
        if budget_s:
            taken = place.take(
                machines,
                to_time(chosen, counts),
                results,
                resume=resume,
                start_up_s=limit,
                budget_s=budget_s,
                command="vidcost compare",
            )
    timings, left_out = most_of_one_kind(taken.timings)
    found = compared(chosen, counts, timings)
    axis = swept[0] if swept else None
    where = f"{network} at {', '.join(dict.fromkeys(at))}"
    table = compare_table(found, timings, where=where, axis=axis)
    for note in (*taken.notes, *left_out):
        typer.echo(note, err=True)
    if plot is not None and axis is not None:
        from vidcost.bench.report.compare_plot import write_growth

        write_growth(found, plot, title=where, axis=axis)
        typer.echo(f"drawn: {plot}", err=True)
    print_table(table, as_)
    report(
        f"{each.variant.cell.target}: {each.status}: {each.error}"
        for each in found
        # that a block does not fit a clip is a fact of the sweep, not a failure
        if each.status != "ok" and not (each.status == "refused" and swept)
    )


def _network(
    name: str, inputs: list[str], clip: dict[str, int | None], batch: int, swept: bool
) -> dict[str, Any]:
    """The network as fields of a cell."""
    from vidcost.bench.cli.networks import refuse_batch, refuse_inputs
    from vidcost.bench.timing.plan import network_fields, row_fields
    from vidcost.papers.catalog import select

    if is_reference(name):
        refuse_batch(batch != 1)
        if swept or any(clip.values()):
            raise ValueError(
                "--classes, --frames, --size and --sweep are for rows: the inputs of your own "
                "network are given by --input"
            )
        return network_fields(name, inputs)
    refuse_inputs(inputs)
    chosen = select([name])
    if len(chosen) > 1:
        raise ValueError(f"{name!r} matches {len(chosen)} rows: compare in one at a time")
    return row_fields(chosen[0].at(**clip))


def _axis(text: str) -> tuple[str, tuple[int, ...]]:
    from vidcost.bench.inspection.comparison import AXES

    axis, _, values = text.partition("=")
    if axis not in AXES:
        raise ValueError(f"--sweep goes over {' or '.join(AXES)}, as in frames=8,16,32: not {text}")
    numbers = values.split(",")
    if not all(number.isdecimal() and int(number) for number in numbers):
        raise ValueError(f"--sweep {text}: {axis} are whole numbers above 0, as in {axis}=8,16,32")
    return axis, tuple(dict.fromkeys(map(int, numbers)))


def _check_plot(plot: Path, swept: object) -> None:
    if swept is None:
        raise ValueError("--plot draws a sweep: give --sweep too, as in frames=8,16,32")
    if plot.suffix not in (".svg", ".png"):
        raise ValueError(f"--plot {plot}: name an .svg or a .png file")
    files.check_folder(plot.parent)

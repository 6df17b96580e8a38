"""The command that compares blocks in one network."""

from pathlib import Path
from time import monotonic
from typing import Annotated, Any

import typer

from vidcost.bench import files
from vidcost.bench.cli import options
from vidcost.bench.cli.axis_options import with_axes
from vidcost.bench.cli.output import print_table, report

compare_app = typer.Typer()

BUDGET = "2m"


@compare_app.command(
    "compare",
    epilog="Example: `vidcost compare mfnet --at conv4:before-last --block nl --block pnl:n=4 "
    "--block cgnl --budget 90s`",
)
@with_axes("batch", "dtype", "memory_format", "mode", "phase")
def compare(
    network: Annotated[
        str,
        typer.Argument(
            help="A row's name, whose own blocks are left out, or a network of your own, "
            "my_net.py:make_model."
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
    sweep: Annotated[
        str | None,
        typer.Option(
            metavar="AXIS=N,...", help="Compare at several clips: frames=8,16,32 or size=112,224."
        ),
    ] = None,
    classes: options.Classes = None,
    frames: options.Frames = None,
    size: options.Size = None,
    device: options.Device = "cpu",
    axes: dict[str, Any] = {},  # noqa: B006  with_axes puts the options here
    threads: options.Threads = None,
    budget: Annotated[
        str | None,
        typer.Option(
            metavar="TIME", help="Time for so long in all: 90s, 10m, 0s for not; default: 2m."
        ),
    ] = None,
    reference_counter: Annotated[
        bool, typer.Option("--fvcore/--no-fvcore", help="Ask fvcore, which runs each for real.")
    ] = True,
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
    """Compare blocks in one network: counts, latency, memory, and what they add to it.

    The network is built with each block at all the positions given, counted in a process of its
    own, checked against the block's closed form if it has one, and timed interleaved with the same
    network without any block. Timings are stored like those of `vidcost time`.
    """
    from vidcost.bench.cli.engines import Place, take
    from vidcost.bench.cli.targets import buildable, check_options, limit_s, parted
    from vidcost.bench.inspection.comparison import compared, count_all, to_time, variants
    from vidcost.bench.progress import progress
    from vidcost.bench.report.timing import compare_table
    from vidcost.bench.timing.plan import network_fields, row_fields, seconds
    from vidcost.bench.timing.store import by_kind
    from vidcost.bench.timing.sweep import SET_UP_S, Swept

    began = monotonic()
    place = Place(engine, address, gpu, device, None if budget == "0s" else budget)
    clip = {"classes": classes, "frames": frames, "size": size}
    if not at or not block:
        raise ValueError("give --at and --block: where in the network, and what goes there")
    swept = None if sweep is None else _swept(sweep)
    budget_s, limit = seconds(budget or BUDGET), limit_s(time_limit)
    rows, own = parted([network])
    check_options(own, inputs, has_batch=axes["batch"] != 1)
    if own and (swept or any(clip.values())):
        raise ValueError(
            "--classes, --frames, --size and --sweep are for rows: the inputs of your own "
            "network are given by --input"
        )
    chosen_rows = [] if own else buildable(rows, clip=clip)
    if not own and len(chosen_rows) != 1:
        raise ValueError(f"{network!r} matches {len(chosen_rows)} rows: compare in one at a time")
    target = network_fields(network, inputs or ()) if own else row_fields(chosen_rows[0])
    files.check_folder(results)
    with place.joined([network, *block]) as cores:
        conditions = {"device": device, "threads": threads or cores, **axes}
        chosen = variants(target, at, block, conditions, swept)
        with progress("counting", len(chosen)) as advance:
            counts = count_all(
                chosen,
                reference_counters=("fvcore",) if reference_counter else (),
                limit_s=limit,
                advance=advance,
            )
        taken = Swept()
        left_s = budget_s - max(0.0, monotonic() - began - SET_UP_S)
        if budget_s and left_s <= 0:
            taken.notes.append(
                f"counting took {monotonic() - began:.0f} s, all of --budget: nothing was timed"
            )
        elif budget_s:
            taken = take(
                to_time(chosen, counts),
                results,
                place=place,
                resume=resume,
                start_up_s=limit,
                budget_s=left_s,
                command="vidcost compare",
            )
    timings = max(by_kind(taken.timings), key=len)
    axis = swept[0] if swept else None
    found = compared(chosen, counts, timings, axis)
    where = f"{network} at {', '.join(dict.fromkeys(at))}"
    table = compare_table(found, timings, where=where, axis=axis)
    left_out = len(taken.timings) - len(timings)
    more = [f"{left_out} more timings, on other kinds of machines, are stored and not shown"]
    for note in (*taken.notes, *(more if left_out else ())):
        typer.echo(note, err=True)
    print_table(table, as_)
    report(
        f"{variant.cell.target}: {line['status']}: {line['error']}"
        for variant, line in zip(chosen, found, strict=True)
        # that a block does not fit a clip is a fact of the sweep, not a failure
        if line["status"] not in (("ok", "rejected") if swept else ("ok",))
    )


def _swept(text: str) -> tuple[str, tuple[int, ...]]:
    from vidcost.bench.inspection.comparison import AXES

    axis, _, values = text.partition("=")
    if axis not in AXES:
        raise ValueError(f"--sweep goes over {' or '.join(AXES)}, as in frames=8,16,32: not {text}")
    numbers = values.split(",")
    if not all(number.isdecimal() and int(number) for number in numbers):
        raise ValueError(f"--sweep {text}: {axis} are whole numbers above 0, as in {axis}=8,16,32")
    return axis, tuple(dict.fromkeys(map(int, numbers)))

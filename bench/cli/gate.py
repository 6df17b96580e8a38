"""The commands that fail a change: exact counts, and timings of two versions."""

from __future__ import annotations

import random
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from vidcost.bench import files
from vidcost.bench.cli import completion
from vidcost.bench.cli.options import (
    Address,
    As,
    Device,
    EngineName,
    Format,
    Frames,
    GpuTypes,
    Json,
    Results,
    Size,
    Where,
)
from vidcost.bench.cli.output import complain, print_table, report

if TYPE_CHECKING:
    from vidcost.bench.gate.result import Result

gate_app = typer.Typer(
    help="Regressions caught: exact counts, and timings of two versions.", no_args_is_help=True
)

Blocks = Annotated[
    list[str] | None,
    typer.Option(
        "--blocks",
        metavar="BLOCK",
        help="Blocks alone: 'all', or specs as in `vidcost block`; may be repeated.",
        autocompletion=completion.blocks_or_all,
    ),
]
Shapes = Annotated[
    list[str] | None,
    typer.Option("--shape", metavar="CxTxHxW", help="Input of the blocks alone."),
]
Threads = Annotated[int, typer.Option(min=1, help="CPU threads of each process.")]
Margin = Annotated[float, typer.Option(min=0.001, max=1, help="Share by which head may be slower.")]
Out = Annotated[Path, typer.Option(metavar="FILE", help="Raw samples and verdicts, as JSON.")]
Junit = Annotated[
    Path | None, typer.Option(metavar="FILE", help="The verdicts as JUnit's XML too.")
]


@gate_app.command("counts", epilog="Example: `vidcost gate counts --results results`")
def gate_counts(results: Results = Path("results"), as_: As = None, json: Json = False) -> None:
    """Count every row and compare with counts.jsonl, exactly; any difference fails.

    What fvcore, thop and torch print is computed by our account of their conventions, which
    `vidcost explain` holds to what they answer.
    """
    from vidcost.bench.cli.rows import progress
    from vidcost.bench.gate.baseline import compare
    from vidcost.bench.report.gate.counts import change_table, summary_line
    from vidcost.bench.report.gate.github import annotated, announce, append_summary
    from vidcost.papers.catalog import rows_of

    comparison = compare(rows_of(), results, progress=progress)
    summary, table = summary_line(comparison, results), change_table(comparison.changes)
    if comparison.changes or as_ is not None:
        print_table(table, as_)
    _note(append_summary(table.markdown() if comparison.changes else summary + "\n"))
    if not comparison.changes:
        typer.echo(summary, err=as_ is not None)
        return
    announce(
        annotated(
            "error",
            [
                (f"{change.row}: {change.field}", f"was {change.before}, is {change.after}")
                for change in comparison.changes
            ],
        ),
        err=as_ is not None,
    )
    report([summary])


@gate_app.command("accept", epilog='Example: `vidcost gate accept --reason "PNL pools once"`')
def gate_accept(
    reason: Annotated[str, typer.Option(help="Why the counts change; it is kept.")],
    results: Results = Path("results"),
    json: Json = False,
) -> None:
    """Make what is counted now the baseline of `vidcost gate counts`, with the reason.

    fvcore, thop and the others are asked about the rows that changed.
    """
    from vidcost.bench.cli.rows import progress
    from vidcost.bench.gate.baseline import accept
    from vidcost.bench.report.gate.counts import accepted_line, change_table
    from vidcost.papers.catalog import rows_of

    acceptance = accept(rows_of(), results, reason, progress=progress)
    if json:
        print_table(change_table(acceptance.changes), Format.JSON)
    typer.echo(accepted_line(acceptance, results), err=json)


@gate_app.command("time", epilog="Example: `vidcost gate time mfnet-pnl --base main`")
def gate_time(
    rows: Annotated[
        list[str] | None,
        typer.Argument(
            help="Row names or globs; none, and no --blocks: on a GPU all rows, on a CPU all "
            "blocks alone.",
            autocompletion=completion.rows,
        ),
    ] = None,
    base: Annotated[str, typer.Option(metavar="REF", help="Branch, tag or commit.")] = "HEAD",
    head: Annotated[
        str | None,
        typer.Option(metavar="REF", help="The other one; default: the files as they are here."),
    ] = None,
    blocks: Blocks = None,
    shapes: Shapes = None,
    frames: Frames = None,
    size: Size = None,
    device: Device = "cpu",
    batch: Annotated[int, typer.Option(min=1, help="Clips in a pass.")] = 1,
    dtype: Annotated[
        str, typer.Option(help="fp32, tf32, bf16 or fp16.", autocompletion=completion.dtype)
    ] = "fp32",
    phase: Annotated[
        str, typer.Option(help="inference or training.", autocompletion=completion.phase)
    ] = "inference",
    threads: Threads = 1,
    margin: Margin = 0.03,
    visit: Annotated[
        float, typer.Option(min=0.01, help="Seconds in which a pair takes turns at a subject.")
    ] = 1.0,
    seed: Annotated[
        int | None, typer.Option(min=0, help="Chooses the orders; default: any, recorded.")
    ] = None,
    same_environment: Annotated[
        bool,
        typer.Option(
            "--same-environment", help="Run both with the packages installed here, in any case."
        ),
    ] = False,
    out: Out = Path("gate.json"),
    junit: Junit = None,
    as_: As = None,
    json: Json = False,
) -> None:
    """Time two versions of the models in turns on this machine, and judge the difference.

    Both are checked out and measured by this installation's harness. Every subject is screened on
    eight pairs of processes; what looks changed is confirmed on fresh ones. Exit status 0: nothing
    regressed; 1: something did; 3: something could not be judged.
    """
    from vidcost.bench.gate import comparison, result, versions
    from vidcost.bench.gate.campaign import Campaign
    from vidcost.bench.gate.record import Rule
    from vidcost.bench.session.gate_progress import gate_progress
    from vidcost.bench.session.timing import check_device
    from vidcost.bench.timing.cell import Cell
    from vidcost.bench.timing.plan import Conditions, checked_cell
    from vidcost.bench.timing.sweep import Interrupted

    check_device(device)
    files.check_folder(out.parent)
    if not rows and device == "cpu":
        blocks = blocks or ["all"]
    (common,) = Conditions(device, threads, (batch,), (dtype,), phase=(phase,)).combinations()

    def cell_of_row(name: str) -> Cell:
        return checked_cell({"row": name, "frames": frames, "size": size} | common)

    # what is wrong in any version is said before two are prepared, which takes seconds to minutes
    alone, left_out = comparison.blocks_alone(blocks or (), shapes or ())
    cells = [checked_cell(block | common) for block in alone]
    # of a row by any name, which only the versions know
    for name in rows or (() if blocks else ("any",)):
        cell_of_row(name)
    prepared = comparison.prepare_refs(
        Path(), base, head, cache=versions.cache_folder(), same_environment=same_environment
    )
    # a version whose models do not import says so here, whatever is measured
    base_rows, head_rows = (side.rows() for side in prepared)
    if rows or not blocks:
        names, of_one = comparison.common_rows(base_rows, head_rows, rows or ())
        cells = [*map(cell_of_row, names), *cells]
        left_out = [*of_one, *left_out]
    run = comparison.new_run(
        prepared,
        cells,
        left_out=left_out,
        rule=Rule(margin=margin),
        seed=random.SystemRandom().randrange(1 << 32) if seed is None else seed,
        visit_s=visit,
    )
    with gate_progress(Console(stderr=True)) as show:
        campaign = Campaign(
            run,
            comparison.launches(prepared),
            save=lambda run: result.write(out, result.Result.of(run)),
            on_progress=show,
        )
        try:
            campaign.finish()
        except KeyboardInterrupt:
            raise Interrupted(
                f"stopped before all pairs were measured: {out} has those that were, which are "
                "not enough to judge by"
            ) from None
    _conclude(result.Result.of(campaign.run), junit, as_)


@gate_app.command("samples", epilog="Example: `vidcost gate samples base.jsonl head.jsonl`")
def gate_samples(
    base: Annotated[Path, typer.Argument(help="A file, or a folder of files.")],
    head: Annotated[Path, typer.Argument(help="The other one, of the same kind.")],
    noise: Annotated[
        float | None,
        typer.Option(
            metavar="SHARE",
            help="Spread of process medians known from a study, such as 0.01: judges even single "
            "processes.",
        ),
    ] = None,
    allow: Annotated[
        list[str] | None,
        typer.Option(metavar="FIELD", help="A field in which the machines may differ."),
    ] = None,
    margin: Margin = 0.03,
    out: Out = Path("gate.json"),
    junit: Junit = None,
    as_: As = None,
    json: Json = False,
) -> None:
    """Judge stored records: files of `vidcost time`, or JSON of pytest-benchmark.

    The unit is a process: its samples are correlated. Records of unlike machines are refused. Exit
    statuses are those of `vidcost gate time`.
    """
    from vidcost.bench.gate import result
    from vidcost.bench.gate.record import Rule
    from vidcost.bench.gate.sample_files import compare_samples

    files.check_folder(out.parent)
    found = compare_samples(base, head, rule=Rule(margin=margin), noise=noise, allow=allow or ())
    judged = result.Result.of(found)
    result.write(out, judged)
    _conclude(judged, junit, as_)


@gate_app.command("replay", epilog="Example: `vidcost gate replay gate.json`")
def gate_replay(
    file: Annotated[Path, typer.Argument(help="What a gate wrote.")],
    junit: Junit = None,
    as_: As = None,
    json: Json = False,
) -> None:
    """Compute the verdicts anew from a gate's file alone, with its rule and its raw samples.

    Fails with exit status 3 if they are not those that the file holds.
    """
    from vidcost.bench.gate import result
    from vidcost.bench.gate.verdict import INVALID

    stored = result.read(file)
    judged = result.Result.of(stored.measured)
    if judged != stored:
        complain(f"{file} holds other verdicts: it was edited, or judged by another version")
        judged = judged.model_copy(update={"status": INVALID})
    _conclude(judged, junit, as_)


@gate_app.command("study", epilog="Example: `vidcost gate study --comparisons 300`")
def gate_study(
    comparisons: Annotated[
        int, typer.Option(min=0, help="Comparisons of equal code, at least.")
    ] = 300,
    per_factor: Annotated[
        int, typer.Option(min=0, help="Comparisons with each injected slow-down, at least.")
    ] = 40,
    device: Device = "cpu",
    threads: Threads = 1,
    visit: Annotated[
        float, typer.Option(min=0.01, help="Seconds in which a pair takes turns at a subject.")
    ] = 0.4,
    engine: EngineName = Where.HERE,
    address: Address = None,
    gpu: GpuTypes = None,
    results: Results = Path("results"),
    json: Json = False,
) -> None:
    """Measure the gate itself on this machine: false alarms on equal code, slow-downs found.

    Trials are appended to gate/<device>/study.jsonl in the results folder, and the same command
    goes on where it stopped. README.md and power.svg beside it say what came of it, and what the
    usual tools would have said of the same samples. With --engine ray each trial has a GPU, or a
    node's CPU, of a cluster for itself.
    """
    from vidcost.bench.cli.engines import Choice
    from vidcost.bench.cli.rows import progress
    from vidcost.bench.gate import comparison, study, trial, versions
    from vidcost.bench.report.gate.study_document import write_study
    from vidcost.bench.session.cluster_timing import one_kind
    from vidcost.bench.session.gate_progress import gate_progress
    from vidcost.bench.session.timing import check_device, slug
    from vidcost.bench.timing.conditions import machine_of
    from vidcost.bench.timing.sweep import Interrupted

    where = Choice(engine, address, gpu, device)
    if not where.is_ray:
        check_device(device)
    lost: list[str] = []
    with where.engine() as machines:
        machine = one_kind(machines, device) if where.is_ray else machine_of(device)
        folder = results / "gate" / slug(machine)
        files.check_folder(folder)
        path, cells = folder / "study.jsonl", study.study_cells(device, threads)
        missing = study.missing(path, cells, comparisons=comparisons, per_factor=per_factor)
        if missing:
            prepared = comparison.prepare_refs(Path(), None, None, cache=versions.cache_folder())
            try:
                if where.is_ray:
                    with progress(len(missing)) as advance:
                        lost = study.carry_out_on(
                            machines,
                            prepared,
                            path,
                            cells,
                            missing,
                            visit_s=visit,
                            on_trial=lambda trial: advance(f"trial {trial.number}"),
                        )
                else:
                    with gate_progress(Console(stderr=True)) as show:
                        study.carry_out(
                            prepared, path, cells, missing, visit_s=visit, on_progress=show
                        )
            except KeyboardInterrupt:
                raise Interrupted(
                    f"stopped; the trials that were finished are in {path}: give the same command "
                    "to go on"
                ) from None
    if not path.exists():
        report(lost)
    written, alarms = write_study(trial.read(path), folder)
    if json:
        print_table(alarms, Format.JSON)
    for document in written:
        typer.echo(f"Written: {document}", err=json)
    report(lost)


def _conclude(judged: Result, junit: Path | None, as_: Format | None) -> None:
    """Show the verdicts wherever somebody looks, and exit accordingly."""
    from vidcost.bench.report.gate import github as gate_github
    from vidcost.bench.report.gate import junit as gate_junit
    from vidcost.bench.report.gate import verdicts as gate_tables

    table = gate_tables.verdict_table(
        judged.verdicts,
        ran=gate_tables.what_ran(judged.measured),
        everything=as_ in (Format.JSON, Format.CSV),
    )
    print_table(table, as_)
    if junit is not None:
        properties = gate_junit.properties_of(judged.measured)
        files.write(junit, gate_junit.junit(judged.verdicts, properties))
    gate_github.announce(gate_github.annotations(judged.verdicts), err=as_ is not None)
    _note(gate_github.append_summary(table.markdown()))
    if judged.status:
        raise typer.Exit(judged.status)


def _note(warning: str | None) -> None:
    if warning:
        complain(warning)

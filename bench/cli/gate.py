"""The commands that fail a change: exact counts, and timings of two versions."""

from __future__ import annotations

import random
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, NamedTuple

import typer

from vidcost.bench import files
from vidcost.bench.cli import options
from vidcost.bench.cli.axis_options import with_axes, with_parts
from vidcost.bench.cli.output import complain, print_table, report
from vidcost.bench.extras import require
from vidcost.bench.progress import progress

if TYPE_CHECKING:
    from vidcost.bench.gate.baseline import Comparison
    from vidcost.bench.gate.record import Result, Rule, Run, SampleComparison
    from vidcost.bench.gate.versions import Prepared
    from vidcost.bench.timing.cell import Cell

MOST_PAIRS_FOR_POWER = 400
"""With --power; each pair takes some seconds at a target."""

gate_app = typer.Typer(
    help="Regressions caught: exact counts, and timings of two versions.", no_args_is_help=True
)

Blocks = Annotated[
    list[str] | None,
    typer.Option(
        "--blocks",
        metavar="BLOCK",
        help="Blocks alone: 'all', or specs as in `vidcost count --shape`; may be repeated.",
    ),
]
Shapes = Annotated[
    list[str] | None, typer.Option("--shape", metavar="CxTxHxW", help="Input of the blocks alone.")
]
Base = Annotated[str, typer.Option(metavar="REF", help="Branch, tag or commit.")]
Threads = Annotated[int, typer.Option(min=1, help="CPU threads of each process.")]
Margin = Annotated[
    float | None,
    typer.Option(
        min=0.001,
        max=1,
        help="Fraction by which head may be slower; default: [tool.vidcost.time], else 0.03.",
    ),
]
Find = Annotated[
    float | None,
    typer.Option(
        min=0.001, max=1, help="Slow-down that must be found; default: 0.02 above the margin."
    ),
]
Inconclusive = Literal["fail", "warn"]
IfInconclusive = Annotated[
    Inconclusive, typer.Option(help="fail: exit status 3 if --find is not excluded; warn: 0.")
]
Out = Annotated[Path, typer.Option(metavar="FILE", help="Raw samples and verdicts, as JSON.")]


def _with_junitparser(path: Path | None) -> Path | None:
    """Check the extra before anything is measured."""
    if path is not None:
        require("junit")
    return path


Junit = Annotated[
    Path | None,
    typer.Option(metavar="FILE", callback=_with_junitparser, help="The verdicts as JUnit XML too."),
]

OpenMetrics = Annotated[
    Path | None, typer.Option("--openmetrics", metavar="FILE", help="The numbers as OpenMetrics.")
]


class Judging(NamedTuple):
    """How to judge, where to write what was judged, and whether versions are installed first."""

    rule: Rule
    out: Path
    install: bool

    def judged(self, measured: Run | SampleComparison) -> Result:
        """The verdicts on what was measured, stored with it."""
        from vidcost.bench.gate import record
        from vidcost.bench.gate.judge import judged

        result = judged(measured)
        record.write(self.out, result)
        return result


def judging(
    margin: Margin = None,
    find: Find = None,
    inconclusive: IfInconclusive = "fail",
    out: Out = Path("gate.json"),
) -> Judging:
    """Judge by the options, and as the repository here says where they are not given."""
    from vidcost.bench.gate.record import Rule
    from vidcost.bench.gate.settings import settings

    files.check_folder(out.parent)
    time = settings(Path()).time
    rule = Rule(inconclusive=inconclusive, own=time.override).bounded(
        margin or time.margin, find or time.find, "--margin, --find or [tool.vidcost.time]"
    )
    return Judging(rule, out, time.install)


@dataclass(frozen=True)
class Reporting:
    """Where and how verdicts are reported."""

    junit: Junit = None
    openmetrics: OpenMetrics = None
    as_: options.As = None
    json: options.Json = False
    wide: options.Wide = False

    def conclude(self, result: Result) -> None:
        """Report the verdicts everywhere, and exit accordingly."""
        from vidcost.bench.report import gate

        verdicts, ran = result.verdicts, gate.what_ran(result.measured)
        table = gate.verdict_table(verdicts, ran)
        print_table(table, self.as_)
        if self.junit is not None:
            files.write(self.junit, gate.junit(verdicts, ran))
        if self.openmetrics is not None:
            files.write(self.openmetrics, gate.openmetrics(verdicts))
        commands = gate.annotations(verdicts, result.measured.rule)
        gate.tell_github(commands, table.markdown(), err=self.as_ is not None)
        if result.status:
            raise typer.Exit(result.status)


@gate_app.command("counts", epilog="Example: `vidcost gate counts --results results`")
def gate_counts(
    networks: Annotated[
        list[str] | None,
        typer.Argument(help="Networks of your own, my_net.py:make_model; none: all rows here."),
    ] = None,
    inputs: options.Inputs = None,
    baseline: Annotated[
        Path | None, typer.Option(metavar="FILE", help="The baseline of your own networks, TOML.")
    ] = None,
    update: Annotated[
        bool, typer.Option("--update", help="Write the counts of now to the baseline.")
    ] = False,
    time_limit: options.TimeLimit = options.TIME_LIMIT,
    results: options.Results = Path("results"),
    as_: options.As = None,
    json: options.Json = False,
) -> None:
    """Count and compare with a baseline, exactly; any difference fails.

    Networks of your own are compared with the TOML file --baseline, as the pytest plugin writes
    it. Without networks all rows are compared with counts.jsonl in the results folder; the answers
    of fvcore, thop and torch are computed from their conventions, which `vidcost explain` checks
    against their real answers.
    """
    from vidcost.bench.count import record
    from vidcost.bench.gate.counts import compare
    from vidcost.bench.report import gate
    from vidcost.papers.catalog import rows_beside

    legend: tuple[str, ...] = ("An improvement fails too. To accept: the same with --update.",)
    if networks or baseline:
        if baseline is None or not networks:
            raise ValueError("name networks of your own and the file --baseline: give both")
        found = _of_networks(networks, inputs, baseline, time_limit, update=update)
    elif update or inputs:
        raise ValueError("--update and --input are for networks of your own: name one")
    else:
        found, baseline = (
            compare(rows_beside(record.read(results)), results),
            results / record.COUNTS,
        )
        legend = gate.row_legend(found)
    if update:
        typer.echo(f"Written: {baseline}")
        return
    table, summary = gate.change_table(found, *legend), gate.summary_line(found, baseline)
    if found.changes or as_ is not None:
        print_table(table, as_)
    said = table.markdown() if found.changes else f"{summary}\n"
    gate.tell_github(gate.change_annotations(found), said, err=as_ is not None)
    report([summary] if found.changes else [])
    typer.echo(summary, err=as_ is not None)


def _of_networks(
    networks: Sequence[str], inputs: list[str] | None, path: Path, time_limit: str, *, update: bool
) -> Comparison:
    """Compare networks with those of the baseline ``path``, or ``update`` it."""
    from vidcost.bench.cli.targets import failures, limit_s, network_cells
    from vidcost.bench.gate import baseline
    from vidcost.bench.gate.settings import settings
    from vidcost.bench.inspection.counted import counted

    if update:
        baseline.check_writing("--update")
    chosen, stored = settings(Path()), baseline.read(path) or baseline.Baseline()
    if stored.other_convention and not update:
        raise ValueError(f"{path} {stored.other_convention}: --update counts anew")
    found = [counted(c, limit_s=limit_s(time_limit)) for c in network_cells(networks, inputs)]
    report(failures(found))
    now = {
        " ".join((each.cell.target, *each.cell.inputs)): baseline.entry_of(each.count, chosen)
        for each in found
        if each.count
    }
    if update:
        known = {**stored.entries, **now}
        baseline.write(path, known, command="vidcost gate counts --update")
    elif missing := now.keys() - stored.entries.keys():
        raise ValueError(f"{path} has no {min(missing)!r}: --update adds it")
    return baseline.differences({name: stored.entries.get(name, now[name]) for name in now}, now)


@gate_app.command("accept", epilog='Example: `vidcost gate accept --reason "PNL pools once"`')
def gate_accept(
    reason: Annotated[str, typer.Option(help="Why the counts change; it is kept.")],
    results: options.Results = Path("results"),
    json: options.Json = False,
) -> None:
    """Make the counts of now the baseline of `vidcost gate counts`, with the reason.

    fvcore, thop and the others are asked about the rows that changed.
    """
    from vidcost.bench.count import record
    from vidcost.bench.gate.counts import HISTORY, accept
    from vidcost.bench.report.gate import change_table
    from vidcost.papers.catalog import rows_beside

    accepted = accept(rows_beside(record.read(results)), results, reason)
    if json:
        print_table(change_table(accepted), options.Format.JSON)
    typer.echo(
        f"{len(accepted.changes):,} differences in {len(accepted.changed):,} rows accepted. "
        f"Written: {results / record.COUNTS}, {results / HISTORY}. Now run `vidcost tables`, "
        "`vidcost explain` and `vidcost audit`, which derive their files from the counts, and "
        "commit all.",
        err=json,
    )


@gate_app.command("time", epilog="Example: `vidcost gate time mfnet-pnl --base main`")
@with_parts(judging=judging, reporting=Reporting)
@with_axes("frames", "size", "batch", "dtype", "phase")
def gate_time(
    rows: Annotated[
        list[str] | None,
        typer.Argument(
            help="Files or folders of tests that use time_gate, in any repository; or row names or "
            "globs; none, and no --blocks: on a GPU all rows, on a CPU all "
            "blocks alone."
        ),
    ] = None,
    base: Base = "HEAD",
    head: Annotated[
        str | None,
        typer.Option(metavar="REF", help="The other one; default: the files as they are here."),
    ] = None,
    blocks: Blocks = None,
    shapes: Shapes = None,
    device: options.Device = "cpu",
    axes: dict[str, Any] = {},  # noqa: B006  with_axes puts the options here
    threads: Threads = 1,
    *,
    judging: Judging,
    power: Annotated[
        float | None,
        typer.Option(
            min=0.5,
            max=0.999,
            help="Find --find with this probability, with as many pairs as that takes; default: "
            "0.95 with at most 40 pairs.",
        ),
    ] = None,
    reporting: Reporting,
) -> None:
    """Time two versions of the models interleaved on this machine, and judge the difference.

    With tests, a repository's own: head's tests are run on the files here and on the commit where
    --base and HEAD part. [tool.vidcost.time] of pyproject.toml may set margin and find.
    This installation's harness and packages measure both. Every target is screened on eight pairs
    of processes, and confirmed on fresh pairs if it may have changed. Exit status 0: nothing
    regressed; 1: something did; 3: something could not be judged, or was too noisy to find --find.
    """
    from vidcost.bench.timing.cell import default
    from vidcost.bench.timing.machine import check_device

    check_device(device)
    if power is not None:
        pairs = {"power": power, "most_pairs": MOST_PAIRS_FOR_POWER}
        judging = judging._replace(rule=judging.rule.model_copy(update=pairs))
    common = {"device": device, "threads": threads}
    # no row's name is a path
    tests = [w for w in rows or () if "/" in w or Path(w.partition("::")[0]).exists()]
    if not tests:
        result = _timed_rows(rows or (), blocks, shapes, common | axes, base, head, judging)
    elif (
        tests == rows
        and axes == {name: default(name) for name in axes}
        and not (blocks or shapes or head)
    ):
        result = _timed_tests(tests, common, base, judging)
    else:
        raise ValueError(
            "tests are timed as they are: leave out rows and options of rows and blocks"
        )
    reporting.conclude(result)


def _timed_rows(
    rows: Sequence[str],
    blocks: list[str] | None,
    shapes: list[str] | None,
    common: Mapping[str, Any],
    base: str,
    head: str | None,
    judging: Judging,
) -> Result:
    """Time rows of this repository, and blocks alone at ``shapes``."""
    from vidcost.bench.block_spec import reference_of
    from vidcost.bench.gate import interleave, versions
    from vidcost.bench.timing import plan
    from vidcost.bench.timing.cell import checked_cell

    if not rows and common["device"] == "cpu":
        blocks = blocks or ["all"]
    if shapes and not blocks:
        raise ValueError("--shape is for blocks alone: give --blocks too")

    def cell_of_row(name: str) -> Cell:
        return checked_cell({"row": name, **common})

    # bad input is reported before two versions are prepared, which takes seconds
    alone, notes = plan.blocks_alone(blocks or (), shapes or ())
    for spec, _ in alone:
        if reference_of(spec):
            raise ValueError(
                f"--blocks {spec}: both sides would load the same file; two versions of a "
                "repository's own blocks are compared, by name"
            )
    cells = [checked_cell({"block": spec, "shape": shape, **common}) for spec, shape in alone]
    # only the versions know the names of their rows
    for name in rows or (() if blocks else ("any",)):
        cell_of_row(name)
    with tempfile.TemporaryDirectory() as folder, progress("gate", 1) as show:
        prepared = versions.prepare(Path(), base, head, Path(folder))
        notes += versions.other_packages(prepared)
        # also reports a version whose models do not import
        base_rows, head_rows = (side.rows() for side in prepared)
        if rows or not blocks:
            names, of_one = interleave.in_both(base_rows, head_rows, rows)
            if not names:
                raise ValueError("; ".join(of_one) or "neither version has a row")
            cells = [*map(cell_of_row, names), *cells]
            notes = [*of_one, *notes]
        return _timed(prepared, cells, notes, judging, show)


def _timed_tests(
    words: Sequence[str], common: Mapping[str, Any], base: str, judging: Judging
) -> Result:
    """Time the tests ``words`` of the repository here."""
    from vidcost.bench.exit_status import NOT_JUDGED
    from vidcost.bench.gate import interleave, side, versions
    from vidcost.bench.timing.cell import Cell

    with tempfile.TemporaryDirectory() as folder, progress("gate", 1) as show:
        trees = side.prepare(base, words, Path(folder), install=judging.install)
        code = trees[1].version.code
        if trees[0].version.code == code:
            typer.echo("SAME CODE: all files of both versions are equal, so nothing was timed")
            raise typer.Exit
        (old, broken), (new, failed) = (tree.tests(words) for tree in trees)
        both, notes = interleave.in_both(old, new)
        notes += broken + failed + versions.other_packages(trees)
        if not both:
            if any("No module named" in line for line in (*broken, *failed)):
                notes.append("install = true in [tool.vidcost.time] builds what must be built")
            complain("; ".join(notes) or f"no test in {' '.join(words)} uses time_gate")
            raise typer.Exit(NOT_JUDGED)
        # fixed before anything is measured
        rule = judging.rule.with_marks({test: new[test] for test in both})
        cells = [Cell(test=test, code=code, **common) for test in both]
        return _timed(trees, cells, notes, judging._replace(rule=rule), show)


def _timed(
    prepared: tuple[Prepared, Prepared],
    cells: Sequence[Cell],
    notes: Sequence[str],
    judging: Judging,
    show: Callable[[str, int, int], None],
) -> Result:
    """Time ``cells`` at both sides, storing each pair, and judge them."""
    from vidcost.bench.gate import interleave
    from vidcost.bench.gate.record import SIDES
    from vidcost.bench.timing.machine import locked, names_of
    from vidcost.bench.timing.sweep import Interrupted

    sides = dict(zip(SIDES, prepared, strict=True))
    known = {"rule": judging.rule, "seed": random.SystemRandom().getrandbits(32), "notes": notes}
    run = interleave.new_run((prepared[0].version, prepared[1].version), cells, **known)
    campaign = interleave.Campaign(
        run,
        {name: side.variables for name, side in sides.items()},
        save=judging.judged,
        on_progress=show,
        command=lambda name, cells: sides[name].command(cells),
    )
    busy = names_of(cells[0].device, cells[0].threads, run.machine)
    try:
        with locked(busy, partial(typer.echo, err=True)):
            return judging.judged(campaign.finish())
    except KeyboardInterrupt:
        raise Interrupted(
            f"stopped before all pairs were measured: {judging.out} holds those that were, too few "
            "to judge"
        ) from None


@gate_app.command("samples", epilog="Example: `vidcost gate samples base.json head.json`")
@with_parts(judging=judging, reporting=Reporting)
def gate_samples(
    base: Annotated[Path, typer.Argument(help="A JSON file of pytest-benchmark, or a folder.")],
    head: Annotated[Path, typer.Argument(help="The same of the other version.")],
    allow: Annotated[
        list[str] | None,
        typer.Option(metavar="FIELD", help="A field in which the machines may differ."),
    ] = None,
    *,
    judging: Judging,
    reporting: Reporting,
) -> None:
    """Judge stored benchmarks: the JSON that pytest-benchmark writes of two versions.

    One run of pytest is one process, and so one value: its samples are correlated. Runs on unlike
    machines are rejected. Exit statuses are those of `vidcost gate time`.
    """
    from vidcost.bench.gate.pytest_benchmark import compare_files

    found = compare_files(base, head, rule=judging.rule, allow=allow or ())
    reporting.conclude(judging.judged(found))


@gate_app.command(
    "pytest", epilog="Example: `vidcost gate pytest --base main -- tests/perf --benchmark-only`"
)
@with_parts(judging=judging, reporting=Reporting)
def gate_pytest(
    words: Annotated[
        list[str], typer.Argument(help="Arguments of pytest, its files and folders among them.")
    ],
    base: Base = "HEAD",
    *,
    judging: Judging,
    reporting: Reporting,
) -> None:
    """Run a suite of pytest-benchmark at two versions of this repository, and judge it.

    Processes of base and head take turns, as many as the exact rank test needs for the number of
    benchmarks. The versions are those of `vidcost gate time` with tests.
    """
    from vidcost.bench.gate import record, side
    from vidcost.bench.gate.pytest_benchmark import compare_files
    from vidcost.bench.gate.statistics import values_needed

    paths = [word for word in words if Path(word.partition("::")[0]).exists()]
    if not paths:
        raise ValueError("name files or folders of benchmarks behind --, such as tests/perf")
    with tempfile.TemporaryDirectory() as folder, progress("gate", 1) as show:
        prepared = side.prepare(base, paths, Path(folder), install=judging.install)
        trees = dict(zip(record.SIDES, prepared, strict=True))
        stored = {name: Path(folder) / f"{name}-runs" for name in trees}
        done, needed = 0, 1
        while done < needed:
            for name in random.sample(record.SIDES, 2):
                show(name, done, needed)
                count = trees[name].benchmark(words, stored[name] / f"{done}.json")
                needed = max(needed, values_needed(judging.rule.confirm_level / count))
            done += 1
        found = compare_files(stored["base"], stored["head"], rule=judging.rule)
        result = judging.judged(found)
    reporting.conclude(result)


@gate_app.command("replay", epilog="Example: `vidcost gate replay gate.json`")
@with_parts(reporting=Reporting)
def gate_replay(
    file: Annotated[Path, typer.Argument(help="What a gate wrote.")], *, reporting: Reporting
) -> None:
    """Compute the verdicts again from a gate's file, with its rule and its raw samples.

    Fails with exit status 3 if they differ from those in the file.
    """
    from vidcost.bench.exit_status import NOT_JUDGED
    from vidcost.bench.gate import record
    from vidcost.bench.gate.judge import judged

    stored = record.read(file)
    result = judged(stored.measured)
    if result != stored:
        complain(f"{file} holds other verdicts: it was edited, or judged by another version")
        result = result.model_copy(update={"status": NOT_JUDGED})
    reporting.conclude(result)

"""The command line: the only place that parses arguments."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer
from rich.console import Console

from vidcost.bench import files, published
from vidcost.bench.audit import FindingGone, judge, printed_figures, problems
from vidcost.bench.block_spec import block_factory, shape, two_specs
from vidcost.bench.conformance_table import (
    conformance_markdown,
    conformance_tables,
    data_table,
)
from vidcost.bench.count import cache, record
from vidcost.bench.count.closed_form import ClosedFormMismatch
from vidcost.bench.count.conformance import ask_counters, failures
from vidcost.bench.count.ledger import Examined, complaints, reconcile
from vidcost.bench.count.measure import measure, steps
from vidcost.bench.count.record import Record, count_row
from vidcost.bench.count_tables import (
    block_table,
    count_table,
    list_table,
    training_table,
    tree_table,
)
from vidcost.bench.ledger_tables import (
    ledger_markdown,
    ledger_table,
    statement_table,
    tidy_table,
)
from vidcost.bench.paper_tables import paper_table
from vidcost.bench.progress import bar
from vidcost.bench.table import Table, show
from vidcost.bench.timing.plan import seconds
from vidcost.bench.timing.record import Timing
from vidcost.bench.timing.sweep import Interrupted
from vidcost.models.rows import ROWS, Row, select

if TYPE_CHECKING:
    from vidcost.bench.timing_session import Taken

FOUND_WRONG, BAD_INPUT, INTERRUPTED = 1, 2, 130
"""Exit statuses: something measured is wrong; the command cannot be carried out as given; Ctrl-C,
as shells have it."""

_UsageError: Any = typer.BadParameter.__base__
"""A command line that cannot be understood; typer exports it only by this subclass."""

PRINTED_BY_RUN = (3, 5, 6)
"""The tables that ``run`` prints: those in which the paper prints costs."""

SHOWN_BY_TERM = 4
"""Up to so many rows ``ledger`` shows term by term."""


class Format(StrEnum):
    """How a table is printed."""

    MD = "md"
    JSON = "json"
    CSV = "csv"


app = typer.Typer(
    help="What long-range video blocks really cost: exact counts beside the paper's figures.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
)
cache_app = typer.Typer(help="The answers of fvcore and thop that are kept.", no_args_is_help=True)
app.add_typer(cache_app, name="cache")

Rows = Annotated[
    list[str] | None, typer.Argument(help="Row names or globs, such as 'mfnet*'; none: all rows.")
]
PaperTable = Annotated[
    int | None, typer.Option("--table", help="Only the rows of this table of the paper.")
]
As = Annotated[
    Format | None,
    typer.Option(
        "--format", help="Print markdown, JSON or CSV; default: drawn on a terminal, else markdown."
    ),
]
Results = Annotated[
    Path, typer.Option("--results", metavar="DIR", help="Folder of the results files.")
]
NoCache = Annotated[
    bool, typer.Option("--no-cache", help="Ask the other counters anew, and keep no answer.")
]
Classes = Annotated[int | None, typer.Option("--classes", help="Classes instead of the row's.")]
Frames = Annotated[int | None, typer.Option("--frames", help="Frames instead of the row's.")]
Size = Annotated[int | None, typer.Option("--size", help="Height and width instead of the row's.")]


@app.command("list", epilog="Example: `vidcost list 'mfnet-pnl*' --table 3`")
def list_rows(rows: Rows = None, table: PaperTable = None, as_: As = None) -> None:
    """List the rows: name, tables, input, what is assumed."""
    _print(list_table(select(rows or (), table=table)), as_)


@app.command("count", epilog="Example: `vidcost count mfnet-nl mfnet-pnl-x5 --format csv`")
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
) -> None:
    """Count rows exactly, in seconds, and check every block against its closed form."""
    if training and witnesses:
        raise ValueError(
            "the witnesses are asked about the forward pass alone: leave out --training or "
            "--witnesses"
        )
    chosen = _at(_buildable(rows, table=table), classes, frames, size)
    if training:
        _print(training_table(chosen), as_)
        return
    if witnesses:
        records = [each.record for each in _measured(chosen, use_cache=not no_cache)]
    else:
        records = [count_row(row) for row in chosen]
    _print(count_table(records), as_)
    _report_failures(records)


@app.command("show", epilog="Example: `vidcost show mfnet-pnl --depth 2`")
def show_row(
    row: Annotated[str, typer.Argument(help="A row's name.")],
    depth: Annotated[int, typer.Option(min=0, help="Levels of modules to show.")] = 2,
    classes: Classes = None,
    frames: Frames = None,
    size: Size = None,
    as_: As = None,
) -> None:
    """Show a row's modules with the parameters and MACs inside each."""
    chosen = select([row])
    if len(chosen) > 1:
        raise ValueError(f"{row!r} matches {len(chosen)} rows: show one at a time")
    _print(tree_table(chosen[0].at(classes=classes, frames=frames, size=size), depth), as_)


@app.command("block", epilog="Example: `vidcost block nl cgnl pnl:n=4 --shape 1x384x8x14x14`")
def compare_blocks(
    blocks: Annotated[
        list[str],
        typer.Argument(
            metavar="BLOCK...",
            help="nl, cgnl, cgd or pnl, with options behind a colon: pnl:n=3,combine=concat.",
        ),
    ],
    shape_: Annotated[
        str, typer.Option("--shape", metavar="BxCxTxHxW", help="Shape of the blocks' input.")
    ] = "1x384x8x14x14",
    as_: As = None,
) -> None:
    """Count blocks alone at one input shape, beside their closed forms."""
    input_shape = shape(shape_)
    _print(block_table([(spec, block_factory(spec)) for spec in blocks], input_shape), as_)


@app.command("tables", epilog="Example: `vidcost tables 3 5 --results results`")
def tables(
    numbers: Annotated[
        list[int] | None, typer.Argument(metavar="[TABLE]...", help="1 to 6; none: all.")
    ] = None,
    results: Results = Path("results"),
    timings: Annotated[
        str | None,
        typer.Option(
            metavar="DEVICE|FILE",
            help="Show latency and memory too: those of a device in timings/, by a part of its "
            "name, or of a file.",
        ),
    ] = None,
    no_cache: NoCache = False,
    as_: As = None,
) -> None:
    """Print the paper's tables with our counts beside, and write them to tables/*.md.

    Rows come from counts.jsonl in the results folder; what it lacks is counted. The files hold
    counts alone: timings are shown, with --timings, but not written.
    """
    paper = published.pnl2020()
    numbers = list(dict.fromkeys(numbers or paper.titles))
    needed = [printed.row for number in numbers for printed in paper.table(number)]
    files.check_folder(results)
    timed, note = _chosen_timings(timings, results)
    records = record.read(results)
    missing = [row for row in ROWS if row.name in needed and row.name not in records and row.build]
    if missing:
        records |= {
            each.record.row: each.record for each in _measured(missing, use_cache=not no_cache)
        }
    for number in numbers:
        _print(_with_timings(_written_table(number, records, results), timed), as_)
    if note:
        typer.echo(note, err=True)
    _report_failures(records.values())


@app.command("run", epilog="Example: `vidcost run --results results --budget 2m`")
def run(
    results: Results = Path("results"),
    budget: Annotated[
        str, typer.Option(metavar="TIME", help="Time on the CPU for so long: 90s, 10m, 0s for not.")
    ] = "2m",
    no_cache: NoCache = False,
) -> None:
    """Build every row, count it, ask other counters, check, time it on this CPU, and print
    Tables 3, 5 and 6.

    Writes counts.jsonl, tables/*.md and timings/*.jsonl to the results folder. Rows that have not
    been timed here are, those with blocks first, as far as they are expected to fit into --budget.
    """
    budget_s = seconds(budget)
    paper = published.pnl2020()
    files.check_folder(results)
    examined = _measured(_buildable(), use_cache=not no_cache)
    records = {each.record.row: each.record for each in examined}
    entries = [entry for each in examined for entry in reconcile(each)]
    counts = record.write(results, records.values(), command="vidcost run")
    printed = {number: _written_table(number, records, results) for number in paper.titles}
    taken = _time_printed_rows(records, results, budget_s)
    for number in PRINTED_BY_RUN:
        _print(_with_timings(printed[number], taken.timings), None)
    checks = sum(r.closed_forms for r in records.values())
    console = Console()
    console.print(
        f"{len(records)} rows built and counted; {checks} modules equal their closed forms; "
        f"{sum(e.balanced for e in entries)} of {len(entries)} accounts of other counters add up. "
        f"Written: {counts}, {results / 'tables'}/*.md",
        highlight=False,
        soft_wrap=True,
    )
    for line in taken.notes:
        typer.echo(line, err=True)
    unexplained = (line for entry in entries if not entry.balanced for line in complaints(entry))
    _report((*unexplained, *taken.failures))


@app.command("time", epilog="Example: `vidcost time mfnet-nl mfnet-pnl --share --budget 2m`")
def time_rows(
    rows: Rows = None,
    blocks: Annotated[
        list[str] | None,
        typer.Option(
            metavar="BLOCK",
            help="Time blocks alone: 'all', or nl, cgnl, cgd, pnl with options, as in "
            "`vidcost block`; may be repeated.",
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
    sweep: Annotated[
        bool, typer.Option("--sweep", help="Blocks alone in 1 to 32 frames, so N grows.")
    ] = False,
    share: Annotated[
        bool,
        typer.Option("--share", help="Time rows in turns with the same networks without blocks."),
    ] = False,
    device: Annotated[str, typer.Option(help="cpu, cuda, or of several cuda:1.")] = "cpu",
    batch: Annotated[str, typer.Option(metavar="N,...", help="Clips in a pass.")] = "1",
    dtype: Annotated[
        str, typer.Option(metavar="TYPE,...", help="fp32, tf32, bf16 or fp16.")
    ] = "fp32",
    memory_format: Annotated[
        str, typer.Option(metavar="FORMAT,...", help="contiguous or channels_last_3d.")
    ] = "contiguous",
    mode: Annotated[
        str, typer.Option(metavar="MODE,...", help="eager, cuda-graph or compile.")
    ] = "eager",
    phase: Annotated[
        str, typer.Option(metavar="PHASE,...", help="inference or training.")
    ] = "inference",
    cudnn_benchmark: Annotated[
        str, typer.Option(metavar="CHOICE,...", help="off or on: cuDNN tries its algorithms.")
    ] = "off",
    threads: Annotated[
        int | None, typer.Option(min=1, help="CPU threads; default: the cores there are.")
    ] = None,
    classes: Classes = None,
    frames: Frames = None,
    size: Size = None,
    budget: Annotated[
        str | None,
        typer.Option(metavar="TIME", help="90s, 10m, 1h in all; default: until precise."),
    ] = None,
    resume: Annotated[
        bool, typer.Option(help="Leave out what is stored as measured already.")
    ] = True,
    results: Results = Path("results"),
    as_: As = None,
) -> None:
    """Time rows, blocks alone, or with --share what blocks add to their networks.

    Each measurement runs in a process of its own and is appended to timings/*.jsonl in the results
    folder with its raw samples and conditions. Sampling ends when the median is known to 1%, after
    a minute, or as --budget allows. Conditions take several values, as in --dtype fp32,bf16: all
    combinations are timed. Fails if a measurement failed.
    """
    from vidcost.bench.timing import plan
    from vidcost.bench.timing_session import check_device, default_threads, take
    from vidcost.bench.timing_tables import share_table, timing_table

    if share and blocks:
        raise ValueError("--share times blocks in their networks, --blocks alone: give one of them")
    if blocks is None and (shape_ or sweep):
        raise ValueError("--shape and --sweep are for blocks alone: give --blocks too")
    budget_s = None if budget is None else seconds(budget)
    if budget_s == 0:
        raise ValueError(f"--budget {budget} is no time: give more than 0s")
    conditions = plan.Conditions(
        device=check_device(device),
        threads=threads or default_threads(device),
        batch=batch.split(","),
        dtype=dtype.split(","),
        memory_format=memory_format.split(","),
        mode=mode.split(","),
        phase=phase.split(","),
        cudnn_benchmark=cudnn_benchmark.split(","),
    )
    chosen = [] if blocks and not rows else _buildable(rows)
    alone: list[tuple[str, plan.Shape]] = []
    reasons: list[str] = []
    if blocks:
        specs = [spec for words in blocks for spec in words.split()]
        specs = [s for spec in specs for s in (plan.BLOCK_SPECS if spec == "all" else [spec])]
        shapes = [plan.shape_of(text) for text in shape_ or ()] or plan.shared_shapes(ROWS)
        alone, reasons = plan.fitting(specs, plan.swept(shapes) if sweep else shapes)
    if (classes, frames, size) != (None, None, None):
        chosen = _at(chosen, classes, frames, size)
        for row in chosen:
            # a clip that does not suit a network is refused before any is timed
            count_row(row)
    cells = plan.cells_for(chosen, conditions, share=share, blocks=alone)
    files.check_folder(results)
    taken = take(cells, results, console=Console(stderr=True), resume=resume, budget_s=budget_s)
    for line in (*reasons, *taken.notes):
        typer.echo(line, err=True)
    _print((share_table if share else timing_table)(taken.timings), as_)
    _report(taken.failures)


@app.command("ledger", epilog="Example: `vidcost ledger mfnet-nl mfnet-pnl-x5`")
def ledger(
    rows: Rows = None,
    table: PaperTable = None,
    classes: Classes = None,
    frames: Frames = None,
    size: Size = None,
    results: Results = Path("results"),
    no_cache: NoCache = False,
    as_: As = None,
) -> None:
    """From our MACs to what each counter prints, by named terms; fails if anything is left over.

    Up to four rows are shown term by term. Over all rows it writes ledger.md to the results folder,
    with every row's terms; --format json or csv prints a line for each term.
    """
    everything = not any((rows, table, classes, frames, size))
    if everything:
        files.check_folder(results)
    chosen = _at(_buildable(rows, table=table), classes, frames, size)
    examined = _measured(chosen, use_cache=not no_cache)
    entries = {each.record.row: reconcile(each) for each in examined}
    accounts = [entry for each in entries.values() for entry in each]
    if as_ in (Format.JSON, Format.CSV):
        _print(tidy_table(accounts), as_)
    elif len(entries) <= SHOWN_BY_TERM:
        for each in entries.values():
            _print(statement_table(each), as_)
    else:
        _print(ledger_table(accounts), as_)
    if everything:
        _write(results / "ledger.md", ledger_markdown(accounts), command="ledger")
    _report(line for entry in accounts if not entry.balanced for line in complaints(entry))


@app.command("formulas", epilog="Example: `vidcost formulas --cross cgnl,pnl:n=3 --channels 384`")
def formulas(
    cross: Annotated[
        str | None,
        typer.Option(metavar="BLOCK,BLOCK", help="Where one block becomes cheaper than the other."),
    ] = None,
    channels: Annotated[int, typer.Option(min=1, help="Channels, with --cross.")] = 384,
    along: Annotated[
        Literal["N", "T", "H=W"], typer.Option(help="What grows, with --cross.")
    ] = "N",
    results: Results = Path("results"),
    as_: As = None,
) -> None:
    """The blocks' costs as printed and as derived, and verdicts on what the paper says of them.

    Writes formulas.md to the results folder; --format prints the verdicts alone. With --cross,
    solves where two blocks cost the same and counts on both sides.
    """
    # sympy takes a third of a second to import, which no other command should pay
    from vidcost.bench.formula_document import crossover_table, formula_markdown, verdict_table

    if cross is not None:
        left, right = ((spec, block_factory(spec)) for spec in two_specs(cross))
        _print(crossover_table([(left, right)], channels=channels, along=along), as_)
        return
    if as_ is not None:
        _print(verdict_table(), as_)
        return
    files.check_folder(results)
    document = formula_markdown()
    _write(results / "formulas.md", document, command="formulas")
    sys.stdout.write(document)


@app.command("conformance", epilog="Example: `vidcost conformance --results results`")
def conformance(results: Results = Path("results"), as_: As = None) -> None:
    """Ask every counter about single operators whose MACs were worked out by hand.

    Writes conformance.md to the results folder; JSON and CSV hold a line per operator.
    """
    files.check_folder(results)
    statements = ask_counters()
    document = conformance_markdown(statements)
    _write(results / "conformance.md", document, command="conformance")
    if as_ is None:
        for table in conformance_tables(statements):
            _print(table, None)
    elif as_ is Format.MD:
        sys.stdout.write(document)
    else:
        _print(data_table(statements), as_)
    _report(failures(statements))


@app.command("audit", epilog="Example: `vidcost audit --search r50-ucf101`")
def audit(
    search: Annotated[
        str | None,
        typer.Option(metavar="ROW", help="Rank recipes around a row by the figures they hit."),
    ] = None,
    recipe: Annotated[
        str | None,
        typer.Option(
            metavar="'ROW AXIS=CHOICE ...'", help="Count a row otherwise than it is described."
        ),
    ] = None,
    results: Results = Path("results"),
    as_: As = None,
) -> None:
    """A verdict on every figure the paper prints and every cost it claims, counted on the spot.

    Writes audit.md to the results folder; --format prints the figures alone. Fails if a figure that
    is not met has no note in results/published, if one that is met has one, or if a recipe no
    longer gives its figure. --search tries the recipes around a row, --recipe counts one.
    """
    # sympy takes a third of a second to import, which no other command should pay
    from vidcost.bench.audit_document import audit_markdown
    from vidcost.bench.audit_tables import figure_table, recipe_table, search_table
    from vidcost.bench.recipe_grid import size
    from vidcost.bench.recipe_search import search as search_recipes
    from vidcost.bench.recipes import Recipe

    paper = published.pnl2020()
    if search is not None and recipe is not None:
        raise ValueError("--search and --recipe are two things: give one of them")
    if recipe is not None:
        _print(recipe_table(Recipe.parse(recipe), paper), as_)
        return
    if search is not None:
        (row,) = select([search])[:1]
        if row.name != search:
            raise ValueError(f"{search!r} is no row's name: search around one row at a time")
        with _progress(size(row)) as advance:
            found = search_recipes(row, paper, advance=advance)
        _print(search_table(found), as_)
        return
    files.check_folder(results)
    with _progress(printed_figures(paper)) as advance:
        judged = judge(paper, advance=advance)
    if as_ is not None:
        _print(figure_table(judged), as_)
    else:
        document = audit_markdown(paper, judged)
        _write(results / "audit.md", document, command="audit")
        sys.stdout.write(document)
    _report(problems(judged))


@cache_app.command("clear", epilog="Example: `vidcost cache clear`")
def clear_cache() -> None:
    """Forget the answers of fvcore and thop."""
    answers = cache.clear()
    typer.echo(f"{answers} {'answer' if answers == 1 else 'answers'} removed from {cache.folder()}")


def main() -> None:
    """Run the command line; what a user did wrong becomes one line and exit status 2."""
    try:
        status = app(standalone_mode=False)
    except _UsageError as error:
        # without a message the help has been shown
        if message := error.format_message():
            _complain(message)
        sys.exit(BAD_INPUT)
    except (ClosedFormMismatch, FindingGone) as error:
        _complain(error)
        sys.exit(FOUND_WRONG)
    except Interrupted as error:
        _complain(error)
        sys.exit(INTERRUPTED)
    except (ValueError, OSError) as error:
        _complain(error)
        sys.exit(BAD_INPUT)
    except (RuntimeError, TypeError) as error:
        # torch's words for a shape of more elements than it can number, wherever it meets it
        if "overflow" not in str(error).lower():
            raise
        _complain("a tensor would have more elements than torch can number: choose smaller sizes")
        sys.exit(BAD_INPUT)
    sys.exit(status)


def _buildable(patterns: Sequence[str] | None = None, *, table: int | None = None) -> list[Row]:
    """The chosen rows that can be built; one asked for by name must be."""
    chosen = select(patterns or (), table=table)
    for row in chosen:
        if row.build is None:
            if row.name in (patterns or ()):
                raise ValueError(f"{row.name} cannot be built: {row.note}")
            typer.echo(f"{row.name} left out: {row.note}", err=True)
    return [row for row in chosen if row.build is not None]


def _at(
    rows: Iterable[Row], classes: int | None, frames: int | None, size: int | None
) -> list[Row]:
    return [row.at(classes=classes, frames=frames, size=size) for row in rows]


def _measured(rows: Sequence[Row], *, use_cache: bool) -> list[Examined]:
    with _progress(steps(rows)) as advance:
        return measure(rows, use_cache=use_cache, advance=advance)


@contextmanager
def _progress(total: int) -> Iterator[Callable[[str], None]]:
    """A bar on a terminal, which what is yielded moves by one and labels."""
    with bar(Console(stderr=True), "counting", total) as (progress, task):
        yield lambda what: progress.update(task, advance=1, description=what)


def _written_table(number: int, records: dict[str, Record], results: Path) -> Table:
    table = paper_table(number, published.pnl2020(), {row.name: row for row in ROWS}, records)
    path = results / "tables" / f"table{number}.md"
    _write(path, table.markdown(), command=f"tables {number}")
    return table


def _write(path: Path, document: str, *, command: str) -> None:
    """Write a document that says which command made it."""
    files.write(path, f"<!-- written by: vidcost {command} -->\n\n{document}")


def _time_printed_rows(records: Mapping[str, Record], results: Path, budget_s: float) -> Taken:
    """Time the rows of the printed tables on this CPU, as far as the budget is expected to go."""
    from vidcost.bench.timing import plan
    from vidcost.bench.timing_session import Taken, default_threads, stored, take

    if not budget_s:
        return Taken()
    threads = default_threads("cpu")
    rows = [row for row in ROWS if row.build and set(row.tables) & set(PRINTED_BY_RUN)]
    macs = {name: found.macs for name, found in records.items()}
    fit = plan.affordable(rows, macs, budget_s, threads=threads)
    everything = plan.cells_for(rows, plan.Conditions(threads=threads))
    known = stored(everything, results)
    affordable = {row.name for row in fit}
    missing = [cell for cell in everything if cell.row in affordable and cell not in known]
    console = Console(stderr=True)
    taken = take(missing, results, console=console, budget_s=budget_s, command="vidcost run")
    taken.timings = [*known.values(), *taken.timings]
    return taken


def _chosen_timings(which: str | None, results: Path) -> tuple[list[Timing], str]:
    if which is None:
        return [], ""
    from vidcost.bench.timing_session import chosen

    return chosen(which, results)


def _with_timings(table: Table, timings: Sequence[Timing]) -> Table:
    if not timings:
        return table
    from vidcost.bench.timing_tables import with_timings

    return with_timings(table, timings)


def _report_failures(records: Iterable[Record]) -> None:
    """Name the witnesses that gave no answer, and exit accordingly."""
    _report(
        f"{each.row}: {name} {answer.status}: {answer.error}"
        for each in records
        for name, answer in each.witnesses.items()
        if answer.error
    )


def _report(lines: Iterable[str]) -> None:
    """Print what was found wrong, if anything, and exit accordingly."""
    found = list(dict.fromkeys(lines))
    for failure in found:
        _complain(failure)
    if found:
        raise typer.Exit(FOUND_WRONG)


def _print(table: Table, as_: Format | None) -> None:
    if as_ is None:
        show(table, Console())
    else:
        written = {Format.MD: table.markdown, Format.JSON: table.json, Format.CSV: table.csv}
        sys.stdout.write(written[as_]())


def _complain(message: object) -> None:
    typer.echo(f"vidcost: {' '.join(str(message).split())}", err=True)

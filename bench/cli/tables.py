"""Commands that print the paper's tables, from what is stored or all anew."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from vidcost.bench import files, published
from vidcost.bench.cli import completion
from vidcost.bench.cli.options import As, Format, Json, NoCache, Results
from vidcost.bench.cli.output import print_tables, report, report_failures, write_document
from vidcost.bench.cli.rows import buildable, measured
from vidcost.bench.count import record
from vidcost.bench.count.ledger import complaints, reconcile
from vidcost.bench.count.record import Record
from vidcost.bench.gate.baseline import unlike_baseline
from vidcost.bench.tables.paper import paper_table
from vidcost.bench.tables.table import Table
from vidcost.bench.timing.campaign import TABLES, printed_rows
from vidcost.bench.timing.plan import seconds
from vidcost.bench.timing.record import Timing
from vidcost.models.rows import ROWS

if TYPE_CHECKING:
    from vidcost.bench.session.timing import Taken
    from vidcost.bench.tables.gpu_records import Gpu
    from vidcost.bench.timing.store import Contents

tables_app = typer.Typer()

_ROWS = {row.name: row for row in ROWS}


@tables_app.command("tables", epilog="Example: `vidcost tables 3 5 --results results`")
def tables(
    numbers: Annotated[
        list[int] | None,
        typer.Argument(
            metavar="[TABLE]...", help="1 to 6; none: all.", autocompletion=completion.tables
        ),
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
    json: Json = False,
) -> None:
    """Print the paper's tables with our counts beside, and write them to tables/*.md.

    Rows come from counts.jsonl in the results folder; what it lacks is counted. The files have
    latency and memory too, of every GPU in timings/ that rows were timed on; those of Tables 3, 5
    and 6 together go to tables/gpu-*.md. Timings of a CPU are shown, with --timings, not written.
    """
    paper = published.pnl2020()
    numbers = list(dict.fromkeys(numbers or paper.titles))
    needed = [printed.row for number in numbers for printed in paper.table(number)]
    files.check_folder(results)
    timed, note, gpus = _stored_timings(timings, results)
    records = record.read(results)
    missing = [row for row in ROWS if row.name in needed and row.name not in records and row.build]
    if missing:
        records |= {
            each.record.row: each.record for each in measured(missing, use_cache=not no_cache)
        }
    made = {number: _table(number, records) for number in numbers}
    _write(made, gpus, results)
    print_tables([_with_timings(table, timed) for table in made.values()], as_)
    if note:
        typer.echo(note, err=True)
    report_failures(records.values())


@tables_app.command("run", epilog="Example: `vidcost run --results results --budget 2m`")
def run(
    results: Results = Path("results"),
    budget: Annotated[
        str, typer.Option(metavar="TIME", help="Time on the CPU for so long: 90s, 10m, 0s for not.")
    ] = "2m",
    no_cache: NoCache = False,
    json: Json = False,
) -> None:
    """Build every row, count it, ask other counters, check, time it on this CPU, and print
    Tables 3, 5 and 6.

    Writes counts.jsonl, tables/*.md and timings/*.jsonl to the results folder; counts that differ
    from those stored there leave the file as it is, and fail. Rows that have not been timed here
    are, those with blocks first, as far as they are expected to fit into --budget. As those of
    `vidcost tables`, the files have what is stored of GPUs, and nothing of this CPU's timings.
    """
    budget_s = seconds(budget)
    paper = published.pnl2020()
    files.check_folder(results)
    _, note, gpus = _stored_timings(None, results)
    examined = measured(buildable(), use_cache=not no_cache)
    records = {each.record.row: each.record for each in examined}
    entries = [entry for each in examined for entry in reconcile(each)]
    differing = unlike_baseline(records, results)
    counts = results / record.COUNTS
    if not differing:
        record.write(results, records.values(), command="vidcost run")
    printed = {number: _table(number, records) for number in paper.titles}
    _write(printed, gpus, results)
    taken = _time_printed_rows(records, results, budget_s)
    print_tables(
        [_with_timings(printed[number], taken.timings) for number in TABLES],
        Format.JSON if json else None,
    )
    checks = sum(r.closed_forms for r in records.values())
    Console(stderr=json).print(
        f"{len(records)} rows built and counted; {checks} modules equal their closed forms; "
        f"{sum(e.balanced for e in entries)} of {len(entries)} accounts of other counters add up. "
        f"Written: {'' if differing else f'{counts}, '}{results / 'tables'}/*.md",
        highlight=False,
        soft_wrap=True,
    )
    for line in filter(None, (note, *taken.notes)):
        typer.echo(line, err=True)
    unexplained = (line for entry in entries if not entry.balanced for line in complaints(entry))
    report((*unexplained, *taken.failures, *differing))


def _table(number: int, records: Mapping[str, Record]) -> Table:
    return paper_table(number, published.pnl2020(), _ROWS, records)


def _write(tables: Mapping[int, Table], gpus: Sequence[Gpu], results: Path) -> None:
    """Write each table with those of GPUs below, and if all are there, the printed ones in one."""
    from vidcost.bench.session.timing import slug
    from vidcost.bench.tables.gpu import gpu_summary, gpu_tables

    folder = results / "tables"
    for number, table in tables.items():
        document = _documents([table, *gpu_tables(table, _ROWS, gpus)])
        write_document(folder / f"table{number}.md", document, command=f"tables {number}")
    if not tables.keys() >= {*TABLES}:
        return
    printed = [tables[number] for number in TABLES]
    summaries: dict[str, list[Table]] = {}
    for gpu in gpus:
        if (summary := gpu_summary(printed, _ROWS, gpu)) is not None:
            summaries.setdefault(slug(gpu.machine), []).append(summary)
    for name, of_device in summaries.items():
        write_document(folder / f"gpu-{name}.md", _documents(of_device), command="tables")


def _documents(tables: Iterable[Table]) -> str:
    return "\n".join(table.markdown() for table in tables)


def _time_printed_rows(records: Mapping[str, Record], results: Path, budget_s: float) -> Taken:
    """Time the rows of the printed tables on this CPU, as far as the budget is expected to go."""
    from vidcost.bench.session.timing import Taken, default_threads, stored, take
    from vidcost.bench.timing import plan

    if not budget_s:
        return Taken()
    threads = default_threads("cpu")
    rows = printed_rows()
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


def _stored_timings(which: str | None, results: Path) -> tuple[list[Timing], str, list[Gpu]]:
    """Those to show and a note on them, and those of GPUs, which are written: read once."""
    from vidcost.bench.session.timing import chosen, stored_files
    from vidcost.bench.tables.gpu_records import gpus

    if which is None:
        # there may be more than memory has room for: a file at a time
        warnings: list[str] = []
        found = gpus(_timings(_noted(stored_files(results), warnings)))
        return [], "; ".join(warnings), found
    contents = list(stored_files(results))
    timed, note = chosen(which, results, contents)
    return timed, note, gpus(_timings(contents))


def _noted(contents: Iterable[Contents], warnings: list[str]) -> Iterator[Contents]:
    for each in contents:
        warnings += filter(None, [each.warning])
        yield each


def _timings(contents: Iterable[Contents]) -> Iterator[Timing]:
    return (timing for each in contents for timing in each.records.values())


def _with_timings(table: Table, timings: Iterable[Timing]) -> Table:
    if not timings:
        return table
    from vidcost.bench.tables.timing import with_timings

    return with_timings(table, timings)

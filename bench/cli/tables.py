"""Commands that print the paper's tables, from what is stored or all anew."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from vidcost.bench import files
from vidcost.bench.cli import completion
from vidcost.bench.cli.options import As, Format, Json, NoCache, Results
from vidcost.bench.cli.output import print_tables, report, report_failures

tables_app = typer.Typer()


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
    from vidcost.bench.cli import paper_tables
    from vidcost.bench.cli.rows import measured
    from vidcost.bench.count import record
    from vidcost.bench.report.timing import with_timings
    from vidcost.papers import catalog
    from vidcost.papers.catalog import rows_of

    paper = catalog.paper()
    numbers = list(dict.fromkeys(numbers or paper.titles))
    needed = [printed.row for number in numbers for printed in paper.table(number)]
    files.check_folder(results)
    timed, note, gpus = paper_tables.stored_timings(timings, results)
    records = record.read(results)
    missing = [
        row for row in rows_of() if row.name in needed and row.name not in records and row.build
    ]
    if missing:
        records |= {
            each.record.row: each.record for each in measured(missing, use_cache=not no_cache)
        }
    made = {number: paper_tables.counted_table(number, records) for number in numbers}
    paper_tables.write_tables(made, gpus, results)
    print_tables([with_timings(table, timed) for table in made.values()], as_)
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
    from vidcost.bench.cli import paper_tables
    from vidcost.bench.cli.rows import buildable, measured
    from vidcost.bench.count import record
    from vidcost.bench.count.reconcile import complaints, reconcile
    from vidcost.bench.gate.counts import unlike_baseline
    from vidcost.bench.report.timing import with_timings
    from vidcost.bench.timing.campaign import TABLES
    from vidcost.bench.timing.plan import seconds
    from vidcost.papers import catalog

    budget_s = seconds(budget)
    paper = catalog.paper()
    files.check_folder(results)
    _, note, gpus = paper_tables.stored_timings(None, results)
    examined = measured(buildable(), use_cache=not no_cache)
    records = {each.record.row: each.record for each in examined}
    entries = [entry for each in examined for entry in reconcile(each)]
    differing = unlike_baseline(records, results)
    counts = results / record.COUNTS
    if not differing:
        record.write(results, records.values(), command="vidcost run")
    printed = {number: paper_tables.counted_table(number, records) for number in paper.titles}
    paper_tables.write_tables(printed, gpus, results)
    taken = paper_tables.time_printed_rows(records, results, budget_s)
    print_tables(
        [with_timings(printed[number], taken.timings) for number in TABLES],
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

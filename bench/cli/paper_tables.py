"""The paper's tables as commands print and write them, with what is stored of timings."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from rich.console import Console

from vidcost.bench.cli.output import write_document
from vidcost.bench.count.record import Record
from vidcost.bench.report.gpu import gpu_summary, gpu_tables
from vidcost.bench.report.gpu_records import Gpu, gpus
from vidcost.bench.report.paper import paper_table
from vidcost.bench.report.table import Table
from vidcost.bench.session.timing import (
    Taken,
    chosen,
    default_threads,
    slug,
    stored,
    stored_files,
    take,
)
from vidcost.bench.timing import plan
from vidcost.bench.timing.campaign import TABLES, printed_rows
from vidcost.bench.timing.record import Timing
from vidcost.bench.timing.store import Contents
from vidcost.papers import catalog
from vidcost.papers.catalog import every_row

_ROWS = every_row()


def counted_table(number: int, records: Mapping[str, Record]) -> Table:
    """A table of the paper with our counts beside."""
    return paper_table(number, catalog.paper(), _ROWS, records)


def write_tables(tables: Mapping[int, Table], measured: Sequence[Gpu], results: Path) -> None:
    """Write each table with those of GPUs below, and if all are there, the printed ones in one."""
    folder = results / "tables"
    for number, table in tables.items():
        document = _documents([table, *gpu_tables(table, _ROWS, measured)])
        write_document(folder / f"table{number}.md", document, command=f"tables {number}")
    if not tables.keys() >= {*TABLES}:
        return
    printed = [tables[number] for number in TABLES]
    summaries: dict[str, list[Table]] = {}
    for gpu in measured:
        if (summary := gpu_summary(printed, _ROWS, gpu)) is not None:
            summaries.setdefault(slug(gpu.machine), []).append(summary)
    for name, of_device in summaries.items():
        write_document(folder / f"gpu-{name}.md", _documents(of_device), command="tables")


def _documents(tables: Iterable[Table]) -> str:
    return "\n".join(table.markdown() for table in tables)


def time_printed_rows(records: Mapping[str, Record], results: Path, budget_s: float) -> Taken:
    """Time the rows of the printed tables on this CPU, as far as the budget is expected to go."""
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


def stored_timings(which: str | None, results: Path) -> tuple[list[Timing], str, list[Gpu]]:
    """Those to show and a note on them, and those of GPUs, which are written: read once."""
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

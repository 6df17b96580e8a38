"""The command that explains what other counters print."""

from __future__ import annotations

from pathlib import Path

import typer

from vidcost.bench import files
from vidcost.bench.cli.options import (
    TIME_LIMIT,
    Address,
    As,
    Classes,
    EngineName,
    Format,
    Frames,
    Inputs,
    Json,
    NoCache,
    PaperTable,
    Results,
    Rows,
    Size,
    TimeLimit,
    Where,
    Wide,
)
from vidcost.bench.cli.output import print_table, report, write_document, write_lines

explain_app = typer.Typer()

SHOWN_BY_TERM = 4
"""Up to so many rows ``explain`` shows term by term."""


@explain_app.command("explain", epilog="Example: `vidcost explain mfnet-nl mfnet-pnl-x5`")
def explain(
    rows: Rows = None,
    table: PaperTable = None,
    classes: Classes = None,
    frames: Frames = None,
    size: Size = None,
    results: Results = Path("results"),
    no_cache: NoCache = False,
    inputs: Inputs = None,
    time_limit: TimeLimit = TIME_LIMIT,
    engine: EngineName = Where.HERE,
    address: Address = None,
    as_: As = None,
    wide: Wide = False,
    json: Json = False,
) -> None:
    """From our MACs to what each counter prints, by named terms; fails if anything is left over.

    Up to four rows are shown term by term. Over all rows it writes reconciliation.md and
    reconciliation.jsonl, with every row's terms, to the results folder; --format json or csv prints
    a line for each term.
    With --engine ray the counters run on the nodes of a cluster, each of which keeps the answers
    given on it.
    """
    from vidcost.bench.cli.engines import Choice
    from vidcost.bench.cli.networks import limit_s, network_cells, parted
    from vidcost.bench.cli.rows import at, buildable, measured, progress
    from vidcost.bench.count.reconcile import Entry, reconcile
    from vidcost.bench.inspection.counted import explained_on
    from vidcost.bench.report.reconciliation import (
        reconciliation_markdown,
        reconciliation_table,
        statement_table,
        tidy_table,
    )
    from vidcost.papers.row import Row

    rows, references = parted(rows)
    networks = network_cells(references, inputs)
    everything = not any((rows, networks, table, classes, frames, size))
    if everything:
        files.check_folder(results)
    entries: dict[str, list[Entry]] = {}
    where = Choice(engine, address)
    with where.engine(references) as machines:
        chosen: list[Row] = []
        if rows or not networks:
            chosen = at(buildable(rows, table=table), classes, frames, size)
        if not where.is_ray:
            examined = measured(chosen, use_cache=not no_cache)
            entries = {each.record.row: reconcile(each) for each in examined}
            chosen = []
        with progress(len(chosen) + len(networks)) as advance:
            found, failed = explained_on(
                machines,
                chosen,
                networks,
                use_cache=not no_cache,
                limit_s=limit_s(time_limit),
                advance=advance,
            )
        entries |= found
    shown = [entry for each in entries.values() for entry in each]
    if as_ in (Format.JSON, Format.CSV):
        print_table(tidy_table(shown), as_)
    elif not entries:
        pass
    elif len(entries) <= SHOWN_BY_TERM:
        for each in entries.values():
            print_table(statement_table(each), as_)
    else:
        print_table(reconciliation_table(shown), as_)
    if everything:
        write_document(
            results / "reconciliation.md", reconciliation_markdown(shown), command="explain"
        )
        write_lines(results / "reconciliation.jsonl", tidy_table(shown).lines, command="explain")
    off = (line for entry in shown if not entry.balanced for line in entry.complaints)
    report((*failed, *off))

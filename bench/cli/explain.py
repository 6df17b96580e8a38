"""The command that explains what other counters print."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vidcost.bench import files
from vidcost.bench.cli import options
from vidcost.bench.cli.output import print_table, report, write_document, write_lines

if TYPE_CHECKING:
    from vidcost.bench.report.table import Table
    from vidcost.bench.timing.cell import Cell

explain_app = typer.Typer()

SHOWN_BY_TERM = 4
"""Up to so many rows ``explain`` shows term by term."""
SHOWN_OF_PRINTED = 10


@explain_app.command("explain", epilog="Example: `vidcost explain mfnet-nl mfnet-pnl-x5`")
def explain(
    rows: options.Rows = None,
    table: options.PaperTable = None,
    classes: options.Classes = None,
    frames: options.Frames = None,
    size: options.Size = None,
    results: options.Results = Path("results"),
    no_cache: options.NoCache = False,
    counter: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME",
            help="Ask this counter instead of fvcore, thop, thop-2020 and torch; repeat it for "
            "several. Optional ones: ptflops-aten, torchinfo, ultralytics-thop.",
        ),
    ] = None,
    printed: Annotated[
        str | None,
        typer.Option(metavar="FLOPS", help="Which convention and setting give this figure: 36.1G."),
    ] = None,
    params: Annotated[
        str | None, typer.Option(metavar="PARAMS", help="Printed with --printed: 34.6M.")
    ] = None,
    inputs: options.Inputs = None,
    time_limit: options.TimeLimit = options.TIME_LIMIT,
    as_: options.As = None,
    wide: options.Wide = False,
    json: options.Json = False,
) -> None:
    """From our MACs to what each counter prints, by named terms; fails if anything is left over.

    Up to four rows are shown term by term. Over all rows it writes reconciliation.md and
    reconciliation.jsonl, with every row's terms, to the results folder; --format json or csv prints
    a line for each term.
    """
    from vidcost.bench.cli.targets import at, buildable, limit_s, measured, network_cells, parted
    from vidcost.bench.count.reconcile import Entry, reconcile
    from vidcost.bench.count.references.asking import chosen as chosen_counters
    from vidcost.bench.inspection.counted import explained
    from vidcost.bench.report.reconciliation import (
        reconciliation_markdown,
        reconciliation_table,
        statement_table,
        tidy_table,
    )

    counters = chosen_counters(counter or ())
    rows, references = parted(rows)
    networks = network_cells(references, inputs)
    if printed is not None:
        print_table(_printed(rows, networks, printed, params, limit_s(time_limit)), as_)
        return
    if params is not None:
        raise ValueError("--params is for --printed: give both")
    everything = not any((rows, networks, table, classes, frames, size, counter))
    if everything:
        files.check_folder(results)
    entries: dict[str, list[Entry]] = {}
    failed: list[str] = []
    if rows or not networks:
        chosen = at(buildable(rows, table=table), classes, frames, size)
        examined = measured(chosen, counters, use_cache=not no_cache)
        entries = {each.record.row: reconcile(each) for each in examined}
    for network in networks:
        found, failure = explained(network, counters, limit_s=limit_s(time_limit))
        if failure:
            failed.append(failure)
        else:
            entries[network.target] = found
    shown = [entry for each in entries.values() for entry in each]
    if as_ in (options.Format.JSON, options.Format.CSV):
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


def _printed(
    rows: list[str] | None,
    networks: list[Cell],
    printed: str,
    params: str | None,
    limit_s: float,
) -> Table:
    from vidcost.bench.cli.targets import buildable
    from vidcost.bench.count.reconcile import candidates_of_row, ranked
    from vidcost.bench.inspection.counted import candidates_of
    from vidcost.bench.report.reconciliation import printed_table
    from vidcost.papers.figures import Figure

    flops, parameters = Figure.parse(printed), Figure.parse(params) if params else None
    chosen = buildable(rows) if rows else []
    if len(chosen) + len(networks) != 1:
        raise ValueError(f"--printed is for one network: {len(chosen) + len(networks)} are given")
    if chosen:
        found = list(candidates_of_row(chosen[0], parameters))
    else:
        found = candidates_of(networks[0], limit_s=limit_s)
    best = ranked(found, flops, parameters)[:SHOWN_OF_PRINTED]
    return printed_table(best, flops, parameters, tried=len(found))

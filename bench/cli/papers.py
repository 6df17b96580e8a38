"""Commands on a paper's printed figures, formulas and claims, counted anew."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from fnmatch import fnmatch
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vidcost.bench import extras, files
from vidcost.bench.cli import options
from vidcost.bench.cli.output import (
    print_table,
    print_tables,
    report,
    unanswered,
    write_document,
    write_lines,
)

if TYPE_CHECKING:
    from vidcost.bench.count.record import Record
    from vidcost.bench.report.table import Table
    from vidcost.papers.figures import Paper

paper_app = typer.Typer()


@paper_app.command("tables", epilog="Example: `vidcost tables 3 5 --results results`")
def tables(
    words: Annotated[
        list[str] | None,
        typer.Argument(metavar="[PAPER] [TABLE]...", help="A paper's name; its tables, none: all."),
    ] = None,
    results: options.Results = Path("results"),
    no_cache: options.NoCache = False,
    as_: options.As = None,
    wide: options.Wide = False,
    json: options.Json = False,
) -> None:
    """Print a paper's tables with our counts beside, and write them to tables/PAPER/*.md.

    Rows are counted anew. Other counters' answers come from counts.jsonl in the results folder; a
    counter is asked where it has no answer, or one that the count does not explain.
    """
    from vidcost.bench.cli.targets import measured
    from vidcost.bench.count import record
    from vidcost.bench.count.reconcile import is_explained, with_stored_answers
    from vidcost.papers.catalog import printed_rows

    paper, chosen = _paper_and_tables(words or ())
    files.check_folder(results)
    stored = record.read(results)
    rows = printed_rows(paper)
    needed = dict.fromkeys(printed.row for table in chosen for printed in paper.table(table))
    built = [rows[name] for name in needed if rows[name].build]
    found = [with_stored_answers(row, stored) for row in built]
    unknown = [row for row, each in zip(built, found, strict=True) if not is_explained(each)]
    found += measured(unknown, use_cache=not no_cache)
    records = {each.record.row: each.record for each in found}
    print_tables(_written_tables(paper, chosen, records, results), as_)
    report(
        line for each in records.values() for line in unanswered(each.row, each.reference_counters)
    )


@paper_app.command("run", epilog="Example: `vidcost run --results results --budget 2m`")
def run(
    paper_name: options.PaperName = None,
    results: options.Results = Path("results"),
    budget: Annotated[
        str, typer.Option(metavar="TIME", help="Time on the CPU for so long: 90s, 10m, 0s for not.")
    ] = "2m",
    no_cache: options.NoCache = False,
    json: options.Json = False,
) -> None:
    """Build every row of a paper, count it, ask other counters, check, time it on this CPU, and
    print the tables with costs.

    Writes counts.jsonl, tables/PAPER/*.md and timings/*.jsonl to the results folder; counts that
    differ from those stored there leave the file as it is, and fail. Rows that have not been timed
    here are, those with blocks first, as far as they are expected to fit into --budget.
    """
    from vidcost.bench.cli.engines import take
    from vidcost.bench.cli.targets import buildable, measured
    from vidcost.bench.count import record
    from vidcost.bench.count.reconcile import reconcile
    from vidcost.bench.report.timing import timing_table
    from vidcost.bench.timing import machine, plan
    from vidcost.bench.timing.store import stored_by_device
    from vidcost.bench.timing.sweep import Swept
    from vidcost.papers import catalog

    budget_s = options.seconds(budget)
    paper = catalog.paper(paper_name)
    files.check_folder(results)
    # a damaged file is said before anything is counted
    stored_by_device(results)
    rows = catalog.printed_rows(paper)
    own = buildable(paper_name=paper.name)
    others = [row for row in rows.values() if row.build and row not in own]
    examined = measured([*own, *others], use_cache=not no_cache)
    records = {each.record.row: each.record for each in examined}
    entries = [entry for each in examined for entry in reconcile(each)]
    written = f"{results / 'tables' / paper.name}/*.md"
    together, differing = _together(records, results)
    if together:
        record.write(results, together.values(), command="vidcost run")
        written = f"{results / record.COUNTS}, {written}"
    made = _written_tables(paper, [*paper.titles], records, results)
    taken = Swept()
    if budget_s:
        timed = catalog.rows_with_costs(paper.name)
        # networks that carry blocks first, then small before large, as far as the budget goes
        carriers = {row.network for row in timed if row.has_blocks}
        timed.sort(key=lambda row: (row.network not in carriers, records[row.name].macs))
        cells = plan.cells_for(timed, {"threads": machine.default_threads("cpu")})
        taken = take(cells, results, budget_s=budget_s, command="vidcost run")
    shown = [t for n, t in zip(paper.titles, made, strict=True) if n in paper.cost_tables]
    shown += [timing_table(taken.timings)] if taken.timings else []
    print_tables(shown, options.Format.JSON if json else None)
    typer.echo(
        f"{len(records)} rows built and counted; {sum(r.closed_forms for r in records.values())} "
        f"modules equal their closed forms; {sum(e.balanced for e in entries)} of {len(entries)} "
        f"reconciliations of other counters add up. Written: {written}",
        err=json,
    )
    for line in (*taken.notes, *taken.untimed):
        typer.echo(line, err=True)
    unexplained = (line for entry in entries if not entry.balanced for line in entry.complaints)
    report((*unexplained, *taken.failures, *differing))


@paper_app.command("formulas", epilog="Example: `vidcost formulas pnl2020`")
def formulas(
    paper_name: options.PaperName = None,
    results: options.Results = Path("results"),
    as_: options.As = None,
    wide: options.Wide = False,
    json: options.Json = False,
) -> None:
    """Verdicts on a paper's claims about its formulas, by the printed forms and the derived ones.

    Writes formulas/PAPER.md, with the forms, to the results folder.
    """
    extras.require("report")
    from vidcost.bench.report.audit import formula_claims, formula_markdown
    from vidcost.papers import catalog

    paper = catalog.paper(paper_name)
    path = results / "formulas" / f"{paper.name}.md"
    write_document(path, formula_markdown(paper), command=f"formulas {paper.name}")
    print_table(formula_claims(paper), as_)


@paper_app.command("audit", epilog="Example: `vidcost audit --results results`")
def audit(
    names: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[PAPER] | SOURCE...", help="A paper; or sources, names or globs: '*' for all."
        ),
    ] = None,
    recipe: Annotated[
        str | None,
        typer.Option(
            metavar="'ROW AXIS=CHOICE ...'", help="Count a row otherwise than it is described."
        ),
    ] = None,
    results: options.Results = Path("results"),
    as_: options.As = None,
    wide: options.Wide = False,
    json: options.Json = False,
) -> None:
    """A verdict on every figure a paper prints and every cost it claims, counted on the spot.

    Writes audits/PAPER.md, with what the audit found in words, and .jsonl to the results folder.
    Fails if a figure that is not met has no note in the paper's figures.toml, if one that is met
    has one, if a recipe no longer gives its figure, or if a finding no longer holds.

    Of a source, a published table of networks that packages build, also the convention that gives
    most of its FLOPs. Writes audits/SOURCE.md.
    """
    extras.require("report")
    from vidcost.atlas.cli import audit_sources
    from vidcost.bench.audit import Recipe, judge, problems
    from vidcost.bench.progress import progress
    from vidcost.bench.report.audit import audit_markdown, figure_table, findings, recipe_table
    from vidcost.papers import catalog, source

    if recipe is not None:
        print_table(recipe_table(Recipe.parse(recipe)), as_)
        return
    files.check_folder(results)
    sources = [each for each in source.files() for name in names or () if fnmatch(each, name)]
    if sources:
        audit_sources([*dict.fromkeys(sources)], results, as_)
        return
    paper = catalog.paper(*names or [])
    with progress("counting", len(paper.figures)) as advance:
        judged = judge(paper, advance=advance)
    found, table = findings(paper, judged), figure_table(judged)
    document, command = audit_markdown(paper, judged, found), f"audit {paper.name}"
    write_document(results / "audits" / f"{paper.name}.md", document, command=command)
    write_lines(results / "audits" / f"{paper.name}.jsonl", table.lines, command=command)
    print_table(table, as_)
    if as_ is None:
        for number, each in enumerate(found, start=1):
            typer.echo(textwrap.fill(f"{number}. {each.title} {each.mark}", 79))
        typer.echo(f"Written, with reasons: {results / 'audits' / paper.name}.md")
    gone = (
        f"the audit finds no longer that {words}: rewrite the finding {each.title!r}"
        for each in found
        for words in each.gone
    )
    report((*problems(paper, judged), *gone))


def _paper_and_tables(words: Sequence[str]) -> tuple[Paper, list[int | str]]:
    """The paper and the tables that ``words`` name; none: the default paper, all tables.

    Raises: ValueError if there is no such paper or table.
    """
    from vidcost.papers import catalog

    paper = catalog.paper()
    if words and not words[0].isdigit() and words[0] not in paper.titles:
        paper, words = catalog.paper(words[0]), words[1:]
    chosen = [paper.table(word)[0].table for word in words]
    return paper, list(dict.fromkeys(chosen or paper.titles))


def _together(records: Mapping[str, Record], results: Path) -> tuple[dict[str, Record], list[str]]:
    """``records`` beside those stored, none if they add nothing; and a line if they differ."""
    from vidcost.bench.count import record
    from vidcost.bench.gate.baseline import differences
    from vidcost.bench.gate.counts import entry

    try:
        stored = record.read(results)
    except ValueError:
        # one that is damaged is written anew
        return dict(records), []
    together = {**stored, **records}
    before, after = ({n: entry(each) for n, each in side.items()} for side in (stored, together))
    changes = differences(before, after).changes
    if all(change.before is None for change in changes):
        return together if changes else {}, []
    return {}, [
        f"the counts differ from {results / record.COUNTS}, which was left as it is: "
        '`vidcost gate counts` shows where, `vidcost gate accept --reason "..."` accepts them'
    ]


def _written_tables(
    paper: Paper, numbers: Sequence[int | str], records: Mapping[str, Record], results: Path
) -> list[Table]:
    """The tables of those numbers; their files also have what GPUs took for their rows."""
    from vidcost.bench.report.paper import paper_table
    from vidcost.bench.report.timing import with_gpu_timings
    from vidcost.papers.catalog import printed_rows

    made = [paper_table(number, paper, printed_rows(paper), records) for number in numbers]
    for number, table in zip(numbers, made, strict=True):
        path = results / "tables" / paper.name / f"table{number}.md"
        whole = with_gpu_timings(table, results)
        write_document(path, whole.wide().markdown(), command=f"tables {paper.name} {number}")
    return made

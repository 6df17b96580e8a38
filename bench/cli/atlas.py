"""Commands on published tables: audits of sources, and the atlas of all their networks."""

from collections.abc import Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vidcost.bench import extras, files
from vidcost.bench.cli import options
from vidcost.bench.cli.output import (
    complain,
    print_table,
    print_tables,
    write_document,
    write_lines,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vidcost.bench.published import Counts

atlas_app = typer.Typer()


@atlas_app.command(
    "atlas", epilog="Example: `vidcost atlas --max-macs 100G --dataset Kinetics-400`"
)
def atlas(
    sources: Annotated[
        list[str] | None, typer.Argument(metavar="[SOURCE]...", help="Sources; none: all.")
    ] = None,
    max_macs: Annotated[
        str | None, typer.Option(metavar="MACS", help="At most so many of one view: 100G.")
    ] = None,
    max_params: Annotated[
        str | None, typer.Option(metavar="COUNT", help="At most so many parameters: 50M.")
    ] = None,
    dataset: Annotated[str | None, typer.Option(help="Accuracies on this dataset only.")] = None,
    results: options.Results = Path("results"),
    as_: options.As = None,
    wide: options.Wide = False,
    json: options.Json = False,
) -> None:
    """Every network that published tables print and packages build, once, under one convention.

    Without sources and filters it writes atlas.md and figures/atlas.svg to the results folder, with
    the networks that several sources print differently. Networks of packages that are not installed
    are named and left out.
    """
    from vidcost.bench import published
    from vidcost.papers.figures import Figure
    from vidcost.papers.published import folders

    extras.require("report")
    from vidcost.bench.report.plots import write_figures
    from vidcost.bench.report.published import atlas_plot, atlas_table, shared_table

    given = {"macs": max_macs, "params": max_params}
    bounds = {key: Figure.parse(text, bare="").value for key, text in given.items() if text}
    files.check_folder(results)
    names = sources or [*folders()]
    with _counting(names, peaks=True) as counts:
        found, shared = published.atlas(counts, names), published.shared(counts, names)
    datasets = sorted({each.best.dataset for each in found})
    if not found:
        raise ValueError(f"nothing could be built: {'; '.join({*counts.missing.values()})}")
    if dataset and dataset not in datasets:
        raise ValueError(f"no dataset {dataset!r}: there are {', '.join(datasets)}")
    kept = [
        each
        for each in found
        if dataset in (None, each.best.dataset)
        and all(getattr(each.counted, key) <= bound for key, bound in bounds.items())
    ]
    tables = [atlas_table(kept)]
    if not (sources or bounds or dataset):
        tables.append(shared_table(shared))
        write_figures(filter(None, [atlas_plot(found)]), results / "figures")
        texts = [f"## {each.title}\n\n{each.wide().markdown().strip()}" for each in tables[::-1]]
        parts = ["# Atlas", "![Accuracy against MACs](figures/atlas.svg)", *texts]
        write_document(results / "atlas.md", "\n\n".join(parts) + "\n", command="atlas")
    print_tables(tables, as_)
    for network, why in counts.missing.items():
        complain(f"left out {network}: {why}")


def audit_sources(names: Sequence[str], results: Path, as_: options.Format | None) -> None:
    """Audit sources: print the figures of one or a line for each, and write audits/SOURCE.md."""
    from vidcost.bench.audit import Verdict
    from vidcost.bench.published import audit
    from vidcost.bench.report.published import audit_markdown, figure_table
    from vidcost.bench.report.table import Column, Table, integer

    files.check_folder(results)
    lines, tables = [], []
    with _counting(names) as counts:
        for name in names:
            made = audit(name, counts)
            table = figure_table(made)
            tables.append(table)
            folder, command = results / "audits", f"audit {name}"
            write_document(folder / f"{name}.md", audit_markdown(made), command=command)
            write_lines(folder / f"{name}.jsonl", table.lines, command=command)
            verdicts = {str(each): made.counts[each] for each in Verdict}
            by = made.convention.name if made.possible else None
            lines.append({"source": name, **verdicts, "convention": by, "tried": made.tried})
    columns = [Column(str(each), str(each).capitalize(), integer) for each in Verdict]
    summary = Table(
        title="Audits of published tables",
        columns=(
            Column("source", "Source"),
            *columns,
            Column("convention", "FLOPs by", is_wide=True),
        ),
        lines=lines,
        legend=(f"Every figure and finding: {results / 'audits'}/SOURCE.md.",),
    )
    print_table(tables[0] if len(names) == 1 else summary, as_)


@contextmanager
def _counting(names: Sequence[str], *, peaks: bool = False) -> "Iterator[Counts]":
    """Counts that show their progress over the networks of some sources, or of all."""
    from vidcost.bench.progress import progress
    from vidcost.bench.published import Counts
    from vidcost.papers.published import source

    rows = [row for name in names for row in source(name).prints()]
    total = len({(row.network, row.classes, row.clip) for row in rows})
    with progress("counting", total) as advance:
        yield Counts(advance, peaks=peaks)

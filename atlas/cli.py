"""Audits of published tables, and the atlas of all their networks; packages build these."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
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
from vidcost.bench.cli.papers import paper_app

if TYPE_CHECKING:
    from vidcost.atlas.audit import Counts
    from vidcost.papers.source import Print

SHOWN_BY_NAME = 3
"""Up to so many networks that one reason leaves out are named."""


def audit_sources(names: Sequence[str], results: Path, as_: options.Format | None) -> None:
    """Audit sources, write audits/SOURCE.md for each, and print a table."""
    from vidcost.atlas.audit import audit
    from vidcost.atlas.prints import prints
    from vidcost.atlas.report import audit_markdown, audits_table, figure_table

    made = []
    with _counting([row for name in names for row in prints(name)]) as counts:
        for name in names:
            made.append(audit(name, counts))
            path = results / "audits" / f"{name}.md"
            write_document(path, audit_markdown(made[-1]), command=f"audit {name}")
    print_table(figure_table(made[0]) if len(made) == 1 else audits_table(made), as_)
    _complain_of(counts)


@paper_app.command("atlas", epilog="Example: `vidcost atlas --dataset K400 --max-macs 100G`")
def atlas(
    names: Annotated[
        list[str] | None,
        typer.Argument(metavar="[SOURCE]...", help="Papers and sources; none: all."),
    ] = None,
    max_macs: Annotated[
        str | None, typer.Option(metavar="MACS", help="At most so many of one view: 100G.")
    ] = None,
    max_params: Annotated[
        str | None, typer.Option(metavar="COUNT", help="At most so many parameters: 50M.")
    ] = None,
    dataset: Annotated[
        str | None, typer.Option(help="Accuracies on this dataset only: Kinetics-400, or K400.")
    ] = None,
    results: options.Results = Path("results"),
    as_: options.As = None,
    wide: options.Wide = False,
    json: options.Json = False,
) -> None:
    """Every network of published tables once, counted alike, and what sources print differently.

    Networks that cannot be built are named; `pip install 'vidcost[zoo]'` brings most packages.
    Without names and options, writes atlas.md, .jsonl and figures/atlas.svg to the results folder.
    """
    extras.require("report")
    from vidcost.atlas.networks import networks_of, shared
    from vidcost.atlas.prints import printing, prints
    from vidcost.atlas.report import (
        atlas_lines,
        atlas_markdown,
        atlas_plot,
        atlas_table,
        shared_table,
    )
    from vidcost.bench.report.plots import write_figures
    from vidcost.bench.report.timing import with_gpu_timings
    from vidcost.papers.figures import Figure

    given = {"macs": max_macs, "params": max_params}
    bounds = {key: Figure.parse(text, bare="").value for key, text in given.items() if text}
    files.check_folder(results)
    chosen = names or printing()
    rows = [row for name in chosen for row in prints(name)]
    if dataset:
        known = sorted({row.dataset for row in rows})
        rows = [row for row in rows if dataset in (row.dataset, _initials(row.dataset))]
        if not rows:
            raise ValueError(f"no dataset {dataset!r}: there are {', '.join(known)}")
    with _counting(rows, peaks=True) as counts:
        found, differing = networks_of(counts, rows), shared(counts, rows)
    if not found:
        raise ValueError(f"nothing could be built: {'; '.join({*counts.missing.values()})}")
    kept = [
        each
        for each in found
        if all(getattr(each.counted, key) <= bound for key, bound in bounds.items())
    ]
    is_whole = not (bounds or dataset)
    table = with_gpu_timings(atlas_table(atlas_lines(kept)), results)
    tables = [table, *([shared_table(differing)] if is_whole and differing else [])]
    if is_whole and not names:
        write_figures(filter(None, [atlas_plot(table.lines)]), results / "figures")
        write_document(results / "atlas.md", atlas_markdown(tables), command="atlas")
        write_lines(results / files.ATLAS, table.lines, command="atlas")
    print_tables(tables, as_)
    _complain_of(counts)


def _initials(dataset: str) -> str:
    """K400 of Kinetics-400, SSV2 of Something-Something V2."""
    return re.sub(r"[^A-Z0-9]", "", dataset)


@contextmanager
def _counting(rows: Sequence[Print], *, peaks: bool = False) -> Iterator[Counts]:
    """Counts that show their progress over the networks of ``rows``."""
    from vidcost.atlas.audit import Counts
    from vidcost.bench.progress import progress

    total = len({(row.network, row.classes, row.clip) for row in rows})
    with progress("counting", total) as advance:
        yield Counts(advance, peaks=peaks)


def _complain_of(counts: Counts) -> None:
    """Say what could not be built, in a line for each reason."""
    reasons: dict[str, list[str]] = {}
    for network, why in counts.missing.items():
        reasons.setdefault(why, []).append(network)
    for why, networks in reasons.items():
        few = len(networks) <= SHOWN_BY_NAME
        complain(f"left out {', '.join(networks) if few else f'{len(networks)} networks'}: {why}")

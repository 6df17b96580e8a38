"""Audits published tables of video networks, and puts all their networks into one table.

    python tools/atlas audit mmaction2       # one source; without a name all: minutes
    python tools/atlas table --dataset Kinetics-400 --max-macs 100G

Networks are those of packages, which the extra zoo installs; nothing is downloaded for them. Writes
audits/SOURCE.md, atlas.md and figures/atlas.svg to the results folder.
"""

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from vidcost.bench import extras, files
from vidcost.bench.cli import options
from vidcost.bench.cli.output import complain, print_table, print_tables
from vidcost.bench.exit_status import BAD_INPUT
from vidcost.bench.progress import progress

sys.path.insert(0, str(Path(__file__).parents[1]))
try:
    extras.require("report")
except ValueError as error:
    complain(error)
    sys.exit(BAD_INPUT)

from atlas.audit import Counts, audit, networks_of, shared
from atlas.published import Print, figure, source
from atlas.published import files as sources
from atlas.report import (
    atlas_plot,
    atlas_table,
    audit_markdown,
    audits_table,
    figure_table,
    shared_table,
)
from vidcost.bench.report.plots import write_figures

app = typer.Typer(help=__doc__.split("\n", maxsplit=1)[0], pretty_exceptions_enable=False)
Sources = Annotated[
    list[str] | None, typer.Argument(metavar="[SOURCE]...", help="Names; none: all sources.")
]
RESULTS = Path("results")


@app.command("audit")
def audit_(
    names: Sources = None,
    results: options.Results = RESULTS,
    as_: options.As = None,
    wide: options.Wide = False,
    json: options.Json = False,
) -> None:
    """A verdict on every printed figure, and the convention that gives most of a source's FLOPs."""
    files.check_folder(results)
    made = []
    with _counting(names) as counts:
        for name in names or sources():
            made.append(audit(name, counts))
            text = f"<!-- written by: python tools/atlas audit {name} -->\n\n"
            files.write(results / "audits" / f"{name}.md", text + audit_markdown(made[-1]))
    print_table(figure_table(made[0]) if len(made) == 1 else audits_table(made), as_)


@app.command()
def table(
    names: Sources = None,
    max_macs: Annotated[
        str | None, typer.Option(metavar="MACS", help="At most so many of one view: 100G.")
    ] = None,
    max_params: Annotated[
        str | None, typer.Option(metavar="COUNT", help="At most so many parameters: 50M.")
    ] = None,
    dataset: Annotated[str | None, typer.Option(help="Accuracies on this dataset only.")] = None,
    results: options.Results = RESULTS,
    as_: options.As = None,
    wide: options.Wide = False,
    json: options.Json = False,
) -> None:
    """Every network of the sources once, counted alike, and what sources print differently.

    Writes it if nothing is left out.  Networks that cannot be built are named.
    """
    given = {"macs": max_macs, "params": max_params}
    bounds = {key: figure(text, "").value for key, text in given.items() if text}
    files.check_folder(results)
    datasets = sorted({row.dataset for row in _rows(names)})
    if dataset and dataset not in datasets:
        raise ValueError(f"no dataset {dataset!r}: there are {', '.join(datasets)}")
    with _counting(names, peaks=True) as counts:
        found = networks_of(counts, names or sources())
        differing = shared(counts, names or sources())
    if not found:
        raise ValueError(f"nothing could be built: {'; '.join({*counts.missing.values()})}")
    kept = [
        each
        for each in found
        if dataset in (None, each.best.dataset)
        and all(getattr(each.counted, key) <= bound for key, bound in bounds.items())
    ]
    is_whole = not (bounds or dataset)
    tables = [atlas_table(kept), *([shared_table(differing)] if is_whole and differing else [])]
    if is_whole and not names:
        write_figures(filter(None, [atlas_plot(found)]), results / "figures")
        texts = [f"## {each.title}\n\n{each.wide().markdown().strip()}" for each in tables[::-1]]
        head = "<!-- written by: python tools/atlas table -->\n\n# Atlas\n"
        picture = "![Accuracy against MACs](figures/atlas.svg)"
        files.write(results / "atlas.md", "\n\n".join([head, picture, *texts]) + "\n")
    print_tables(tables, as_)
    for network, why in counts.missing.items():
        complain(f"left out {network}: {why}")


@contextmanager
def _counting(names: Sequence[str] | None, *, peaks: bool = False) -> Iterator[Counts]:
    """Counts that show their progress over the networks of some sources, or of all."""
    total = len({(row.network, row.classes, row.clip) for row in _rows(names)})
    with progress("counting", total) as advance:
        yield Counts(advance, peaks=peaks)


def _rows(names: Sequence[str] | None) -> list[Print]:
    return [row for name in names or sources() for row in source(name).prints()]


if __name__ == "__main__":
    try:
        app()
    except (ValueError, OSError) as error:
        complain(error)
        sys.exit(BAD_INPUT)

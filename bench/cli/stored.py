"""Commands on what is stored: the report and SQL queries."""

import sys
from itertools import chain
from pathlib import Path
from typing import Annotated

import typer

from vidcost.bench import files
from vidcost.bench.cli import options
from vidcost.bench.cli.output import complain, print_table
from vidcost.bench.extras import require
from vidcost.bench.progress import progress

stored_app = typer.Typer()


@stored_app.command("report", epilog="Example: `vidcost report --out report.html`")
def write_report(
    results: options.Results = Path("results"),
    out: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Where the page goes; default: report.html in results."),
    ] = None,
    figures: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", help="Write the plots here too, as SVG with CSV of data."),
    ] = None,
    json: options.Json = False,
) -> None:
    """Write what is counted, audited and timed to one page that works offline.

    Tables, plots, reconciliation, timings and the audit's findings. Nothing is timed and no other
    counter is asked.
    """
    require("report")
    from vidcost.atlas.report import atlas_section
    from vidcost.bench.report.page import gather, page, sections
    from vidcost.bench.report.plots import write_figures
    from vidcost.bench.report.table import Table

    out = out or results / "report.html"
    # before any folder is made
    data = gather(results)
    if figures is not None:
        files.check_folder(figures)
    with progress("tables", 2) as show:
        every = [*sections(data), atlas_section(results)]
        show("plots")
        content = page(every, data)
    files.write(out, content)
    written = [out]
    if figures is not None:
        with progress("figures", 1):
            written += write_figures(chain(*(each.parts for each in every)), figures)
    more = f", and {len(written) - 1} files in {figures}" if figures else ""
    lines = Table("", (), [{"written": str(path)} for path in written])
    sys.stdout.write(lines.json() if json else f"Written: {out}{more}\n")


@stored_app.command(
    "query",
    epilog="Example: `vidcost query \"select row, macs from counts where row like 'mfnet%'\"`",
)
def query(
    sql: Annotated[
        str,
        typer.Argument(
            metavar="SQL", help="One SELECT in DuckDB's SQL; - reads it from standard input."
        ),
    ],
    results: options.Results = Path("results"),
    parquet: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Also write the answer to this Parquet file."),
    ] = None,
    as_: options.As = None,
    wide: options.Wide = False,
    json: options.Json = False,
) -> None:
    """Query the stored counts, timings, contributions, reconciliation, audit and atlas in SQL.

    Each is a table of that name; `vidcost query "describe counts"` lists its columns. Nothing can
    be changed, and no other file can be read.
    """
    from vidcost.bench import query
    from vidcost.bench.report.table import table_of

    asked = sys.stdin.read() if sql == "-" else sql
    columns, rows = query.query(asked, results, parquet=parquet, note=complain)
    print_table(table_of(columns, rows), as_)

"""The command that writes everything stored to one page."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from vidcost.bench import files
from vidcost.bench.cli.options import Format, Json, Results
from vidcost.bench.cli.output import print_table
from vidcost.bench.extras import require
from vidcost.bench.progress import progress
from vidcost.bench.report.table import Table

report_app = typer.Typer()

REPORT = "report.html"


@report_app.command("report", epilog="Example: `vidcost report --out report.html`")
def write_report(
    results: Results = Path("results"),
    out: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Where the page goes; default: report.html in results."),
    ] = None,
    figures: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", help="Write the plots here too, as SVG with CSV of data."),
    ] = None,
    json: Json = False,
) -> None:
    """Write everything stored to one page that works offline.

    Tables, plots, reconciliation, timings, the audit's findings, and where each number comes
    from. Nothing is timed and no other counter is asked.
    """
    require("report")
    from vidcost.bench.report.page.data import gather
    from vidcost.bench.report.page.page import page, sections, write_figures

    out = out or results / REPORT
    # before any folder is made
    data = gather(results)
    if figures is not None:
        files.check_folder(figures)
    with progress("tables", 2) as show:
        every = sections(data)
        show("plots")
        content = page(every, data)
    files.write(out, content)
    written = [out]
    if figures is not None:
        plots = [plot for section in every for plot in section.plots]
        with progress("figures", 1):
            written += write_figures(plots, figures)
    if json:
        lines = [{"written": str(path)} for path in written]
        print_table(Table(title="", columns=(), lines=lines), Format.JSON)
        return
    more = f", and {len(written) - 1} files in {figures}" if figures else ""
    typer.echo(f"Written: {out}{more}")

"""The command that puts everything on one page."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from vidcost.bench import files
from vidcost.bench.cli.options import Format, Json, Results
from vidcost.bench.cli.output import print_table
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
    json: Json = False,
) -> None:
    """Put everything stored on one page that works offline, and every plot into files.

    Tables, plots, ledger, timings, the audit's findings, the gate's study and where each
    number comes from. Nothing is timed and no other counter is asked. SVG, PNG and CSV of the plots
    go to figures/ in the results folder.
    """
    from vidcost.bench.report.page.figures import FIGURES, write_figures
    from vidcost.bench.report.page.gathered import gather
    from vidcost.bench.report.page.page import page, plots_of
    from vidcost.bench.report.page.sections import Sections

    out = out or results / REPORT
    files.check_folder(results / FIGURES)
    found = gather(results)
    built = Sections(found)
    sections = built.all()
    files.write(out, page(sections, built.headlines(), made=found.made))
    written = write_figures(plots_of(sections), results)
    if json:
        lines = [{"written": str(path)} for path in (out, *written)]
        print_table(Table(title="", columns=(), lines=lines), Format.JSON)
        return
    typer.echo(f"Written: {out}, and {len(written)} files in {results / FIGURES}")

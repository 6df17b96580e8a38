"""All commands as one program.

The modules of commands declare them. What takes long to import, as torch does, is imported by the
command that is run: help, completion and a mistyped option do not wait for it.
"""

from __future__ import annotations

import typer

from vidcost.bench.cli.audit import audit_app
from vidcost.bench.cli.cache import cache_app
from vidcost.bench.cli.compare import compare_app
from vidcost.bench.cli.counts import counts_app
from vidcost.bench.cli.explain import explain_app
from vidcost.bench.cli.formulas import formulas_app
from vidcost.bench.cli.gate import gate_app
from vidcost.bench.cli.query import query_app
from vidcost.bench.cli.report import report_app
from vidcost.bench.cli.tables import tables_app
from vidcost.bench.cli.timing import timing_app

app = typer.Typer(
    help="What long-range video blocks really cost: exact counts beside the paper's figures.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
)
# help lists the commands in this order
app.add_typer(counts_app)
app.add_typer(compare_app)
app.add_typer(tables_app)
app.add_typer(timing_app)
app.add_typer(explain_app)
app.add_typer(formulas_app)
app.add_typer(audit_app)
app.add_typer(gate_app, name="gate")
app.add_typer(report_app)
app.add_typer(query_app)
app.add_typer(cache_app, name="cache")

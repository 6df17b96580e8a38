"""All commands as one program."""

from __future__ import annotations

import typer

from vidcost.bench.audit.verdicts import FindingGone
from vidcost.bench.cli.audit import audit_app
from vidcost.bench.cli.cache import cache_app
from vidcost.bench.cli.compare import compare_app
from vidcost.bench.cli.counts import counts_app
from vidcost.bench.cli.fast import fast_app
from vidcost.bench.cli.formulas import formulas_app
from vidcost.bench.cli.gate import gate_app
from vidcost.bench.cli.history import history_app
from vidcost.bench.cli.ledger import ledger_app
from vidcost.bench.cli.query import query_app
from vidcost.bench.cli.report import report_app
from vidcost.bench.cli.running import run
from vidcost.bench.cli.tables import tables_app
from vidcost.bench.cli.timing import timing_app
from vidcost.bench.count.closed_form import ClosedFormMismatch
from vidcost.bench.engine.work import Lost
from vidcost.bench.exit_status import FOUND_WRONG, INTERRUPTED
from vidcost.bench.timing.sweep import Interrupted

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
app.add_typer(fast_app)
app.add_typer(ledger_app)
app.add_typer(formulas_app)
app.add_typer(audit_app)
app.add_typer(gate_app, name="gate")
app.add_typer(history_app)
app.add_typer(report_app)
app.add_typer(query_app)
app.add_typer(cache_app, name="cache")


def status() -> int:
    """Run the command line; the exit status it ends with."""
    ends = {
        ClosedFormMismatch: FOUND_WRONG,
        FindingGone: FOUND_WRONG,
        Lost: FOUND_WRONG,
        Interrupted: INTERRUPTED,
    }
    return run(app, ends)

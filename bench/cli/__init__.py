"""The command line: the only place that parses arguments."""

from __future__ import annotations

import sys
from typing import Any

import typer

from vidcost.bench.audit.verdicts import FindingGone
from vidcost.bench.cli.audit import audit_app
from vidcost.bench.cli.cache import cache_app
from vidcost.bench.cli.counts import counts_app
from vidcost.bench.cli.formulas import formulas_app
from vidcost.bench.cli.gate import gate_app
from vidcost.bench.cli.history import history_app
from vidcost.bench.cli.ledger import ledger_app
from vidcost.bench.cli.output import BAD_INPUT, FOUND_WRONG, INTERRUPTED, complain
from vidcost.bench.cli.report import report_app
from vidcost.bench.cli.tables import tables_app
from vidcost.bench.cli.timing import timing_app
from vidcost.bench.count.closed_form import ClosedFormMismatch
from vidcost.bench.timing.sweep import Interrupted

_UsageError: Any = typer.BadParameter.__base__
"""A command line that cannot be understood; typer exports it only by this subclass."""

app = typer.Typer(
    help="What long-range video blocks really cost: exact counts beside the paper's figures.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
)
# help lists the commands in this order
app.add_typer(counts_app)
app.add_typer(tables_app)
app.add_typer(timing_app)
app.add_typer(ledger_app)
app.add_typer(formulas_app)
app.add_typer(audit_app)
app.add_typer(gate_app, name="gate")
app.add_typer(history_app)
app.add_typer(report_app)
app.add_typer(cache_app, name="cache")


def main() -> None:
    """Run the command line; what a user did wrong becomes one line and exit status 2."""
    try:
        status = app(standalone_mode=False)
    except _UsageError as error:
        # without a message the help has been shown
        if message := error.format_message():
            complain(message)
        sys.exit(BAD_INPUT)
    except (ClosedFormMismatch, FindingGone) as error:
        complain(error)
        sys.exit(FOUND_WRONG)
    except Interrupted as error:
        complain(error)
        sys.exit(INTERRUPTED)
    except (ValueError, OSError) as error:
        complain(error)
        sys.exit(BAD_INPUT)
    except (RuntimeError, TypeError) as error:
        # torch's words for a shape of more elements than it can number, wherever it meets it
        if "overflow" not in str(error).lower():
            raise
        complain("a tensor would have more elements than torch can number: choose smaller sizes")
        sys.exit(BAD_INPUT)
    sys.exit(status)

"""The command line: the only place that parses arguments."""

from __future__ import annotations

import os
import sys
import traceback
from typing import Any

import typer

from vidcost.bench.audit.verdicts import FindingGone
from vidcost.bench.cli.audit import audit_app
from vidcost.bench.cli.cache import cache_app
from vidcost.bench.cli.compare import compare_app
from vidcost.bench.cli.counts import counts_app
from vidcost.bench.cli.formulas import formulas_app
from vidcost.bench.cli.gate import gate_app
from vidcost.bench.cli.history import history_app
from vidcost.bench.cli.ledger import ledger_app
from vidcost.bench.cli.output import complain
from vidcost.bench.cli.report import report_app
from vidcost.bench.cli.tables import tables_app
from vidcost.bench.cli.timing import timing_app
from vidcost.bench.count.closed_form import ClosedFormMismatch
from vidcost.bench.engine.work import Lost
from vidcost.bench.exit_status import (
    BAD_INPUT,
    DONE,
    FAULT,
    FOUND_WRONG,
    INTERRUPTED,
    NOBODY_READS,
)
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
app.add_typer(compare_app)
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
    """Run the command line and exit; what a user did wrong becomes one line and exit status 2."""
    try:
        status = _status()
        sys.stdout.flush()
    except BrokenPipeError:
        # or the interpreter would try to write the rest when it ends
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        status = NOBODY_READS
    except SystemExit as exit_:
        # typer makes 1 of it, which is something found wrong
        if not isinstance(exit_.__context__, BrokenPipeError):
            raise
        status = NOBODY_READS
    sys.exit(status)


def _status() -> int:
    """Run the command line; the exit status it ends with."""
    try:
        # what a command returns, or raises in typer.Exit
        return app(standalone_mode=False) or DONE
    except _UsageError as error:
        # without a message the help has been shown
        if message := error.format_message():
            complain(message)
        return BAD_INPUT
    except (ClosedFormMismatch, FindingGone, Lost) as error:
        complain(error)
        return FOUND_WRONG
    except Interrupted as error:
        complain(error)
        return INTERRUPTED
    except (ValueError, OSError) as error:
        complain(error)
        return BAD_INPUT
    except Exception as error:
        # torch's words for a shape of more elements than it can number, wherever it meets it
        if isinstance(error, RuntimeError | TypeError) and "overflow" in str(error).lower():
            complain(
                "a tensor would have more elements than torch can number: choose smaller sizes"
            )
            return BAD_INPUT
        traceback.print_exc()
        return FAULT

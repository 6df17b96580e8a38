"""Runs the program: an exception becomes one line and an exit status."""

from __future__ import annotations

import sys
import traceback
from typing import Any

import typer

from vidcost.bench.cli.moved import check_moved
from vidcost.bench.cli.output import complain
from vidcost.bench.exit_status import BAD_INPUT, DONE, FAULT, Ending

_UsageError: Any = typer.BadParameter.__base__
"""A command line that cannot be understood; typer exports it only by this subclass."""


def run(app: typer.Typer) -> int:
    """Run ``app`` on the command line; returns the exit status.

    An :class:`Ending` has its own; ValueError and OSError are bad input.
    """
    try:
        check_moved(sys.argv[1:])
        # what a command returns, or raises in typer.Exit
        return app(standalone_mode=False) or DONE
    except _UsageError as error:
        # without a message the help has been shown
        if message := error.format_message():
            complain(message)
        return BAD_INPUT
    except Ending as error:
        complain(error)
        return error.status
    except (ValueError, OSError) as error:
        complain(error)
        return BAD_INPUT
    except Exception as error:
        # torch's error for a shape with more elements than it can number
        if isinstance(error, RuntimeError | TypeError) and "overflow" in str(error).lower():
            complain(
                "a tensor would have more elements than torch can number: choose smaller sizes"
            )
            return BAD_INPUT
        traceback.print_exc()
        return FAULT

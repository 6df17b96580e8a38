"""The command line: the only place that parses arguments."""

from __future__ import annotations

import os
import sys

from vidcost.bench.cli.program import app
from vidcost.bench.cli.running import run
from vidcost.bench.exit_status import NOBODY_READS

__all__ = ["app", "main"]


def main() -> None:
    """Run the command line and exit; what a user did wrong becomes one line and exit status 2."""
    try:
        status = run(app)
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

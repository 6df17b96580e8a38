"""The command line: the only place that parses arguments."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

from vidcost.bench.exit_status import NOBODY_READS

if TYPE_CHECKING:
    from vidcost.bench.cli.program import app

__all__ = ["app", "main"]


def main() -> None:
    """Run the command line and exit; what a user did wrong becomes one line and exit status 2."""
    try:
        from vidcost.bench.cli.program import app
        from vidcost.bench.cli.running import run

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


def __getattr__(name: str) -> object:
    if name == "app":
        from vidcost.bench.cli.program import app

        return app
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

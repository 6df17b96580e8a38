"""The command line: the only place that parses arguments."""

from vidcost.bench.cli.program import app, main

__all__ = ["app", "main"]

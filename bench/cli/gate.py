"""The commands of the regression gate."""

from __future__ import annotations

import typer

gate_app = typer.Typer(
    help="Regressions caught: exact counts, timings of two versions.", no_args_is_help=True
)

"""The options that several commands share."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer


class Format(StrEnum):
    """How a table is printed."""

    MD = "md"
    JSON = "json"
    CSV = "csv"


Rows = Annotated[
    list[str] | None, typer.Argument(help="Row names or globs, such as 'mfnet*'; none: all rows.")
]
PaperTable = Annotated[
    int | None, typer.Option("--table", help="Only the rows of this table of the paper.")
]
As = Annotated[
    Format | None,
    typer.Option(
        "--format", help="Print markdown, JSON or CSV; default: drawn on a terminal, else markdown."
    ),
]
Results = Annotated[
    Path, typer.Option("--results", metavar="DIR", help="Folder of the results files.")
]
NoCache = Annotated[
    bool, typer.Option("--no-cache", help="Ask the other counters anew, and keep no answer.")
]
Classes = Annotated[int | None, typer.Option("--classes", help="Classes instead of the row's.")]
Frames = Annotated[int | None, typer.Option("--frames", help="Frames instead of the row's.")]
Size = Annotated[int | None, typer.Option("--size", help="Height and width instead of the row's.")]

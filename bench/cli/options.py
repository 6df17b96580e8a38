"""The options that several commands share."""

import math
import re
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Literal

import typer


class Format(StrEnum):
    """How a table is printed."""

    MD = "md"
    JSON = "json"
    CSV = "csv"
    LATEX = "latex"
    WIDE = "wide"


# docs/scale.md has these three; few users need them
EngineName = Annotated[Literal["here", "ray"], typer.Option("--engine", hidden=True)]
Address = Annotated[str | None, typer.Option(metavar="HOST:PORT", hidden=True)]
GpuType = Annotated[str | None, typer.Option("--gpu", metavar="TYPE", hidden=True)]

Rows = Annotated[
    list[str] | None,
    typer.Argument(
        help="Row names or globs, such as 'mfnet*'; default: all rows of the default paper."
    ),
]
PaperName = Annotated[
    str | None,
    typer.Argument(metavar="[PAPER]", help="A paper's name; `vidcost list --papers` shows all."),
]
PaperTable = Annotated[
    str | None, typer.Option("--table", help="Only the rows of this table of the paper.")
]


def _with_flags(context: typer.Context, as_: Format | None) -> Format | None:
    """The format that --format, --json and --wide ask for together."""
    flags = {Format.JSON: context.params.get("json"), Format.WIDE: context.params.get("wide")}
    asked = {*(flag for flag, is_given in flags.items() if is_given), *([as_] if as_ else [])}
    if len(asked) > 1:
        raise ValueError("--format, --json and --wide name two formats: give one of them")
    return asked.pop() if asked else None


As = Annotated[
    Format | None,
    typer.Option(
        "--format",
        callback=_with_flags,
        help="Default: drawn on a terminal, else Markdown; wide: every column, exact.",
    ),
]
Json = Annotated[
    bool,
    # eager, so that --format finds it read wherever it stands
    typer.Option("--json", is_eager=True, help="Print the result as JSON, and nothing else."),
]
"""The parameter must be called ``json``. A command that takes :data:`As` need not read it: there it
means --format json."""
Wide = Annotated[
    bool, typer.Option("--wide", is_eager=True, help="Show every column, and exact numbers.")
]
"""As :data:`Json`, by the name of ``wide``."""
Results = Annotated[
    Path, typer.Option("--results", metavar="DIR", help="Folder of the results files.")
]
NoCache = Annotated[
    bool, typer.Option("--no-cache", help="Run the reference counters again; cache no answer.")
]
Classes = Annotated[int | None, typer.Option("--classes", help="Classes instead of the row's.")]
Frames = Annotated[int | None, typer.Option("--frames", help="Frames instead of the row's.")]
Size = Annotated[int | None, typer.Option("--size", help="Height and width instead of the row's.")]
Device = Annotated[str, typer.Option(help="cpu, cuda, or one of several GPUs, such as cuda:1.")]
Threads = Annotated[int | None, typer.Option(min=1, help="CPU threads; default: all cores.")]
Resume = Annotated[bool, typer.Option(help="Skip measurements that are already stored.")]
Inputs = Annotated[
    list[str] | None,
    typer.Option(
        "--input",
        "--inputs",
        metavar="[NAME=]SHAPE[:TYPE]",
        help="An input of your own network, batch first: 1x3x16x224x224, 1x128:int64<30000, "
        "mask=1x128:bool; repeat it for several. Or a function that returns all: "
        "--inputs my_net.py:example.",
    ),
]
TimeLimit = Annotated[
    str,
    typer.Option(
        "--time-limit", metavar="TIME", help="Limit for each start of your own code: 5s, 2m, 1h."
    ),
]
TIME_LIMIT = "2m"


def views_of(text: str) -> int:
    """``10x3``, clips and crops of a video, as a number.  Raises: ValueError if it is none."""
    if not re.fullmatch(r"[1-9]\d*(x[1-9]\d*)?", text, re.ASCII):
        raise ValueError(f"{text!r} is no number of views such as 10x3, clips and crops")
    return math.prod(map(int, text.split("x")))


def seconds(text: str) -> float:
    """``90s``, ``10m``, ``1h`` or ``1.5h`` in seconds.  Raises: ValueError if it is none."""
    if not (found := re.fullmatch(r"(\d+(?:\.\d+)?)([smh])", text.strip(), re.ASCII)):
        raise ValueError(f"{text!r} is no time such as 90s, 10m or 1h")
    return float(found[1]) * {"s": 1, "m": 60, "h": 3600}[found[2]]

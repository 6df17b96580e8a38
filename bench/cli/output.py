"""What commands print and write, and how they report failures."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer
from rich.console import Console

from vidcost.bench import files
from vidcost.bench.cli.options import Format
from vidcost.bench.exit_status import FOUND_WRONG, NOT_JUDGED
from vidcost.bench.report.table import Table, show

if TYPE_CHECKING:
    from vidcost.bench.count.references.reference import Answer


def print_table(table: Table, as_: Format | None) -> None:
    """Print a table as asked; by default drawn on a terminal, else Markdown."""
    if as_ is None or as_ is Format.WIDE:
        show(table.wide() if as_ else table, Console(), is_whole=as_ is not None)
    else:
        # a method for each, by its name
        written = getattr(table, "markdown" if as_ is Format.MD else as_.value)
        sys.stdout.write(written())


def print_tables(tables: Sequence[Table], as_: Format | None) -> None:
    """Print several tables; as JSON or CSV all lines form one, so that it can be parsed."""
    if as_ in (Format.JSON, Format.CSV):
        lines = [line for table in tables for line in table.lines]
        tables = [Table(title="", columns=(), lines=lines)]
    for table in tables:
        print_table(table, as_)


def write_document(path: Path, document: str, *, command: str) -> None:
    """Write a document that names the command that wrote it."""
    files.write(path, f"<!-- written by: vidcost {command} -->\n\n{document}")


def write_lines(path: Path, lines: Sequence[Mapping[str, Any]], *, command: str) -> None:
    """Write data as JSON lines below a header that names the command that wrote them."""
    made_by = {"command": f"vidcost {command}", "vidcost": version("vidcost")}
    written = [made_by | {"records": len(lines)}, *lines]
    files.write(path, "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in written))


def unanswered(target: str, answers: Mapping[Any, Answer]) -> list[str]:
    """A line for each reference counter that gave no answer about ``target``."""
    return [
        f"{target}: {name} {answer.status}: {answer.error}"
        for name, answer in answers.items()
        if answer.error
    ]


def report(lines: Iterable[str], untimed: Iterable[str] = ()) -> None:
    """Print the failures, if any, and end with exit status 1; with 3 for what was not timed."""
    found, missing = list(dict.fromkeys(lines)), list(dict.fromkeys(untimed))
    for failure in (*found, *missing):
        complain(failure)
    if found or missing:
        raise typer.Exit(FOUND_WRONG if found else NOT_JUDGED)


def complain(message: object) -> None:
    """Print one line to standard error."""
    typer.echo(f"vidcost: {' '.join(str(message).split())}", err=True)

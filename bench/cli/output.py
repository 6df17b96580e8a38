"""What a command prints, writes and exits with."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import typer
from rich.console import Console

from vidcost.bench import files
from vidcost.bench.cli.options import Format
from vidcost.bench.count.answer import Answer
from vidcost.bench.count.record import Record
from vidcost.bench.exit_status import FOUND_WRONG
from vidcost.bench.tables.table import Table, show


def print_table(table: Table, as_: Format | None) -> None:
    """Print a table as asked; by default drawn on a terminal, else markdown."""
    if as_ is None:
        show(table, Console())
    else:
        written = {Format.MD: table.markdown, Format.JSON: table.json, Format.CSV: table.csv}
        sys.stdout.write(written[as_]())


def print_tables(tables: Sequence[Table], as_: Format | None) -> None:
    """Print several tables; as JSON or CSV they are one, of all lines, so that it can be read."""
    if as_ in (Format.JSON, Format.CSV):
        lines = [line for table in tables for line in table.lines]
        print_table(Table(title="", columns=(), lines=lines), as_)
    else:
        for table in tables:
            print_table(table, as_)


def write_document(path: Path, document: str, *, command: str) -> None:
    """Write a document that says which command made it."""
    files.write(path, f"<!-- written by: vidcost {command} -->\n\n{document}")


def report_failures(records: Iterable[Record]) -> None:
    """Name the witnesses that gave no answer, and exit accordingly."""
    report(line for each in records for line in unanswered(each.row, each.witnesses))


def unanswered(subject: str, answers: Mapping[Any, Answer]) -> list[str]:
    """A line for each counter that gave no answer about ``subject``."""
    return [
        f"{subject}: {name} {answer.status}: {answer.error}"
        for name, answer in answers.items()
        if answer.error
    ]


def report(lines: Iterable[str]) -> None:
    """Print what was found wrong, if anything, and exit accordingly."""
    found = list(dict.fromkeys(lines))
    for failure in found:
        complain(failure)
    if found:
        raise typer.Exit(FOUND_WRONG)


def complain(message: object) -> None:
    """Print one line about what is wrong, to standard error."""
    typer.echo(f"vidcost: {' '.join(str(message).split())}", err=True)

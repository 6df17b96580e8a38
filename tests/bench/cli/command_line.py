"""The command line as a document. Run as a program it writes docs/cli.md."""

from pathlib import Path
from typing import Any

import typer.main
from typer.cli import get_docs_for_click

from vidcost.bench.cli import app
from vidcost.bench.exit_status import MEANINGS

DOCUMENT = Path(__file__).parents[3] / "docs" / "cli.md"

HEAD = """\
<!-- written by: python tests/bench/cli/command_line.py -->

# The command line

`vidcost` alone shows five commands, `vidcost -h` lists all, `vidcost COMMAND -h` explains one with
an example. `python -m vidcost` is the same program. Commands, arguments, options and defaults below
are those of the program: a test fails if they change by accident. `time` also takes `--engine ray`:
[scale.md](scale.md).

## Output

Tables are drawn on a terminal and are Markdown in a pipe, without the columns that do not fit,
which are named. `--wide` shows every column, and exact numbers. JSON is always a list of objects,
one for each line of the result, with plain integers, seconds and bytes, and standard output holds
nothing else. Notes, progress and complaints go to standard error. A command that finds something
wrong still prints its result; one that cannot be carried out prints nothing to standard output.

## Exit statuses

| status | meaning |
|---|---|
"""


def commands(group: Any = None, path: tuple[str, ...] = ()) -> dict[str, Any]:
    """Every command of the command line by its words."""
    group = group or typer.main.get_command(app)
    found: dict[str, Any] = {}
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            found |= commands(command, (*path, name))
        else:
            found[" ".join((*path, name))] = command
    return found


def document(group: Any = None) -> str:
    """Every command with its arguments, options and defaults, below what holds for all."""
    group = group or typer.main.get_command(app)
    statuses = "".join(f"| {status} | {meaning} |\n" for status, meaning in MEANINGS.items())
    told = get_docs_for_click(obj=group, ctx=typer.Context(group), name="vidcost", title="Commands")
    # usages are no commands to try
    told = told.replace("```console\n$ ", "```text\n").replace("\n## ", "\n### ")
    return f"{HEAD}{statuses}\n#{told}"


if __name__ == "__main__":
    DOCUMENT.write_text(document(), encoding="utf-8")

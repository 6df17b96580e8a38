"""The command line as text. Run as a program it writes that to frozen.txt beside it."""

import textwrap
from pathlib import Path
from typing import Any

import typer.main

from vidcost.bench.cli import app

FROZEN = Path(__file__).with_name("frozen.txt")


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


def frozen(group: Any = None) -> str:
    """Commands with arguments, options and defaults; a star: must be given."""
    lines = [
        "The command line, as users depend on it. To change it on purpose:",
        "python tests/bench/cli/command_line.py",
    ]
    for name, command in commands(group).items():
        shown = []
        for parameter in command.params:
            words = " ".join(parameter.opts + [f"/ {opt}" for opt in parameter.secondary_opts])
            default = f" = {parameter.default}" if parameter.default else ""
            # a line breaks between parameters only
            shown.append((words + (" *" if parameter.required else default)).replace(" ", "\0"))
        text = textwrap.indent(textwrap.fill("; ".join(shown), 96, break_on_hyphens=False), "    ")
        lines += ["", f"vidcost {name}", text.replace("\0", " ")]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    FROZEN.write_text(frozen(), encoding="utf-8")

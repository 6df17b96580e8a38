"""The command line as text. Run as a program it writes that to frozen.txt beside it."""

import enum
import textwrap
import typing
from pathlib import Path
from types import UnionType
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
    """Commands with arguments, options, types and defaults; a star: must be given."""
    lines = [
        "The command line, as users depend on it. To change it on purpose:",
        "python tests/bench/cli/command_line.py",
    ]
    for name, command in commands(group).items():
        types = typing.get_type_hints(command.callback)
        shown = []
        for parameter in command.params:
            words = " ".join(parameter.opts + [f"/ {opt}" for opt in parameter.secondary_opts])
            value = "*" if parameter.required else f"= {_shown(parameter.default)}"
            # a line breaks between parameters only
            shown.append(f"{words}: {_type(types[parameter.name])} {value}".replace(" ", "\0"))
        indent = "    "
        known = {"initial_indent": indent, "subsequent_indent": indent}
        text = textwrap.fill("; ".join(shown), 100, break_on_hyphens=False, **known)
        lines += ["", f"vidcost {name}", text.replace("\0", " ")]
    return "\n".join(lines) + "\n"


def _type(kind: Any) -> str:
    if typing.get_origin(kind) in (UnionType, typing.Union):
        return " | ".join(map(_type, typing.get_args(kind)))
    if typing.get_origin(kind) is typing.Literal:
        return "|".join(map(str, typing.get_args(kind)))
    if isinstance(kind, type) and issubclass(kind, enum.Enum):
        return "|".join(str(member.value) for member in kind)
    if kind is type(None):
        return "None"
    return str(kind) if typing.get_args(kind) else str(kind.__name__)


def _shown(default: Any) -> str:
    return repr(str(default)) if isinstance(default, Path) else repr(default)


if __name__ == "__main__":
    FROZEN.write_text(frozen(), encoding="utf-8")

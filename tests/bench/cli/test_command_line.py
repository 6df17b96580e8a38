"""The command line is frozen: every change here is a change for users."""

import difflib
import runpy
from pathlib import Path

import pytest
import typer.main

from vidcost.bench.cli import app

HERE = Path(__file__).parent
COMMAND_LINE = runpy.run_path(str(HERE / "command_line.py"))
COMMANDS = COMMAND_LINE["commands"]()


def test_commands_arguments_options_types_and_defaults_are_frozen():
    expected = (HERE / "frozen.txt").read_text(encoding="utf-8")
    actual = COMMAND_LINE["frozen"]()
    difference = "\n".join(
        difflib.unified_diff(expected.splitlines(), actual.splitlines(), "frozen", "now", n=0)
    )
    assert expected == actual, (
        f"{difference}\nif that is meant: python tests/bench/cli/command_line.py"
    )


@pytest.mark.parametrize("order", [["--json", "--format", "csv"], ["--wide", "--json"]])
def test_json_and_another_format_are_refused(order, complaint):
    message = "--format, --json and --wide name two formats: give one of them"
    assert message == complaint("count", "mfnet", *order)


@pytest.mark.parametrize("order", [["--json"], ["--json", "--format", "json"]])
def test_json_is_the_format(order, vidcost):
    assert vidcost("list", "mfnet", "--format", "json") == vidcost("list", *order, "mfnet")


@pytest.mark.parametrize(
    ("words", "attribute", "value"),
    [
        ("--table: str | None = 3", "default", 3),
        ("--of: str | None = None", "opts", ["--of"]),
        ("--table: str | None *", "required", True),
    ],
)
def test_a_change_is_seen(words, attribute, value):
    group = typer.main.get_command(app)
    before = COMMAND_LINE["frozen"](group)
    setattr(group.commands["count"].params[1], attribute, value)
    after = COMMAND_LINE["frozen"](group)
    assert words not in before
    assert words in after


def test_every_command_takes_json_and_reads_it_before_a_format():
    for name, command in COMMANDS.items():
        options = {opt: parameter for parameter in command.params for opt in parameter.opts}
        assert "--json" in options, name
        if "--format" in options:
            # --format looks for it under that name, and it must have been read by then
            assert ("json", True) == (options["--json"].name, options["--json"].is_eager), name

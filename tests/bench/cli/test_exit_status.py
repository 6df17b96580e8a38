"""What commands end with: the table of docs/cli.md, the definition, and real processes agree."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from vidcost.bench import exit_status

CHECKOUT = Path(__file__).resolve().parents[3]
VIDCOST = (sys.executable, "-m", "vidcost")

BROKEN = """\
import signal, sys
from vidcost.bench import cli
@cli.app.command("fail")
def fail(): {}
sys.argv = ["vidcost", "fail"]
cli.main()
"""


def ended(*command):
    return subprocess.run(command, capture_output=True, text=True, check=False)


def unread():
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "w") as closed:
        known = {"stderr": subprocess.PIPE, "text": True, "check": False}
        return subprocess.run([*VIDCOST, "list", "--json"], stdout=closed, **known)


RUNS = {
    exit_status.DONE: lambda: ended(*VIDCOST, "list", "mfnet"),
    exit_status.BAD_INPUT: lambda: ended(*VIDCOST, "count", "mfnett"),
    exit_status.FAULT: lambda: ended(sys.executable, "-c", BROKEN.format("[][0]")),
    exit_status.INTERRUPTED: lambda: ended(
        sys.executable,
        "-c",
        BROKEN.format(
            # a job in the background is started with Ctrl-C ignored
            "signal.signal(signal.SIGINT, signal.default_int_handler); "
            "signal.raise_signal(signal.SIGINT)"
        ),
    ),
    exit_status.NOBODY_READS: unread,
}
SAID = {
    exit_status.BAD_INPUT: "vidcost: no row 'mfnett'",
    exit_status.FAULT: "IndexError: list index out of range",
}


@pytest.mark.parametrize("status", RUNS)
def test_a_real_run_ends_with_it(status):
    ran = RUNS[status]()
    assert status == ran.returncode, ran.stderr
    assert SAID.get(status, "") in ran.stderr
    assert ("Traceback" in ran.stderr) == (status == exit_status.FAULT)


def test_the_table_in_the_documentation_is_the_definition():
    text = (CHECKOUT / "docs/cli.md").read_text(encoding="utf-8")
    section = text.split("## Exit statuses\n", 1)[1].split("\n## ", 1)[0]
    table = dict(re.findall(r"^\| (\d+) \| (.*?) \|$", section, re.MULTILINE))
    assert {str(status): meaning for status, meaning in exit_status.MEANINGS.items()} == table

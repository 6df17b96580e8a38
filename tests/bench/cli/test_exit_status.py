"""What commands end with: the table of docs/cli.md, the definition, and real processes agree."""

from __future__ import annotations

import json
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


def ended(*command, **options):
    return subprocess.run(command, capture_output=True, text=True, check=False, **options)


def pytest_benchmark(path, median):
    """A file of pytest-benchmark with one benchmark of one process."""
    machine = {"machine": "x86_64", "system": "Linux", "cpu": {"brand_raw": "Abacus", "count": 2}}
    stats = {"median": median, "rounds": 5}
    benchmark = {"fullname": "bench.py::nl", "params": None, "stats": stats, "extra_info": {}}
    contents = {"machine_info": machine, "commit_info": {"id": path.parent.name}}
    contents |= {"benchmarks": [benchmark], "version": "5.3.1"}
    contents |= {"datetime": f"2026-11-23T00:00:0{path.stem}"}
    path.write_text(json.dumps(contents))


def regressed(folder):
    """Eight processes of each side, of which the later takes twice as long."""
    for side, median in (("base", 0.01), ("head", 0.02)):
        (folder / side).mkdir()
        for process in range(8):
            pytest_benchmark(folder / side / f"{process}.json", median + process * 1e-5)
    return ended(*VIDCOST, *"gate samples base head".split(), cwd=folder)


def edited(folder):
    regressed(folder)
    file = folder / "gate.json"
    file.write_text(file.read_text().replace("REGRESSED", "EQUIVALENT"))
    return ended(*VIDCOST, "gate", "replay", "gate.json", cwd=folder)


def unread(folder):
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "w") as closed:
        return subprocess.run(
            [*VIDCOST, "list", "--json"],
            stdout=closed,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )


RUNS = {
    exit_status.DONE: lambda _: ended(*VIDCOST, "list", "mfnet"),
    exit_status.FOUND_WRONG: regressed,
    exit_status.BAD_INPUT: lambda _: ended(*VIDCOST, "count", "mfnett"),
    exit_status.NOT_JUDGED: edited,
    exit_status.FAULT: lambda _: ended(sys.executable, "-c", BROKEN.format("[][0]")),
    exit_status.INTERRUPTED: lambda _: ended(
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
    exit_status.NOT_JUDGED: "vidcost: gate.json holds other verdicts",
    exit_status.FAULT: "IndexError: list index out of range",
}


@pytest.mark.parametrize(
    "status",
    [
        # commands in this process guard these too
        pytest.param(status, marks=pytest.mark.slow)
        if status in (exit_status.FOUND_WRONG, exit_status.NOT_JUDGED)
        else status
        for status in exit_status.MEANINGS
    ],
)
def test_a_real_run_ends_with_it(status, tmp_path):
    ran = RUNS[status](tmp_path)
    assert status == ran.returncode, ran.stderr
    assert SAID.get(status, "") in ran.stderr
    assert ("Traceback" in ran.stderr) == (status == exit_status.FAULT)


def test_the_table_in_the_documentation_is_the_definition():
    text = (CHECKOUT / "docs/cli.md").read_text(encoding="utf-8")
    section = text.split("## Exit statuses\n", 1)[1].split("\n## ", 1)[0]
    table = dict(re.findall(r"^\| (\d+) \| (.*?) \|$", section, re.MULTILINE))
    assert {str(status): meaning for status, meaning in exit_status.MEANINGS.items()} == table


def test_nothing_else_defines_one():
    numbers = re.compile(r"(?:typer\.Exit|sys\.exit|SystemExit)\(\s*\d")
    assert [] == [
        f"{path}: {line.strip()}"
        for path in (CHECKOUT / "bench").rglob("*.py")
        for line in path.read_text(encoding="utf-8").splitlines()
        if numbers.search(line)
    ]

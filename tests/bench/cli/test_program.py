"""The program as a whole: help, examples, JSON, rejected input, late imports, endings."""

import contextlib
import difflib
import functools
import json
import os
import pty
import re
import shlex
import shutil
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest
import typer.main
from rich.console import Console

from vidcost.bench import files
from vidcost.bench.cli import app, output
from vidcost.bench.cli.program import FIRST
from vidcost.bench.count import reconcile
from vidcost.bench.count.modules import ClosedFormMismatch
from vidcost.bench.count.references import asking
from vidcost.bench.timing.cell import Cell
from vidcost.bench.timing.machine import machine_of
from vidcost.bench.timing.record import Timing
from vidcost.bench.timing.store import store_of
from vidcost.bench.timing.sweep import Interrupted
from vidcost.models.blocks.pnl import PNL
from vidcost.models.cost import Cost
from vidcost.papers import catalog

from ...repository import git
from .command_line import DOCUMENT, commands, document

CHECKOUT = Path(__file__).parents[3]
LEFT_OUT = "2plus-c1-d left out: published only: no public definition of the network was found\n"


def plain(output):
    """Output without colours, which CI asks for."""
    return re.sub(r"\x1b\[[0-9;]*m", "", output)


SLOW = ("compare", "report")


# tests/bench/gate/test_cli_gate.py runs those of the gate, in a repository of two versions
@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=[pytest.mark.slow] if name in SLOW else [])
        for name in commands()
        if not name.startswith("gate")
    ],
)
def test_the_example_prints_json_alone(name, vidcost, reference_counters, monkeypatch, tmp_path):
    monkeypatch.setattr(files, "cache_folder", lambda: tmp_path / "cache")
    if name in ("query", "report"):
        shutil.copytree(CHECKOUT / "results", "results", ignore=lambda *_: ["gate"])
    (example,) = re.findall("`vidcost (.*)`", commands()[name].epilog)
    # reference counters run for real in `compare`: a small clip takes seconds
    clip = "--frames 4 --size 128" if name == "compare" else ""
    words = example.replace("--format csv", "")
    status, out, err = vidcost(*shlex.split(f"{words} {clip} --json"))
    assert 0 == status, err
    # work of more than ten seconds says how far it is
    said = re.sub(r"(?m)^.* \(\d+ of \d+, \d+ s\)\n", "", err)
    begins = {"run": LEFT_OUT, "atlas": "vidcost: left out "}.get(name, "")
    assert said.startswith(begins) if begins else "" == said
    assert set(map(type, json.loads(out))) <= {dict}


@pytest.mark.parametrize("width", [80, 100])
@pytest.mark.parametrize(
    "words",
    [
        "list",
        "list --papers",
        "count mfnet-nl mfnet-pnl-x5 --references",
        "count mfnet-nl --training",
        "count mfnet-pnl --depth 3",
        "count nl pnl:n=4 --shape 384x8x14x14",
        "explain mfnet-nl",
        "explain mfnet-nl mfnet mfnet-pnl c3d r50-nl",
        "explain mfnet --printed 11.18G",
        "tables",
        "formulas",
        "time mfnet mfnet-nl",
        "time mfnet-nl --contribution",
        "compare mfnet --at conv4:before-last --block nl --block cgnl --frames 4 --size 64",
        "compare mfnet c3d --budget 0s",
        "audit --recipe 'mfnet classes=101'",
        pytest.param("audit", marks=pytest.mark.slow),
    ],
)
def test_what_a_command_prints_fits(
    words, width, vidcost, reference_counters, stopwatch, timed, monkeypatch
):
    if width == 80:
        drawn = functools.partial(Console, force_terminal=True, width=80, color_system=None)
        monkeypatch.setattr(output, "Console", drawn)
    sides = {"target": (0.123456,) * 8, "reference": (0.1,) * 8}
    stopwatch.make = lambda cell: timed(cell, **({"samples_s": sides} if cell.against else {}))
    status, out, err = vidcost(*shlex.split(words))
    assert 0 == status, err
    lines = out.splitlines()
    assert len(lines) > 3
    assert [] == [line for line in lines if len(line) > width]


def test_the_document_of_the_command_line_is_the_program():
    kept, now = DOCUMENT.read_text("utf-8").splitlines(), document().splitlines()
    difference = "\n".join(difflib.unified_diff(kept, now, "docs/cli.md", "now", n=0))
    meant = "if that is meant: python tests/bench/cli/command_line.py"
    assert not difference, f"{difference}\n{meant}"


@pytest.mark.parametrize(
    ("words", "attribute", "value"), [("[default: 3]", "default", 3), ("--of <", "opts", ["--of"])]
)
def test_a_change_of_the_command_line_is_seen(words, attribute, value):
    group = typer.main.get_command(app)
    assert words not in document(group)
    setattr(group.commands["count"].params[1], attribute, value)
    assert words in document(group)


def test_every_command_takes_json_and_reads_it_before_a_format():
    for name, command in commands().items():
        options = {opt: parameter for parameter in command.params for opt in parameter.opts}
        assert "--json" in options, name
        if "--format" in options:
            # --format looks for it under that name, and it must have been read by then
            assert ("json", True) == (options["--json"].name, options["--json"].is_eager), name


@pytest.mark.parametrize("order", [["--json"], ["--json", "--format", "json"]])
def test_json_is_the_format(order, vidcost):
    assert vidcost("list", "mfnet", "--format", "json") == vidcost("list", *order, "mfnet")


def test_without_arguments_it_shows_five_commands_that_exist(vidcost):
    assert (0, FIRST + "\n", "") == vidcost()
    shown = re.findall(r"^  vidcost (.*)$", FIRST, re.MULTILINE)
    assert 5 == len(shown)
    for line in shown:
        name = max((name for name in commands() if line.startswith(name)), key=len)
        options = {opt for parameter in commands()[name].params for opt in parameter.opts}
        assert {word for word in line.split() if word.startswith("--")} <= options


def test_the_help_lists_the_commands_and_those_of_papers_apart(vidcost):
    status, out, err = vidcost("-h")
    assert (0, "") == (status, err)
    _, general, papers = plain(out).split("╭─ ")[1:]
    listed = [set(re.findall(r"^│ (\w+) ", text, re.MULTILINE)) for text in (general, papers)]
    assert {"tables", "run", "formulas", "audit", "atlas"} == listed[1]
    assert {name.split()[0] for name in commands()} == listed[0] | listed[1]


@pytest.mark.parametrize("name", commands())
def test_a_help_shows_an_example_and_no_option_of_ray_or_of_the_study_of_the_gate(name, vidcost):
    status, out, _ = vidcost(*name.split(), "-h")
    assert 0 == status
    assert f"Example: vidcost {name}" in " ".join(plain(out).split())
    assert not re.search(r"--(engine|address|gpu|visit|seed)\b|\bRay\b", plain(out))


def test_the_package_runs_as_a_module(tmp_path):
    ran = subprocess.run(
        [sys.executable, "-m", "vidcost", "--version"],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        check=False,
    )
    assert (0, f"vidcost {version('vidcost')}\n", "") == (ran.returncode, ran.stdout, ran.stderr)


@pytest.mark.parametrize(
    ("text", "ascii_"),
    [("430.1 ms ± 0.8%", "430.1 ms +/- 0.8%"), ("7 ✓²³", "7 =23"), ("– → É 漢", "- -> E ?")],
)
def test_a_stream_without_unicode_gets_ascii(text, ascii_, monkeypatch):
    ran = subprocess.run(
        [
            sys.executable,
            "-c",
            "from vidcost.bench.cli import program as p\n"
            f"p._print_ascii_where_needed(); print({text!r})",
        ],
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONIOENCODING": "ascii"},
        check=True,
    )
    assert f"{ascii_}\n" == ran.stdout


def test_a_terminal_of_the_locale_c_gets_ascii():
    """Python itself would write UTF-8 to it."""
    leader, follower = pty.openpty()
    with os.fdopen(leader):
        subprocess.run(
            [sys.executable, "-m", "vidcost", "list", "mfnet-nl"],
            stdout=follower,
            env=os.environ | {"LC_ALL": "C"},
            check=True,
        )
        os.close(follower)
        text = b""
        with contextlib.suppress(OSError):
            while data := os.read(leader, 4096):
                text += data
    assert b"mfnet-nl" in text
    assert text.isascii()


# what is wrong with a row, a network, a block or a condition is tested where it is found
@pytest.mark.parametrize(
    ("command", "words"),
    [
        ("count mfnet-pln", ["no row 'mfnet-pln'", "did you mean 'mfnet-pnl'?", "vidcost list"]),
        ("count c3d --frames 8", ["C3D", "8 frames", "too short", "at least 16"]),
        ("count 2plus-c1-d", ["2plus-c1-d cannot be built", "no public definition"]),
        ("count mfnet --training --references", ["three tables: give one of them"]),
        ("count 'mfnet*' --depth 2", ["--depth is for one network: 24 are"]),
        ("count mfnet --depth -1", ["--depth"]),
        ("count mfnet --size 99999999999", ["more elements than torch can number"]),
        ("count --shape 384x8x14x14", ["--shape is for blocks: name some"]),
        ("count mfnet --shape 384x8x14x14 --training", ["give blocks and --shape only"]),
        ("count mfnet --json --format csv", ["--format, --json and --wide name two formats"]),
        ("count mfnet --wide --json", ["--format, --json and --wide name two formats"]),
        ("tables 7 --results r", ["no table 7 in pnl2020: choose from 1, 2, 3, 4, 5, 6"]),
        ("tables three --results r", ["no paper 'three'"]),
        ("count --bogus", ["--bogus"]),
        ("count mfnet --format xml", ["--format", "'xml'", "'md', 'json', 'csv'"]),
        ("audition", ["No such command", "audition"]),
        ("conformance", ["gone: `python tools/conformance` replaces it"]),
        ("ledger mfnet", ["`vidcost ledger` is gone: `vidcost explain` replaces it"]),
        ("audit --recipe 'mfnet keys=pooled'", ["no setting 'keys=pooled': it has classes=101"]),
        ("time mfnet --dtype tf32", ["TF32 needs a CUDA device"]),
        ("time mfnet --threads 0", ["--threads"]),
        ("time mfnet --budget 0s", ["0s is no time: give more than 0s"]),
        ("time mfnet --contribution --blocks nl", ["give one of them"]),
        ("run --budget soon", ["'soon' is no time such as 90s, 10m or 1h"]),
        ("time --blocks cgd --impl optimized", ["cgd has no optimized implementation"]),
        ("time --blocks nl --impl fast", ["unknown implementation 'fast'"]),
    ],
)
def test_bad_input_is_rejected_in_one_line(command, words, complaint, reference_counters):
    message = complaint(*shlex.split(command))
    assert [] == [word for word in words if word not in message], message
    assert [] == reference_counters.asked


@pytest.mark.parametrize("command", ["run", "tables 3"])
def test_a_folder_that_cannot_be_written_is_rejected_before_any_work(
    command, complaint, reference_counters, tmp_path
):
    (tmp_path / "file").write_text("a file")
    message = complaint(*command.split(), "--results", "file/below")
    assert message.startswith("cannot write results to file/below: ")
    assert "choose another folder with --results" in message
    assert [] == reference_counters.asked


@pytest.mark.parametrize(
    ("command", "what"),
    [
        ("count mfnet mfnet-pnl", "mfnet-pnl: conv4.after_B05"),
        ("run", "mfnet-pnl: conv4.after_B05"),
        ("count nl pnl --shape 384x8x14x14", "pnl: the whole"),
    ],
)
def test_a_closed_form_that_is_not_met_is_something_wrong(
    command, what, vidcost, monkeypatch, tmp_path
):
    # as in a process that has counted nothing yet
    monkeypatch.setattr(reconcile, "examine", reconcile.examine.__wrapped__)

    def ask(*_, **__):
        raise AssertionError("a reference counter was asked")

    monkeypatch.setattr(asking, "ask", ask)
    monkeypatch.setattr(PNL, "cost", lambda self, shape: Cost(params=1))
    status, out, err = vidcost(*command.split())
    err = err.removeprefix(LEFT_OUT)
    assert (1, "", 1) == (status, out, err.count("\n"))
    assert err.startswith(f"vidcost: {what}: params was counted as ")
    assert ", its closed form says 1; conv was counted as " in err
    assert [] == [path for path in tmp_path.rglob("*") if path.is_file()]


def test_the_first_command_of_the_readme_leaves_the_checkout_clean(
    vidcost, reference_counters, monkeypatch, tmp_path
):
    def ask(name, row, *, fake=asking.ask, **options):
        version = asking.REFERENCE_COUNTERS[name].version
        return fake(name, row, **options).model_copy(update={"version": version})

    monkeypatch.setattr(asking, "ask", ask)
    shutil.copy(CHECKOUT / ".gitignore", tmp_path)
    shutil.copytree(CHECKOUT / "results", tmp_path / "results")
    for words in ("init -q", "add .", "commit -qm all"):
        git(tmp_path, *words.split())
    assert 0 == vidcost("run", "--budget", "0s").status
    # and the timings of this CPU, which take a while
    store = store_of(tmp_path / "results", machine_of("cpu"))
    store.append(Timing(key="k", cell=Cell(row="mfnet")))
    assert "" == git(tmp_path, "status", "--porcelain")


HEAVY = (
    *("torch", "numpy", "pandas", "scipy", "sympy", "altair", "fvcore", "psutil"),
    *("thop", "duckdb", "jinja2", "vl_convert", "ray", "triton"),
)
UNUSED = (*("typer", "torch._dynamo", "torch._inductor"), *HEAVY[2:7], *HEAVY[8:])
THEIRS = CHECKOUT / "tests/bench/theirs.py"


@pytest.mark.parametrize(
    ("status", "words"),
    [
        (0, "--help"),
        (0, "time --help"),
        (2, "count --nope"),
        (2, "gate tim"),
        # the process that counts imports torch, this one does not
        (0, f"count {THEIRS}:Net --input 2x3x3x4x5"),
    ],
)
def test_torch_is_imported_where_it_is_used(status, words):
    program = (
        f"import sys; sys.argv = ['vidcost', *{words.split()}]\n"
        "from vidcost.bench import cli\n"
        "try: cli.main()\n"
        f"finally: print([x for x in {HEAVY} if x in sys.modules], file=sys.stderr)\n"
    )
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert (status, "[]") == (ran.returncode, ran.stderr.splitlines()[-1])
    assert ran.stdout or status


def test_the_process_that_counts_imports_little_more():
    program = (
        "import sys, torch\n"
        "from vidcost.bench.report.own import own_table\n"
        f"assert not own_table('{THEIRS}:Net', ['2x3x3x4x5'], False, None, 1)[1]\n"
        f"print([x for x in {UNUSED} if x in sys.modules])\n"
    )
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert ran.stdout == "[]\n", ran.stderr


@pytest.mark.parametrize(("status", "kind"), [(1, ClosedFormMismatch), (130, Interrupted)])
def test_what_ends_a_command_has_a_status_of_its_own(status, kind, monkeypatch, vidcost):
    def ends(*_, **__):
        raise kind("said so")

    monkeypatch.setattr(catalog, "select", ends)
    ended = vidcost("list")
    assert (status, "", "vidcost: said so\n") == (ended.status, ended.out, ended.err)

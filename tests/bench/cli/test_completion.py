"""Completion as shells ask for it: the script they load, and what it then gets from `vidcost`."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from vidcost.bench.cli import completion
from vidcost.papers.pnl2020.rows import ROWS

PROGRAM = Path(sys.executable).with_name("vidcost")
NAMES = [row.name for row in ROWS]

# how the script of a shell hands over the words, and what comes back between them
ASK = {
    "bash": lambda words: {"COMP_WORDS": words, "COMP_CWORD": str(words.count(" "))},
    "zsh": lambda words: {"_TYPER_COMPLETE_ARGS": words},
    "fish": lambda words: {
        "_TYPER_COMPLETE_ARGS": words,
        "_TYPER_COMPLETE_FISH_ACTION": "get-args",
    },
}


@pytest.fixture
def ask(tmp_path):
    """What `vidcost` answers a shell; the environment is that of the shell's script."""

    def run(instruction, **environment):
        path = f"{PROGRAM.parent}{os.pathsep}{os.environ['PATH']}"
        ran = subprocess.run(
            ["vidcost"],
            env=os.environ | {"PATH": path, "_VIDCOST_COMPLETE": instruction} | environment,
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
        )
        assert (0, "") == (ran.returncode, ran.stderr)
        return ran.stdout

    return run


@pytest.mark.parametrize(
    "shell", ["bash", *(pytest.param(s, marks=pytest.mark.slow) for s in ("zsh", "fish"))]
)
def test_every_shell_gets_its_script_and_its_answers(shell, ask):
    script = ask(f"source_{shell}")
    assert f"_VIDCOST_COMPLETE=complete_{shell}" in script
    words = "vidcost count mfnet-pnl-c"
    for name in ASK[shell](words):
        assert name in script
    answer = ask(f"complete_{shell}", **ASK[shell](words))
    assert [name for name in NAMES if name.startswith("mfnet-pnl-c")] == [
        name for name in NAMES if name in answer.replace('"', "\n").split()
    ]


@pytest.mark.slow
def test_bash_completes_for_real(ask, tmp_path):
    script = ask("source_bash")
    (tmp_path / "script").write_text(script)
    (function,) = re.findall(r"^complete .*-F (\S+) vidcost$", script, re.MULTILINE)
    lines = f"""
        source ./script
        COMP_WORDS=(vidcost gate time mfnet-n); COMP_CWORD=3
        {function} vidcost
        echo "${{COMPREPLY[@]}}"
    """
    ran = subprocess.run(
        [shutil.which("bash"), "--norc", "-c", lines],
        env=os.environ | {"PATH": f"{PROGRAM.parent}{os.pathsep}{os.environ['PATH']}"},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    assert "" == ran.stderr
    assert "mfnet-nl mfnet-nl-optimized\n" == ran.stdout


@pytest.mark.parametrize(
    ("expected", "words"),
    [
        (["cpu", "cuda"], "time --device "),
        (["cuda"], "gate time --device cu"),
        (["all", "nl", "cgnl", "cgd", "pnl"], "time --blocks "),
        (["fp32,bf16", "fp32,bf16-autocast"], "time --dtype fp32,b"),
        (["bf16", "bf16-autocast"], "gate time --dtype b"),
        (["example", "pnl2020", "1", "2", "3", "4", "5", "6"], "tables "),
        (["5"], "list --table 5"),
        (["pnl2020"], "audit p"),
        (["json"], "count --format j"),
    ],
)
def test_values_are_completed(expected, words, monkeypatch, capsys, vidcost):
    words = f"vidcost {words}"
    for name, value in ASK["bash"](words).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("_VIDCOST_COMPLETE", "complete_bash")
    status, out, err = vidcost()
    assert (0, "") == (status, err)
    assert expected == out.split()


def test_a_value_that_stands_there_is_not_offered_again():
    assert ["fp32,tf32", "fp32,bf16"] == completion.several_of("fp32", "tf32", "bf16")("fp32,")


def test_it_installs_itself_for_the_shell_it_is_called_from(tmp_path):
    ran = subprocess.run(
        # with a last command of its own, bash does not give way to vidcost
        [shutil.which("bash"), "--norc", "-c", "vidcost --install-completion; exit $?"],
        env=os.environ
        | {"PATH": f"{PROGRAM.parent}{os.pathsep}{os.environ['PATH']}", "HOME": str(tmp_path)},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert 0 == ran.returncode, ran.stderr
    (script,) = (tmp_path / ".bash_completions").iterdir()
    assert "_VIDCOST_COMPLETE=complete_bash" in script.read_text()
    assert script.name in (tmp_path / ".bashrc").read_text()

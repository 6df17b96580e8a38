"""Completion as bash asks for it."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = Path(sys.executable).with_name("vidcost")


@pytest.mark.slow
def test_bash_completes_for_real(tmp_path):
    environment = os.environ | {"PATH": f"{PROGRAM.parent}{os.pathsep}{os.environ['PATH']}"}
    known = {"env": environment, "cwd": tmp_path, "capture_output": True, "text": True}
    asked = known | {"env": environment | {"_VIDCOST_COMPLETE": "source_bash"}}
    script = subprocess.run([PROGRAM], check=True, **asked).stdout
    (tmp_path / "script").write_text(script)
    (function,) = re.findall(r"^complete .*-F (\S+) vidcost$", script, re.MULTILINE)
    lines = f"""
        source ./script
        COMP_WORDS=(vidcost gate time mfnet-n); COMP_CWORD=3
        {function} vidcost
        echo "${{COMPREPLY[@]}}"
    """
    ran = subprocess.run(["bash", "--norc", "-c", lines], check=True, **known)
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
        (["fp32,tf32"], "time --dtype fp32,t"),
        ([], "time --dtype fp32,fp32"),
        (["example", "pnl2020", "1", "2", "3", "4", "5", "6"], "tables "),
        (["5"], "list --table 5"),
        (["pnl2020"], "audit p"),
        (["json"], "count --format j"),
    ],
)
def test_values_are_completed(expected, words, monkeypatch, capsys, vidcost):
    words = f"vidcost {words}"
    asked = {"COMP_WORDS": words, "COMP_CWORD": str(words.count(" "))}
    for name, value in (asked | {"_VIDCOST_COMPLETE": "complete_bash"}).items():
        monkeypatch.setenv(name, value)
    status, out, err = vidcost()
    assert (0, "") == (status, err)
    assert expected == out.split()

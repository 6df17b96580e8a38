"""The workflows and actions of GitHub: their shape, and their scripts run as shell."""

import os
import subprocess
from pathlib import Path

import pytest
import yaml

from .repository import git

FOLDER = Path(__file__).resolve().parents[1] / ".github/workflows"


@pytest.fixture(params=sorted(path.name for path in FOLDER.glob("*.yml")))
def workflow(request):
    return yaml.safe_load((FOLDER / request.param).read_text(encoding="utf-8"))


def test_jobs_have_a_runner_and_steps_or_call_another_workflow(workflow):
    # YAML 1.1 reads the key "on" as true
    assert workflow[True]
    assert {"contents": "read"} == workflow["permissions"]
    for job in workflow["jobs"].values():
        if "uses" in job:
            called = FOLDER.parents[1] / job["uses"]
            inputs = yaml.safe_load(called.read_text(encoding="utf-8"))[True]["workflow_call"][
                "inputs"
            ]
            required = {name for name, each in inputs.items() if each.get("required")}
            assert required <= set(job["with"]) <= set(inputs)
            continue
        assert job["runs-on"]
        for step in job["steps"]:
            assert {"uses", "run"} & set(step)


ROOT = FOLDER.parents[1]
FORGED = "~~~~</details> [x](http://e) @all"


def shell(script: str, folder: Path, **known: str) -> subprocess.CompletedProcess[str]:
    """Run a script of an action in ``folder``, with programs that note how they are called."""
    fakes = folder / "bin"
    fakes.mkdir(exist_ok=True)
    for name in ("gh", "python", "vidcost"):
        path = fakes / name
        if not path.exists():
            path.write_text(f'#!/bin/sh\necho {name} "$@" >> "{folder}/calls"\n')
            path.chmod(0o755)
    return subprocess.run(
        ["bash", str(ROOT / ".github" / script)],
        cwd=folder,
        env=known | {"PATH": f"{fakes}:{os.environ['PATH']}", "GITHUB_REPOSITORY": "o/r"},
        capture_output=True,
        text=True,
        check=False,
    )


def fake(folder: Path, name: str, script: str) -> None:
    (folder / "bin").mkdir(exist_ok=True)
    (folder / "bin" / name).write_text(f"#!/bin/sh\n{script}\n")
    (folder / "bin" / name).chmod(0o755)


@pytest.mark.parametrize("depth", [["--depth=1"], ["--depth=2"], []])
@pytest.mark.parametrize("merged", [False, True])
def test_auto_is_where_the_change_left_the_target_branch(
    depth: list[str], merged: bool, tmp_path: Path
) -> None:
    """As actions/checkout lays it out: a clone, with or without history, of the change alone."""
    origin, clone = tmp_path / "origin", tmp_path / "clone"
    origin.mkdir()
    git(origin, "init", "-q", "-b", "main")
    for message in ("one", "left", "new", "tip"):
        if message == "new":
            git(origin, "switch", "-q", "-c", "change")
        elif message == "tip":
            git(origin, "switch", "-q", "main")
        git(origin, "commit", "-q", "--allow-empty", "-m", message)
    left = "main~1"
    if merged:
        # of a merge with the target branch everything there is known
        git(origin, "switch", "-q", "change")
        git(origin, "merge", "-q", "main")
        left = "main"
    git(tmp_path, "clone", "-q", *depth, "-b", "change", f"file://{origin}", str(clone))
    known = {"TESTS": "tests", "BASE": "auto", "DEVICE": "cpu", "BRANCH": "main"}
    ran = shell("gate.sh", clone, RUN="time", **known)
    assert 0 == ran.returncode, ran.stderr
    base = git(origin, "rev-parse", left)
    assert f"vidcost gate time tests --base {base} --device" in (clone / "calls").read_text()
    ran = shell("gate.sh", clone, RUN="time", **known | {"BRANCH": "lost"})
    assert (2, True) == (ran.returncode, "::error::no commit where HEAD left lost" in ran.stdout)


def test_the_action_runs_tests_and_times(tmp_path: Path) -> None:
    known = {"TESTS": "tests/a tests/b", "BASE": "v1", "DEVICE": "cpu", "BRANCH": "main"}
    assert 0 == shell("gate.sh", tmp_path, RUN="counts time", **known).returncode
    assert [
        "python -m pytest tests/a tests/b",
        "vidcost gate time tests/a tests/b --base v1 --device cpu --out gate.json --junit gate.xml",
    ] == (tmp_path / "calls").read_text().splitlines()
    fake(tmp_path, "vidcost", "exit 3")
    assert 3 == shell("gate.sh", tmp_path, RUN="counts time", **known).returncode
    fake(tmp_path, "python", "exit 1")
    assert 1 == shell("gate.sh", tmp_path, RUN="counts time", **known).returncode
    assert 2 == shell("gate.sh", tmp_path, RUN="count", **known).returncode


@pytest.mark.parametrize(
    ("status", "policy", "known", "calls"),
    [
        (0, "on-change", "", 0),
        (1, "on-change", "", 1),
        (0, "on-change", "17", 1),
        (0, "always", "", 1),
        (1, "never", "", 0),
        (2, "on-change", "", 1),
    ],
)
def test_one_comment_is_written_or_replaced(
    status: int, policy: str, known: str, calls: int, tmp_path: Path
) -> None:
    fake(tmp_path, "vidcost", f"echo '{FORGED}'; exit {status}")
    (tmp_path / "gate.json").write_text('{"pull": 99}')
    answers = f'case "$*" in */pulls*) echo 5;; *jq*) echo {known};; *) echo "$@" >> calls;; esac'
    fake(tmp_path, "gh", answers)
    ran = shell("comment.sh", tmp_path, COMMENT=policy, HEAD="abc")
    assert 0 == ran.returncode, ran.stderr
    written = tmp_path / "calls"
    assert calls == (len(written.read_text().splitlines()) if written.exists() else 0)
    if calls:
        # the pull request is the event's, whatever the artifact says
        where = f"issues/comments/{known}" if known else "issues/5/comments"
        assert f"repos/o/r/{where} -F body=@comment.md" in written.read_text()
        lines = (tmp_path / "comment.md").read_text().splitlines()
        inside = lines[lines.index("~~~~") + 1 : -3]
        assert [FORGED.replace("~~~~", "~")] == inside
        assert 2 == lines.count("~~~~")


def test_the_action_has_steps_and_runs_no_input_as_code() -> None:
    action = yaml.safe_load((ROOT / "action.yml").read_text(encoding="utf-8"))
    assert {"run", "tests", "base", "comment", "device"} == action["inputs"].keys()
    for step in action["runs"]["steps"]:
        assert "${{" not in step.get("run", "")
        assert "shell" in step or "uses" in step
    # what measures may not comment, and what comments runs none of the change's code
    names = {step.get("name", step.get("uses")): step.get("if") for step in action["runs"]["steps"]}
    assert "inputs.run != 'comment'" == names["Gate"]
    assert "inputs.run == 'comment'" == names["Comment"]

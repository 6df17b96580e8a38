"""The workflows and actions of GitHub: their shape, and their scripts run as shell."""

import os
import subprocess
from pathlib import Path

import pytest
import yaml

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


def test_the_action_runs_tests_and_times_against_the_target_branch(tmp_path: Path) -> None:
    known = {"TESTS": "tests/a tests/b", "BASE": "auto", "DEVICE": "cpu", "BRANCH": "main"}
    assert 0 == shell("gate.sh", tmp_path, RUN="counts time", **known).returncode
    assert [
        "python -m pytest tests/a tests/b",
        "vidcost gate time tests/a tests/b --base origin/main --device cpu --out gate.json "
        "--junit gate.xml",
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
    ran = shell("comment/comment.sh", tmp_path, COMMENT=policy, HEAD="abc")
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


def test_actions_have_steps_and_run_no_input_as_code() -> None:
    for path in (ROOT / "action.yml", ROOT / ".github/comment/action.yml"):
        action = yaml.safe_load(path.read_text(encoding="utf-8"))
        for step in action["runs"]["steps"]:
            assert "${{" not in step.get("run", "")
            assert "shell" in step or "uses" in step

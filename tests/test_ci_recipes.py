"""The workflows and the recipes of docs/ci.md: what they call exists, and does what they say."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sysconfig
from pathlib import Path

import pytest
import typer.main
import yaml

from vidcost.bench.cli import app
from vidcost.bench.exit_status import BAD_INPUT
from vidcost.bench.gate.verdict import CLEAN, INVALID, REGRESSED

CHECKOUT = Path(__file__).resolve().parents[1]
WORKFLOWS = CHECKOUT / ".github/workflows"
GUIDE = CHECKOUT / "docs/ci.md"
STATUSES = (CLEAN, REGRESSED, BAD_INPUT, INVALID)


def guide():
    return GUIDE.read_text(encoding="utf-8")


def snippets(language, text=None):
    """The fenced code of the guide."""
    found = re.findall(rf"^```{language}\n(.*?)^```$", text or guide(), re.MULTILINE | re.DOTALL)
    assert found, f"no {language} in {GUIDE}"
    return found


def workflow(name):
    return yaml.safe_load((WORKFLOWS / name).read_text(encoding="utf-8"))


def github():
    """Every workflow and every snippet of one, by where it stands."""
    found = {path.name: workflow(path.name) for path in sorted(WORKFLOWS.glob("*.yml"))}
    parsed = [yaml.safe_load(text) for text in snippets("yaml")]
    return found | {f"docs/ci.md {n}": text for n, text in enumerate(parsed) if "jobs" in text}


def gitlab():
    (found,) = [text for text in map(yaml.safe_load, snippets("yaml")) if "jobs" not in text]
    return found


def jobs():
    """Every job for GitHub by where it stands."""
    return {
        f"{where}: {name}": job
        for where, text in github().items()
        for name, job in text["jobs"].items()
    }


def scripts():
    """All shell code by where it stands."""
    found = {
        f"{where}, step {number}": step["run"]
        for where, job in jobs().items()
        for number, step in enumerate(job.get("steps", []))
        if "run" in step
    }
    for name, job in gitlab().items():
        found[f"GitLab: {name}"] = "\n".join(job["script"])
    found["shell"] = "\n".join(snippets("bash"))
    prompts = re.findall(r"^\$ (.*)$", "\n".join(snippets("console")), re.MULTILINE)
    found["console"] = "\n".join(prompts)
    # what the text and comments name in passing
    found["text"] = "\n".join(re.findall(r"`(vidcost [^`]+)`", guide()))
    return found


def commands(script):
    """The words of every call of vidcost in shell code."""
    found = []
    for line in re.sub(r"\\\n\s*", " ", script).splitlines():
        lexer = shlex.shlex(line, posix=True, punctuation_chars=True)
        # or "$BASE" and ${rows[@]} would be several words
        lexer.wordchars += "$@[]{}%"
        for word in lexer:
            if word == "vidcost":
                found.append([])
            elif set(word) <= set("();<>|&"):
                found.append(None)
            elif found and found[-1] is not None:
                found[-1].append(word)
        found.append(None)
    return [words for words in found if words]


def wrong(words):
    """Why the command line does not take these words; None if it does."""
    command = typer.main.get_command(app)
    while hasattr(command, "commands"):
        if not words or words[0] not in command.commands:
            return f"no command {' '.join(words)}".rstrip()
        command, words = command.commands[words[0]], words[1:]
    context = command.context_class(command)
    try:
        given, rest, _ = command.make_parser(context).parse_args(list(words))
    except Exception as error:
        return str(error)
    missing = [p.name for p in command.params if p.required and not given.get(p.name)]
    if rest:
        return f"left over {rest}"
    return f"missing {missing}" if missing else None


def gates(script):
    """The gates that shell code runs."""
    return {words[1] for words in commands(script) if words[0] == "gate"}


def steps(job, action):
    """The steps of a job that use an action of GitHub's."""
    return [step for step in job.get("steps", []) if step.get("uses", "").startswith(action)]


def shell_of(job):
    return "\n".join(step["run"] for step in job.get("steps", []) if "run" in step)


def timing_jobs():
    return {where: job for where, job in jobs().items() if "time" in gates(shell_of(job))}


def calls():
    """Every job that calls a workflow."""
    return {where: job for where, job in jobs().items() if "uses" in job}


def bash(script, folder, **environment):
    """Run shell code as GitHub does, without what would install."""
    kept = [
        line
        for line in script.splitlines()
        if not re.search(r"\bpip\S* install\b|-m venv\b|^\. .*activate$", line)
    ]
    return subprocess.run(
        ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", "\n".join(kept)],
        cwd=folder,
        env=os.environ | environment,
        capture_output=True,
        text=True,
        check=False,
    )


# --- the checks themselves


def test_commands_are_found_in_shell_code():
    script = """
      read -ra rows <<< "$ROWS"
      vidcost gate time "${rows[@]}" --base "$BASE" \\
        --out gate.json || status=$?
      vidcost gate counts || exit
      vidcost count 'mfnet*'; echo vidcosts; vidcost gate accept --reason "two words"
    """
    assert [
        ["gate", "time", "${rows[@]}", "--base", "$BASE", "--out", "gate.json"],
        ["gate", "counts"],
        ["count", "mfnet*"],
        ["gate", "accept", "--reason", "two words"],
    ] == commands(script)


@pytest.mark.parametrize(
    ("expected", "words"),
    [
        (None, "count mfnet --training"),
        ("no command nothing", "nothing"),
        ("no command", ""),
        ("no command nothing --at all", "cache nothing --at all"),
        ("No such option: --nothing", "count mfnet --nothing"),
        ("left over ['more']", "cache clear more"),
        ("missing ['row']", "show"),
    ],
)
def test_what_the_command_line_does_not_take_is_found(expected, words):
    found = wrong(words.split())
    assert expected == (found and found.removesuffix(".").split(" (")[0].split(" Did")[0])


# --- every recipe


@pytest.mark.parametrize("where", list(scripts()))
def test_every_command_exists_with_its_options(where):
    found = {shlex.join(words): wrong(words) for words in commands(scripts()[where])}
    # what is named in passing need not be complete
    if where == "text":
        found = {
            call: None if why and why.startswith("missing") else why for call, why in found.items()
        }
    assert dict.fromkeys(found) == found


def test_every_gate_has_its_recipe():
    found = {where.split(",")[0]: set() for where in scripts()}
    for where, script in scripts().items():
        found[where.split(",")[0]] |= gates(script)
    assert {"counts"} == found["ci.yml: counts"] == found["GitLab: counts"]
    assert {"time"} == found["gate.yml: time"] == found["GitLab: timing"]
    assert {"counts", "time"} == found["shell"]
    assert {"counts", "accept"} == found["console"]
    assert "replay" in found["text"]


@pytest.mark.parametrize("where", list(calls()))
def test_a_called_workflow_exists_and_takes_what_it_is_given(where):
    job = calls()[where]
    assert job["uses"].startswith("./")
    called = yaml.safe_load((CHECKOUT / job["uses"]).read_text(encoding="utf-8"))
    # YAML reads "on" as true
    inputs = called[True]["workflow_call"]["inputs"]
    required = {name for name, about in inputs.items() if about.get("required")}
    assert required <= set(job["with"]) <= set(inputs)
    # a pull request of a fork must not reach a machine of ours
    assert "github.event.pull_request.head.repo.full_name == github.repository" in job["if"]
    assert "github.event_name == 'pull_request'" in job["if"]


def test_the_defaults_of_the_reusable_workflow_can_be_read():
    inputs = workflow("gate.yml")[True]["workflow_call"]["inputs"]
    assert ["self-hosted", "gpu"] == json.loads(inputs["runner"]["default"])
    assert {"string"} == {about["type"] for about in inputs.values()}
    (call,) = [job for where, job in calls().items() if where.startswith("docs")]
    assert ["self-hosted", "gpu"] == json.loads(call["with"]["runner"])


def test_a_job_that_times_has_the_history_and_the_device_to_itself():
    assert ["gate.yml: time"] == list(timing_jobs())
    for job in timing_jobs().values():
        (checkout,) = steps(job, "actions/checkout@")
        assert 0 == checkout["with"]["fetch-depth"]
        # else two jobs on one runner would only wait if they compare the same rows
        assert "${{ inputs.runner }}" in job["concurrency"]["group"]
        assert job["concurrency"]["cancel-in-progress"] is False
    timing = gitlab()["timing"]
    assert ("0", "gpu") == (timing["variables"]["GIT_DEPTH"], timing["resource_group"])
    assert ["merge_request_event"] == re.findall(r'"(.*)"', timing["rules"][0]["if"])


def test_what_a_timing_gate_writes_is_kept_when_it_fails():
    for job in timing_jobs().values():
        (upload,) = steps(job, "actions/upload-artifact@")
        assert "always()" == upload["if"]
        assert {"gate.json", "gate.xml"} == set(upload["with"]["path"].split())
        assert "--out gate.json --junit gate.xml" in shell_of(job)
    timing = gitlab()["timing"]
    assert {"when": "always", "paths": ["gate.json"], "reports": {"junit": "gate.xml"}} == timing[
        "artifacts"
    ]
    assert "--out gate.json --junit gate.xml" in timing["script"][-1]


@pytest.mark.parametrize("where", list(scripts()))
def test_no_input_is_pasted_into_shell_code(where):
    assert "${{" not in scripts()[where]


@pytest.mark.parametrize("where", [path.name for path in sorted(WORKFLOWS.glob("*.yml"))])
def test_a_workflow_may_only_read(where):
    assert {"contents": "read"} == workflow(where)["permissions"]


def test_what_is_installed_is_what_the_tests_ran_with():
    lines = "\n".join(scripts().values()).splitlines()
    installs = [line.split('pip"', 1)[-1].strip() for line in lines if " install " in line]
    allowed = {
        "pip install tox",
        "pip install -c constraints.txt .",
        "install -c constraints.txt .",
    }
    assert allowed == set(installs)


# --- what the guide says


def test_the_guide_lists_every_exit_status():
    assert sorted(STATUSES) == [int(n) for n in re.findall(r"^\| (\d+) \|", guide(), re.MULTILINE)]


def test_the_guide_links_to_what_exists():
    links = re.findall(r"\]\(([^)]+)\)", guide())
    assert links
    assert [] == [link for link in links if not (GUIDE.parent / link).exists()]


# --- the recipes at work, with a gate that ends as told


@pytest.fixture
def told(tmp_path):
    """Run shell code with a vidcost whose timing gate ends with a status; its words, by call."""
    bin_ = tmp_path / "bin"
    bin_.mkdir()
    stub = bin_ / "vidcost"
    stub.write_text(
        '#!/bin/bash\nprintf "%s\\n" "$@" -- >> "$CALLS"\n'
        'if [ "$2" = time ]; then exit "$TIME"; else exit "$COUNTS"; fi\n',
        encoding="utf-8",
    )
    stub.chmod(0o755)
    folder = tmp_path / "checkout"
    folder.mkdir()

    def run(script, *, time=0, counts=0, **environment):
        calls_ = tmp_path / "calls"
        calls_.write_text("", encoding="utf-8")
        path = f"{bin_}{os.pathsep}{os.environ['PATH']}"
        known = {"PATH": path, "CALLS": str(calls_), "TIME": str(time), "COUNTS": str(counts)}
        ran = bash(script, folder, **known, **environment)
        return ran, [
            call.splitlines() for call in calls_.read_text(encoding="utf-8").split("--\n")
        ][:-1]

    return run


@pytest.mark.parametrize(
    ("status", "said"), [(0, ""), (1, "Regressed"), (2, "did not run"), (3, "Could not judge")]
)
def test_the_workflow_passes_the_status_on_and_says_which(status, said, told):
    (step,) = [s for s in workflow("gate.yml")["jobs"]["time"]["steps"] if s.get("name") == "Gate"]
    assert {"BASE", "ROWS", "DEVICE"} == set(step["env"])
    ran, called = told(step["run"], time=status, BASE="HEAD^1", ROWS="", DEVICE="cuda")
    assert (status, "") == (ran.returncode, ran.stderr)
    assert said in ran.stdout
    assert bool(said) == ran.stdout.startswith("::error title=")
    files = "--out gate.json --junit gate.xml".split()
    assert [["gate", "time", "--base", "HEAD^1", "--device", "cuda", *files]] == called


def test_the_workflow_reads_no_input_as_code(told, tmp_path):
    (step,) = [s for s in workflow("gate.yml")["jobs"]["time"]["steps"] if s.get("name") == "Gate"]
    (tmp_path / "checkout/mfnet-pnl").touch()
    hostile = "mfnet-p* $(touch${IFS}made) ;touch"
    ran, called = told(step["run"], BASE="`touch made`", ROWS=hostile, DEVICE="cuda;touch")
    assert 0 == ran.returncode
    rows = "mfnet-p* $(touch${IFS}made) ;touch".split()
    assert ["gate", "time", *rows, "--base", "`touch made`"] == called[0][:7]
    assert not (tmp_path / "checkout/made").exists()


@pytest.mark.parametrize("status", STATUSES)
def test_the_shell_passes_the_status_on(status, told):
    (script,) = snippets("bash")
    ran, called = told(script, time=status)
    assert (status, 2, 1) == (ran.returncode, len(called), len(ran.stdout.splitlines()))
    ran, called = told(script, counts=status)
    assert status == ran.returncode
    # no time is spent on what has failed already
    assert (1 if status else 2) == len(called)


@pytest.mark.parametrize("status", STATUSES)
def test_gitlab_passes_the_status_on(status, told):
    script = "\n".join(gitlab()["timing"]["script"])
    ran, called = told(script, time=status, CI_MERGE_REQUEST_DIFF_BASE_SHA="1a2b")
    assert (status, ["--base", "1a2b"]) == (ran.returncode, called[0][2:4])
    ran, called = told("\n".join(gitlab()["counts"]["script"]), counts=status)
    assert (status, [["gate", "counts"]]) == (ran.returncode, called)


# --- the exact gate itself, as CI runs it


@pytest.fixture
def checkout(tmp_path):
    """A copy of what CI checks out, as far as the gate of counts reads it."""
    folder = tmp_path / "checkout"
    shutil.copytree(CHECKOUT / "results", folder / "results")
    return folder


def run_counts_job(folder, where, tmp_path):
    summary = tmp_path / "summary.md"
    scripts_ = sysconfig.get_path("scripts")
    ran = bash(
        shell_of(jobs()[where]),
        folder,
        PATH=f"{scripts_}{os.pathsep}{os.environ['PATH']}",
        GITHUB_ACTIONS="true",
        GITHUB_STEP_SUMMARY=str(summary),
    )
    return ran, summary.read_text(encoding="utf-8") if summary.exists() else None


def counts_jobs():
    return [where for where, job in jobs().items() if "counts" in gates(shell_of(job))]


@pytest.mark.parametrize("where", counts_jobs())
def test_the_job_of_the_exact_gate_passes_and_writes_its_summary(where, checkout, tmp_path):
    ran, summary = run_counts_job(checkout, where, tmp_path)
    assert (0, "") == (ran.returncode, ran.stderr if ran.returncode else "")
    assert "::error" not in ran.stdout
    assert summary
    assert "figures compared" in summary


def test_the_job_of_the_exact_gate_fails_on_one_figure(checkout, tmp_path):
    counts = checkout / "results/counts.jsonl"
    stored = counts.read_text(encoding="utf-8")
    # the parameters of c3d, one less
    assert 1 <= stored.count("78815176")
    counts.write_text(stored.replace("78815176", "78815175", 1), encoding="utf-8")
    ran, summary = run_counts_job(checkout, "ci.yml: counts", tmp_path)
    assert 1 == ran.returncode
    assert "::error title=" in ran.stdout
    assert "78,815,175" in summary
    assert "vidcost gate accept" in summary

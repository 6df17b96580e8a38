"""The configuration files of docs/scale.md: what they call exists, and does what they say."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import tomllib
from pathlib import Path

import pytest
import typer.main
import yaml

from vidcost.bench.cli import app

CHECKOUT = Path(__file__).resolve().parents[1]
FOLDER = CHECKOUT / "docs/ray"
GUIDE = (CHECKOUT / "docs/scale.md").read_text(encoding="utf-8")
SCRIPTS = ("box.sh", "slurm.sh")
PINS = dict(
    line.split("==")
    for line in (CHECKOUT / "constraints.txt").read_text().splitlines()
    if "==" in line
)


def text(name):
    return (FOLDER / name).read_text(encoding="utf-8")


def wrong(words):
    """Why our command line does not take these words; None if it does."""
    command = typer.main.get_command(app)
    while hasattr(command, "commands"):
        if not words or words[0] not in command.commands:
            return f"no command {' '.join(words)}"
        command, words = command.commands[words[0]], words[1:]
    try:
        command.make_context(command.name, list(words))
    except Exception as error:
        return str(error)
    return None


def test_every_file_is_in_the_guide_and_the_other_way_round():
    named = set(re.findall(r"\]\(ray/([^)]+)\)", GUIDE))
    assert {path.name for path in FOLDER.iterdir()} == named
    for path in re.findall(r"docs/ray/(\S+)", GUIDE):
        assert (FOLDER / path).is_file()


def test_the_commands_of_the_guide_are_understood():
    shown = re.findall(r"^\$ vidcost (.*)$", GUIDE, re.MULTILINE)
    assert shown
    assert [None] * len(shown) == [wrong(shlex.split(line)) for line in shown]
    assert wrong(["time", "--engine", "dask"])
    assert wrong(["time", "--gpus", "H100"])


# --- scripts, with programs that only say what they were called with

STUB = """#!/usr/bin/env bash
printf '%s\\n' "$(basename "$0") $(printf '%q ' "$@")" >> "$LOG"
case "$(basename "$0")" in
    scontrol) printf 'first\\nsecond\\n' ;;
    srun) "$@" ;;
    vidcost) exit "${STATUS:-0}" ;;
    ray) if [ "$1" = symmetric-run ]; then while [ "$1" != -- ]; do shift; done; shift; "$@"; fi ;;
esac
"""


@pytest.fixture
def called(tmp_path):
    """Run a script; the words of each program that it called, and its exit status."""
    programs = tmp_path / "venv/bin"
    programs.mkdir(parents=True)
    (programs / "activate").touch()
    for name in ("ray", "vidcost", "scontrol", "srun"):
        (programs / name).write_text(STUB)
        (programs / name).chmod(0o755)

    def run(script, **environment):
        log = tmp_path / "log"
        log.write_text("")
        given = {
            "PATH": f"{programs}{os.pathsep}{os.environ['PATH']}",
            "LOG": str(log),
            "VIDCOST_ENV": str(tmp_path / "venv"),
            "SLURM_JOB_NODELIST": "n[1-2]",
            "SLURM_JOB_ID": "77",
            "SLURM_JOB_NUM_NODES": "2",
            "SLURM_CPUS_PER_TASK": "3",
            "SLURM_GPUS_ON_NODE": "5",
        }
        ran = subprocess.run(
            ["bash", FOLDER / script, "res ults", "mfnet*", "c3d"],
            env=os.environ | given | environment,
            check=False,
        )
        return [shlex.split(line) for line in log.read_text().splitlines()], ran.returncode

    return run


@pytest.mark.parametrize("script", SCRIPTS)
def test_a_script_passes_rows_and_results_on(called, script):
    calls, status = called(script)
    assert 0 == status
    (words,) = [words for program, *words in calls if program == "vidcost"]
    assert None is wrong(words)
    assert ["time", "mfnet*", "c3d", "--device", "cuda"] == words[:5]
    assert "res ults" == words[words.index("--results") + 1]
    # both name one cluster
    address = words[words.index("--address") + 1]
    begun = next(words for program, *words in calls if program == "ray")
    assert address in begun or f"127.0.0.1:{begun[begun.index('--port') + 1]}" == address


@pytest.mark.parametrize("script", SCRIPTS)
def test_what_goes_wrong_is_the_scripts_exit_status_and_ray_ends(called, script):
    calls, status = called(script, STATUS="1")
    assert 1 == status
    if script == "box.sh":
        assert ["ray", "stop"] == calls[-1]


@pytest.mark.ray
@pytest.mark.parametrize("script", SCRIPTS)
def test_rays_own_commands_are_understood(called, script):
    pytest.importorskip("ray")
    from ray.scripts.scripts import cli

    for program, name, *words in called(script)[0]:
        if program != "ray":
            continue
        if name == "symmetric-run":
            words = words[: words.index("--")]
            context = cli.commands[name].make_context(name, words)
            assert 2 == context.params["min_nodes"]
            # the rest is handed to this one
            name, words = "start", list(context.params["ray_args_and_entrypoint"])
        assert cli.commands[name].make_context(name, words).params


def test_slurm_gives_each_node_one_task():
    asked = dict(re.findall(r"^#SBATCH --([a-z-]+)=(\S+)$", text("slurm.sh"), re.MULTILINE))
    assert "1" == asked["ntasks-per-node"]
    assert {"nodes", "gpus-per-node", "cpus-per-task", "time"} <= asked.keys()
    assert "#SBATCH --exclusive\n" in text("slurm.sh")


# --- Kubernetes


@pytest.fixture
def cluster():
    found = yaml.safe_load(text("raycluster.yaml"))
    assert ("ray.io/v1", "RayCluster") == (found["apiVersion"], found["kind"])
    return found


@pytest.fixture
def job():
    found = yaml.safe_load(text("rayjob.yaml"))
    assert ("ray.io/v1", "RayJob") == (found["apiVersion"], found["kind"])
    return found


def groups(cluster):
    return [cluster["spec"]["headGroupSpec"], *cluster["spec"]["workerGroupSpecs"]]


def test_the_cluster_is_one_that_kuberay_takes(cluster):
    assert cluster["metadata"]["name"]
    for group in groups(cluster):
        # KubeRay takes strings alone
        assert all(isinstance(value, str) for value in group["rayStartParams"].values())
        for container in group["template"]["spec"]["containers"]:
            limits = container["resources"]["limits"]
            assert limits == container["resources"]["requests"]
            assert all(isinstance(value, str) for value in limits.values())
    for group in cluster["spec"]["workerGroupSpecs"]:
        assert group["groupName"]
        assert group["minReplicas"] <= group["replicas"] <= group["maxReplicas"]
        (container,) = group["template"]["spec"]["containers"]
        gpus = container["resources"]["limits"]["nvidia.com/gpu"]
        assert gpus == group["rayStartParams"]["num-gpus"]
    head = cluster["spec"]["headGroupSpec"]
    assert "0" == head["rayStartParams"]["num-cpus"]
    spec = head["template"]["spec"]
    mounted = {each["name"] for each in spec["containers"][0]["volumeMounts"]}
    assert mounted == {each["name"] for each in spec["volumes"]}


@pytest.mark.ray
def test_the_parameters_are_options_of_ray_start(cluster):
    pytest.importorskip("ray")
    from ray.scripts.scripts import cli

    known = {name for option in cli.commands["start"].params for name in option.opts}
    for group in groups(cluster):
        assert {f"--{name}" for name in group["rayStartParams"]} <= known


def test_all_name_the_version_of_ray_that_the_tests_run_with(cluster):
    assert PINS["ray"] == cluster["spec"]["rayVersion"]
    assert f"FROM rayproject/ray:{PINS['ray']}-py311-gpu\n" in text("Dockerfile")


def test_all_pods_have_the_image_that_is_built(cluster):
    version = tomllib.loads((CHECKOUT / "pyproject.toml").read_text())["project"]["version"]
    image = f"vidcost-ray:{version}"
    assert f"-t {image} ." in text("Dockerfile")
    assert f"-t {image} ." in GUIDE
    assert {image} == {
        container["image"]
        for group in groups(cluster)
        for container in group["template"]["spec"]["containers"]
    }


def test_the_job_runs_on_that_cluster_and_writes_to_its_volume(cluster, job):
    spec = job["spec"]
    assert {"ray.io/cluster": cluster["metadata"]["name"]} == spec["clusterSelector"]
    assert spec["submissionMode"] in ("K8sJobMode", "HTTPMode", "InteractiveMode")
    program, *words = shlex.split(spec["entrypoint"])
    assert ("vidcost", None) == (program, wrong(words))
    assert "ray" == words[words.index("--engine") + 1]
    mounts = cluster["spec"]["headGroupSpec"]["template"]["spec"]["containers"][0]["volumeMounts"]
    assert words[words.index("--results") + 1] in {each["mountPath"] for each in mounts}

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

"""The rules of thop of May 2020 against the integers of that version itself, thop_2020.json."""

import json
import os
import runpy
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from vidcost.bench.count.counter import count
from vidcost.bench.count.reconcile import examine
from vidcost.bench.count.references.asking import REFERENCE_COUNTERS
from vidcost.papers.pnl2020.rows import ROWS

HERE = Path(__file__).parent
SCRIPT = HERE / "run_thop_2020.py"
FACTS = json.loads((HERE / "thop_2020.json").read_text(encoding="utf-8"))
SMALL = runpy.run_path(str(SCRIPT))["NETWORKS"]
BUILDABLE = [row for row in ROWS if row.build is not None]


def check(name, explained):
    assert FACTS[name] == [explained.flops.total, explained.params.total]


def test_there_is_a_fact_on_every_network():
    assert [*(row.name for row in BUILDABLE), *SMALL] == list(FACTS)


@pytest.mark.parametrize("name", SMALL)
def test_the_count_explains_its_integers_on_small_networks(name):
    model, shape = SMALL[name]
    counted = count(model, torch.ones(shape))
    check(name, REFERENCE_COUNTERS["thop-2020"].explain(model, counted))


@pytest.mark.slow
@pytest.mark.parametrize("row", BUILDABLE, ids=lambda row: row.name)
def test_the_count_explains_its_integers_on_rows(row):
    check(row.name, examine(row).explained["thop-2020"])


@pytest.mark.slow
def test_the_facts_are_what_its_wheel_answers(tmp_path):
    folder = tmp_path / "thop-2020"
    pip = (sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--require-hashes")
    subprocess.run(
        [*pip, "--target", str(folder), "-r", str(HERE / "thop-2020.txt")],
        check=True,
        # the constraint is for the other thop
        env=os.environ | {"PIP_CONSTRAINT": "", "PIP_DISABLE_PIP_VERSION_CHECK": "1"},
    )
    ran = subprocess.run(
        [sys.executable, str(SCRIPT)],
        check=True,
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONPATH": str(folder)},
    )
    said = json.loads(ran.stdout)
    assert Path(said["from"]).is_relative_to(folder)
    assert said["answers"] == FACTS

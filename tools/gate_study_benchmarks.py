"""The cells of the gate's study as a user's benchmarks; tools/gate_trials.py runs them."""

import json
import os

import pytest
import torch
from delayed import Delayed

from vidcost.bench.timing.build import build
from vidcost.bench.timing.cell import Cell

CELLS = [Cell.model_validate(each) for each in json.loads(os.environ["GATE_STUDY_CELLS"])]


@pytest.mark.parametrize("number", range(len(CELLS)))
def test_pass(benchmark, number):
    """A forward pass; on a GPU the host waits for it."""
    cell, slowdown = CELLS[number], float(os.environ["GATE_STUDY_SLOWDOWN"])
    torch.set_num_threads(cell.threads)
    built = build(cell)
    model = Delayed(built.model, slowdown) if slowdown else built.model

    def run():
        model(*built.inputs)
        if cell.device != "cpu":
            torch.cuda.synchronize()

    with torch.inference_mode():
        benchmark(run)

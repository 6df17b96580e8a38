"""Our thop of May 2020, held against that version itself."""

from __future__ import annotations

import json
import os
import runpy
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

from vidcost.bench.count.counter import count
from vidcost.bench.count.reconcile import explain
from vidcost.bench.count.references.thop2020 import profile

HERE = Path(__file__).parent
SCRIPT = HERE / "run_thop_2020.py"
SCRIPTED = runpy.run_path(str(SCRIPT))
networks, SMALL = SCRIPTED["networks"], SCRIPTED["NETWORKS"]


@pytest.fixture(scope="module")
def ours():
    return {name: profile(model, tuple(inputs)) for name, model, inputs in networks()}


@pytest.fixture(scope="module")
def small():
    return {name: profile(model, (torch.randn(shape),)) for name, (model, shape) in SMALL.items()}


@pytest.fixture(scope="module")
def real(tmp_path_factory):
    """What the wheel of that version answers, in a process that imports no other thop."""
    folder = tmp_path_factory.mktemp("thop-2020")
    install = [
        *(sys.executable, "-m", "pip", "install", "--quiet", "--no-deps"),
        "--require-hashes",
    ]
    subprocess.run(
        [*install, "--target", str(folder), "-r", str(HERE / "thop-2020.txt")],
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
    return said["answers"]


@pytest.mark.slow
def test_it_is_the_real_one_on_every_row_and_layer(real, ours):
    assert real.keys() == ours.keys()
    different = {
        name: (answer[:2], (ours[name].flops, ours[name].params))
        for name, answer in real.items()
        if answer[:2] != [ours[name].flops, ours[name].params]
    }
    assert {} == different


@pytest.mark.slow
def test_it_prints_the_papers_baseline(real):
    assert [11_176_356_608, 7_842_568, "11.176G", "7.843M"] == real["mfnet"]


@pytest.mark.slow
def test_the_count_explains_it_on_every_row_and_layer(ours):
    different = {}
    for name, model, inputs in networks():
        explained = explain("thop-2020", model, count(model, *inputs))
        said = ours[name]
        if (said.flops, said.params) != (explained.flops.total, explained.params.total):
            different[name] = (said, explained)
    assert {} == different


@pytest.mark.parametrize(
    ("name", "flops", "params"),
    [
        # 2 clips of 4x3x3x3 outputs, 6/2 x 1x3x5 products and a bias each
        ("biased convolution", 2 * 4 * 3 * 3 * 3 * (3 * 15 + 1), 4 * 3 * 15 + 4),
        # transposed: per output element too, of 2x4x11x15
        ("transposed convolution", 2 * 4 * 11 * 15 * (3 * 9 + 1), 6 * 2 * 9 + 4),
        ("BatchNorm without parameters", 2 * 2 * (2 * 5 * 3 * 7), 10),
        # 5x6 -> 3x2 -> 1x1, kernels 1x3 and 3x2
        ("average pools", 10 * (5 * 6 + 3 * 2 * (1 * 3 + 1) + (3 * 2 + 1)), 0),
        ("activations", 15, 0),
        ("softmax and norms without a rule", 0, 0),
        ("linear layers", 6 * (35 + 14), 42 + 14),
        # a layer that is the whole network is not among its own children
        ("a lone layer", 0, 0),
        # three times in the tree: three calls, three hooks, added up three times; 2 x 3 x 385
        # outputs of 3 + 1
        ("two owners", 3**3 * 2 * 3 * 385 * 4, 3 * 12),
        ("what has no rule", 0, 0),
    ],
)
def test_small_networks_by_hand(small, name, flops, params):
    assert (flops, params) == (small[name].flops, small[name].params)


def test_the_model_is_left_as_it_was():
    model = nn.Sequential(nn.Conv1d(3, 5, 1), nn.Dropout(0.5))
    model[1].eval()
    keys = list(model.state_dict())
    profile(model, (torch.randn(2, 3, 7),))
    assert (True, True, False) == (model.training, model[0].training, model[1].training)
    assert keys == list(model.state_dict())
    assert {} == dict(model[0]._forward_hooks)


def test_it_is_left_as_it_was_after_an_error_too():
    model = nn.Sequential(nn.Conv1d(3, 5, 1))
    with pytest.raises(RuntimeError):
        profile(model, (torch.randn(2, 7, 11),))
    assert model.training
    assert {} == dict(model[0]._forward_hooks)


def test_recurrent_layers_are_rejected():
    with pytest.raises(ValueError, match=r"^thop-2020 is not implemented for LSTM$"):
        profile(nn.Sequential(nn.LSTM(3, 5)), (torch.randn(2, 7, 3),))

"""What count, explain and time share: the network and the process are left as they were."""

import gc
import logging
import random
import subprocess
import sys
import threading

import numpy as np
import pytest
import torch
from torch import nn

import vidcost
from vidcost.bench.api.guest import NetworkExit

QUICK = {"budget_s": 0.05, "warmup_s": 0.05}
CALLS = {
    "count": vidcost.count,
    "training": lambda model, inputs: vidcost.count(model, inputs, training=True),
    "explain": vidcost.explain,
    "time": lambda model, inputs: vidcost.time(model, inputs, **QUICK),
    "step": lambda model, inputs: vidcost.time(model, inputs, phase="training", **QUICK),
}
calls = pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)


class Drawing(nn.Module):
    """A linear layer, a norm and an upsampling; draws numbers, and notes its calls."""

    def __init__(self, on_values=False):
        super().__init__()
        self.layer, self.norm = nn.Linear(3, 5), nn.BatchNorm1d(5)
        self.up = nn.Upsample(scale_factor=2, mode="trilinear")
        self.register_buffer("calls", torch.zeros(()))
        self.log, self.on_values = [], on_values

    def forward(self, x):
        random.random(), np.random.rand(), torch.rand(1)
        if self.on_values:
            x.sum().item()
        self.calls += 1
        self.log.append(1)
        y = self.norm(self.layer(x))
        return {"y": [y, self.up(y[:, None, None, None])], "n": torch.ones(1)}


def state(model):
    return (
        [module.training for module in model.modules()],
        [list(module._forward_hooks) for module in model.modules()],
        [name for module in model.modules() for name in vars(module)],
        [id(p.grad) for p in model.parameters()],
        {name: tensor.tolist() for name, tensor in model.state_dict().items()},
        list(model.log),
        torch.get_rng_state().tolist(),
        random.getstate(),
        np.random.get_state()[1].tolist(),
        torch.get_num_threads(),
        torch.get_float32_matmul_precision(),
        gc.isenabled(),
        logging.getLogger().handlers[:],
        logging.getLogger().manager.disable,
    )


@calls
@pytest.mark.parametrize("on_values", [False, True])
def test_everything_is_left_as_it_was(call, on_values, monkeypatch, capsys):
    # thop warns of trilinear upsampling by a function that gives the root logger a handler
    monkeypatch.setattr(logging.getLogger(), "handlers", [])
    model = Drawing(on_values)
    model.norm.eval()
    model.layer.weight.grad = torch.ones(5, 3)
    model.layer.register_forward_hook(lambda *_: None)
    before = state(model)
    call(model, {"x": torch.ones(2, 3)})
    assert before == state(model)
    out, err = capsys.readouterr()
    runs = on_values and call in (CALLS["count"], CALLS["training"])
    assert ("", runs, runs) == (out, bool(err), err.startswith("a network runs once on cpu, "))


@calls
def test_a_network_that_leaves_is_an_error(call):
    class Leaves(nn.Module):
        def forward(self, x):
            sys.exit(3)

    with pytest.raises(NetworkExit, match=r"^the network called sys\.exit\(3\)$"):
        call(Leaves(), torch.ones(1))


@calls
def test_what_is_no_network_or_no_tensor_is_rejected(call):
    with pytest.raises(ValueError, match=r"^a network is an nn\.Module, not function: call what"):
        call(lambda x: x, torch.ones(1))
    for inputs in (["clip"], [[1, 2, 3]], {}, None):
        with pytest.raises(ValueError, match=r"^the inputs hold no tensor: give tensors, or a sh"):
            call(nn.ReLU(), inputs)


def test_a_network_that_cannot_be_copied_is_counted_itself_and_not_run_otherwise():
    model = nn.Linear(3, 5)
    model.lock = threading.Lock()
    counted = vidcost.count(model, torch.ones(2, 3))
    assert (30, "cpu") == (counted.macs, counted.counted_on)
    assert counted.why.startswith("Linear cannot be copied: TypeError: cannot pickle")
    for call in (vidcost.explain, vidcost.time):
        with pytest.raises(ValueError, match=r"^Linear cannot be copied: TypeError"):
            call(model, torch.ones(2, 3))


def test_importing_the_package_imports_neither_torch_nor_pandas():
    script = "import sys, vidcost; print(sorted({'torch', 'pandas', 'numpy'} & set(sys.modules)))"
    ran = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True)
    assert "[]\n" == ran.stdout


def test_the_names_of_the_package():
    assert {"count", "time", "explain", "rule", "free"} <= set(dir(vidcost))
    with pytest.raises(AttributeError, match="module 'vidcost' has no attribute 'energy'"):
        vidcost.energy  # noqa: B018
    with pytest.raises(AttributeError, match=r"^vidcost\.ledger is now vidcost\.explain$"):
        vidcost.ledger  # noqa: B018

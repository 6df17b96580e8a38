"""vidcost.count: any network, any call, and the network left as it was."""

import dataclasses
import json
import random
import sys
import threading

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

import vidcost
from vidcost.bench.api.guest import NetworkExit
from vidcost.models.cost import Cost


@dataclasses.dataclass
class Output:
    tokens: torch.Tensor
    extra: dict


class Nested(nn.Module):
    """5 tokens of 7 channels by an embedding, a mask, a product with a second input of 11."""

    def __init__(self):
        super().__init__()
        self.embedding, self.drop = nn.Embedding(13, 7), nn.Dropout(0.5)
        self.norm = nn.BatchNorm1d(5)
        self.register_buffer("calls", torch.zeros(()))
        self.log = []

    def forward(self, ids, features, mask=None):
        self.calls += 1
        self.log.append(torch.is_grad_enabled())
        x = self.drop(self.norm(self.embedding(ids)))
        if mask is not None:
            x = x.masked_fill(mask[..., None], 0.0)
        return Output(tokens=x @ features, extra={"sum": [x.sum()]})


IDS = torch.zeros(2, 5, dtype=torch.long)
FEATURES = torch.ones(2, 7, 11)
MASK = torch.zeros(2, 5, dtype=torch.bool)


class OnValues(nn.Module):
    """A linear layer as often as its input says."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(3, 3)

    def forward(self, x):
        for _ in range(int(x.sum().item())):
            x = self.layer(x)
        return x


@pytest.mark.parametrize(
    "inputs",
    [
        (IDS, FEATURES, MASK),
        {"features": FEATURES, "mask": MASK, "ids": IDS},
        [IDS, FEATURES],
    ],
)
def test_any_call_of_any_types(inputs):
    counted = vidcost.count(Nested(), inputs)
    expected = Cost(params=13 * 7 + 10, matmul=2 * 5 * 7 * 11, norm=2 * 5 * 7)
    assert (expected, None, "meta", "") == (
        counted.forward,
        counted.backward,
        counted.counted_on,
        counted.why,
    )
    # running mean, variance and their number, and calls
    assert ("Nested", 12) == (counted.network, counted.buffers)
    assert ["", "embedding", "drop", "norm"] == [m.module for m in counted.modules]
    assert ["Nested", "Embedding", "Dropout", "BatchNorm1d"] == [m.type for m in counted.modules]
    assert [770, 0, 0, 0] == [m.forward.macs for m in counted.modules]


def test_an_rms_norm_of_ones_own_is_a_norm():
    class LlamaRMSNorm(nn.Module):
        def forward(self, x):
            return x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 1e-6)

    assert Cost(norm=2 * 5) == vidcost.count(LlamaRMSNorm(), torch.ones(2, 5)).forward


def state(model):
    return (
        {name: tensor.clone() for name, tensor in model.state_dict().items()},
        [module.training for module in model.modules()],
        [p.grad for p in model.parameters()],
        [list(module._forward_hooks) for module in model.modules()],
        list(model.log),
        torch.get_rng_state(),
        random.getstate(),
        np.random.get_state()[1].tolist(),
    )


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("on_values", [False, True])
def test_everything_is_left_as_it_was(training, on_values):
    class Both(Nested):
        def forward(self, ids, features):
            random.random(), np.random.rand(), torch.rand(1)
            if on_values:
                features.sum().item()
            return super().forward(ids, features)

    model = Both()
    model.norm.eval()
    model.embedding.weight.grad = torch.ones(13, 7)
    model.embedding.register_forward_hook(lambda *_: None)
    before = state(model)
    counted = vidcost.count(model, (IDS, FEATURES), training=training)
    assert ("cpu" if on_values else "meta") == counted.counted_on
    after = state(model)
    assert before[0].keys() == after[0].keys()
    for name, tensor in before[0].items():
        assert torch.equal(tensor, after[0][name])
    assert before[1:2] == after[1:2]
    assert all(one is other for one, other in zip(before[2], after[2], strict=True))
    assert before[3:5] == after[3:5]
    assert torch.equal(before[5], after[5])
    assert before[6:] == after[6:]


def test_a_network_that_needs_values_runs_where_it_is():
    counted = vidcost.count(OnValues(), torch.full((1, 3), 2.0))
    # six times 3x3
    assert (54, "cpu") == (counted.macs, counted.counted_on)
    assert "item() cannot be called on meta tensors" in counted.why
    assert 6 == counted.modules[1].calls


def test_tensors_that_are_neither_parameters_nor_buffers_go_along():
    class Plain(nn.Module):
        def __init__(self):
            super().__init__()
            self.matrix = torch.ones(3, 5)
            # what has a history cannot be copied by itself
            self.scaled = nn.Parameter(torch.ones(3, 5)) * 2

        def forward(self, x):
            return x @ self.matrix + x @ self.scaled

    counted = vidcost.count(Plain(), torch.ones(2, 3))
    assert (60, "meta") == (counted.macs, counted.counted_on)


def test_a_network_that_cannot_be_copied_runs_itself_and_says_so():
    class Locked(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer, self.lock = nn.Linear(3, 5), threading.Lock()

        def forward(self, x):
            return self.layer(x)

    counted = vidcost.count(Locked(), torch.ones(2, 3))
    assert (30, "cpu") == (counted.macs, counted.counted_on)
    assert counted.why.startswith("Locked cannot be copied: TypeError: cannot pickle")


class Told(nn.Module):
    """A linear layer of 3 to 5 that tells its cost, rightly or not."""

    def __init__(self, cost):
        super().__init__()
        self.layer = nn.Linear(3, 5, bias=False)
        self.cost = cost

    def forward(self, x):
        return self.layer(x)


def test_a_closed_form_is_checked():
    told = Told(lambda shape: Cost(params=15, linear=15 * shape[0]))
    counted = vidcost.count(nn.Sequential(told, nn.ReLU()), {"input": torch.ones(2, 3)})
    (check,) = counted.checks
    assert ("equal", "0", 30) == (counted.closed_form, check.module, check.formula.macs)


def test_a_wrong_closed_form_differs():
    told = Told(lambda shape: Cost(params=15, linear=15))
    counted = vidcost.count(told, torch.ones(2, 3))
    (check,) = counted.checks
    assert ("differs", False, 30) == (counted.closed_form, check.equal, check.counted.macs)


@pytest.mark.parametrize(
    ("cost", "why"),
    [
        (lambda shape: 15, "TypeError: cost(shape) returns a Cost, not int"),
        (lambda shape: 1 / 0, "ZeroDivisionError: division by zero"),
    ],
)
def test_what_is_no_closed_form_is_not_checked(cost, why):
    counted = vidcost.count(nn.Sequential(Told(cost)), torch.ones(2, 3))
    assert ("not checked", (), (f"0: {why}",)) == (
        counted.closed_form,
        counted.checks,
        counted.unchecked,
    )
    assert 30 == counted.macs


def test_a_table_of_modules():
    network = nn.Sequential(nn.Conv1d(3, 5, 1), nn.ReLU(), nn.Flatten(), nn.Linear(35, 2))
    table = vidcost.count(network, torch.ones(1, 3, 7)).to_pandas()
    assert isinstance(table, pd.DataFrame)
    assert ["", "0", "1", "2", "3"] == table["module"].tolist()
    assert [175, 105, 0, 0, 70] == table["macs"].tolist()
    assert [92, 20, 0, 0, 72] == table["params"].tolist()
    assert "backward_macs" not in table
    trained = vidcost.count(network, torch.ones(1, 3, 7), training=True).to_pandas()
    # the input takes no gradient
    assert [245, 105, 0, 0, 140] == trained["backward_macs"].tolist()


CLIP = nn.Sequential(
    nn.Conv3d(3, 5, 1), nn.Sequential(nn.ReLU(), nn.Sequential(nn.Conv3d(5, 7, 1)))
)


def test_it_prints_as_a_table_of_two_levels():
    # 15 and 35 products at 2 x 5 x 7 positions
    printed = str(vidcost.count(CLIP, (1, 3, 2, 5, 7)))
    assert [line.split() for line in printed.splitlines()[2:]] == [
        ["Sequential", "1x7x2x5x7", "62", "3,500", "100.0%"],
        ["0:", "Conv3d", "1x5x2x5x7", "20", "1,050", "30.0%"],
        ["1:", "Sequential", "1x7x2x5x7", "42", "2,450", "70.0%"],
        ["0:", "ReLU", "1x5x2x5x7", "0", "0", "0.0%"],
        ["1:", "Sequential", "1x7x2x5x7", "42", "2,450", "70.0%"],
    ]
    assert "Backward" not in printed
    assert "Backward MACs" in repr(vidcost.count(CLIP, (1, 3, 2, 5, 7), training=True))


def test_notebooks_and_programs_read_the_same():
    counted = vidcost.count(CLIP, (1, 3, 2, 5, 7))
    assert counted._repr_html_().startswith("<table>")
    assert "1: Sequential" in counted._repr_html_()
    whole = json.loads(counted.to_json())
    assert ("Sequential", 3_500, 62) == (whole["module"], whole["macs"], whole["params"])
    assert [1, 7, 2, 5, 7] == whole["modules"][-1]["output"]


def test_a_shape_is_a_tensor_of_the_models_type():
    assert 30 == vidcost.count(nn.Linear(3, 5, dtype=torch.float64), (2, 3)).macs
    # 5 steps of 7 x 3 and 7 x 7
    assert 5 * 70 == vidcost.count(nn.RNN(3, 7), [(5, 3), (1, 7)]).macs


def test_the_macs_of_a_step_of_training_have_three_names():
    step = vidcost.count(nn.Linear(3, 5), (2, 3), training=True)
    assert (30, 30, 60) == (step.forward.macs, step.backward.macs, step.total.macs)
    with pytest.raises(ValueError, match=r"^a step of training was counted: say forward\.macs, "):
        step.macs  # noqa: B018


def test_arguments_are_trees():
    class Pathways(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(3, 5)

        def forward(self, clips, *, rate, mask=None):
            return [self.layer(clip) * rate for clip in clips]

    counted = vidcost.count(
        Pathways(), ([torch.ones(2, 3), torch.ones(4, 3)],), kwargs={"rate": 2, "mask": None}
    )
    assert (6 * 15, "meta", ["", "layer"]) == (
        counted.macs,
        counted.counted_on,
        [module.module for module in counted.modules],
    )


def test_a_network_that_leaves_is_an_error():
    class Leaves(nn.Module):
        def forward(self, x):
            sys.exit(3)

    with pytest.raises(NetworkExit, match=r"^the network called sys\.exit\(3\)$"):
        vidcost.count(Leaves(), torch.ones(1))


def test_what_is_no_network_or_no_tensor_is_rejected():
    with pytest.raises(ValueError, match=r"^a network is an nn\.Module, not function: call what"):
        vidcost.count(lambda x: x, torch.ones(1))
    with pytest.raises(ValueError, match=r"^the inputs hold no tensor: give tensors, or a shape"):
        vidcost.count(nn.ReLU(), ["clip"])
    with pytest.raises(ValueError, match="no output needs a gradient"):
        vidcost.count(nn.ReLU(), torch.ones(1), training=True)


def test_multiplications_element_by_element_are_printed_above_one_percent():
    class Gated(nn.Module):
        def __init__(self, width):
            super().__init__()
            self.layer = nn.Linear(width, width, bias=False)

        def forward(self, x):
            return self.layer(x) * x

    few = vidcost.count(Gated(100), torch.zeros(3, 100))
    assert 300 == few.multiply
    assert "element by element" not in repr(few)
    many = vidcost.count(Gated(99), torch.zeros(3, 99))
    assert repr(many).endswith("\n297 multiplications element by element are no MACs.")

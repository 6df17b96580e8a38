"""vidcost.count and vidcost.explain: any network, any call."""

import dataclasses
import json

import pandas as pd
import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

import vidcost
from vidcost.bench.call import tensors_in
from vidcost.bench.count.references import seen
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

    def forward(self, ids, features, mask=None):
        x = self.drop(self.norm(self.embedding(ids)))
        if mask is not None:
            x = x.masked_fill(mask[..., None], 0.0)
        return Output(tokens=x @ features, extra={"sum": [x.sum()]})


IDS = torch.zeros(2, 5, dtype=torch.long)
FEATURES = torch.ones(2, 7, 11)
MASK = torch.zeros(2, 5, dtype=torch.bool)


@pytest.mark.parametrize(
    "inputs",
    [(IDS, FEATURES, MASK), {"features": FEATURES, "mask": MASK, "ids": IDS}, [IDS, FEATURES]],
)
def test_any_call_of_any_types(inputs):
    counted = vidcost.count(Nested(), inputs)
    expected = Cost(params=13 * 7 + 10, matmul=2 * 5 * 7 * 11, norm=2 * 5 * 7)
    assert (expected, None) == (counted.forward, counted.backward)
    assert ("meta", "") == (counted.counted_on, counted.why)
    # running mean, variance and their number, and calls
    assert ("Nested", 12) == (counted.network, counted.buffers)
    assert [
        ("", "Nested", 770, (2, 5, 11)),
        ("embedding", "Embedding", 0, (2, 5, 7)),
        ("drop", "Dropout", 0, (2, 5, 7)),
        ("norm", "BatchNorm1d", 0, (2, 5, 7)),
    ] == [(m.module, m.type, m.forward.macs, m.output) for m in counted.modules]


def test_a_network_that_needs_values_runs_where_it_is():
    class OnValues(nn.Linear):
        def forward(self, x):
            for _ in range(int(x.sum().item())):
                x = super().forward(x)
            return x

    counted = vidcost.count(nn.Sequential(OnValues(3, 3)), torch.full((1, 3), 2.0))
    # six times 3x3
    assert (54, "cpu") == (counted.macs, counted.counted_on)
    assert "item() cannot be called on meta tensors" in counted.why
    assert 54 == counted.modules[1].forward.macs


class Allocated(TorchDispatchMode):
    """Bytes that operators allocate on the CPU."""

    def __init__(self):
        super().__init__()
        self.bytes = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        of_arguments = {x.untyped_storage()._cdata for x in tensors_in(args)}
        for x in tensors_in(result):
            # what is copied once it is written to takes nothing
            is_new = not x.is_meta and x.untyped_storage()._cdata not in of_arguments
            self.bytes += x.nbytes if is_new and "_lazy_clone" not in str(func) else 0
        return result


def test_a_pass_for_values_allocates_no_more_than_a_forward_pass_and_says_so_before(caplog):
    class Attending(nn.Linear):
        def forward(self, x):
            q, k, v = super().forward(x).unflatten(-1, (3, 1, 8)).unbind(2)
            assert x.sum().item() >= 0
            return F.scaled_dot_product_attention(*(each.transpose(1, 2) for each in (q, k, v)))

    # scores of 2,048 x 2,048 would be 16.8 MB; weights 0.1 MB, inputs 8.4 MB, keys and so on 0.2 MB
    model, x = Attending(1024, 24).eval(), torch.ones(1, 2048, 1024)
    with torch.no_grad(), Allocated() as plain:
        model(x)
    with Allocated() as counted:
        found = vidcost.count(model, x)
    assert ("cpu", 2048 * 24 * 1024 + 2 * 2048**2 * 8) == (found.counted_on, found.macs)
    assert plain.bytes < 10**6
    assert counted.bytes <= plain.bytes + 8
    assert [
        "a network runs once on cpu, for want of values: memory of one pass beside weights and "
        "inputs of 8.5 MB, which are not copied"
    ] == caplog.messages


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


@pytest.mark.parametrize(
    ("cost", "closed_form", "unchecked"),
    [
        (lambda shape: Cost(params=15, linear=15 * shape[0]), "equal", ()),
        (lambda shape: Cost(params=15, linear=15), "differs", ()),
        (lambda shape: 15, "not checked", ("0: TypeError: cost(shape) returns a Cost, not int",)),
        (lambda shape: 1 / 0, "not checked", ("0: ZeroDivisionError: division by zero",)),
    ],
)
def test_a_closed_form_is_checked_if_it_is_one(cost, closed_form, unchecked):
    told = nn.Linear(3, 5, bias=False)
    told.cost = cost
    counted = vidcost.count(nn.Sequential(told, nn.ReLU()), {"input": torch.ones(2, 3)})
    assert (30, closed_form, unchecked) == (counted.macs, counted.closed_form, counted.unchecked)
    assert ["0"] * (not unchecked) == [check.module for check in counted.checks]


CLIP = nn.Sequential(
    nn.Conv3d(3, 5, 1), nn.Sequential(nn.ReLU(), nn.Sequential(nn.Conv3d(5, 7, 1)))
)


def test_tables_and_json():
    # 15 and 35 products at 2 x 5 x 7 positions
    counted = vidcost.count(CLIP, (1, 3, 2, 5, 7))
    assert [line.split() for line in str(counted).splitlines()[2:]] == [
        ["Sequential", "1x7x2x5x7", "62", "3,500", "100.0%"],
        ["0:", "Conv3d", "1x5x2x5x7", "20", "1,050", "30.0%"],
        ["1:", "Sequential", "1x7x2x5x7", "42", "2,450", "70.0%"],
        ["0:", "ReLU", "1x5x2x5x7", "0", "0", "0.0%"],
        ["1:", "Sequential", "1x7x2x5x7", "42", "2,450", "70.0%"],
    ]
    assert counted._repr_html_().startswith("<table>")
    assert "1: Sequential" in counted._repr_html_()
    whole = json.loads(counted.to_json())
    assert ("Sequential", 3_500, 62) == (whole["module"], whole["macs"], whole["params"])
    assert [1, 7, 2, 5, 7] == whole["modules"][-1]["output"]
    table = counted.to_pandas()
    assert isinstance(table, pd.DataFrame)
    assert ["", "0", "1", "1.0", "1.1", "1.1.0"] == table["module"].tolist()
    assert [3_500, 1_050, 2_450, 0, 2_450, 2_450] == table["macs"].tolist()
    assert "backward_macs" not in table


def test_a_step_of_training():
    step = vidcost.count(CLIP, (1, 3, 2, 5, 7), training=True)
    # the input takes no gradient
    assert (3_500, 5_950, 9_450) == (step.forward.macs, step.backward.macs, step.total.macs)
    assert [5_950, 1_050, 4_900, 0, 4_900, 4_900] == step.to_pandas()["backward_macs"].tolist()
    assert "Backward MACs" in repr(step)
    assert 0 == step.recomputed.macs
    with pytest.raises(ValueError, match=r"^a step of training was counted: say forward\.macs, "):
        step.macs  # noqa: B018
    with pytest.raises(ValueError, match="no output needs a gradient"):
        vidcost.count(nn.ReLU(), torch.ones(1), training=True)


def test_a_shape_is_a_tensor_of_the_models_type():
    assert 30 == vidcost.count(nn.Linear(3, 5, dtype=torch.float64), (2, 3)).macs
    # 5 steps of 7 x 3 and 7 x 7
    assert 5 * 70 == vidcost.count(nn.RNN(3, 7), [(5, 3), (1, 7)]).macs


def test_arguments_are_trees():
    class Pathways(nn.Linear):
        def forward(self, clips, *, rate, mask=None):
            return [super(Pathways, self).forward(clip) * rate for clip in clips]

    clips = [torch.ones(2, 3), torch.ones(4, 3)]
    counted = vidcost.count(Pathways(3, 5), (clips,), kwargs={"rate": 2, "mask": None})
    assert (6 * 15, "meta") == (counted.macs, counted.counted_on)
    # the wrapper that passes them is no part of it
    assert [""] == [module.module for module in counted.modules]


def test_multiplications_element_by_element_are_printed_above_one_percent():
    class Gated(nn.Linear):
        def forward(self, x):
            return super().forward(x) * x

    few = vidcost.count(Gated(100, 100), torch.zeros(3, 100))
    assert 300 == few.multiply
    assert "element by element" not in repr(few)
    many = vidcost.count(Gated(99, 99), torch.zeros(3, 99))
    assert repr(many).endswith("\n297 multiplications element by element are no MACs.")


# vidcost.explain


class Network(nn.Module):
    """A convolution to 5 maps of 11x5, BatchNorm, a product of two activations, in a dict."""

    def __init__(self):
        super().__init__()
        self.conv, self.norm = nn.Conv2d(3, 5, 3, bias=False), nn.BatchNorm2d(5)

    def forward(self, image, weights):
        return {"scores": [self.norm(self.conv(image)).flatten(2) @ weights]}


INPUTS = {"weights": torch.ones(1, 55, 7), "image": torch.ones(1, 3, 13, 7)}


def test_every_counter_is_explained():
    found = vidcost.explain(Network(), INPUTS)
    assert ("Network", True) == (found.network, found.balanced)
    counters = list(dict.fromkeys(entry.counter for entry in found.entries))
    assert ["fvcore", "thop", "thop-2020", "torch"] == counters
    thop = found.entry("thop")
    assert (9_350, 7_425 + 4 * 275, 0, {}) == (thop.ours, thop.printed, thop.remainder, thop.off)
    assert {"BatchNorm, 4 per element": 1_100, "attention products unseen": -1_925} == {
        term.name: term.amount for term in thop.terms
    }
    assert 145 == found.entry("fvcore", "params").printed
    with pytest.raises(ValueError, match=r"^no entry of params with 'torch': choose from fvcore, "):
        found.entry("torch", "params")


def test_what_is_not_explained_is_a_remainder(monkeypatch):
    monkeypatch.setattr(seen.Rule, "term", lambda rule, *args: (rule.name, rule.part, 0))
    entry = vidcost.explain(Network(), INPUTS).entry("fvcore")
    assert (550, {"BatchNorm": 550}, False) == (entry.remainder, entry.off, entry.balanced)


def test_what_cannot_run_for_real_is_rejected():
    with pytest.raises(ValueError, match=r"^fvcore runs the network: it cannot be on the"):
        vidcost.explain(nn.Linear(3, 5, device="meta"), torch.ones(2, 3))

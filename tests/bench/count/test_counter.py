"""The counter on whole networks: worked by hand, names, errors, and what is left behind."""

import copy
import pickle
from collections import OrderedDict

import pytest
import torch
import torch.nn.functional as F
from conformance.operators import Calls
from torch import nn

import vidcost
from vidcost.bench.count import counter
from vidcost.bench.count.counter import Call, UncountedOperator, count
from vidcost.bench.count.training import count_training
from vidcost.models.cost import Cost

# one branch: (2, 5, 9, 11) out, 27 entries
BRANCH = Cost(conv=26_730, norm=990, activation=990)


def of_network(network, device="meta"):
    return count(network.to(device), torch.zeros(2, 3, 11, 13, device=device))


@pytest.mark.parametrize("device", ["meta", "cpu"])
def test_operations_calls_and_costs_of_a_network(network, device):
    def branch(name):
        return [
            (f"{name}.conv", "convolution", "conv", 26_730),
            (f"{name}.bn", "native_batch_norm", "norm", 990),
            (name, "relu", "activation", 990),
        ]

    result = of_network(network, device)
    called = ("conv1", "conv10", "conv1")
    assert [
        *(line for name in called for line in branch(name)),
        ("", "mean", "pool", 10),
        ("fc", "addmm", "linear", 70),
        ("", "_softmax", "softmax", 14),
        ("", "mm", "matmul", 28),
    ] == [(o.module, o.operator, o.kind, o.amount) for o in result.operations]
    clip, map_ = (2, 3, 11, 13), (2, 5, 9, 11)
    inputs = [("", clip), (".conv", clip), (".bn", map_)]
    calls = [Call(name + part, shape) for name in called for part, shape in inputs]
    assert (Call("", clip), *calls, Call("fc", (2, 5))) == result.calls
    assert {"": (2, 2), "conv1": map_, "conv10.bn": map_, "fc": (2, 7)}.items() <= (
        result.outputs.items()
    )
    # 2 x (140 + 10) + 42 parameters; 2 x 5 x 7 and 2 x 7 x 2 MACs
    rest = Cost(params=342, linear=70, matmul=28, pool=10, softmax=14)
    assert rest + BRANCH + BRANCH + BRANCH == result.total == result.within("", params=342)
    assert BRANCH + BRANCH == result.within("conv1")
    assert BRANCH == result.within("conv10")
    assert Cost(params=11, conv=26_730) == result.within("conv10.conv", params=11)
    assert Cost() == result.within("conv")


def state(model):
    return (
        {name: tensor.tolist() for name, tensor in model.state_dict().items()},
        {name: module.training for name, module in model.named_modules()},
        {name: (id(p), p.requires_grad, id(p.grad)) for name, p in model.named_parameters()},
        {name: id(b) for name, b in model.named_buffers()},
        [len(m._forward_hooks) + len(m._forward_pre_hooks) for m in model.modules()],
        (torch.is_grad_enabled(), torch._C._get_mkldnn_enabled()),
    )


@pytest.mark.parametrize("run", [count, count_training])
def test_the_model_is_left_as_it_was(network, run):
    network.conv1.eval()
    network.conv10.conv.bias.requires_grad_(False)
    network.fc.weight.grad = torch.ones(7, 5)
    stepped = []
    for p in network.parameters():
        if p.requires_grad:
            p.register_post_accumulate_grad_hook(lambda p: stepped.append(p))
    x = torch.randn(2, 3, 11, 13, requires_grad=True)
    x.grad = torch.ones(2, 3, 11, 13)
    before = state(network)
    run(network, x)
    assert before == state(network)
    run(nn.LSTM(5, 7), torch.zeros(3, 2, 5))
    assert before == state(network)
    assert [] == stepped
    assert torch.equal(torch.ones(7, 5), network.fc.weight.grad)
    assert torch.equal(torch.ones(2, 3, 11, 13), x.grad)
    assert x.requires_grad


@pytest.mark.parametrize(
    ("run", "shape"),
    [
        (count, (2, 2, 11, 13)),
        (count_training, (2, 2, 11, 13)),
        # fails in the backward pass
        (count_training, (2, 3, 11, 13)),
    ],
)
def test_the_model_is_left_as_it_was_after_an_exception(network, run, shape, monkeypatch):
    network.conv10.eval()
    before = state(network)
    rule_of = counter.rule_of
    monkeypatch.setattr(
        counter,
        "rule_of",
        lambda func: ("", None, "") if "threshold_backward" in str(func) else rule_of(func),
    )
    with pytest.raises((RuntimeError, UncountedOperator)):
        run(network, torch.zeros(shape))
    assert before == state(network)
    monkeypatch.undo()
    # the next count does not see the last one
    found = of_network(network, "cpu")
    assert 80_190 == found.total.conv
    assert ("", "conv1", "conv1.conv") == tuple(call.module for call in found.calls[:3])


def test_an_exception_that_the_network_handles_does_not_shift_the_names():
    class Careful(nn.Module):
        def __init__(self):
            super().__init__()
            self.wrong = nn.Linear(11, 7)
            self.right = nn.Linear(5, 7)

        def forward(self, x):
            try:
                return self.wrong(x)
            except RuntimeError:
                return F.relu(self.right(x))

    result = count(Careful(), torch.zeros(3, 5))
    expected = [("right", "linear", 105), ("", "activation", 21)]
    assert expected == [(o.module, o.kind, o.amount) for o in result.operations]


@pytest.mark.parametrize("grad_mode", ["no_grad", "inference_mode"])
def test_operators_without_a_rule_are_named_at_once(grad_mode):
    def unusual(x):
        return torch.linalg.svd(torch.linalg.qr(x)[0])[1].matrix_exp()

    with getattr(torch, grad_mode)(), pytest.raises(UncountedOperator) as caught:
        count(nn.Sequential(OrderedDict(first=Calls(unusual))), torch.zeros(4, 6))
    # the exponential of a vector raises, and that is not the last word
    assert (
        "no counting rule for operators aten::linalg_qr (in first), aten::_linalg_svd (in first), "
        'aten::linalg_matrix_exp (in first): write vidcost.rule("aten::linalg_qr") with its '
        'MACs, or vidcost.free("aten::linalg_qr") if it has none'
    ) == str(caught.value)
    assert str(caught.value) == str(pickle.loads(pickle.dumps(caught.value)))
    (note,) = caught.value.__notes__
    assert 3 == len(note.splitlines())


def test_a_product_by_multiplication_has_the_module_of_the_multiplication():
    scores = Calls(lambda x, w: x[:, None] * w, (7, 5))
    model = nn.Sequential(scores, Calls(lambda x: x.sum(-1)))
    (operation,) = count(model, torch.zeros(3, 5)).operations
    assert ("0", "mul", "linear", 105) == (
        *(operation.module, operation.operator),
        *(operation.kind, operation.amount),
    )


@pytest.mark.parametrize(
    ("layer", "dtype"),
    [
        (nn.Linear(5, 7), torch.long),
        (nn.Linear(5, 7), torch.float16),
        (nn.Conv1d(5, 7, 1), torch.float16),
    ],
)
def test_an_input_of_another_type_than_the_layer_is_rejected_as_on_the_device(layer, dtype):
    x = torch.zeros(5, 5, dtype=dtype)
    for device in ("meta", "cpu"):
        with pytest.raises(RuntimeError, match="type"):
            count(copy.deepcopy(layer).to(device), x.to(device))


class Text(nn.Module):
    """What models of text do with masks: lengths by values, positions, replaced tokens."""

    def __init__(self):
        super().__init__()
        self.embed = nn.Embedding(11, 6)
        self.head = nn.Linear(6, 7)

    def forward(self, ids, mask, pixels):
        x = self.embed(ids)
        places = (ids == 3).to(x.device)
        if int(places.sum()) != len(pixels):
            raise ValueError("as many placeholders as pixels, please")
        x = x.masked_scatter(places[..., None], pixels)
        steps = torch.arange(ids.shape[1], device=x.device)
        causal = (steps[:, None] >= steps) & mask[:, None].bool()
        if not causal.all():
            x = F.scaled_dot_product_attention(x, x, x, attn_mask=causal)
        lengths = torch.ones_like(x[..., 0], dtype=torch.long).sum(1)
        return self.head(x[mask.bool()])[: lengths.max().item()]


@pytest.mark.parametrize("training", [False, True])
def test_integers_keep_their_values_beside_shapes(training):
    ids = torch.tensor([[1, 3, 2, 4, 5], [3, 3, 1, 1, 1]])
    mask = torch.tensor([[1, 1, 1, 1, 1], [1, 1, 1, 0, 0]])
    pixels = torch.zeros(3, 6)

    def total(device, **options):
        model = Text().to(device)
        if training:
            return count_training(model, ids, mask, pixels.to(device), **options).total
        return count(model, ids, mask, pixels.to(device), **options).total

    assert total("cpu") == total("meta", keep_integers=True)
    # 8 tokens are left
    assert (3 if training else 1) * 8 * 6 * 7 == total("cpu").linear
    with pytest.raises((RuntimeError, NotImplementedError)):
        total("meta")
    assert "meta" == vidcost.count(Text(), [ids, mask, pixels]).counted_on


def test_values_that_are_not_computed_do_not_become_integers():
    def function(x, i):
        i[0] = x.argmax()
        return x[: i[0].item()]

    inputs = torch.zeros(3, 5, device="meta"), torch.zeros(2, dtype=torch.long)
    with pytest.raises(RuntimeError, match="copy writes values that are not computed"):
        count(Calls(function).to("meta"), *inputs, keep_integers=True)


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (
            lambda x: torch.cond(x.sum() > 0, torch.cos, torch.sin, (x,)),
            "^cond, a function of functions, cannot be counted: call what it calls$",
        ),
        (lambda x, w: torch.sparse.mm(w.to_sparse(), x.T), r"^no counting rule for .*_to_sparse"),
    ],
)
def test_what_cannot_be_counted_is_rejected_in_a_line(function, message):
    model = Calls(function, *([(7, 5)] if "w" in function.__code__.co_varnames else []))
    with pytest.raises(UncountedOperator, match=message):
        vidcost.count(model, torch.zeros(3, 5))


@pytest.mark.filterwarnings("ignore:Sparse CSR tensor support:UserWarning")
@pytest.mark.parametrize("layout", ["to_sparse", "to_sparse_csr"])
def test_sparse_weights_are_rejected(layout):
    layer = nn.Linear(5, 7, bias=False)
    layer.weight = nn.Parameter(getattr(layer.weight.detach(), layout)())
    with pytest.raises(
        UncountedOperator, match=r"^sparse tensors cannot be counted: call to_dense"
    ):
        vidcost.count(layer, torch.zeros(3, 5))


def test_lazy_modules_are_rejected_until_they_have_run():
    model = nn.Sequential(nn.LazyLinear(7))
    with pytest.raises(ValueError, match=r"^Sequential has lazy modules without shapes: run it"):
        vidcost.count(model, torch.zeros(3, 5))
    model(torch.zeros(3, 5))
    assert 105 == vidcost.count(model, torch.zeros(3, 5)).macs


def test_nested_tensors_count_what_they_hold():
    clips = torch.nested.nested_tensor([torch.zeros(3, 5), torch.zeros(2, 5)], layout=torch.jagged)
    found = vidcost.count(nn.Sequential(nn.Linear(5, 7), nn.ReLU()), clips)
    assert (Cost(params=42, linear=5 * 35, activation=35), "meta") == (
        *(found.forward, found.counted_on),
    )


@pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")
# torch 2.15 warns of caches that it compiles past
@pytest.mark.filterwarnings("ignore:Dynamo detected")
def test_compiled_networks_count_as_they_are_written():
    layer = nn.Linear(5, 7)
    for model in (torch.compile(layer), nn.Sequential(torch.compile(layer))):
        assert 105 == vidcost.count(model, torch.zeros(3, 5)).macs


class Branching(nn.Module):
    """On a CPU two layers, elsewhere three."""

    def __init__(self):
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(5, 5) for _ in range(3))

    def forward(self, x):
        for layer in self.layers[: 2 if x.is_cpu and not x.is_cuda else 3]:
            x = layer(x)
        return x


def test_a_branch_on_the_device_is_taken_on_the_networks_own():
    found = vidcost.count(Branching(), torch.zeros(3, 5))
    assert ("cpu", 150) == (found.counted_on, found.macs)
    assert "Counted on cpu, because of RuntimeError: is_cpu asks about the device" in repr(found)


@pytest.mark.filterwarnings("ignore:`torch.jit")
def test_a_scripted_module_counts_under_its_caller():
    scripted = torch.jit.script(nn.Sequential(nn.Linear(5, 7), nn.ReLU()))
    found = count(nn.Sequential(nn.Linear(3, 5), scripted), torch.zeros(2, 3))
    assert [("0", 30), ("", 70), ("", 14)] == [(o.module, o.amount) for o in found.operations]

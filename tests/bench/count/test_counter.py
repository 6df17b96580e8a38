"""The counter against integers worked by hand; dimensions are distinct primes where they can be."""

from __future__ import annotations

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from vidcost.bench.count.counter import Call, UncountedOperator, count
from vidcost.bench.count.rules import FREE, RULES
from vidcost.models.cost import Cost


class Calls(nn.Module):
    """Calls a function on itself and its inputs; keywords are parameters of these shapes."""

    def __init__(self, function, **parameters):
        super().__init__()
        self.function = function
        for name, shape in parameters.items():
            self.register_parameter(name, nn.Parameter(torch.zeros(shape)))

    def forward(self, *inputs):
        return self.function(self, *inputs)


def counted(model, *shapes, device="meta"):
    """Total of ``model`` on inputs of ``shapes``, without its parameters."""
    inputs = [torch.zeros(shape, device=device) for shape in shapes]
    return count(copy.deepcopy(model).to(device), *inputs).within("")


# convolutions: one MAC per output element and entry of its filter; the bias is no MAC


@pytest.mark.parametrize(
    ("layer", "shape", "macs", "params"),
    [
        # (2, 5, 9) out, 3 x 3 entries: 90 x 9
        (nn.Conv1d(3, 5, 3), (2, 3, 11), 810, 50),
        # (2, 5, 9, 9) out, 3 x 15 entries: 810 x 45
        (nn.Conv2d(3, 5, (3, 5)), (2, 3, 11, 13), 36_450, 230),
        # (2, 5, 5, 5, 11) out, 3 x 18 entries: 2750 x 54
        (nn.Conv3d(3, 5, (3, 2, 3)), (2, 3, 7, 6, 13), 148_500, 275),
        # groups: (1, 10, 9, 11) out, 2 x 9 entries: 990 x 18
        (nn.Conv2d(4, 10, 3, groups=2), (1, 4, 11, 13), 17_820, 190),
        # each channel for itself: (1, 14, 9, 11) out, 9 entries: 1386 x 9
        (nn.Conv2d(7, 14, 3, groups=7, bias=False), (1, 7, 11, 13), 12_474, 126),
        # stride: (1, 5, 5, 4) out, 3 x 9 entries: 100 x 27
        (nn.Conv2d(3, 5, 3, stride=(2, 3)), (1, 3, 11, 13), 2_700, 140),
        # dilation: (1, 5, 7, 7) out, 3 x 9 entries: 245 x 27
        (nn.Conv2d(3, 5, 3, dilation=(2, 3)), (1, 3, 11, 13), 6_615, 140),
        # padding: (1, 5, 13, 17) out, 3 x 9 entries: 1105 x 27; zeros are multiplied too
        (nn.Conv2d(3, 5, 3, padding=(2, 3)), (1, 3, 11, 13), 29_835, 140),
        (nn.Conv1d(3, 5, 3, padding=1, padding_mode="replicate"), (2, 3, 11), 990, 50),
        # a clip without a batch: (5, 9, 11) out, 3 x 9 entries
        (nn.Conv2d(3, 5, 3), (3, 11, 13), 13_365, 140),
        # transposed: each of (2, 3, 11) inputs gives 5 x 3
        (nn.ConvTranspose1d(3, 5, 3), (2, 3, 11), 990, 50),
        # (1, 6, 11, 13) inputs in 3 groups, each gives 5 x 6
        (nn.ConvTranspose2d(6, 15, (3, 2), stride=2, groups=3), (1, 6, 11, 13), 25_740, 195),
        # (1, 3, 5, 7, 11) inputs, each gives 2 x 12
        (nn.ConvTranspose3d(3, 2, (2, 3, 2), bias=False), (1, 3, 5, 7, 11), 27_720, 72),
    ],
)
def test_convolutions(layer, shape, macs, params):
    assert Cost(conv=macs) == counted(layer, shape)
    assert (
        params == count(copy.deepcopy(layer).to("meta"), torch.zeros(shape, device="meta")).params
    )


@pytest.mark.parametrize("bias", [True, False])
def test_linear_layers(bias):
    assert Cost(linear=2_310) == counted(nn.Linear(5, 7, bias=bias), (11, 2, 3, 5))
    assert Cost(linear=35) == counted(nn.Linear(5, 7, bias=bias), (5,))


# products: 2 x 3 x 5 x 7 = 210, 3 x 5 x 7 = 105


@pytest.mark.parametrize(
    ("function", "shapes", "macs"),
    [
        (torch.mm, [(3, 5), (5, 7)], 105),
        (torch.bmm, [(2, 3, 5), (2, 5, 7)], 210),
        # batches (2, 1) and (11,) make (2, 11): 22 x 105
        (torch.matmul, [(2, 1, 3, 5), (11, 5, 7)], 2_310),
        (torch.einsum, ["bnk,bmk->bnm", (2, 3, 5), (2, 7, 5)], 210),
        (torch.einsum, ["bhnk,bhmk->bhnm", (2, 11, 3, 5), (2, 11, 7, 5)], 2_310),
        (torch.tensordot, [(7, 3), (3, 5)], 105),
        (torch.addmm, [(3, 7), (3, 5), (5, 7)], 105),
        (torch.baddbmm, [(2, 3, 7), (2, 3, 5), (2, 5, 7)], 210),
        # the sum over the batch is part of the product
        (torch.addbmm, [(3, 7), (2, 3, 5), (2, 5, 7)], 210),
        (torch.addmv, [(3,), (3, 5), (5,)], 15),
        (torch.mv, [(3, 5), (5,)], 15),
        (torch.matmul, [(5,), (5, 3)], 15),
        (torch.matmul, [(2, 3, 5), (5,)], 30),
        (torch.dot, [(5,), (5,)], 5),
        (torch.vdot, [(5,), (5,)], 5),
        (torch.inner, [(3, 5), (7, 5)], 105),
        (torch.addr, [(5, 7), (5,), (7,)], 35),
        (torch.chain_matmul, [(2, 3), (3, 5), (5, 7)], 100),  # 2*3*5 + 2*5*7
    ],
)
@pytest.mark.filterwarnings("ignore:torch.chain_matmul is deprecated")
@pytest.mark.parametrize("device", ["meta", "cpu"])
def test_products_of_two_activations(function, shapes, macs, device):
    words = [shape for shape in shapes if isinstance(shape, str)]
    if function is torch.tensordot:
        words, function = [], lambda a, b: torch.tensordot(a, b, 1)
    model = Calls(lambda _, *inputs: function(*words, *inputs))
    shapes = [shape for shape in shapes if not isinstance(shape, str)]
    assert Cost(matmul=macs) == counted(model, *shapes, device=device)


@pytest.mark.parametrize(
    ("function", "weight", "shape", "macs"),
    [
        (lambda m, x: x @ m.w, (5, 7), (3, 5), 105),
        (lambda m, x: m.w @ x, (3, 5), (5, 7), 105),
        (lambda m, x: x @ m.w, (5,), (3, 5), 15),
        (lambda m, x: torch.dot(m.w, x), (5,), (5,), 5),
        (lambda m, x: torch.addr(x.new_zeros(5, 7), m.w, x), (5,), (7,), 35),
        (lambda m, x: torch.baddbmm(x.new_zeros(2, 3, 7), x, m.w), (2, 5, 7), (2, 3, 5), 210),
        (lambda m, x: torch.addbmm(x.new_zeros(3, 7), m.w, x), (2, 3, 5), (2, 5, 7), 210),
        (lambda m, x: torch.einsum("bni,oi->bno", x, m.w), (7, 5), (2, 3, 5), 210),
        (lambda m, x: torch.einsum("bhni,hio->bnho", x, m.w), (3, 5, 7), (2, 3, 11, 5), 2_310),
        # views of a parameter
        (lambda m, x: m.w.t() @ x, (5, 3), (5, 7), 105),
        (lambda m, x: x @ m.w.transpose(1, 2), (2, 7, 5), (2, 3, 5), 210),
        (lambda m, x: x @ m.w.expand(2, 5, 7), (5, 7), (2, 3, 5), 210),
        (lambda m, x: x @ m.w[:, 2:9], (5, 11), (3, 5), 105),
        (lambda m, x: F.linear(x, m.w.chunk(3)[1]), (21, 5), (3, 5), 105),
        (lambda m, x: x @ m.w.detach(), (5, 7), (3, 5), 105),
        # copies: torch makes one of matrices that are broadcast over the batch
        (lambda m, x: x @ m.w.t().contiguous(), (7, 5), (3, 5), 105),
        (lambda m, x: x @ m.w, (3, 5, 7), (2, 3, 11, 5), 2_310),
    ],
)
@pytest.mark.parametrize("device", ["meta", "cpu"])
def test_products_with_a_parameter_are_linear(function, weight, shape, macs, device):
    assert Cost(linear=macs) == counted(Calls(function, w=weight), shape, device=device)


# attention


@pytest.mark.parametrize("device", ["meta", "cpu"])
@pytest.mark.parametrize("grad_mode", ["no_grad", "inference_mode"])
@pytest.mark.parametrize(
    ("options", "value_width", "matmul"),
    [
        # 2 x 3 heads, 5 queries, 7 keys, widths 11 and 13: 210 x (11 + 13)
        ({}, 13, 5_040),
        # a mask saves nothing
        ({"is_causal": True}, 11, 4_620),
    ],
)
def test_attention(options, value_width, matmul, device, grad_mode):
    model = Calls(lambda _, q, k, v: F.scaled_dot_product_attention(q, k, v, **options))
    shapes = [(2, 3, 5, 11), (2, 3, 7, 11), (2, 3, 7, value_width)]
    with getattr(torch, grad_mode)():
        cost = counted(model, *shapes, device=device)
    assert Cost(matmul=matmul, softmax=210) == cost


def test_a_fused_attention_kernel_counts_both_products():
    """Reached only where a network calls it by its own name."""
    kernel = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu
    model = Calls(lambda _, q, k, v: kernel(q, k, v)[0])
    shapes = [(2, 3, 5, 11), (2, 3, 7, 11), (2, 3, 7, 11)]
    assert Cost(matmul=4_620) == counted(model, *shapes, device="cpu")


@pytest.mark.parametrize("device", ["meta", "cpu"])
def test_multihead_attention_to_itself_with_weights(device):
    # 4 x 10 x 36; 2 x (2 x 5 x 5 x 6); 2 x 3 x 5 x 5; weights averaged over the heads 2 x 5 x 5
    layer = nn.MultiheadAttention(6, 3, batch_first=True)
    cost = counted(layer, (2, 5, 6), (2, 5, 6), (2, 5, 6), device=device)
    assert Cost(linear=1_440, matmul=600, softmax=150, pool=50) == cost


# norms, pools, softmax, activations: elements

ACTIVATIONS = [
    *(nn.ReLU, nn.ReLU6, nn.SiLU, nn.ELU, nn.SELU, nn.LeakyReLU, nn.Hardtanh, nn.Hardswish),
    *(nn.Hardsigmoid, nn.Mish),
]


@pytest.mark.parametrize("device", ["meta", "cpu"])
@pytest.mark.parametrize(
    ("layer", "expected"),
    [
        (nn.BatchNorm2d(3), Cost(norm=210)),
        (nn.BatchNorm2d(3, track_running_stats=False), Cost(norm=210)),
        (nn.GroupNorm(3, 3), Cost(norm=210)),
        (nn.LayerNorm((5, 7)), Cost(norm=210)),
        (nn.InstanceNorm2d(3, affine=True), Cost(norm=210)),
        # elements that come out
        (nn.MaxPool2d((2, 3)), Cost(pool=24)),
        (nn.MaxPool2d(3, stride=2, padding=1, ceil_mode=True), Cost(pool=72)),
        (nn.AvgPool3d((1, 2, 3)), Cost(pool=24)),
        (nn.AdaptiveAvgPool2d((3, 2)), Cost(pool=36)),
        (nn.AdaptiveAvgPool3d((2, 3, 2)), Cost(pool=24)),
        (nn.AdaptiveMaxPool2d((3, 2)), Cost(pool=36)),
        (nn.AdaptiveAvgPool2d(1), Cost(pool=6)),
        (Calls(lambda _, x: x.mean((2, 3))), Cost(pool=6)),
        (Calls(lambda _, x: x.amax((2, 3))), Cost(pool=6)),
        *((layer, Cost(softmax=210)) for layer in (nn.Softmax(1), nn.LogSoftmax(1), nn.Softmin(1))),
        *((layer(inplace=True), Cost(activation=210)) for layer in ACTIVATIONS),
        *((layer(), Cost(activation=210)) for layer in (*ACTIVATIONS, nn.Sigmoid, nn.Tanh)),
        *((layer(), Cost(activation=210)) for layer in (nn.GELU, nn.Softplus, nn.PReLU)),
        (Calls(lambda _, x: x.tanh_()), Cost(activation=210)),
        # free by convention
        (Calls(lambda _, x: x.add_(1).mul(2) / 3), Cost()),
        (Calls(lambda _, x: torch.cat([x, x]).transpose(1, 2).reshape(7, -1)), Cost()),
        (Calls(lambda _, x: F.interpolate(x, scale_factor=2, mode="nearest")), Cost()),
        (Calls(lambda _, x: F.dropout(x, training=True).sum() + x.exp().max()), Cost()),
        (Calls(lambda _, x: x[:, 1:].clone().zero_()), Cost()),
    ],
)
def test_elements(layer, expected, device):
    assert expected == counted(layer, (2, 3, 5, 7), device=device)


# the whole of a network


@pytest.fixture
def network():
    class Branch(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(3, 5, 3)
            self.bn = nn.BatchNorm2d(5)

        def forward(self, x):
            return F.relu(self.bn(self.conv(x)))

    class Network(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv1 = Branch()
            self.conv10 = Branch()
            self.fc = nn.Linear(5, 7)

        def forward(self, x):
            y = self.conv1(x) + self.conv10(x)
            y = y + self.conv1(x)
            y = F.adaptive_avg_pool2d(y, 1).flatten(1)
            return torch.softmax(self.fc(y), dim=1)

    return Network()


# one branch: (2, 5, 9, 11) out, 27 entries
BRANCH = Cost(conv=26_730, norm=990, activation=990)


@pytest.mark.parametrize("device", ["meta", "cpu"])
def test_total_of_a_network(network, device):
    expected = Cost(
        # 2 x (140 + 10) + 42
        params=342,
        conv=80_190,
        linear=70,
        norm=2_970,
        pool=10,
        softmax=14,
        activation=2_970,
    )
    x = torch.zeros(2, 3, 11, 13, device=device)
    assert expected == count(network.to(device), x).total


def test_operations_belong_to_the_innermost_module(network):
    result = count(network.to("meta"), torch.zeros(2, 3, 11, 13, device="meta"))
    expected = [
        ("conv1.conv", "convolution", "conv", 26_730),
        ("conv1.bn", "native_batch_norm", "norm", 990),
        ("conv1", "relu", "activation", 990),
        ("conv10.conv", "convolution", "conv", 26_730),
        ("conv10.bn", "native_batch_norm", "norm", 990),
        ("conv10", "relu", "activation", 990),
        ("conv1.conv", "convolution", "conv", 26_730),
        ("conv1.bn", "native_batch_norm", "norm", 990),
        ("conv1", "relu", "activation", 990),
        ("", "mean", "pool", 10),
        ("fc", "addmm", "linear", 70),
        ("", "_softmax", "softmax", 14),
    ]
    assert expected == [(o.module, o.operator, o.kind, o.amount) for o in result.operations]


def test_every_call_is_kept_with_the_shape_of_its_input(network):
    result = count(network.to("meta"), torch.zeros(2, 3, 11, 13, device="meta"))
    clip, map_ = (2, 3, 11, 13), (2, 5, 9, 11)
    branch = [("", clip), (".conv", clip), (".bn", map_)]
    expected = [Call("", clip)]
    for name in ("conv1", "conv10", "conv1"):
        expected += [Call(name + part, shape) for part, shape in branch]
    expected.append(Call("fc", (2, 5)))
    assert tuple(expected) == result.calls


def test_within_a_module(network):
    result = count(network.to("meta"), torch.zeros(2, 3, 11, 13, device="meta"))
    assert BRANCH + BRANCH == result.within("conv1")
    assert BRANCH == result.within("conv10")
    assert Cost(conv=26_730) == result.within("conv10.conv")
    assert Cost(params=11, linear=70) == result.within("fc", params=11)
    assert Cost() == result.within("conv")
    assert result.total == result.within("", params=342)


def test_a_buffer_is_an_activation():
    model = Calls(lambda m, x: x @ m.table, unused=(11,))
    model.register_buffer("table", torch.zeros(5, 7))
    # parameters count whether they take part or not
    assert Cost(params=11, matmul=105) == count(model, torch.zeros(3, 5)).total


# what the counter leaves behind


def hooks(model):
    return [
        (name, module)
        for name, module in model.named_modules()
        if module._forward_hooks
        or module._forward_pre_hooks
        or module._forward_hooks_always_called
        or module._forward_hooks_with_kwargs
    ]


def test_the_model_is_left_as_it_was(network):
    network.train()
    network.conv1.eval()
    network.conv10.bn.eval()
    state = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    modes = {name: module.training for name, module in network.named_modules()}
    count(network, torch.ones(2, 3, 11, 13))
    assert modes == {name: module.training for name, module in network.named_modules()}
    assert [] == hooks(network)
    assert state.keys() == network.state_dict().keys()
    for name, tensor in network.state_dict().items():
        assert torch.equal(state[name], tensor)
    assert all(p.requires_grad and p.grad is None for p in network.parameters())


def test_the_model_is_left_as_it_was_after_an_exception(network):
    network.train()
    network.conv10.eval()
    modes = {name: module.training for name, module in network.named_modules()}
    with pytest.raises(RuntimeError, match="expected input"):
        count(network, torch.zeros(2, 2, 11, 13))
    assert modes == {name: module.training for name, module in network.named_modules()}
    assert [] == hooks(network)
    assert torch.is_grad_enabled()
    # the next count does not see the last one
    x = torch.zeros(2, 3, 11, 13)
    assert 80_190 == count(network, x).total.conv
    assert ("", "conv1", "conv1.conv") == tuple(c.module for c in count(network, x).calls[:3])


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


# rules


@pytest.mark.parametrize(
    ("function", "name"),
    [
        (lambda x: torch.linalg.svd(x)[1], "aten._linalg_svd"),
    ],
)
@pytest.mark.parametrize("grad_mode", ["no_grad", "inference_mode"])
def test_an_operator_without_a_rule_is_rejected_by_name(function, name, grad_mode):
    with getattr(torch, grad_mode)(), pytest.raises(UncountedOperator) as caught:
        counted(Calls(lambda _, x: function(x)), (3, 5))
    assert (
        f"no counting rule for operator {name}: add one to bench/count/rules.py, or its name to "
        "FREE"
    ) == str(caught.value)


def test_an_operator_of_another_library_is_rejected_though_its_name_is_known():
    @torch.library.custom_op("vidcost_test::relu", mutates_args=())
    def relu(x: torch.Tensor) -> torch.Tensor:
        return x.clamp(min=0)

    relu.register_fake(torch.empty_like)
    with pytest.raises(UncountedOperator, match=r"operator vidcost_test\.relu:"):
        counted(Calls(lambda _, x: relu(x)), (3, 5), device="cpu")


def test_no_operator_has_a_rule_and_is_free():
    assert set() == RULES.keys() & FREE


@pytest.mark.parametrize("names", [RULES, FREE], ids=["rules", "free"])
def test_every_operator_exists(names):
    assert [] == [name for name in sorted(names) if not hasattr(torch.ops.aten, name)]

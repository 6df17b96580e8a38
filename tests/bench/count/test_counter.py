"""The counter against integers worked by hand; dimensions are distinct primes where they can be."""

import copy
import pickle
from collections import OrderedDict
from functools import partial

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.utils.parametrizations import weight_norm

import vidcost
from vidcost.bench.count import counter
from vidcost.bench.count.counter import Call, FunctionCall, UncountedOperator, count
from vidcost.bench.count.operators import Calls
from vidcost.bench.count.rules import FREE, RULES
from vidcost.bench.count.training import count_training
from vidcost.models.cost import Cost


def counted(model, *shapes, device="meta"):
    """Total of ``model`` on inputs of ``shapes``, without its parameters."""
    inputs = [torch.zeros(shape, device=device) for shape in shapes]
    return count(copy.deepcopy(model).to(device), *inputs).within("")


@pytest.mark.parametrize(
    ("layer", "shape", "macs", "params"),
    [
        # (1, 5, 13, 17) out, 3 x 9 entries: 1105 x 27
        (nn.Conv2d(3, 5, 3, padding=(2, 3)), (1, 3, 11, 13), 29_835, 140),
        (nn.Conv1d(3, 5, 3, padding=1, padding_mode="replicate"), (2, 3, 11), 990, 50),
        # a clip without a batch: (5, 9, 11) out, 3 x 9 entries
        (nn.Conv2d(3, 5, 3), (3, 11, 13), 13_365, 140),
        # (1, 6, 11, 13) inputs in 3 groups, each gives 5 x 6
        (nn.ConvTranspose2d(6, 15, (3, 2), stride=2, groups=3), (1, 6, 11, 13), 25_740, 195),
    ],
)
def test_convolutions(layer, shape, macs, params):
    found = count(copy.deepcopy(layer).to("meta"), torch.zeros(shape, device="meta"))
    assert Cost(params=params, conv=macs) == found.total


@pytest.mark.parametrize("bias", [True, False])
def test_linear_layers(bias):
    assert Cost(linear=2_310) == counted(nn.Linear(5, 7, bias=bias), (11, 2, 3, 5))
    assert Cost(linear=35) == counted(nn.Linear(5, 7, bias=bias), (5,))


@pytest.mark.parametrize(
    ("function", "shapes", "macs"),
    [
        # batches (2, 1) and (11,) make (2, 11): 22 x 105
        (torch.matmul, [(2, 1, 3, 5), (11, 5, 7)], 2_310),
        (partial(torch.einsum, "bhnk,bhmk->bhnm"), [(2, 11, 3, 5), (2, 11, 7, 5)], 2_310),
        (partial(torch.tensordot, dims=1), [(7, 3), (3, 5)], 105),
        # the sum over the batch is part of the product
        (torch.addbmm, [(3, 7), (2, 3, 5), (2, 5, 7)], 210),
        (torch.addmv, [(3,), (3, 5), (5,)], 15),
        (torch.mv, [(3, 5), (5,)], 15),
        (torch.matmul, [(5,), (5, 3)], 15),
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
    assert Cost(matmul=macs) == counted(Calls(function), *shapes, device=device)


@pytest.mark.parametrize(
    ("function", "weight", "shape", "macs"),
    [
        (lambda x, w: x @ w, (5, 7), (3, 5), 105),
        (lambda x, w: w @ x, (3, 5), (5, 7), 105),
        (lambda x, w: x @ w, (5,), (3, 5), 15),
        (lambda x, w: torch.dot(w, x), (5,), (5,), 5),
        (lambda x, w: torch.addr(x.new_zeros(5, 7), w, x), (5,), (7,), 35),
        (lambda x, w: torch.baddbmm(x.new_zeros(2, 3, 7), x, w), (2, 5, 7), (2, 3, 5), 210),
        (lambda x, w: torch.addbmm(x.new_zeros(3, 7), w, x), (2, 3, 5), (2, 5, 7), 210),
        (lambda x, w: torch.einsum("bni,oi->bno", x, w), (7, 5), (2, 3, 5), 210),
        (lambda x, w: torch.einsum("bhni,hio->bnho", x, w), (3, 5, 7), (2, 3, 11, 5), 2_310),
        # views of a parameter
        (lambda x, w: w.t() @ x, (5, 3), (5, 7), 105),
        (lambda x, w: x @ w.transpose(1, 2), (2, 7, 5), (2, 3, 5), 210),
        (lambda x, w: x @ w.expand(2, 5, 7), (5, 7), (2, 3, 5), 210),
        (lambda x, w: x @ w[:, 2:9], (5, 11), (3, 5), 105),
        (lambda x, w: F.linear(x, w.chunk(3)[1]), (21, 5), (3, 5), 105),
        (lambda x, w: x @ w.detach(), (5, 7), (3, 5), 105),
        # copies: torch makes one of matrices that are broadcast over the batch
        (lambda x, w: x @ w.t().contiguous(), (7, 5), (3, 5), 105),
        (lambda x, w: x @ w, (3, 5, 7), (2, 3, 11, 5), 2_310),
    ],
)
@pytest.mark.parametrize("device", ["meta", "cpu"])
def test_products_with_a_parameter_are_linear(function, weight, shape, macs, device):
    assert Cost(linear=macs) == counted(Calls(function, weight), shape, device=device)


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
    model = Calls(lambda q, k, v: F.scaled_dot_product_attention(q, k, v, **options))
    shapes = [(2, 3, 5, 11), (2, 3, 7, 11), (2, 3, 7, value_width)]
    with getattr(torch, grad_mode)():
        cost = counted(model, *shapes, device=device)
    assert Cost(matmul=matmul, softmax=210) == cost


def test_a_fused_attention_kernel_counts_both_products():
    """Reached only where a network calls it by its own name."""
    kernel = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu
    model = Calls(lambda q, k, v: kernel(q, k, v)[0])
    shapes = [(2, 3, 5, 11), (2, 3, 7, 11), (2, 3, 7, 11)]
    assert Cost(matmul=4_620, softmax=210) == counted(model, *shapes, device="cpu")


@pytest.mark.parametrize("device", ["meta", "cpu"])
def test_multihead_attention_to_itself_with_weights(device):
    # 4 x 10 x 36; 2 x (2 x 5 x 5 x 6); 2 x 3 x 5 x 5; weights averaged over the heads 2 x 5 x 5
    layer = nn.MultiheadAttention(6, 3, batch_first=True)
    cost = counted(layer, (2, 5, 6), (2, 5, 6), (2, 5, 6), device=device)
    assert Cost(linear=1_440, matmul=600, softmax=150, pool=50) == cost


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
        (Calls(lambda x: x.mean((2, 3))), Cost(pool=6)),
        (Calls(lambda x: x.amax((2, 3))), Cost(pool=6)),
        *((layer, Cost(softmax=210)) for layer in (nn.Softmax(1), nn.LogSoftmax(1), nn.Softmin(1))),
        *((layer(inplace=True), Cost(activation=210)) for layer in ACTIVATIONS),
        *((layer(), Cost(activation=210)) for layer in (*ACTIVATIONS, nn.Sigmoid, nn.Tanh)),
        *((layer(), Cost(activation=210)) for layer in (nn.GELU, nn.Softplus, nn.PReLU)),
        (Calls(lambda x: x.tanh_()), Cost(activation=210)),
        # free by convention
        (Calls(lambda x: x.add_(1).mul(2) / 3 + x.pow(x) + 2**x), Cost()),
        (Calls(lambda x: torch.cat([x, x]).transpose(1, 2).reshape(7, -1)), Cost()),
        (Calls(lambda x: F.interpolate(x, scale_factor=2, mode="nearest")), Cost()),
        (Calls(lambda x: F.dropout(x, training=True).sum() + x.exp().max()), Cost()),
        (Calls(lambda x: x[:, 1:].clone().zero_()), Cost()),
    ],
)
def test_elements(layer, expected, device):
    assert expected == counted(layer, (2, 3, 5, 7), device=device)


# the whole of a network

# one branch: (2, 5, 9, 11) out, 27 entries
BRANCH = Cost(conv=26_730, norm=990, activation=990)


def of_network(network, device="meta"):
    return count(network.to(device), torch.zeros(2, 3, 11, 13, device=device))


@pytest.mark.parametrize("device", ["meta", "cpu"])
def test_total_of_a_network(network, device):
    # 2 x (140 + 10) + 42 parameters; 2 x 5 x 7 and 2 x 7 x 2 MACs
    expected = Cost(params=342, linear=70, matmul=28, pool=10, softmax=14)
    assert expected + BRANCH + BRANCH + BRANCH == of_network(network, device).total


def test_operations_belong_to_the_innermost_module(network):
    def branch(name):
        return [
            (f"{name}.conv", "convolution", "conv", 26_730),
            (f"{name}.bn", "native_batch_norm", "norm", 990),
            (name, "relu", "activation", 990),
        ]

    expected = [
        *(line for name in ("conv1", "conv10", "conv1") for line in branch(name)),
        ("", "mean", "pool", 10),
        ("fc", "addmm", "linear", 70),
        ("", "_softmax", "softmax", 14),
        ("", "mm", "matmul", 28),
    ]
    operations = of_network(network).operations
    assert expected == [(o.module, o.operator, o.kind, o.amount) for o in operations]


def test_every_call_is_kept_with_the_shape_of_its_input(network):
    clip, map_ = (2, 3, 11, 13), (2, 5, 9, 11)
    branch = [("", clip), (".conv", clip), (".bn", map_)]
    expected = [Call("", clip)]
    for name in ("conv1", "conv10", "conv1"):
        expected += [Call(name + part, shape) for part, shape in branch]
    expected.append(Call("fc", (2, 5)))
    assert tuple(expected) == of_network(network).calls


def test_within_a_module(network):
    result = of_network(network)
    assert BRANCH + BRANCH == result.within("conv1")
    assert BRANCH == result.within("conv10")
    assert Cost(conv=26_730) == result.within("conv10.conv")
    assert Cost(params=11, linear=70) == result.within("fc", params=11)
    assert Cost() == result.within("conv")
    assert result.total == result.within("", params=342)


def test_parameters_count_whether_they_take_part_or_not():
    model = Calls(lambda x, unused: x @ x.mT, (11,))
    assert Cost(params=11, matmul=45) == count(model, torch.zeros(3, 5)).total


def test_functions_are_noted_with_their_operations():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.second = nn.Linear(5, 5), Calls(lambda x: x @ x.mT)

        def forward(self, x):
            y = self.second(self.first(x))
            return F.interpolate(torch.einsum("bij,bjk->bik", y, y), scale_factor=2)

    found = count(Net(), torch.zeros(2, 3, 5))
    assert (
        FunctionCall("matmul", "second", "", ((2, 3, 5), (2, 5, 3)), (2, 3, 3), 1, 2),
        FunctionCall("einsum", "", "bij,bjk->bik", ((2, 3, 3), (2, 3, 3)), (2, 3, 3), 2, 3),
        FunctionCall("interpolate", "", "nearest", ((2, 3, 3),), (2, 3, 6), 3, 3),
    ) == found.functions


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
    without = {name: rule for name, rule in RULES.items() if name != "threshold_backward"}
    monkeypatch.setattr(counter, "RULES", without)
    monkeypatch.setattr(counter, "is_free", lambda func, name: "threshold" not in name)
    with pytest.raises((RuntimeError, UncountedOperator)):
        run(network, torch.zeros(shape))
    assert before == state(network)
    monkeypatch.undo()
    # the next count does not see the last one
    found = of_network(network, "cpu")
    assert 80_190 == found.total.conv
    assert ("", "conv1", "conv1.conv") == tuple(call.module for call in found.calls[:3])


def test_the_cpu_computes_an_lstm_with_mkldnn_afterwards():
    before = torch._C._get_mkldnn_enabled()
    count(nn.LSTM(5, 7), torch.zeros(3, 2, 5))
    assert before == torch._C._get_mkldnn_enabled()


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


@pytest.fixture(params=["meta", "cpu"])
def total(request):
    def run(model, *shapes):
        model = copy.deepcopy(model).to(request.param)
        return count(model, *(torch.zeros(s, device=request.param) for s in shapes)).total

    return run


def test_an_affine_grid_is_a_product(total):
    # 2 grids of 5x7 points, two coordinates each from three products
    grid = Calls(lambda theta: F.affine_grid(theta, [2, 3, 5, 7], align_corners=False))
    assert Cost(matmul=2 * 35 * 2 * 3) == total(grid, (2, 2, 3))
    # 2 of 5x7x11 points, three coordinates from four
    deep = Calls(lambda theta: F.affine_grid(theta, [2, 3, 5, 7, 11], align_corners=False))
    assert Cost(matmul=2 * 385 * 3 * 4) == total(deep, (2, 3, 4))


def test_an_lstm_counts_the_same_everywhere(total):
    # 13 steps of 2 clips: four gates from 5 inputs and 7 of the state, five nonlinearities
    expected = Cost(params=28 * 14, linear=26 * 28 * 12, activation=26 * 5 * 7)
    assert expected == total(nn.LSTM(5, 7), (13, 2, 5))


def test_a_weight_by_direction_and_length_is_a_weight(total):
    # 11x5x7; its norm is free
    assert 11 * 5 * 7 == total(weight_norm(nn.Linear(5, 7)), (11, 5)).linear
    # the old way is one operator, with the weight and the norms as results
    old = Calls(lambda x, v, g: x @ torch._weight_norm_interface(v, g, 0)[0].T, (7, 5), (7, 1))
    assert Cost(params=42, linear=11 * 5 * 7) == count(old, torch.zeros(11, 5)).total


@pytest.mark.parametrize(
    ("function", "shapes"),
    [
        (lambda x: torch.unique(x, dim=0), [(3, 5)]),
        (lambda x: torch.median(x, 1).values, [(3, 5)]),
        (lambda x: torch.cummax(x, 1).values, [(3, 5)]),
        (lambda x, i: torch.scatter_reduce(x, 0, i.long(), x, "amax"), [(3, 5), (3, 5)]),
        (lambda x: F.mse_loss(x, x), [(3, 5)]),
        (lambda x: F.binary_cross_entropy(x, x), [(3, 5)]),
        (lambda x: F.cross_entropy(x, torch.zeros(3, dtype=torch.long, device=x.device)), [(3, 5)]),
        (lambda x: F.channel_shuffle(x, 3), [(2, 6, 5)]),
        (lambda x, w: F.embedding_bag(x.long(), w), [(3, 5), (7, 11)]),
        (lambda x: x[x > 0], [(3, 5)]),
        (lambda x: torch.bucketize(x, torch.arange(3, device=x.device)), [(3, 5)]),
        (lambda x, y: F.grid_sample(x, y, align_corners=False), [(2, 3, 5, 7), (2, 11, 13, 2)]),
        # views, in place as well, and what torch tags as a function of one element
        (lambda x: x.t_().unsqueeze_(0).masked_fill_(x > 0, 1), [(3, 5)]),
        (lambda x: torch.special.i1e(x).erf_() + torch.fmax(x, x), [(3, 5)]),
    ],
)
def test_operators_without_products_count_none(function, shapes):
    assert 0 == count(Calls(function), *map(torch.zeros, shapes)).total.macs


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


def test_an_error_of_the_network_is_its_own():
    def broken(x):
        raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        count(Calls(broken), torch.zeros(1))


def test_an_operator_of_another_library_is_rejected_though_its_name_is_known():
    @torch.library.custom_op("vidcost_test::relu", mutates_args=())
    def relu(x: torch.Tensor) -> torch.Tensor:
        return x.clamp(min=0)

    relu.register_fake(torch.empty_like)
    with pytest.raises(UncountedOperator, match=r"operator vidcost_test::relu "):
        counted(Calls(lambda x: relu(x)), (3, 5), device="cpu")


def test_no_operator_has_a_rule_and_is_free():
    assert set() == RULES.keys() & FREE


@pytest.mark.parametrize("names", [RULES, FREE], ids=["rules", "free"])
def test_every_operator_exists(names):
    ours = [name for name in sorted(names) if not name.startswith("torchvision::")]
    names = [name.rpartition("::") for name in ours]
    libraries = [(getattr(torch.ops, lib or "aten"), name) for lib, _, name in names]
    assert [] == [name for library, name in libraries if not hasattr(library, name)]


@pytest.mark.parametrize("device", ["meta", "cpu"])
@pytest.mark.parametrize(
    ("function", "shapes", "macs", "multiply"),
    [
        (lambda q, k: (q[:, :, None] * k[:, None]).sum(-1), [(2, 3, 5), (2, 7, 5)], 210, 0),
        (lambda q, k: (q * k).sum(-1), [(3, 5), (3, 5)], 15, 0),
        (lambda x, a: (x * a[..., None]).sum(1), [(2, 3, 5), (2, 3)], 30, 0),
        # what is summed is in one operand alone, or nothing is
        (lambda x, a: (x * a[:, None]).sum(1), [(3, 5), (3,)], 0, 15),
        (lambda x, a: x * a[:, None], [(3, 5), (3,)], 0, 15),
        (lambda x, a: (x * 2 * a.sum()).sum(), [(3, 5), (3,)], 0, 30),
        # 2 x 3 x 5 and 2 x 3 x 5 x 7
        (partial(torch.einsum, "bi,bj,bk->bijk"), [(2, 3), (2, 5), (2, 7)], 240, 0),
        (partial(torch.einsum, "bij,bi->bij"), [(2, 3, 5), (2, 3)], 0, 30),
        (torch.outer, [(3,), (5,)], 15, 0),
        # integers are positions
        (lambda x, i: x[i.long() * 2], [(7, 3), (2,)], 0, 0),
    ],
)
def test_multiplications(function, shapes, macs, multiply, device):
    found = count(Calls(function), *(torch.zeros(shape, device=device) for shape in shapes))
    assert (Cost(matmul=macs), multiply) == (found.total, found.multiply)


def test_a_product_by_multiplication_has_the_module_of_the_multiplication():
    scores = Calls(lambda x, w: x[:, None] * w, (7, 5))
    model = nn.Sequential(scores, Calls(lambda x: x.sum(-1)))
    (operation,) = count(model, torch.zeros(3, 5)).operations
    assert ("0", "mul", "linear", 105) == (
        *(operation.module, operation.operator),
        *(operation.kind, operation.amount),
    )


@pytest.mark.parametrize("device", ["meta", "cpu"])
@pytest.mark.parametrize(
    "function",
    [
        lambda x, w, mask: x @ (w * mask),
        lambda x, w, mask: x @ mask,
        lambda x, w, mask: x @ torch.ones(5, 7, device=x.device),
        # of the input's shape, but not of its values
        lambda x, w, mask: x @ (torch.zeros_like(x).T @ x.new_ones(3, 7)),
        lambda x, w, mask: x @ w.new_zeros(7, 5).copy_(w.T).T,
    ],
)
def test_a_product_with_a_tensor_that_depends_on_no_input_is_linear(function, device):
    model = Calls(lambda x, w: function(x, w, model.mask), (5, 7)).to(device)
    model.register_buffer("mask", torch.ones(5, 7, device=device))
    found = count(model, torch.zeros(3, 5, device=device)).total
    assert (0, True) == (found.matmul, found.linear >= 105)


def test_a_buffer_that_the_input_is_written_to_is_an_activation():
    def function(x):
        cache = torch.zeros(5, 3)
        cache[:, 1:] = x.T[:, 1:]
        return x @ cache

    assert Cost(matmul=45) == count(Calls(function), torch.zeros(3, 5)).total


@pytest.mark.parametrize("device", ["meta", "cpu"])
def test_a_root_mean_square_norm_is_a_norm(device):
    class Written(nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = nn.Parameter(torch.ones(7))

        def forward(self, x):
            return self.weight * (x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 1e-6))

    for layer in (Written(), nn.RMSNorm(7)):
        assert Cost(norm=42) == counted(layer, (2, 3, 7), device=device)
    assert 84 == count(Written(), torch.zeros(2, 3, 7)).multiply
    assert 0 == count(nn.RMSNorm(7), torch.zeros(2, 3, 7)).multiply


@pytest.mark.parametrize("device", ["meta", "cpu"])
def test_complex_products_count_real_multiplications(device):
    def complexes(*shape):
        return torch.zeros(shape, dtype=torch.complex64, device=device)

    def total(function, *inputs):
        return count(Calls(function), *inputs).total.macs

    assert 4 * 105 == total(torch.mm, complexes(3, 5), complexes(5, 7))
    assert 4 * 15 == total(lambda x, y: (x * y).sum(), complexes(3, 5), complexes(3, 5))
    # torch takes three real convolutions
    assert 3 * 2 * 5 * 9 * 9 == total(F.conv1d, complexes(2, 3, 11), complexes(5, 3, 3))


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


def test_the_profiler_is_free():
    def function(x):
        with torch.profiler.record_function("part"):
            return x @ x

    assert Cost(matmul=27) == count(Calls(function), torch.zeros(3, 3)).total


def test_operators_between_underscores_are_known():
    masks = Calls(lambda x: torch.ops.aten.__iand__.Tensor(x > 0, x < 1))
    assert Cost() == count(masks, torch.zeros(3)).total


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


def test_attention_of_the_cpu_counts_as_in_parts_without_its_memory():
    model = Calls(lambda q, k, v: F.scaled_dot_product_attention(q, k, v))
    shapes = (2, 3, 64, 8), (2, 3, 48, 8), (2, 3, 48, 8)
    fused, parts = (
        count(model, *(torch.zeros(shape, device=device) for shape in shapes))
        for device in ("cpu", "meta")
    )
    brief = [[(o.operator, o.kind, o.amount) for o in c.operations] for c in (fused, parts)]
    assert brief[0] == brief[1]
    with torch.profiler.profile() as profile:
        count(model, *map(torch.zeros, shapes))
    assert "aten::_scaled_dot_product_flash_attention_for_cpu" in {
        e.key for e in profile.key_averages()
    }


def test_a_function_of_functions_is_rejected_by_name():
    model = Calls(lambda x: torch.cond(x.sum() > 0, torch.cos, torch.sin, (x,)))
    with pytest.raises(UncountedOperator, match=r"^cond, a function of functions, cannot be"):
        count(model, torch.zeros(3))


@pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")
def test_a_scripted_module_counts_under_its_caller():
    scripted = torch.jit.script(nn.Sequential(nn.Linear(5, 7), nn.ReLU()))
    found = count(nn.Sequential(nn.Linear(3, 5), scripted), torch.zeros(2, 3))
    assert [("0", 30), ("", 70), ("", 14)] == [(o.module, o.amount) for o in found.operations]

"""Training steps against integers worked by hand."""

import copy
from functools import partial

import pytest
import torch
import torch.nn.functional as F
from conformance.operators import Calls
from torch import nn
from torch.utils.checkpoint import checkpoint

from vidcost.bench.count.counter import Call, count
from vidcost.bench.count.training import count_training
from vidcost.models.cost import Cost

ACTIVATIONS = [
    *(nn.ReLU(), nn.ReLU6(), nn.SiLU(), nn.ELU(), nn.CELU(), nn.SELU(), nn.LeakyReLU()),
    *(nn.Hardtanh(), nn.Hardswish(), nn.Hardsigmoid(), nn.Sigmoid(), nn.Tanh(), nn.GELU()),
    *(nn.Softplus(), nn.PReLU(), nn.LogSigmoid(), nn.Threshold(1, 2), nn.RReLU()),
    *(nn.Softshrink(), nn.Hardshrink()),
]


def zeros(shape, *, device="meta", wanted=True):
    return torch.zeros(shape, device=device, requires_grad=wanted)


def backward(model, *shapes, device="meta", wanted=True):
    """The backward pass of ``model`` on inputs of ``shapes``, which want a gradient or not."""
    inputs = [zeros(shape, device=device, wanted=wanted) for shape in shapes]
    return count_training(copy.deepcopy(model).to(device), *inputs).backward.total


@pytest.mark.parametrize("device", ["meta", "cpu"])
def test_a_convolution_with_and_without_gradients(device):
    # transposed, 3 groups: 6 x 5 x 6 = 180 weights at 143
    layer, shape, one = nn.ConvTranspose2d(6, 15, (3, 2), groups=3), (1, 6, 11, 13), 25_740
    assert Cost(conv=one + one) == backward(layer, shape, device=device)
    assert Cost(conv=one) == backward(layer, shape, device=device, wanted=False)
    # the bias's gradient is no MAC
    layer.weight.requires_grad_(False)
    assert Cost(conv=one) == backward(layer, shape, device=device)
    assert Cost() == backward(layer, shape, device=device, wanted=False)


@pytest.mark.parametrize(
    ("function", "shapes", "one"),
    [
        (torch.mm, [(3, 5), (5, 7)], 105),
        (partial(torch.einsum, "bhnk,bhmk->bhnm"), [(2, 11, 3, 5), (2, 11, 7, 5)], 2_310),
        (lambda x, y: torch.addmm(x.new_zeros(7), x, y, alpha=3, beta=3), [(3, 5), (5, 7)], 105),
        # vectors: the gradient of (3, 5) is an outer product of 15
        (torch.mv, [(3, 5), (5,)], 15),
        (torch.dot, [(5,), (5,)], 5),
        (lambda x, y: x[:, None] * y, [(5,), (7,)], 0),
    ],
)
def test_products(function, shapes, one):
    first, second = shapes
    both = Calls(function)
    left = Calls(lambda x, y: function(x, y.detach()))
    assert Cost(matmul=one + one) == backward(both, first, second)
    assert Cost(matmul=one) == backward(left, first, second)
    # with a parameter it is a linear layer, though the weight's gradient has none in it
    layer = Calls(function, second)
    assert Cost(linear=one + one) == backward(layer, first)
    assert Cost(linear=one) == backward(layer, first, wanted=False)
    assert Cost(linear=one) == backward(layer.requires_grad_(False), first)


@pytest.mark.parametrize(
    ("layer", "expected"),
    [
        *((layer, Cost(norm=210)) for layer in (nn.BatchNorm2d(3), nn.LayerNorm((5, 7)))),
        (nn.GroupNorm(3, 3), Cost(norm=210)),
        # elements that came out, each of which passes a gradient on
        (nn.MaxPool2d((2, 3)), Cost(pool=24)),
        (nn.AdaptiveAvgPool2d((3, 2)), Cost(pool=36)),
        # a global pool's is a division or a mask
        (nn.AdaptiveAvgPool2d(1), Cost()),
        (Calls(lambda x: x.amax((2, 3))), Cost()),
        (nn.Softmax(-1), Cost(softmax=210)),
        (nn.LogSoftmax(1), Cost(softmax=210)),
        *((layer, Cost(activation=210)) for layer in ACTIVATIONS),
        # elements of its input
        (nn.GLU(2), Cost(activation=420)),
        (Calls(lambda x: x.add(1).mul(2).abs() / 3), Cost()),
        (Calls(lambda x: F.interpolate(x, scale_factor=2, mode="bilinear")), Cost()),
        (Calls(lambda x: F.pad(F.dropout(x), (1, 1, 1, 1), mode="reflect")), Cost()),
        (Calls(lambda x: x.sum() + x.exp().max() + x.std() + x.norm()), Cost()),
    ],
)
@pytest.mark.parametrize("device", ["meta", "cpu"])
def test_elements(layer, expected, device):
    shape = (2, 3, 10, 7) if isinstance(layer, nn.GLU) else (2, 3, 5, 7)
    assert expected == backward(layer, shape, device=device)


def test_a_fused_attention_kernel_computes_its_scores_anew():
    # scores, and the gradients of value, scores, query and key: 210 x 5 x 11
    kernel = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu
    model = Calls(lambda q, k, v: kernel(q, k, v)[0])
    shapes = [(2, 3, 5, 11), (2, 3, 7, 11), (2, 3, 7, 11)]
    assert Cost(matmul=11_550) == backward(model, *shapes, device="cpu")
    assert Cost(matmul=4_620, softmax=210) == count(model, *map(torch.zeros, shapes)).total


def test_frozen_layers_pass_the_gradient_on_and_what_is_under_no_grad_has_none():
    # 105 for the weight; 231 for the input; 3 x 11 x 13 = 429 for both
    model = nn.Sequential(nn.Linear(5, 7), nn.Linear(7, 11), nn.Linear(11, 13))
    model[1].weight.requires_grad_(False)
    assert Cost(linear=105 + 231 + 429 + 429) == backward(model, (3, 5), wanted=False)

    def function(x):
        with torch.no_grad():
            x = without.first(x)
        return without.second(x)

    without = Calls(function)
    without.first, without.second = nn.Linear(5, 7), nn.Linear(7, 11)
    step = count_training(without.to("meta"), zeros((3, 5)))
    assert Cost(params=42 + 88, linear=105 + 231) == step.forward.total
    assert Cost(linear=231) == step.backward.total
    assert Cost() == step.backward.within("first")


def test_a_low_rank_adapter_beside_a_frozen_layer():
    class Adapted(nn.Module):
        """x W + (x A) B: 5 to 7, by rank 2."""

        def __init__(self):
            super().__init__()
            self.base = nn.Linear(5, 7).requires_grad_(False)
            self.a, self.b = nn.Linear(5, 2, bias=False), nn.Linear(2, 7, bias=False)

        def forward(self, x):
            return self.base(x) + self.b(self.a(x))

    # 3 rows: b's weight and its input 42 each, a's weight 30; then with what comes before
    step = count_training(Adapted().to("meta"), zeros((3, 5), wanted=False))
    assert (105 + 30 + 42, 42 + 42 + 30) == (step.forward.total.macs, step.backward.total.macs)
    assert Cost() == step.backward.within("base")
    step = count_training(Adapted().to("meta"), zeros((3, 5)))
    assert 42 + 42 + 30 + 30 + 105 == step.backward.total.macs


def test_gradients_of_weighted_bags():
    # the gradients of 3 bags of 5 weights and of rows of 11
    places = torch.zeros(3, 5, dtype=torch.long, device="meta")
    bags = Calls(lambda w, r: F.embedding_bag(places, r, per_sample_weights=w, mode="sum"))
    assert 2 * 165 == backward(bags, (3, 5), (7, 11)).macs


def test_nothing_to_train_is_rejected():
    model = nn.Linear(5, 7).requires_grad_(False)
    with pytest.raises(ValueError, match="no output needs a gradient: set requires_grad on"):
        backward(model, (3, 5), wanted=False)


def test_a_tied_weight_counts_at_each_use():
    model = nn.Sequential(nn.Linear(5, 7, bias=False), nn.Linear(7, 5), nn.Linear(5, 7))
    model = model.to("meta")
    model[2].weight = model[0].weight
    step = count_training(model, zeros((3, 5)))
    assert Cost(params=82, linear=315) == step.forward.total
    assert [Cost(linear=210)] * 3 == [step.backward.within(str(i)) for i in range(3)]


@pytest.mark.parametrize(
    ("reentrant", "anew"),
    [
        # stops before the last product, whose result no gradient needs
        (False, 105),
        # runs all of it
        (True, 105 + 231),
    ],
)
def test_a_checkpoint_computes_its_forward_pass_anew(reentrant, anew):
    model = Calls(lambda x: checkpoint(model.layers, x, use_reentrant=reentrant))
    model.layers = nn.Sequential(nn.Linear(5, 7), nn.ReLU(), nn.Linear(7, 11))
    step = count_training(model.to("meta"), zeros((3, 5)))
    assert 336 == step.forward.total.linear
    assert 672 + anew == step.backward.total.linear
    # by itself, with the nonlinearity in between
    assert Cost(linear=anew, activation=21) == step.backward.recomputed
    assert Cost() == step.forward.recomputed
    # 3 x 7 anew and backward
    assert Cost(linear=105 + 210) == step.backward.within("layers.0")
    assert Cost(activation=42) == step.backward.within("layers.1")
    assert Call("layers.0", (3, 5)) in step.backward.calls
    assert all(p.grad is None for p in model.parameters())


@pytest.mark.parametrize("device", ["meta", "cpu"])
def test_a_backward_operation_stands_under_the_module_of_its_forward_operation(network, device):
    network = network.to(device)
    step = count_training(network, zeros((2, 3, 11, 13), device=device, wanted=False))
    # a branch: (2, 5, 9, 11) out, 27 entries; the weight's gradient alone
    branch = [
        ("conv", "convolution_backward", "conv", 26_730),
        ("bn", "native_batch_norm_backward", "norm", 990),
        ("", "threshold_backward", "activation", 990),
    ]
    called = ("conv1", "conv10", "conv1")
    expected = [
        *((f"{name}.{m}".rstrip("."), *rest) for name in called for m, *rest in branch),
        # 2 x 5 x 7
        ("fc", "mm", "linear", 70),
        ("fc", "mm", "linear", 70),
        ("", "_softmax_backward_data", "softmax", 14),
        # 2 x 7 x 2
        ("", "mm", "matmul", 28),
        ("", "mm", "matmul", 28),
    ]
    actual = [(o.module, o.operator, o.kind, o.amount) for o in step.backward.operations]
    assert sorted(expected) == sorted(actual)
    assert Cost(conv=53_460, norm=1_980, activation=1_980) == step.backward.within("conv1")
    assert Cost(linear=140) == step.backward.within("fc")
    assert step.total == step.forward.total + step.backward.total


def test_an_operation_that_changes_a_view_in_place():
    # autograd makes nodes of its own for these, before and after those of operations
    model = nn.Sequential(
        nn.Linear(5, 7),
        nn.Unflatten(1, (7, 1)),
        nn.ReLU(inplace=True),
        Calls(lambda x, w: x[:, :, 0] @ w, (7, 11)),
        Calls(lambda x: x[:, 1:4].relu_().unsqueeze(0)),
        nn.Linear(3, 2),
    ).to("meta")
    step = count_training(model, zeros((13, 5)))
    expected = {
        "0": Cost(linear=910),
        "2": Cost(activation=91),
        "3": Cost(linear=2_002),
        "4": Cost(activation=39),
        "5": Cost(linear=156),
    }
    assert expected == {name: step.backward.within(name) for name in expected}
    assert step.backward.total == sum(expected.values(), Cost())


def test_a_function_with_a_backward_pass_of_its_own():
    class Own(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x, w):
            ctx.save_for_backward(x, w)
            return (x * 2) @ w

        @staticmethod
        def backward(ctx, gradient):
            x, w = ctx.saved_tensors
            return gradient @ w.t() * 2, (x * 2).t() @ gradient

    model = Calls(lambda x: F.relu(model.own(x)))
    model.own = Calls(Own.apply, (5, 7))
    step = count_training(model.to("meta"), zeros((3, 5)))
    assert Cost(linear=210) == step.backward.within("own")
    assert Cost(linear=210, activation=21) == step.backward.total


@pytest.mark.parametrize("device", ["meta", "cpu"])
def test_a_product_by_multiplication_is_two_in_the_backward_pass(device):
    # 2 x 3 x 5 x 7, and an elementwise multiplication, which is none
    scores = Calls(lambda q, k: (q[:, :, None] * k[:, None]).sum(-1).relu())
    shapes = [(2, 3, 5), (2, 7, 5)]
    assert Cost(matmul=420, activation=42) == backward(scores, *shapes, device=device)
    layer = Calls(lambda x, w: (x[:, None] * w).sum(-1) * x[:, :1], (7, 5))
    assert Cost(linear=210) == backward(layer, (3, 5), device=device)

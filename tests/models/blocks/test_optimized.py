import copy
import math
from functools import partial

import pytest
import torch
from torch import nn
from torch.nn.utils import prune

from vidcost.bench.count.counter import count
from vidcost.bench.count.modules import verify
from vidcost.bench.count.training import count_training
from vidcost.models.blocks import attention, non_local
from vidcost.models.blocks.cgnl import CGNL
from vidcost.models.blocks.non_local import PAIRWISE, NonLocal, NonLocalOperation
from vidcost.models.blocks.pnl import PNL

CONCATENATION = partial(NonLocal, pairwise="concatenation")
BLOCKS = {
    **{f"nl-{f}": partial(NonLocal, pairwise=f) for f in PAIRWISE},
    **{f"nl-{f}-pooled": partial(NonLocal, pairwise=f, pool_keys=True) for f in PAIRWISE},
    "nl-scaled": partial(NonLocal, scale=True, bias=True),
    "nl-concatenation-first": partial(CONCATENATION, pool_keys=True, pool_first=True),
    "nl-concatenation-bias": partial(CONCATENATION, bias=True),
    "cgnl": partial(CGNL, groups=2),
    "pnl": partial(PNL, n=2),
    "pnl-concat-own": partial(PNL, n=3, combine="concat", shared=False),
}
TOLERANCE = 1e-12
every_block = pytest.mark.parametrize("make", BLOCKS.values(), ids=BLOCKS)


def small_limits(patch):
    """Slices and running sums also at the small shapes of these tests."""
    patch.setattr(attention, "SCORES", 1)
    patch.setattr(attention, "FEWEST_QUERIES", 7)
    patch.setattr(non_local, "MATRIX", 0)


@pytest.fixture(params=["as they are", "small"])
def limits(request, monkeypatch):
    if request.param == "small":
        small_limits(monkeypatch)


@pytest.fixture
def pair(randomised):
    """The block in both implementations, with the same random weights, statistics included."""

    def build(make, channels, dtype=torch.float64):
        blocks = randomised(make(channels)), make(channels, impl="optimized").double().eval()
        blocks[1].load_state_dict(blocks[0].state_dict())
        for block in blocks:
            if isinstance(block, CGNL):
                # with its own eps the norm divides the scalar out, and the gradients of p and g
                # are rounding errors
                block.gn.eps = 1000.0
        return [block.to(dtype) for block in blocks]

    return build


def run(block, x):
    """Output, gradient of the input, gradients of the parameters."""
    x = x.clone().requires_grad_()
    block.zero_grad()
    y = block(x)
    weights = torch.randn(y.shape, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    (y * weights.to(y)).sum().backward()
    return {"y": y.detach(), "x": x.grad, **{n: p.grad for n, p in block.named_parameters()}}


def off(expected, got):
    """The largest difference relative to the largest value."""
    scale = expected.double().abs().max().item()
    return (got.double() - expected.double()).abs().max().item() / (scale or 1.0)


# batch statistics of a map this small make much of each rounding
@pytest.mark.parametrize(
    ("shape", "training"),
    [((2, 12, 3, 5, 7), False), ((2, 12, 3, 5, 7), True), ((1, 36, 1, 9, 4), False)],
    ids=["eval", "train", "small map"],
)
@every_block
def test_the_same_function_and_gradients(pair, make, training, shape, limits):
    reference, optimized = pair(make, shape[1])
    reference.train(training)
    optimized.train(training)
    x = torch.randn(shape, dtype=torch.float64)
    expected, got = run(reference, x), run(optimized, x)
    assert expected.keys() == got.keys()
    # a gradient that is 0 except for rounding has no relative error
    largest = max(tensor.abs().max().item() for tensor in expected.values())
    for key, tensor in expected.items():
        assert tensor.abs().max() <= 1e-10 * largest or off(tensor, got[key]) <= TOLERANCE, key
    assert reference.state_dict().keys() == optimized.state_dict().keys()
    for key, value in reference.state_dict().items():
        torch.testing.assert_close(optimized.state_dict()[key], value, rtol=1e-12, atol=1e-12)
    with torch.no_grad():
        assert off(reference(x), optimized(x)) < TOLERANCE


@pytest.mark.parametrize(
    ("dtype", "tolerance"), [(torch.float32, 2e-5), (torch.bfloat16, 4e-2)], ids=str
)
@every_block
def test_close_to_exact_in_other_precisions(pair, make, dtype, tolerance, limits):
    exact, optimized = pair(make, 12)
    x = torch.randn(2, 12, 3, 5, 7, generator=torch.Generator().manual_seed(5)).to(dtype)
    exact.load_state_dict({k: v.to(dtype) for k, v in exact.state_dict().items()})
    expected, got = run(exact.eval(), x.double()), run(optimized.to(dtype).eval(), x)
    assert got["y"].dtype == dtype
    assert off(expected["y"], got["y"]) < tolerance
    assert off(expected["x"], got["x"]) < 3 * tolerance


@every_block
def test_under_autocast(pair, make):
    reference, optimized = pair(make, 12, torch.float32)
    x = torch.randn(2, 12, 3, 5, 7, generator=torch.Generator().manual_seed(5))
    with torch.autocast("cpu", torch.bfloat16):
        expected, got = reference.eval()(x), optimized.eval()(x)
        run(optimized, x)
    assert expected.dtype == got.dtype
    assert off(expected, got) < 4e-2


@every_block
def test_the_count_equals_the_closed_form(make, limits):
    with torch.device("meta"):
        block = make(12, impl="optimized")
        x = torch.empty(2, 12, 3, 5, 7)
    assert verify("block", block, count(block, x)) > 0


# 96 channels, inner width 48
@pytest.mark.parametrize(
    ("pairwise", "map_", "expected"),
    [
        ("embedded-gaussian", (4, 6, 12), 2 * 288 * 288 * 48),
        ("gaussian", (4, 6, 12), 288 * 288 * (96 + 48)),
        # values x keys and that x queries: 2 products of 48 x 48 x 288
        ("dot-product", (4, 6, 12), 2 * 48 * 48 * 288),
        ("dot-product", (1, 7, 8), 2 * 48 * 48 * 56),
        # 40 positions are fewer than 48 channels: queries x keys first
        ("dot-product", (1, 5, 8), 2 * 40 * 40 * 48),
        # 82,944 pairs are few: the matrix is used
        ("concatenation", (4, 6, 12), 288 * 288 * 48),
    ],
)
def test_products_by_hand(pairwise, map_, expected):
    built = NonLocalOperation(96, pairwise=pairwise, impl="optimized")
    assert expected == built.cost((1, 96, *map_)).matmul


@pytest.mark.parametrize("bias", [False, True])
def test_concatenation_of_many_pairs_by_hand(bias):
    # 14 channels, 7 inner, 3 clips of 23 x 29 = 667 positions: 444,889 pairs
    with torch.device("meta"):
        built = NonLocalOperation(14, pairwise="concatenation", bias=bias, impl="optimized")
        x = torch.empty(3, 14, 1, 23, 29)
    cost = built.cost(x.shape)
    # g and z of 98 weights each, and the two rows of 14 that theta and phi are folded into
    assert 3 * 667 * (2 * 98 + 2 * 14) == cost.conv
    # two products of w_f's halves, 7, with 7 x 14 weights (and 7 biases)
    assert 2 * 7 * (14 + bias) == cost.linear
    assert (0, 0) == (cost.matmul, cost.activation)
    assert cost == count(built, x).total


@pytest.mark.parametrize(
    ("name", "part"),
    [
        *(("nl-concatenation", f"operation.{part}") for part in ("theta", "w_phi", "g", "z")),
        *(("cgnl", part) for part in ("t", "p", "z")),
    ],
)
def test_pruned_and_replaced_convolutions_keep_their_effect(pair, name, part):
    class Doubled(nn.Conv3d):
        def forward(self, x):
            return 2 * super().forward(x)

    reference, optimized = pair(BLOCKS[name], 12)
    x = torch.randn(2, 12, 3, 5, 7, dtype=torch.float64)
    before = reference.eval()(x)
    for block in (reference, optimized):
        prune.l1_unstructured(block.get_submodule(part), "weight", amount=0.5)
        with torch.no_grad():
            # the mask is applied again before each call
            block.get_submodule(part).weight_orig.mul_(3)
    assert not torch.allclose(before, reference(x), rtol=1e-3)
    torch.testing.assert_close(optimized.eval()(x), reference(x), rtol=1e-9, atol=1e-9)
    for block in (reference, optimized):
        prune.remove(block.get_submodule(part), "weight")
        block.get_submodule(part).__class__ = Doubled
    torch.testing.assert_close(optimized(x), reference(x), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("value", [math.inf, -math.inf, math.nan])
@every_block
def test_what_is_not_finite_is_not_hidden(pair, make, value, limits):
    reference, optimized = pair(make, 12)
    x = torch.randn(2, 12, 3, 5, 7, dtype=torch.float64)
    x[0, 3, 1, 2, 4] = value
    expected, got = (block.eval()(x).isfinite() for block in (reference, optimized))
    assert torch.equal(expected, got)
    assert not got[0].all()


def error_of(call):
    try:
        call()
    except RuntimeError as error:
        return error


@every_block
def test_second_derivatives_are_right_or_an_error(pair, make, limits):
    reference, optimized = pair(make, 12)
    x = torch.randn(1, 12, 2, 4, 5, dtype=torch.float64)

    def product(block):
        return torch.autograd.functional.hvp(lambda x: (block.eval()(x) ** 2).sum(), x, x + 1)[1]

    if "attention" in (refused := str(error_of(lambda: product(optimized)))):
        assert "is not implemented" in refused
    else:
        assert off(product(reference), product(optimized)) < 1e-9


# torch's tracer is what fvcore counts with
@pytest.mark.filterwarnings("ignore:.*torch.jit.trace:DeprecationWarning")
# of torch 2.14
@pytest.mark.filterwarnings("ignore:.*torch.jit.trace:FutureWarning")
@pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning")
@pytest.mark.parametrize("pairwise", ["embedded-gaussian", "gaussian"])
def test_a_tracer_sees_the_products(pairwise, monkeypatch):
    small_limits(monkeypatch)
    x = torch.randn(1, 16, 2, 5, 5)
    block = NonLocal(16, pairwise=pairwise, impl="optimized").eval()
    graph = torch.jit.trace(block, x, check_trace=False).inlined_graph
    names = {node.kind() for node in graph.nodes()}
    assert "aten::matmul" in names
    assert not any("attention" in name for name in names)


@pytest.mark.parametrize("pairwise", ["embedded-gaussian", "gaussian"])
def test_the_matrix_of_all_pairs_is_not_materialized(pairwise):
    # 2 clips of 2,304 positions
    with torch.device("meta"):
        block = NonLocal(16, pairwise=pairwise, impl="optimized")
        x = torch.empty(2, 16, 4, 24, 24, requires_grad=True)
    counted, step = count(block, x), count_training(block, x)
    most = 2 * attention.FEWEST_QUERIES * 2304
    for operations in (counted.operations, step.backward.operations):
        assert most == max(math.prod(each.output) for each in operations)
    width = 8 if pairwise == "embedded-gaussian" else 16
    assert 2 * 2304**2 * (width + 8) == counted.total.matmul
    assert 2 * 2304**2 * (3 * width + 2 * 8) == step.backward.total.matmul


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("training", [False, True], ids=["inference", "training"])
@pytest.mark.parametrize("name", ["nl-embedded-gaussian", "nl-gaussian"])
def test_compiles_as_one_graph(pair, name, training):
    torch._dynamo.reset()
    _, optimized = pair(BLOCKS[name], 12, torch.float32)
    optimized.train(training)
    x = torch.randn(1, 12, 2, 4, 5, generator=torch.Generator().manual_seed(5))
    compiled = torch.compile(optimized, backend="aot_eager", fullgraph=True, dynamic=False)
    with torch.set_grad_enabled(training):
        expected, got = copy.deepcopy(optimized)(x), compiled(x)
    torch.testing.assert_close(got, expected, rtol=1e-4, atol=1e-5)
    if training:
        got.sum().backward()
        assert all(p.grad is not None for p in optimized.parameters())


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device")
@pytest.mark.parametrize(
    ("dtype", "products", "most"),
    [
        (torch.float64, "highest", 1e-12),
        (torch.float32, "highest", 2e-5),
        (torch.float32, "high", 1e-2),
        (torch.bfloat16, "highest", 5e-2),
    ],
    ids=["float64", "fp32", "tf32", "bf16"],
)
@every_block
def test_the_same_on_a_gpu(pair, make, dtype, products, most, monkeypatch):
    """As close to the exact values as the reference implementation, or closer than a bound."""
    before = torch.get_float32_matmul_precision()
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", products == "high")
    torch.set_float32_matmul_precision(products)
    try:
        reference, optimized = (block.cuda() for block in pair(make, 48, dtype))
        exact = copy.deepcopy(reference).double()
        x = 0.3 * torch.randn(2, 48, 3, 10, 7, generator=torch.Generator().manual_seed(6))
        x = x.to("cuda", dtype)
        with torch.no_grad():
            values = exact.eval()(x.double())
            bound = max(most, 2 * off(values, reference.eval()(x)))
            assert off(values, optimized.eval()(x)) < bound
        values, theirs, ours = (
            run(block.train(), x.to(next(block.parameters()).dtype))
            for block in (exact, reference, optimized)
        )
        largest = max(tensor.abs().max().item() for tensor in values.values())
        for key, value in values.items():
            if value.abs().max() > 1e-2 * largest:
                assert off(value, ours[key]) < max(most, 4 * off(value, theirs[key])), key
    finally:
        torch.set_float32_matmul_precision(before)

"""1x1x1 convolutions as products."""

import copy

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrize, prune
from torch.utils.flop_counter import FlopCounterMode

from vidcost.models.blocks import CGNL, PNL, NonLocal, pointwise
from vidcost.models.blocks.operation import PAIRWISE, NonLocalOperation
from vidcost.models.blocks.pointwise import project, project_back, project_by
from vidcost.models.tried import (
    CGNLStacked,
    NonLocalInSlices,
    NonLocalInTwoProducts,
    PNLInTwoProducts,
    PNLMixedSmall,
    PNLStacked,
)

DOUBLE = torch.float64


def convolutions(*widths, channels=6, bias=False):
    return [nn.Conv3d(channels, width, 1, bias=bias, dtype=DOUBLE) for width in widths]


def clips(batch=2, channels=6, layout=torch.contiguous_format):
    return torch.randn(batch, channels, 3, 4, 5, dtype=DOUBLE).to(memory_format=layout)


@pytest.fixture(autouse=True)
def all_maps_are_large(monkeypatch):
    monkeypatch.setattr(pointwise, "FEW", 0)


@pytest.fixture
def called(monkeypatch):
    """The convolutions that were called as modules."""
    seen, forward = [], nn.Conv3d.forward

    def watched(self, x):
        seen.append(self)
        return forward(self, x)

    monkeypatch.setattr(nn.Conv3d, "forward", watched)
    return seen


LAYOUTS = [torch.contiguous_format, torch.channels_last_3d]


@pytest.mark.parametrize("bias", [False, True], ids=["", "bias"])
@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize("layout", LAYOUTS, ids=str)
@pytest.mark.parametrize("side_by_side", ["channels", "positions"])
def test_the_products_are_the_convolutions(side_by_side, layout, batch, bias, called):
    x, kinds = clips(batch, layout=layout), convolutions(4, 4, 2, bias=bias)
    got = project(x, *kinds, side_by_side=side_by_side)
    assert [] == called
    for y, kind in zip(got, kinds, strict=True):
        torch.testing.assert_close(y, kind(x).flatten(2), rtol=1e-12, atol=1e-12)
        assert 1 == y.stride(1 if side_by_side == "channels" else 2)


@pytest.mark.parametrize("bias", [False, True], ids=["", "bias"])
@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize("layout", LAYOUTS, ids=str)
def test_the_way_back_keeps_the_layout(layout, batch, bias, called):
    x, (kind,) = clips(batch, layout=layout), convolutions(6, channels=4, bias=bias)
    y = torch.randn(batch, 60, 4, dtype=DOUBLE).transpose(1, 2)
    z = project_back(y, kind, like=x)
    assert [] == called
    assert z.is_contiguous(memory_format=layout)
    torch.testing.assert_close(z, kind(y.reshape(batch, 4, 3, 4, 5)), rtol=1e-12, atol=1e-12)


def test_a_small_map_is_left_to_the_convolution(called, monkeypatch):
    monkeypatch.setattr(pointwise, "FEW", 2 * 6 * 60)
    (kind,), (back,) = convolutions(4), convolutions(6, channels=4)
    for batch, expected in ((1, [kind, back]), (2, [])):
        called.clear()
        (y,) = project(clips(batch), kind, side_by_side="positions")
        project_back(y, back, like=clips(batch))
        assert expected == called


def test_a_weight_of_no_module():
    x, (kind,) = clips(), convolutions(4, bias=True)
    got = project_by(x, kind.weight.flatten(1), kind.bias)
    torch.testing.assert_close(got, kind(x).flatten(2), rtol=1e-12, atol=1e-12)
    # on shapes alone it is a convolution
    with FlopCounterMode(display=False) as counter:
        project_by(x, kind.weight.flatten(1), kind.bias)
    assert ["aten.convolution"] == [str(each) for each in counter.flop_counts["Global"]]


def hooked(kind):
    kind.register_forward_hook(lambda module, args, y: 2 * y)


def hooked_before(kind):
    kind.register_forward_pre_hook(lambda module, args: (2 * args[0],))


def patched(kind):
    before = kind.forward
    kind.forward = lambda x: 2 * before(x)


class Twice(nn.Module):
    def forward(self, weight):
        return 2 * weight


def parametrized(kind):
    parametrize.register_parametrization(kind, "weight", Twice())


class Doubled(nn.Conv3d):
    def forward(self, x):
        return 2 * super().forward(x)


def of_another_class(kind):
    kind.__class__ = Doubled


@pytest.mark.parametrize("change", [hooked, hooked_before, patched, parametrized, of_another_class])
def test_who_changed_a_convolution_is_heard(change):
    x, (one, other) = clips(), convolutions(4, 4)
    plain = one(x).flatten(2)
    change(one)
    first, second = project(x, one, other, side_by_side="channels")
    torch.testing.assert_close(first, 2 * plain, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(second, other(x).flatten(2), rtol=1e-12, atol=1e-12)
    y = project_back(x.flatten(2), one, like=x)
    torch.testing.assert_close(y.flatten(2), 2 * plain, rtol=1e-12, atol=1e-12)


def test_a_weight_that_is_brought_before_each_call_is_waited_for():
    operation = NonLocalOperation(8, pairwise="concatenation", path="fast")
    x = torch.randn(2, 8, 2, 4, 4)
    expected = operation(x)
    away = operation.theta
    weight, away.weight = away.weight, nn.Parameter(away.weight.to("meta"))

    def bring(module, args):
        module.weight = weight

    away.register_forward_pre_hook(bring)
    torch.testing.assert_close(operation(x), expected)


# torch's tracer is what fvcore counts with
@pytest.mark.filterwarnings("ignore:.*torch.jit.trace:DeprecationWarning")
# of torch 2.14
@pytest.mark.filterwarnings("ignore:.*torch.jit.trace:FutureWarning")
@pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning")
def test_a_tracer_sees_convolutions():
    block = NonLocal(8, pairwise="concatenation", path="fast").eval()
    graph = torch.jit.trace(block, torch.randn(1, 8, 2, 4, 4), check_trace=False).inlined_graph
    # of theta and phi together, of g and of z
    assert 3 == [node.kind() for node in graph.nodes()].count("aten::_convolution")


@pytest.mark.parametrize("name", ["backward", "everywhere"])
def test_who_looks_at_a_convolution_sees_it(name):
    x, seen = clips().requires_grad_(), []
    (kind,) = convolutions(4)
    if name == "backward":
        handle = kind.register_full_backward_hook(lambda *_: seen.append("gradient"))
    else:
        handle = nn.modules.module.register_module_forward_hook(lambda *_: seen.append("output"))
    try:
        project(x, kind, side_by_side="channels")[0].sum().backward()
    finally:
        handle.remove()
    assert 1 == len(seen)


@pytest.mark.parametrize(
    "block",
    [
        NonLocal(8, path="fast"),
        NonLocal(8, pairwise="gaussian", path="fast"),
        NonLocal(8, pairwise="dot-product", path="fast"),
        NonLocal(8, pairwise="concatenation", path="fast"),
        CGNL(8, groups=2, path="fast"),
        PNL(8, n=2, path="fast"),
    ],
    ids=["nl", "gaussian", "dot-product", "concatenation", "cgnl", "pnl"],
)
def test_no_block_calls_a_convolution_on_a_cpu_but_counters_see_them(block, called):
    x = torch.randn(1, 8, 2, 4, 4)
    block(x)
    assert [] == called
    with FlopCounterMode(display=False) as counter:
        block(x)
    assert "aten.convolution" in [str(each) for each in counter.flop_counts["Global"]]


@pytest.mark.parametrize("layout", LAYOUTS, ids=str)
@pytest.mark.parametrize("pairwise", ["embedded-gaussian", "dot-product", "concatenation"])
def test_a_block_keeps_the_layout_of_its_input(pairwise, layout):
    block = NonLocal(8, pairwise=pairwise, path="fast").eval()
    x = torch.randn(2, 8, 2, 4, 4).to(memory_format=layout)
    assert block(x).is_contiguous(memory_format=layout)


# torch's old ones make the weight anew in a hook before each call
@pytest.mark.filterwarnings("ignore:.*weight_norm.*:FutureWarning")
@pytest.mark.parametrize(
    ("make", "names"),
    [
        (lambda **o: NonLocal(8, **o), ("operation.theta", "operation.z")),
        (lambda **o: NonLocal(8, pairwise="dot-product", **o), ("operation.g",)),
        (
            lambda **o: NonLocal(8, pairwise="concatenation", **o),
            ("operation.theta", "operation.w_phi"),
        ),
        (lambda **o: CGNL(8, groups=2, **o), ("t", "z")),
    ],
    ids=["nl", "dot-product", "concatenation", "cgnl"],
)
@pytest.mark.parametrize(
    "change",
    [
        lambda module: nn.utils.weight_norm(module),
        lambda module: prune.random_unstructured(module, "weight", 0.5),
        patched,
        parametrized,
        of_another_class,
    ],
    ids=["weight_norm", "prune", "patched", "parametrized", "class"],
)
def test_who_changed_a_convolution_of_a_block_is_heard(change, make, names):
    textbook = make().double()
    for parameter in textbook.parameters():
        nn.init.normal_(parameter)
    fast = make(path="fast").double()
    fast.load_state_dict(textbook.state_dict())
    for name in names:
        for block in (textbook, fast):
            torch.manual_seed(7)
            change(block.get_submodule(name))
    x = clips(channels=8)
    for _ in range(2):
        # twice: what was made before the first call is gone by the second
        outputs = [block(x) for block in (textbook, fast)]
        torch.testing.assert_close(*outputs, rtol=1e-11, atol=1e-11)
        for block, y in zip((textbook, fast), outputs, strict=True):
            block.zero_grad()
            y.square().mean().backward()
        gradients = [[p.grad for p in block.parameters()] for block in (textbook, fast)]
        torch.testing.assert_close(*gradients, rtol=1e-9, atol=1e-9)


def in_places(block, **modules):
    for name, module in modules.items():
        setattr(block.operation, name, module.double())
    return block


@pytest.mark.parametrize("pairwise", ["embedded-gaussian", "dot-product", "concatenation"])
@pytest.mark.parametrize(
    "modules",
    [
        {
            "phi": nn.Conv3d(8, 4, 1, stride=(1, 2, 2), bias=False),
            "g": nn.Conv3d(8, 4, 1, stride=(1, 2, 2), bias=False),
        },
        {"theta": nn.Conv3d(8, 4, 3, padding=1, bias=False)},
        {"theta": nn.Conv3d(8, 4, 1, groups=2, bias=False)},
        {"theta": nn.Conv3d(8, 4, 1)},
        {"theta": nn.Sequential(nn.Conv3d(8, 4, 1), nn.Tanh())},
        {"z": nn.Sequential(nn.Conv3d(4, 8, 1), nn.Tanh())},
    ],
    ids=["strides", "kernel", "groups", "one bias", "another module", "another z"],
)
def test_what_was_put_in_a_convolution_s_place_is_called(modules, pairwise):
    textbook = NonLocal(8, pairwise=pairwise).double()
    fast = NonLocal(8, pairwise=pairwise, path="fast").double()
    fast.load_state_dict(textbook.state_dict())
    x = clips(channels=8)
    outputs = [in_places(block, **modules).operation(x) for block in (textbook, fast)]
    torch.testing.assert_close(*outputs, rtol=1e-11, atol=1e-11)


def test_a_bias_of_w_f_is_added():
    textbook, fast = (
        NonLocalOperation(8, pairwise="concatenation", path=path) for path in ("textbook", "fast")
    )
    for each in (textbook, fast):
        each.w_theta = nn.Conv3d(4, 1, 1)
        nn.init.constant_(each.w_theta.bias, 5.0)
    fast.load_state_dict(textbook.state_dict())
    x = torch.randn(2, 8, 2, 4, 4)
    torch.testing.assert_close(fast(x), textbook(x))


@pytest.mark.parametrize("where", [0, 1, 4])
@pytest.mark.parametrize("layout", LAYOUTS, ids=str)
@pytest.mark.parametrize("pairwise", PAIRWISE)
def test_many_at_once(pairwise, layout, where):
    operation = NonLocalOperation(8, pairwise=pairwise, path="fast").double()
    x = clips(3, channels=8, layout=layout)
    got = torch.func.vmap(lambda clip: operation(clip[None])[0], in_dims=where, out_dims=where)(
        x.movedim(0, where)
    )
    torch.testing.assert_close(got.movedim(where, 0), operation(x), rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize("pairwise", PAIRWISE)
def test_a_bias_is_of_the_products_type_under_autocast(pairwise):
    x = torch.randn(2, 8, 2, 4, 4)
    types = set()
    for path in ("textbook", "fast"):
        operation = NonLocalOperation(8, pairwise=pairwise, bias=True, path=path)
        with torch.autocast("cpu", torch.bfloat16):
            types.add(operation(x).dtype)
    assert {torch.bfloat16} == types


@pytest.mark.parametrize("shape", [(2, 6, 2, 4, 4), (2, 8, 16), (2, 8, 2, 4, 4, 1)], ids=str)
@pytest.mark.parametrize("pairwise", PAIRWISE)
def test_a_wrong_input_is_refused_by_the_convolution(pairwise, shape):
    for path in ("textbook", "fast"):
        operation = NonLocalOperation(8, pairwise=pairwise, path=path)
        with pytest.raises(RuntimeError, match=r"channels, but got 6|input to conv3d"):
            operation(torch.randn(shape))


def test_gradients_of_many_clips_of_few_positions_are_a_convolution_s(called):
    def calls(batch, positions, *, grad, frozen=False):
        called.clear()
        (kind,) = convolutions(64, channels=8)
        kind.requires_grad_(not frozen)
        with torch.set_grad_enabled(grad):
            project_back(
                torch.randn(batch, 8, positions, dtype=DOUBLE),
                kind,
                like=torch.randn(batch, 64, 1, 1, positions),
            )
        return len(called)

    assert 1 == calls(4, 31, grad=True)
    assert 0 == calls(4, 32, grad=True)
    assert 0 == calls(1, 31, grad=True)
    assert 0 == calls(4, 31, grad=False)
    assert 0 == calls(4, 31, grad=True, frozen=True)


@pytest.mark.parametrize("bias", [False, True], ids=["", "bias"])
def test_a_folded_map_of_one_position_costs_no_more(bias):
    costs = [
        NonLocalOperation(8, pairwise="concatenation", bias=bias, path=path).cost((1, 8, 1, 1, 1))
        for path in ("textbook", "fast")
    ]
    assert costs[0] == costs[1]


@pytest.mark.parametrize(
    ("tried", "fast"),
    [
        (NonLocalInSlices(12), NonLocal(12, path="fast")),
        (PNLMixedSmall(12, n=3), PNL(12, n=3, path="fast")),
        (PNLStacked(12, n=3), PNL(12, n=3, path="fast")),
        (NonLocalInTwoProducts(12), NonLocal(12, path="fast")),
        (PNLInTwoProducts(12, n=3), PNL(12, n=3, path="fast")),
        (CGNLStacked(16), CGNL(16, path="fast")),
    ],
    ids=lambda block: type(block).__name__,
)
def test_what_was_tried_computes_the_same(tried, fast):
    tried, fast = copy.deepcopy(tried).double().eval(), fast.double().eval()
    for name, parameter in fast.named_parameters():
        if name.endswith(("bn.weight", "gn.weight")):
            nn.init.ones_(parameter)
    tried.load_state_dict(fast.state_dict())
    channels = fast.operation.channels if isinstance(fast, NonLocal) else fast.channels
    x = torch.randn(2, channels, 2, 5, 6, dtype=DOUBLE)
    torch.testing.assert_close(tried(x), fast(x), rtol=1e-12, atol=1e-12)

"""1x1x1 convolutions as products."""

import copy

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrize
from torch.utils.flop_counter import FlopCounterMode

from vidcost.models.blocks import CGNL, PNL, NonLocal
from vidcost.models.blocks.operation import NonLocalOperation
from vidcost.models.blocks.pointwise import project, project_back, project_by
from vidcost.models.tried import CGNLStacked, NonLocalInSlices, PNLMixedSmall, PNLStacked

DOUBLE = torch.float64


def convolutions(*widths, channels=6, bias=False):
    return [nn.Conv3d(channels, width, 1, bias=bias, dtype=DOUBLE) for width in widths]


def clips(batch=2, channels=6, layout=torch.contiguous_format):
    return torch.randn(batch, channels, 3, 4, 5, dtype=DOUBLE).to(memory_format=layout)


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


@pytest.mark.parametrize("pooled", [False, True], ids=["", "pooled"])
def test_what_was_put_in_the_place_of_theta_is_called(pooled):
    """Concatenation multiplies theta's weights into w_f only where they are theta's."""
    operation = NonLocalOperation(8, pairwise="concatenation", pool_keys=pooled, path="fast")
    textbook = NonLocalOperation(8, pairwise="concatenation", pool_keys=pooled)
    textbook.load_state_dict(operation.state_dict())
    for each in (operation, textbook):
        each.theta = nn.Sequential(each.theta, nn.Tanh())
    x = torch.randn(2, 8, 2, 4, 4)
    torch.testing.assert_close(operation(x), textbook(x))


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

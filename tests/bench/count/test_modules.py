from dataclasses import fields, replace
from functools import partial

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from vidcost.bench.count.counter import count
from vidcost.bench.count.modules import ClosedFormMismatch, closed_forms, verify
from vidcost.models.blocks.cgd import CGD
from vidcost.models.blocks.cgnl import CGNL
from vidcost.models.blocks.non_local import PAIRWISE, NonLocal
from vidcost.models.blocks.pnl import PNL
from vidcost.models.cost import Cost

numbers = st.integers(1, 4)
pairwise = st.sampled_from(PAIRWISE)


def shapes(channels, at_least=1):
    side = st.integers(at_least, 13)
    return st.tuples(st.integers(1, 3), st.just(channels), numbers, side, side)


@st.composite
def non_local(draw):
    channels, pool_keys, bias = (
        2 * draw(st.integers(1, 13)),
        draw(st.booleans()),
        draw(st.booleans()),
    )
    build = partial(NonLocal, channels, pairwise=draw(pairwise), pool_keys=pool_keys, bias=bias)
    return build, draw(shapes(channels, 1 + pool_keys))


@st.composite
def pnl(draw):
    n, shared = draw(numbers), draw(st.booleans())
    channels, combine = 2 * n * draw(numbers), draw(st.sampled_from(["concat", "attention"]))
    build = partial(PNL, channels, n=n, combine=combine, pairwise=draw(pairwise), shared=shared)
    return build, draw(shapes(channels, 2 ** (n - 1)))


@st.composite
def cgnl(draw):
    groups = draw(st.integers(1, 5))
    channels = 2 * groups * draw(numbers)
    return partial(CGNL, channels, groups=groups), draw(shapes(channels))


@st.composite
def cgd(draw):
    channels = draw(st.integers(1, 29))
    return partial(CGD, channels), draw(shapes(channels))


@pytest.mark.parametrize("blocks", [non_local, pnl, cgnl, cgd])
@settings(max_examples=100, deadline=None)
@given(data=st.data())
def test_closed_forms_of_blocks(blocks, data):
    build, shape = data.draw(blocks())
    with torch.device("meta"):
        block = build()
        assert block.cost(shape) == count(block, torch.empty(shape)).total


def counted(model, *shape):
    model = model.to("meta")
    return model, count(model, torch.empty(shape, device="meta"))


def test_a_shared_operation_is_checked_over_all_its_calls():
    # n = 3 groups of 2 channels on maps 5 x 7, 2 x 3, 1 x 1 of 2 frames: 70 + 12 + 2 positions
    model, result = counted(PNL(6, n=3, combine="concat"), 1, 6, 2, 5, 7)
    (module, operation), _ = closed_forms(model, result)
    assert ("", "operations.0") == (module.module, operation.module)
    # 4 convolutions 2 <-> 1; 2 (70^2 + 12^2 + 2^2); once the parameters
    expected = Cost(params=8, conv=672, matmul=10_096, softmax=5_048)
    assert expected == operation.counted == operation.formula
    assert (True, True) == (module.equal, operation.equal)
    assert 2 == verify("pnl", model, result)


def test_a_module_called_twice_on_different_shapes():
    class Twice(nn.Module):
        def __init__(self):
            super().__init__()
            self.block, self.idle = CGD(3), CGD(3)

        def forward(self, x):
            return self.block(x) + self.block(x[:1])

    model, result = counted(Twice(), 2, 3, 5, 7, 11)
    # neither what is never called nor what only has an attribute of that name
    model.idle.cost = lambda shape: pytest.fail("asked")
    model.cost = 3
    (check,), _ = closed_forms(model, result)
    # 2 + 1 clips of 3 channels
    expected = Cost(params=18, linear=27, pool=18, softmax=9, activation=27)
    assert ("block", expected, expected) == (check.module, check.counted, check.formula)


@pytest.mark.parametrize("field", [field.name for field in fields(Cost)])
@pytest.mark.parametrize("by", [1, -1])
def test_a_closed_form_that_is_off_by_one_is_rejected(field, by):
    class Wrong(CGD):
        def cost(self, shape):
            right = super().cost(shape)
            return replace(right, **{field: getattr(right, field) + by})

    right = Cost(params=18, linear=18, pool=12, softmax=6, activation=18)
    for network, name in ((nn.Sequential(CGD(3), Wrong(3)), "1"), (Wrong(3), "the whole")):
        with pytest.raises(ClosedFormMismatch) as caught:
            verify("a-row", *counted(network, 2, 3, 5, 7, 11))
        was = getattr(right, field)
        message = f"{field} was counted as {was}, its closed form says {was + by}"
        assert f"a-row: {name}: {message}" == str(caught.value)

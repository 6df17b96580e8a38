from dataclasses import fields, replace

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

many = settings(max_examples=60, deadline=None)
batches = st.integers(1, 3)
frames = st.integers(1, 4)


def sides(at_least=1):
    return st.integers(at_least, 13)


def check(build, shape):
    with torch.device("meta"):
        block = build()
        assert block.cost(shape) == count(block, torch.empty(shape)).total


@pytest.mark.parametrize("pairwise", PAIRWISE)
@many
@given(data=st.data(), half=st.integers(1, 13), pool_keys=st.booleans(), bias=st.booleans())
def test_non_local(pairwise, data, half, pool_keys, bias):
    side = sides(2 if pool_keys else 1)
    shape = data.draw(st.tuples(batches, st.just(2 * half), frames, side, side))
    check(lambda: NonLocal(2 * half, pairwise=pairwise, pool_keys=pool_keys, bias=bias), shape)


@many
@given(data=st.data(), groups=st.integers(1, 5), multiple=st.integers(1, 4))
def test_cgnl(data, groups, multiple):
    channels = 2 * groups * multiple
    shape = data.draw(st.tuples(batches, st.just(channels), frames, sides(), sides()))
    check(lambda: CGNL(channels, groups=groups), shape)


@many
@given(shape=st.tuples(batches, st.integers(1, 29), frames, sides(), sides()))
def test_cgd(shape):
    check(lambda: CGD(shape[1]), shape)


@pytest.mark.parametrize("pairwise", PAIRWISE)
@many
@given(
    data=st.data(),
    n=st.integers(1, 4),
    multiple=st.integers(1, 4),
    combine=st.sampled_from(["concat", "attention"]),
    shared=st.booleans(),
)
def test_pnl(pairwise, data, n, multiple, combine, shared):
    channels = 2 * n * multiple
    side = sides(2 ** (n - 1))
    shape = data.draw(st.tuples(batches, st.just(channels), frames, side, side))
    check(
        lambda: PNL(channels, n=n, combine=combine, pairwise=pairwise, shared=shared),
        shape,
    )


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
    assert expected == operation.counted
    assert expected == operation.formula
    assert (True, True) == (module.equal, operation.equal)
    assert 2 == verify("pnl", model, result)


def test_a_module_called_twice_on_different_shapes():
    class Twice(nn.Module):
        def __init__(self):
            super().__init__()
            self.block = CGD(3)

        def forward(self, x):
            return self.block(x) + self.block(x[:1])

    model, result = counted(Twice(), 2, 3, 5, 7, 11)
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

    model, result = counted(nn.Sequential(CGD(3), Wrong(3)), 2, 3, 5, 7, 11)
    right = Cost(params=18, linear=18, pool=12, softmax=6, activation=18)
    amount = getattr(right, field)
    assert [True, False] == [check.equal for check in closed_forms(model, result)[0]]
    with pytest.raises(ClosedFormMismatch) as caught:
        verify("a-row", model, result)
    message = f"a-row: 1: {field} was counted as {amount}, its closed form says {amount + by}"
    assert message == str(caught.value)


def test_a_mismatch_of_the_whole_network_is_called_so():
    class Wrong(CGD):
        def cost(self, shape):
            return Cost()

    with pytest.raises(ClosedFormMismatch, match="a-row: the whole: params was counted as"):
        verify("a-row", *counted(Wrong(3), 2, 3, 5, 7, 11))


def test_modules_without_a_closed_form_and_those_never_called_are_not_checked():
    class Half(nn.Module):
        def __init__(self):
            super().__init__()
            self.used, self.idle = CGD(3), CGD(3)
            self.used.sigmoid = nn.ReLU()
            self.used.sigmoid.cost = 3

        def forward(self, x):
            return self.used(x)

    model, result = counted(Half(), 2, 3, 5, 7, 11)
    model.idle.cost = lambda shape: pytest.fail("asked")
    assert ["used"] == [check.module for check in closed_forms(model, result)[0]]

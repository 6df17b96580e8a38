"""Shapes on the meta device: ours, or torch's own where ours do not apply."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from vidcost.bench.count import counter, shapes
from vidcost.bench.count.counter import count
from vidcost.bench.count.shapes import SHAPES

ATEN = torch.ops.aten


def meta(*shape, dtype=torch.float32):
    return torch.empty(shape, dtype=dtype, device="meta")


def same(torchs, ours):
    """Whether the tensors have one shape, type and layout."""
    pairs = zip(
        *((each if isinstance(each, tuple) else (each,)) for each in (torchs, ours)), strict=True
    )
    return all(
        (a.shape, a.dtype, a.device, a.stride()) == (b.shape, b.dtype, b.device, b.stride())
        for a, b in pairs
    )


def convolution(x, w, stride=1, padding=0, dilation=1, groups=1, transposed=False):
    axes = x.dim() - 2
    settings = ([value] * axes for value in (stride, padding, dilation))
    return ATEN.convolution.default, (x, w, None, *settings, transposed, [0] * axes, groups)


@pytest.mark.parametrize(
    "call",
    [
        convolution(meta(2, 3, 11, 13, 7), meta(5, 3, 1, 3, 3), padding=1),
        convolution(meta(2, 6, 11, 13), meta(4, 3, 3, 5), stride=2, dilation=2, groups=2),
        convolution(meta(2, 3, 17, dtype=torch.bfloat16), meta(5, 3, 4, dtype=torch.bfloat16)),
        (ATEN.add.Tensor, (meta(2, 3, 5), meta(2, 3, 5))),
        (ATEN.mul.Tensor, (meta(2, 1, 5), meta(3, 1))),
        (ATEN.div.Tensor, (meta(2, 3, 5), 7)),
        (ATEN.sub.Tensor, (meta(2, 3, 5, dtype=torch.float64), 0.5)),
        (ATEN.tanh.default, (meta(2, 3),)),
        (ATEN.addmm.default, (meta(7), meta(2, 3), meta(3, 7))),
        (ATEN.mean.dim, (meta(2, 3, 5, 7), [-1, 1])),
        (ATEN.mean.dim, (meta(2, 3, 5, 7), [2, 3], True)),
        (ATEN.stack.default, ([meta(2, 3), meta(2, 3)], 1)),
        (ATEN.stack.default, ([meta(2, 3)] * 5,)),
        (ATEN.cat.default, ([meta(2, 3, 5), meta(2, 7, 5)], 1)),
        (ATEN.cat.default, ([meta(2, 3), meta(5, 3)],)),
        (ATEN.native_group_norm.default, (meta(2, 6, 5), None, None, 2, 6, 5, 3, 1e-5)),
    ],
    ids=lambda call: call[0].__name__,
)
def test_ours_are_torchs(call):
    operator, args = call
    ours = SHAPES[operator.__name__.split(".")[0]](*args)
    assert ours is not None
    assert same(operator(*args), ours)


@pytest.mark.parametrize(
    "call",
    [
        # on a device that computes
        (ATEN.add.Tensor, (torch.zeros(2), torch.zeros(2))),
        (ATEN.native_batch_norm.default, (torch.zeros(2, 3),)),
        (ATEN.native_batch_norm_backward.default, (torch.zeros(2, 3), torch.zeros(2, 3))),
        (ATEN.native_group_norm.default, (torch.zeros(2, 6, 5), None, None, 2, 6, 5, 3, 1e-5)),
        # what torch must refuse or decide itself
        convolution(meta(2, 3, 11), meta(5, 2, 3)),
        convolution(meta(2, 3, 2), meta(5, 3, 3)),
        convolution(meta(2, 3, 11), meta(5, 3, 3, dtype=torch.float64)),
        convolution(meta(2, 3, 11), meta(3, 5, 3), transposed=True),
        convolution(meta(3, 2, 11).transpose(0, 1), meta(5, 3, 3)),
        (ATEN.add.Tensor, (meta(2, 3), meta(2, 5))),
        (ATEN.add.Tensor, (meta(2, 3), meta(2, 3, dtype=torch.float64))),
        (ATEN.add.Tensor, (meta(3, 2).t(), meta(2, 3))),
        (ATEN.div.Tensor, (meta(2, 3, dtype=torch.int64), 2)),
        (ATEN.addmm.default, (meta(7), meta(2, 3), meta(5, 7))),
        (ATEN.addmm.default, (meta(1), meta(2, 3), meta(3, 7))),
        (ATEN.mean.default, (meta(2, 3),)),
        (ATEN.mean.dim, (meta(2, 3), [5])),
        (ATEN.mean.dim, (meta(2, 3), [0, -2])),
        (ATEN.stack.default, ([meta(2, 3), meta(3, 2)],)),
        (ATEN.stack.default, ([meta(2, 3)], -1)),
        (ATEN.cat.default, ([meta(2, 3), meta(2, 5)], 0)),
        (ATEN.cat.default, ([meta(2, 3), meta(2, 3, dtype=torch.float64)],)),
    ],
    ids=lambda call: call[0].__name__,
)
def test_the_rest_is_left_to_torch(call):
    operator, args = call
    assert None is SHAPES[operator.__name__.split(".")[0]](*args)


@given(
    sizes=st.lists(st.integers(1, 40), min_size=1, max_size=3),
    kernel=st.integers(1, 5),
    stride=st.integers(1, 4),
    padding=st.integers(0, 3),
    dilation=st.integers(1, 3),
    groups=st.sampled_from([1, 2, 3]),
)
@settings(deadline=None)
def test_convolutions_of_all_kinds(sizes, kernel, stride, padding, dilation, groups):
    x, w = meta(2, 6, *sizes), meta(6, 6 // groups, *([kernel] * len(sizes)))
    operator, args = convolution(x, w, stride, padding, dilation, groups)
    ours = shapes.convolution(*args)
    if min(sizes) + 2 * padding < dilation * (kernel - 1) + 1:
        assert ours is None
    else:
        assert same(operator(*args), ours)


def test_every_name_is_an_operators():
    assert [] == [name for name in SHAPES if not hasattr(ATEN, name)]
    assert [] == [name for name in SHAPES if name.endswith("_")]


def test_an_operator_in_place_returns_what_it_changes():
    class InPlace(nn.Module):
        def forward(self, x):
            y = torch.empty_like(x)
            assert y.add_(x) is y
            assert y.relu_() is y
            return y

    count(InPlace(), meta(2, 3))


def test_a_count_is_the_same_without_them(monkeypatch):
    model = nn.Sequential(
        nn.Conv3d(3, 6, 3), nn.BatchNorm3d(6), nn.Tanh(), nn.GroupNorm(2, 6), nn.Flatten(2)
    )
    model.append(nn.AdaptiveAvgPool1d(1)).append(nn.Flatten()).append(nn.Linear(6, 5))
    model, x = model.to("meta"), meta(2, 3, 5, 7, 11)
    ours = count(model, x)
    monkeypatch.setattr(counter, "SHAPES", {})
    assert ours == count(model, x)


# BatchNorm


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last_3d])
def test_batch_norm_keeps_type_and_layout(dtype, layout):
    x = torch.zeros(2, 3, 5, 7, 11, dtype=dtype).to(memory_format=layout)
    w = torch.ones(3, dtype=dtype)
    torchs = ATEN.native_batch_norm(x, w, w, w, w, False, 0.1, 1e-5)[0]
    ours, *_ = shapes.batch_norm(x.to("meta"))
    assert (torchs.shape, torchs.dtype) == (ours.shape, ours.dtype)
    assert torchs.stride() == ours.stride()


def test_batch_norm_has_the_statistics_of_a_real_kernel():
    """Empty in evaluation mode; torch's meta kernel alone says (C,)."""
    x, w = torch.zeros(2, 3, 5, 7, 11), torch.ones(3)
    for training in (False, True):
        real = ATEN.native_batch_norm(x, w, w, w, w, training, 0.1, 1e-5)
        ours = shapes.batch_norm(x.to("meta"), w, w, w, w, training, 0.1, 1e-5)
        assert [(t.shape, t.dtype) for t in real] == [(t.shape, t.dtype) for t in ours]


@pytest.mark.parametrize("mask", [(True, True, True), (False, True, True), (True, False, False)])
def test_batch_norm_has_the_gradients_of_a_real_kernel(mask):
    x, w = torch.zeros(2, 3, 5, 7, 11), torch.ones(3)
    saved = ATEN.native_batch_norm(x, w, w, w, w, True, 0.1, 1e-5)[1:]
    rest = (w, w, w, *saved, True, 1e-5, mask)
    real = ATEN.native_batch_norm_backward(x, x, *rest)
    ours = shapes.batch_norm_backward(x.to("meta"), x.to("meta"), *rest)
    assert list(mask) == [t is not None for t in ours]
    assert [(t.shape, t.dtype) for t, want in zip(real, mask, strict=True) if want] == [
        (t.shape, t.dtype) for t in ours if t is not None
    ]

"""What is known of results on the meta device is what torch's own kernels return."""

import pytest
import torch

from vidcost.bench.count import shapes

aten = torch.ops.aten


def meta(*shape, dtype=torch.float32):
    return torch.empty(shape, dtype=dtype, device="meta")


X, LAST = meta(2, 6, 5, 7), meta(2, 6, 5, 7).to(memory_format=torch.channels_last)
GAPS = meta(2, 6, 5, 14)[..., ::2]
WEIGHT, SIX, BIAS = meta(4, 3, 3, 3), meta(6), meta(4)
CONV = ([2, 1], [1, 0], [1, 2], False, [0, 0], 2)
SAME = ([1], [1], [1], False, [0], 2)
TRANSPOSED = (*CONV[:3], True, *CONV[4:])
NORM = (SIX, SIX, SIX, SIX)
A, B, C = meta(3, 5), meta(5, 7), meta(7)

KNOWN = [
    (aten.convolution.default, X, WEIGHT, None, *CONV),
    (aten.convolution.default, meta(2, 6, 5, 7, 9), meta(4, 3, 1, 3, 3), BIAS, *SAME),
    (aten.native_batch_norm.default, X, *NORM, False, 0.1, 1e-5),
    (aten.native_batch_norm.default, LAST, *NORM, True, 0.1, 1e-5),
    (aten.native_layer_norm.default, X, [5, 7], None, None, 1e-5),
    (aten.native_layer_norm.default, X.transpose(1, 3), [5, 6], None, None, 1e-5),
    (aten.max_pool2d_with_indices.default, X, [3, 2], [2, 1], [1, 0]),
    (aten.max_pool3d_with_indices.default, meta(2, 3, 5, 7, 9), [2, 2, 2], [], [0], [2]),
    (aten.mean.dim, X, [-1, 1]),
    (aten.mean.dim, X, [2], True),
    (aten.addmm.default, C, A, B),
    (aten.mm.default, A, B),
    (aten.bmm.default, meta(2, 3, 5), meta(2, 5, 7)),
    (aten._softmax.default, X, -1, False),
    (aten.cat.default, [X, meta(2, 1, 5, 7)], -3),
    (aten.cat.default, [C, C]),
    (aten.add.Tensor, X, meta(1, 5, 1)),
    (aten.mul.Tensor, meta(7), X),
    (aten.div.Tensor, LAST, 2.0),
    (aten.sigmoid_.default, X),
    (aten.add_.Tensor, X, X),
    *((getattr(aten, name).default, each) for name in ("gelu", "tanh") for each in (X, LAST)),
]
UNKNOWN = [
    (aten.convolution.default, X, WEIGHT, None, *TRANSPOSED),
    # what does not fit: torch says why
    (aten.convolution.default, X, meta(4, 5, 3, 3), None, *CONV),
    (aten.convolution.default, X, meta(4, 3, 9, 9), None, *CONV),
    (aten.convolution.default, X, WEIGHT, meta(4, dtype=torch.float64), *CONV),
    (aten.native_batch_norm.default, X, BIAS, BIAS, BIAS, BIAS, False, 0.1, 1e-5),
    (aten.native_layer_norm.default, X, [5], None, None, 1e-5),
    (aten.addmm.default, C, A, A),
    (aten.bmm.default, meta(2, 3, 5), meta(3, 5, 7)),
    (aten._softmax.default, X, 4, False),
    (aten.max_pool2d_with_indices.default, X, [2, 2], [], [0, 0], [1, 1], True),
    (aten.max_pool2d_with_indices.default, X, [2, 2], [], [2, 2]),
    (aten.cat.default, [X, meta(2, 1, 5, 8)], 1),
    (aten.add.Tensor, X, meta(6)),
    # types, and strides with gaps
    (aten.add.Tensor, X, meta(7, dtype=torch.int64)),
    (aten.sigmoid.default, meta(3, dtype=torch.int64)),
    (aten.sigmoid_.default, meta(3, dtype=torch.int64)),
    (aten.relu.default, GAPS),
    (aten._softmax.default, LAST, 1, False),
    (aten.add_.Tensor, X, meta(7)),
    # has values
    (aten.relu.default, torch.ones(3)),
]


class NotCalled:
    """Is found as the operator is."""

    def __init__(self, func):
        self.func = func

    def __eq__(self, other):
        return other == self.func

    def __hash__(self):
        return hash(self.func)

    def __call__(self, *args):
        raise AssertionError("torch was asked")


def told(result):
    results = [result] if isinstance(result, torch.Tensor) else result
    return [(x.shape, x.stride(), x.dtype, x.device.type) for x in results]


@pytest.mark.parametrize(("func", "args"), [(each[0], each[1:]) for each in KNOWN], ids=str)
def test_a_known_result_is_torchs(func, args):
    assert told(func(*args)) == told(shapes.call(NotCalled(func), args, {}))


@pytest.mark.parametrize(("func", "args"), [(each[0], each[1:]) for each in UNKNOWN], ids=str)
def test_all_else_is_left_to_torch(func, args):
    with pytest.raises(AssertionError, match="torch was asked"):
        shapes.call(NotCalled(func), args, {})

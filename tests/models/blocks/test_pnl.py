import math

import pytest
import torch

from vidcost.models.blocks.non_local import PAIRWISE, NonLocal
from vidcost.models.blocks.pnl import PNL
from vidcost.models.cost import Cost


def pnl(naive, block, field, *, n, combine, pairwise, shared):
    """Section 3.2, one clip: groups, scales, the shared non-local operation, f_comb."""
    size = naive.extents(field)
    width = len(field[0, 0, 0]) // n
    at_scale = []
    for k in range(n):
        group = naive.channels(field, k * width, (k + 1) * width)
        for _ in range(k):
            group = naive.max_pool(group)
        operation = block.operations[0] if shared else block.operations[k]
        at_scale.append(naive.non_local(operation, group, pairwise=pairwise))
    full = [naive.nearest(y, size) for y in at_scale]
    if combine == "concat":
        mix = [[float(k == other) for other in range(n)] for k in range(n)]
    else:
        # Y'_stack: the average over the positions that a scale has itself
        averages = [
            [sum(values) / len(values) for values in zip(*y.values(), strict=True)]
            for y in at_scale
        ]
        query_matrix, key_matrix = block.query.weight.tolist(), block.key.weight.tolist()
        queries = [[naive.dot(row, average) for row in query_matrix] for average in averages]
        keys = [[naive.dot(row, average) for row in key_matrix] for average in averages]
        mix = [
            naive.softmax([naive.dot(query, key) / math.sqrt(width) for key in keys])
            for query in queries
        ]
    y = {
        position: [
            sum(mix[k][other] * full[other][position][e] for other in range(n))
            for k in range(n)
            for e in range(width)
        ]
        for position in field
    }
    return naive.add(naive.batch_norm(block.bn, y), field)


def check(naive, randomised, assert_close, x, **options):
    block = randomised(PNL(x.shape[1], **options))
    expected = [pnl(naive, block, field, **options) for field in naive.fields(x)]
    assert_close(naive.tensor(expected), block(x))


@pytest.mark.parametrize("shared", [True, False], ids=["shared", "own"])
@pytest.mark.parametrize("pairwise", PAIRWISE)
@pytest.mark.parametrize("combine", ["concat", "attention"])
def test_equals_the_naive_loop(naive, randomised, clip, assert_close, combine, pairwise, shared):
    # 5 x 7 is halved to 2 x 3 and 1 x 1: the floor bites in both directions, and differently
    options = {"n": 3, "combine": combine, "pairwise": pairwise, "shared": shared}
    check(naive, randomised, assert_close, clip(2, 18, 2, 5, 7), **options)


@pytest.mark.parametrize(
    ("shape", "n"),
    [
        ((1, 16, 2, 11, 13), 4),  # 5x6, 2x3, 1x1
        ((1, 8, 1, 14, 14), 4),  # the map of conv4: 7x7, 3x3, 1x1
        ((2, 6, 3, 1, 2), 1),
        ((2, 12, 2, 3, 2), 2),  # 1x1
    ],
    ids=str,
)
def test_equals_the_naive_loop_at_other_sizes(naive, randomised, clip, assert_close, shape, n):
    options = {"n": n, "combine": "attention", "pairwise": "embedded-gaussian", "shared": True}
    check(naive, randomised, assert_close, clip(*shape), **options)


def test_the_naive_loop_tells_scales_and_combinations_apart(naive, randomised, clip):
    x = clip(1, 12, 2, 5, 7)
    options = {"n": 2, "combine": "attention", "pairwise": "embedded-gaussian", "shared": False}
    block = randomised(PNL(12, **options))
    for wrong in ({"combine": "concat"}, {"shared": True}, {"pairwise": "dot-product"}):
        y = pnl(naive, block, naive.fields(x)[0], **(options | wrong))
        assert not torch.allclose(naive.tensor([y]), block(x), rtol=1e-3)


@pytest.mark.parametrize("training", [True, False], ids=["train", "eval"])
@pytest.mark.parametrize("shared", [True, False], ids=["shared", "own"])
@pytest.mark.parametrize("pairwise", PAIRWISE)
def test_one_scale_is_the_non_local_block(randomised, clip, pairwise, shared, training):
    block = randomised(PNL(12, n=1, combine="concat", pairwise=pairwise, shared=shared))
    reference = NonLocal(12, pairwise=pairwise).double()
    reference.load_state_dict(
        {
            name.replace("operations.0.", "operation."): value
            for name, value in block.state_dict().items()
        }
    )
    block.train(training)
    reference.train(training)
    x = clip(2, 12, 3, 5, 7)
    assert torch.equal(reference(x), block(x))
    assert reference.cost(x.shape) == block.cost(x.shape)


# 42 channels in 3 groups of 14, inner width 7: one convolution has 98 weights. Two clips of 3
# frames, 5 x 7 = 35, 2 x 3 = 6 and 1 x 1 = 1 pixels: 105, 18 and 3 positions, 126 together; their
# squares are 11025 + 324 + 9 = 11358 pairs. BatchNorm: 84 parameters, 2 x 42 x 105 = 8820 elements.
# Pooling leaves 14 x 18 for group 1, 14 x 18 and then 14 x 3 for group 2: 546, twice is 1092.
@pytest.mark.parametrize(
    ("expected", "options"),
    [
        (
            Cost(
                params=476,  # 4 x 98 + 84
                conv=98_784,  # 2 x 392 x 126
                matmul=318_024,  # 2 x 11358 x (7 + 7)
                norm=8820,
                pool=1092,
                softmax=22_716,  # 2 x 11358
            ),
            {"combine": "concat"},
        ),
        (
            Cost(
                params=672,  # 476, and Q and K of 98
                conv=98_784,
                linear=1176,  # 2 clips x 3 scales x 2 x 98
                matmul=344_610,  # 318024 + 2 x (3 x 3 x 7 + 3 x 3 x 14 x 105)
                norm=8820,
                pool=1176,  # 1092 + 2 x 3 averages of 14
                softmax=22_734,  # 22716 + 2 x 3 x 3
            ),
            {"combine": "attention"},
        ),
        (
            Cost(
                params=1498,  # 3 x (392 + 14 of w_f) + 84 + 196
                conv=102_312,  # 2 x (392 + 7 + 7) x 126
                linear=1176,
                matmul=185_598,  # 2 x 11358 x 7 + 26586
                norm=8820,
                pool=1176,
                softmax=18,
                activation=22_716,
            ),
            {"combine": "attention", "shared": False, "pairwise": "concatenation"},
        ),
    ],
    ids=str,
)
def test_cost_by_hand(expected, options):
    assert expected == PNL(42, n=3, **options).cost((2, 42, 3, 5, 7))


@pytest.mark.parametrize(
    ("channels", "options", "message"),
    [
        (9, {}, "channels must be even and at least 2, got 9"),
        (0, {}, "channels must be even and at least 2, got 0"),
        (12, {"n": 0}, "n must be at least 1, got 0"),
        (12, {"combine": "sum"}, "unknown combination 'sum': choose from concat, attention"),
        (12, {"pairwise": "cosine"}, "unknown pairwise function 'cosine': choose from embedded-"),
        (22, {}, "22 channels cannot be split into n=3 .*: n that can are 11$"),
        # divides, but into groups of odd width
        (12, {"n": 4}, "12 channels cannot be split into n=4 .*: n that can are 2, 3, 6$"),
        (2, {"n": 2}, "2 channels cannot be split into n=2 .*: n that can are only 1$"),
    ],
)
def test_what_cannot_be_built(channels, options, message):
    with pytest.raises(ValueError, match=f"^{message}"):
        PNL(channels, **{"n": 3} | options)


@pytest.mark.parametrize(
    ("height", "width", "most"), [(7, 7, 3), (5, 14, 3), (14, 3, 2), (1, 14, 1), (8, 8, 4)]
)
def test_a_map_has_room_for_so_many_scales(height, width, most):
    x = torch.randn(2, 240, 1, height, width)
    assert torch.equal(x, PNL(240, n=most)(x))
    block = PNL(240, n=most + 1)
    message = f"^a feature map of {height}x{width} has room for at most n={most} scales"
    for reject in (lambda: block(x), lambda: block.cost(x.shape)):
        with pytest.raises(ValueError, match=message):
            reject()

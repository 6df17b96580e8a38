"""Every block against a naive reading of its paper.

It loops over coordinates with plain floats, and takes weights from the block and nothing else of
torch, so it cannot share a mistake with it.
"""

import math
from functools import partial
from itertools import product

import pytest
import torch
from torch import nn

from vidcost.models.blocks.cgd import CGD
from vidcost.models.blocks.cgnl import CGNL
from vidcost.models.blocks.non_local import PAIRWISE, NonLocal
from vidcost.models.blocks.pnl import PNL

# a field is one clip: the channel values at each (t, h, w)


def dot(a, b):
    assert len(a) == len(b)
    return sum(x * y for x, y in zip(a, b, strict=True))


def softmax(scores):
    terms = [math.exp(score) for score in scores]
    normaliser = sum(terms)
    return [term / normaliser for term in terms]


def fields(x):
    """Split (B, C, T, H, W) into one field per clip."""
    positions = list(product(*map(range, x.shape[2:])))
    return [{(t, h, w): clip[:, t, h, w].tolist() for t, h, w in positions} for clip in x]


def tensor(clips):
    """Put fields back together as (B, C, T, H, W)."""
    rows = [[clip[position] for position in sorted(clip)] for clip in clips]
    out = torch.tensor(rows, dtype=torch.float64).transpose(1, 2)
    return out.reshape(*out.shape[:2], *extents(clips[0]))


def extents(field):
    return tuple(max(position[axis] for position in field) + 1 for axis in range(3))


def mean(field):
    return [sum(values) / len(values) for values in zip(*field.values(), strict=True)]


def add(a, b):
    return {i: [x + y for x, y in zip(a[i], b[i], strict=True)] for i in a}


def conv(layer, field):
    """Multiply each position by the matrix of a 1x1x1 convolution, grouped or not."""
    matrix = layer.weight.detach().flatten(1).tolist()
    bias = [0.0] * len(matrix) if layer.bias is None else layer.bias.tolist()
    out = {}
    for position, values in field.items():
        out[position] = []
        for o, row in enumerate(matrix):
            group = o // (len(matrix) // layer.groups)
            seen = values[group * len(row) : (group + 1) * len(row)]
            out[position].append(dot(row, seen) + bias[o])
    return out


def max_pool(field):
    """Take the largest of 2x2 pixels; an odd last row or column is dropped."""
    frames, height, width = extents(field)
    out = {}
    for t, h, w in product(range(frames), range(height // 2), range(width // 2)):
        four = [field[t, 2 * h + i, 2 * w + j] for i in (0, 1) for j in (0, 1)]
        out[t, h, w] = [max(values) for values in zip(*four, strict=True)]
    return out


def nearest(field, size):
    _, small_height, small_width = extents(field)
    _, height, width = size
    return {
        (t, h, w): field[t, h * small_height // height, w * small_width // width]
        for t, h, w in product(*map(range, size))
    }


class Thrice(nn.Module):
    """Stands in for a block's norm, which is torch's."""

    def forward(self, x):
        return 3 * x


def thrice(field):
    return {i: [3 * value for value in values] for i, values in field.items()}


def non_local(
    operation,
    field,
    *,
    pairwise="embedded-gaussian",
    pool_keys=False,
    pool_first=False,
    scale=False,
    bias=False,
):
    """W_z of y_i = 1/C(x) sum_j f(x_i, x_j) g(x_j), one pair of positions after the other."""
    source = max_pool(field) if pool_first else field
    query = field if pairwise == "gaussian" else conv(operation.theta, field)
    key = source if pairwise == "gaussian" else conv(operation.phi, source)
    value = conv(operation.g, source)
    if pool_keys and not pool_first:
        key, value = max_pool(key), max_pool(value)
    if pairwise == "concatenation":
        halves = (operation.w_theta, operation.w_phi)
        w_f = [w for half in halves for w in half.weight.flatten().tolist()]
    y = {}
    for i, x_i in query.items():
        affinities = []
        for x_j in key.values():
            if pairwise == "concatenation":
                affinities.append(max(0.0, dot(w_f, x_i + x_j)))
            elif pairwise == "dot-product":
                affinities.append(dot(x_i, x_j))
            else:
                affinities.append(math.exp(dot(x_i, x_j) / (len(x_i) ** 0.5 if scale else 1)))
        normaliser = sum(affinities) if "gaussian" in pairwise else len(key)
        y[i] = [
            dot(affinities, values) / normaliser for values in zip(*value.values(), strict=True)
        ]
    return conv(operation.z, y)


def nl(block, field, **options):
    y = non_local(block.operation, field, **options)
    return add(thrice(y), field)


def pnl(block, field, *, n, combine="attention", pairwise="embedded-gaussian", shared=True):
    """Section 3.2, one clip: groups, scales, the shared non-local operation, f_comb."""
    size = extents(field)
    width = len(field[0, 0, 0]) // n
    at_scale = []
    for k in range(n):
        group = {i: values[k * width : (k + 1) * width] for i, values in field.items()}
        for _ in range(k):
            group = max_pool(group)
        operation = block.operations[0] if shared else block.operations[k]
        at_scale.append(non_local(operation, group, pairwise=pairwise))
    full = [nearest(y, size) for y in at_scale]
    if combine == "concat":
        mix = [[float(k == other) for other in range(n)] for k in range(n)]
    else:
        # Y'_stack: the average over the positions that a scale has itself
        averages = [mean(y) for y in at_scale]
        query_matrix, key_matrix = block.query.weight.tolist(), block.key.weight.tolist()
        queries = [[dot(row, average) for row in query_matrix] for average in averages]
        keys = [[dot(row, average) for row in key_matrix] for average in averages]
        mix = [softmax([dot(query, key) / math.sqrt(width) for key in keys]) for query in queries]
    y = {
        position: [
            sum(mix[k][other] * full[other][position][e] for other in range(n))
            for k in range(n)
            for e in range(width)
        ]
        for position in field
    }
    return add(thrice(y), field)


def cgd(block, field):
    """One clip: every channel scaled by 1 + tanh((q . w2) p + b2)."""
    w0, w1, w2 = (w.flatten().tolist() for w in (block.w0, block.w1, block.w2))
    b0, b1, b2 = (b.tolist() for b in (block.b0, block.b1, block.b2))
    average, maximum = mean(field), [max(each) for each in zip(*field.values(), strict=True)]
    share = softmax(average)
    from_average, from_maximum = dot(average, w0), dot(maximum, w1)
    p = [math.tanh(from_average * s + b) for s, b in zip(share, b0, strict=True)]
    q = [math.tanh(from_maximum * s + b) for s, b in zip(share, b1, strict=True)]
    strength = dot(q, w2)
    scale = [1 + math.tanh(strength * value + b) for value, b in zip(p, b2, strict=True)]
    return {i: [s * value for s, value in zip(scale, field[i], strict=True)] for i in field}


def cgnl(block, field, *, groups):
    """One clip: in each group a single scalar, p . g over its channels and positions, times t."""
    t, p, g = (conv(layer, field) for layer in (block.t, block.p, block.g))
    width = len(t[0, 0, 0]) // groups
    scalars = []
    for group in range(groups):
        members = slice(group * width, (group + 1) * width)
        scalars.append(sum(dot(p[position][members], g[position][members]) for position in field))
    y = {i: [scalars[d // width] * value for d, value in enumerate(t[i])] for i in field}
    return add(thrice(conv(block.z, y)), field)


def naive(build, block, x):
    oracle = {NonLocal: nl, PNL: pnl, CGD: cgd, CGNL: cgnl}[build.func]
    return tensor([oracle(block, field, **build.keywords) for field in fields(x)])


POOLED = {"pool_keys": True}
CASES = [
    *(
        (partial(NonLocal, pairwise=pairwise, bias=bias, **options), (2, 12, 3, 5, 7))
        for pairwise in PAIRWISE
        for options in ({}, POOLED, POOLED | {"pool_first": True})
        for bias in (False, True)
    ),
    (partial(NonLocal, scale=True, bias=True), (2, 12, 3, 5, 7)),
    # 5 x 7 is halved to 2 x 3 and 1 x 1: the floor bites in both directions, and differently
    *(
        (partial(PNL, n=3, combine=f, pairwise=pairwise, shared=shared), (2, 18, 2, 5, 7))
        for f in ("concat", "attention")
        for pairwise in PAIRWISE
        for shared in (True, False)
    ),
    # the map of conv4: 7x7, 3x3, 1x1
    (partial(PNL, n=4), (1, 8, 1, 14, 14)),
    (partial(PNL, n=1), (2, 6, 3, 1, 2)),
    *((partial(CGD), shape) for shape in [(2, 13, 3, 5, 7), (2, 1, 1, 1, 1)]),
    *((partial(CGNL, groups=g), (2, c, 3, 5, 7)) for c, g in [(12, 1), (12, 2), (30, 5)]),
]


@pytest.mark.parametrize(("build", "shape"), CASES, ids=str)
def test_equals_the_naive_loop(randomised, clip, assert_close, build, shape):
    block, x = without_norm(randomised(build(shape[1]))), clip(*shape)
    assert_close(naive(build, block, x), block(x))


def without_norm(block):
    for name, norm in (("bn", nn.BatchNorm3d), ("gn", nn.GroupNorm)):
        if hasattr(block, name):
            assert norm is type(getattr(block, name))
            setattr(block, name, Thrice())
    return block


def test_the_norm_of_cgnl_has_its_groups():
    assert 5 == CGNL(30, groups=5).gn.num_groups


@pytest.mark.parametrize(
    "wrong", [{"combine": "concat"}, {"shared": True}, {"pairwise": "dot-product"}], ids=str
)
def test_the_naive_loop_tells_options_apart(randomised, clip, wrong):
    build = partial(PNL, n=2, shared=False)
    block, x = without_norm(randomised(build(12))), clip(1, 12, 2, 5, 7)
    y = naive(partial(PNL, **build.keywords | wrong), block, x)
    assert not torch.allclose(y, block(x), rtol=1e-3)

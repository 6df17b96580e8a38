import math

import pytest
import torch
from torch import nn

from vidcost.models.blocks.cgnl import CGNL
from vidcost.models.cost import Cost


def response(naive, block, field, groups):
    """One clip: in each group a single scalar, p . g over its channels and positions, times t."""
    t, p, g = (naive.conv(layer, field) for layer in (block.t, block.p, block.g))
    width = len(t[0, 0, 0]) // groups
    scalars = []
    for group in range(groups):
        scalar = 0.0
        for position in field:
            for d in range(group * width, (group + 1) * width):
                scalar += p[position][d] * g[position][d]
        scalars.append(scalar)
    y = {i: [scalars[d // width] * value for d, value in enumerate(t[i])] for i in field}
    return naive.conv(block.z, y)


def group_norm(layer, field, groups):
    weight, bias = layer.weight.tolist(), layer.bias.tolist()
    width = len(weight) // groups
    out = {i: [] for i in field}
    for group in range(groups):
        members = range(group * width, (group + 1) * width)
        values = [field[i][c] for i in field for c in members]
        mean = sum(values) / len(values)
        variance = sum((value - mean) ** 2 for value in values) / len(values)
        for i in field:
            for c in members:
                normal = (field[i][c] - mean) / math.sqrt(variance + 1e-5)
                out[i].append(weight[c] * normal + bias[c])
    return out


@pytest.mark.parametrize("has_norm", [True, False])
@pytest.mark.parametrize(("channels", "groups"), [(12, 1), (12, 2), (30, 5)])
def test_equals_the_naive_loop(naive, randomised, clip, assert_close, channels, groups, has_norm):
    """The norm hides the size of the scalars (next test), so it is also left out."""
    block = randomised(CGNL(channels, groups=groups))
    x = clip(2, channels, 3, 5, 7)
    expected = []
    for field in naive.fields(x):
        y = response(naive, block, field, groups)
        expected.append(naive.add(group_norm(block.gn, y, groups) if has_norm else y, field))
    if not has_norm:
        block.gn = nn.Identity()
    assert_close(naive.tensor(expected), block(x))


def test_the_norm_divides_the_scalars_out_but_for_their_sign(randomised, clip):
    """The norm has the groups of z: p and g are left with a sign, and with what eps lets by."""
    block = randomised(CGNL(12, groups=2))
    x = clip(2, 12, 3, 5, 7)
    expected = block(x)
    block.p.weight.data *= 7
    torch.testing.assert_close(block(x), expected, rtol=1e-5, atol=1e-5)
    block.p.weight.data *= -1
    assert not torch.allclose(expected, block(x), rtol=1e-1)


# Two clips of 3 x 5 x 7 = 105 positions.
@pytest.mark.parametrize(
    ("expected", "channels", "groups"),
    [
        (
            # 30 channels, 15 inner. t, p, g: 450 weights each; z: 3 groups of 5 x 10 = 50.
            # In all 1350 + 150 = 1500; GroupNorm has 60 more.
            Cost(
                params=1560,
                conv=315_000,  # 2 x 1500 x 105
                matmul=6300,  # 2 x (15 x 105 for p . g + 15 x 105 times t)
                norm=6300,  # 2 x 30 x 105
            ),
            30,
            3,
        ),
        (
            # 22 channels, 11 inner, one group: 4 x 242 = 968 weights; GroupNorm has 44.
            Cost(params=1012, conv=203_280, matmul=4620, norm=4620),
            22,
            1,
        ),
    ],
)
def test_cost_by_hand(expected, channels, groups):
    assert expected == CGNL(channels, groups=groups).cost((2, channels, 3, 5, 7))


@pytest.mark.parametrize(
    ("channels", "groups", "message"),
    [
        (12, 0, "groups must be at least 1, got 0"),
        (12, -3, "groups must be at least 1, got -3"),
        (7, 1, r"channels must be a positive multiple of 2 \(2 x 1 groups\), got 7"),
        (0, 1, r"channels must be a positive multiple of 2 \(2 x 1 groups\), got 0"),
        (24, 8, r"channels must be a positive multiple of 16 \(2 x 8 groups\), got 24"),
    ],
)
def test_what_cannot_be_built(channels, groups, message):
    with pytest.raises(ValueError, match=f"^{message}$"):
        CGNL(channels, groups=groups)

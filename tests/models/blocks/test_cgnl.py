import math

import pytest
import torch
from torch import nn

from vidcost.models.blocks import CGNL
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


@pytest.mark.parametrize(("channels", "groups"), [(12, 1), (12, 2), (24, 4), (30, 5)])
def test_equals_the_naive_loop(naive, randomised, clip, assert_close, channels, groups):
    block = randomised(CGNL(channels, groups=groups))
    x = clip(2, channels, 3, 5, 7)
    expected = []
    for field in naive.fields(x):
        y = group_norm(block.gn, response(naive, block, field, groups), groups)
        expected.append(naive.add(y, field))
    assert_close(naive.tensor(expected), block(x))


@pytest.mark.parametrize(("channels", "groups"), [(12, 1), (12, 2), (24, 4), (30, 5)])
def test_equals_the_naive_loop_before_the_norm(
    naive, randomised, clip, assert_close, channels, groups
):
    """The norm hides the size of the scalars (next test), so here it is taken out."""
    block = randomised(CGNL(channels, groups=groups))
    block.gn = nn.Identity()
    x = clip(2, channels, 3, 5, 7)
    expected = [
        naive.add(response(naive, block, field, groups), field) for field in naive.fields(x)
    ]
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


def test_the_naive_loop_tells_numbers_of_groups_apart(naive, randomised, clip):
    block = randomised(CGNL(12, groups=2))
    block.gn = nn.Identity()
    x = clip(1, 12, 3, 5, 7)
    field = naive.fields(x)[0]
    y = naive.add(response(naive, block, field, 1), field)
    assert not torch.allclose(naive.tensor([y]), block(x), rtol=1e-3)


@pytest.mark.parametrize("groups", [1, 3])
def test_commutes_with_any_permutation_of_positions(randomised, clip, assert_close, groups):
    block = randomised(CGNL(18, groups=groups))
    x = clip(2, 18, 3, 5, 7)
    order = torch.randperm(105, generator=torch.Generator().manual_seed(1))
    permuted = x.flatten(2)[:, :, order].reshape(x.shape)
    expected = block(x).flatten(2)[:, :, order].reshape(x.shape)
    assert not torch.allclose(block(x), expected)
    assert_close(expected, block(permuted))


def test_cost_at_res4_of_resnet_50():
    expected = Cost(
        params=1_640_448,  # (3/2 + 1/16) x 1024^2 + 2048 = 1572864 + 65536 + 2048
        conv=1_284_505_600,  # 1638400 at 4 x 14 x 14 = 784 positions
        matmul=802_816,  # 2 x 512 x 784
        norm=802_816,  # 1024 x 784
    )
    assert expected == CGNL(1024).cost((1, 1024, 4, 14, 14))


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


@pytest.mark.parametrize("groups", [0, -3])
def test_groups_must_be_positive(groups):
    with pytest.raises(ValueError, match=f"^groups must be at least 1, got {groups}$"):
        CGNL(12, groups=groups)


@pytest.mark.parametrize(
    ("channels", "groups", "multiple"), [(7, 1, 2), (0, 1, 2), (-12, 2, 4), (12, 4, 8), (24, 8, 16)]
)
def test_channels_must_be_divisible_twice_per_group(channels, groups, multiple):
    message = (
        f"^channels must be a positive multiple of {multiple} "
        rf"\(2 x {groups} groups\), got {channels}$"
    )
    with pytest.raises(ValueError, match=message):
        CGNL(channels, groups=groups)

import math

import pytest
import torch

from vidcost.models.blocks.cgd import CGD
from vidcost.models.cost import Cost


def cgd(naive, block, field):
    """One clip: every channel scaled by 1 + tanh((q . w2) p + b2)."""
    w0, w1, w2 = (w.flatten().tolist() for w in (block.w0, block.w1, block.w2))
    b0, b1, b2 = (b.tolist() for b in (block.b0, block.b1, block.b2))
    by_channel = list(zip(*field.values(), strict=True))
    average = [sum(values) / len(values) for values in by_channel]
    maximum = [max(values) for values in by_channel]
    share = naive.softmax(average)
    from_average, from_maximum = naive.dot(average, w0), naive.dot(maximum, w1)
    p = [math.tanh(from_average * s + b) for s, b in zip(share, b0, strict=True)]
    q = [math.tanh(from_maximum * s + b) for s, b in zip(share, b1, strict=True)]
    strength = naive.dot(q, w2)
    scale = [1 + math.tanh(strength * value + b) for value, b in zip(p, b2, strict=True)]
    return {i: [s * value for s, value in zip(scale, field[i], strict=True)] for i in field}


@pytest.mark.parametrize("shape", [(2, 13, 3, 5, 7), (3, 12, 2, 5, 7), (2, 1, 1, 1, 1)], ids=str)
def test_equals_the_naive_loop(naive, randomised, clip, assert_close, shape):
    block = randomised(CGD(shape[1]))
    x = clip(*shape)
    expected = [cgd(naive, block, field) for field in naive.fields(x)]
    assert_close(naive.tensor(expected), block(x))


@pytest.mark.parametrize(
    ("expected", "channels", "shape"),
    [
        (
            # 5 clips of 7 channels: 35 numbers, pooled twice, in one softmax and three tanh, and
            # multiplied by w0, w1 and w2. No size of the map matters.
            Cost(params=42, linear=105, pool=70, softmax=35, activation=105),
            7,
            (5, 7, 3, 11, 13),
        ),
        (
            # 3 clips of 1 channel
            Cost(params=6, linear=9, pool=6, softmax=3, activation=9),
            1,
            (3, 1, 2, 5, 7),
        ),
    ],
)
def test_cost_by_hand(expected, channels, shape):
    assert expected == CGD(channels).cost(shape)


@pytest.mark.parametrize("channels", [0, -3])
def test_channels_must_be_positive(channels):
    with pytest.raises(ValueError, match=f"^channels must be at least 1, got {channels}$"):
        CGD(channels)


def test_starts_as_the_authors_do_near_the_identity_and_not_at_it():
    block, bound = CGD(64), math.sqrt(6 / 65)
    for weight in (block.w0, block.w1, block.w2):
        assert 0.9 * bound < weight.abs().max() <= bound
    assert not any(bias.any() for bias in (block.b0, block.b1, block.b2))
    x = torch.randn(2, 64, 3, 5, 7)
    assert 0 < (block(x) / x - 1).abs().max() < 1e-2

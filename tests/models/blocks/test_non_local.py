import pytest
import torch

from vidcost.models.blocks.non_local import PAIRWISE, NonLocal
from vidcost.models.cost import Cost


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize(
    "options",
    [{}, {"pool_keys": True}, {"pool_keys": True, "pool_first": True}, {"scale": True}],
    ids=str,
)
@pytest.mark.parametrize("pairwise", PAIRWISE)
def test_equals_the_naive_loop(naive, randomised, clip, assert_close, pairwise, options, bias):
    if "scale" in options and pairwise != "embedded-gaussian":
        return
    block = randomised(NonLocal(12, pairwise=pairwise, bias=bias, **options))
    x = clip(2, 12, 3, 5, 7)
    expected = []
    for field in naive.fields(x):
        y = naive.non_local(block.operation, field, pairwise=pairwise, **options)
        expected.append(naive.add(naive.batch_norm(block.bn, y), field))
    assert_close(naive.tensor(expected), block(x))


def test_macs_of_the_authors_pooling_and_of_ours():
    # four frames of 14x14 in res4 of ResNet-50: what a counter says of either
    macs = {
        first: NonLocal(1024, pool_keys=True, pool_first=first).cost((1, 1024, 4, 14, 14)).macs
        for first in (True, False)
    }
    assert {True: 1_184_956_416, False: 1_801_519_104} == macs


def test_bias_of_phi_cancels_in_a_softmax_over_keys(randomised, clip, assert_close):
    """A term that all keys share changes no weight: these parameters exist, and do nothing."""
    block = randomised(NonLocal(6, bias=True))
    x = clip(2, 6, 3, 5, 7)
    expected = block(x)
    block.operation.phi.bias.data += 3
    assert_close(expected, block(x))


# 22 channels, 11 inner: one convolution has 22 x 11 = 242 weights. Two clips of 3 x 5 x 7 = 105
# positions: 105 x 105 = 11025 pairs. With pooled keys 3 x 2 x 3 = 18 of them: 105 x 18 = 1890.
# BatchNorm: 22 weights and 22 biases, 2 x 22 x 105 = 4620 elements.
@pytest.mark.parametrize(
    ("expected", "options"),
    [
        (
            Cost(
                params=1012,  # 4 x 242 + 44
                conv=203_280,  # 2 x 4 x 242 x 105 = 2 x 101640
                matmul=485_100,  # 2 x 11025 x (11 + 11)
                norm=4620,
                softmax=22_050,  # 2 x 11025
            ),
            {},
        ),
        (
            Cost(
                params=1067,  # 1012, and 11 + 11 + 11 + 22 = 55 biases, which are no MACs
                conv=203_280,
                matmul=83_160,  # 2 x 1890 x 22
                norm=4620,
                pool=792,  # 2 x 18 keys x (11 of phi + 11 of g)
                softmax=3780,  # 2 x 1890
            ),
            {"pool_keys": True, "bias": True},
        ),
        (
            Cost(
                params=528,  # g and z only: 484 + 44
                conv=101_640,
                matmul=727_650,  # 2 x 11025 x (22 + 11): affinity of the 22 channels themselves
                norm=4620,
                softmax=22_050,
            ),
            {"pairwise": "gaussian"},
        ),
        (
            Cost(params=1012, conv=203_280, matmul=485_100, norm=4620),  # no softmax
            {"pairwise": "dot-product"},
        ),
        (
            Cost(
                params=1034,  # 1012, and the 22 weights of w_f
                conv=207_900,  # 203280 + 2 x (11 x 105 for a query + 11 x 105 for a key)
                matmul=242_550,  # 2 x 11025 x 11: only the weighted sum
                norm=4620,
                activation=22_050,  # the ReLU of each pair
            ),
            {"pairwise": "concatenation"},
        ),
        (
            Cost(
                params=1034,
                conv=205_986,  # 203280 + 2 x (11 x 105 + 11 x 18)
                matmul=41_580,  # 2 x 1890 x 11
                norm=4620,
                pool=792,
                activation=3780,
            ),
            {"pairwise": "concatenation", "pool_keys": True},
        ),
    ],
    ids=str,
)
def test_cost_by_hand(expected, options):
    assert expected == NonLocal(22, **options).cost((2, 22, 3, 5, 7))


@pytest.mark.parametrize(
    ("channels", "options", "message"),
    [
        *((n, {}, f"channels must be even and at least 2, got {n}$") for n in (7, 1, 0, -4)),
        (6, {"pairwise": "cosine"}, f".* 'cosine': choose from {', '.join(PAIRWISE)}"),
        (6, {"pool_first": True}, "pool_first says where keys are pooled: give pool_keys too"),
        (6, {"pairwise": "gaussian", "scale": True}, "scale is of the embedded Gaussian alone"),
    ],
)
def test_what_cannot_be_built(channels, options, message):
    with pytest.raises(ValueError, match=f"^{message}"):
        NonLocal(channels, **options)


@pytest.mark.parametrize(("height", "width"), [(5, 1), (1, 7), (1, 1)])
def test_pooled_keys_need_two_pixels_each_way(height, width):
    block = NonLocal(6, pool_keys=True)
    message = f"^pool_keys needs a map of at least 2x2, got {height}x{width}$"
    with pytest.raises(ValueError, match=message):
        block(torch.zeros(2, 6, 3, height, width))
    with pytest.raises(ValueError, match=message):
        block.cost((2, 6, 3, height, width))

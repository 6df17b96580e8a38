import math
from functools import partial

import pytest
import torch

from vidcost.models.blocks.cgd import CGD
from vidcost.models.blocks.cgnl import CGNL
from vidcost.models.blocks.non_local import PAIRWISE, NonLocal
from vidcost.models.blocks.pnl import PNL
from vidcost.models.cost import Cost

BLOCKS = [
    *(partial(NonLocal, pairwise=pairwise) for pairwise in PAIRWISE),
    *(partial(NonLocal, pairwise=pairwise, pool_keys=True) for pairwise in PAIRWISE),
    *(partial(NonLocal, pairwise=f, pool_keys=True, pool_first=True) for f in PAIRWISE),
    partial(NonLocal, scale=True),
    *(partial(PNL, n=2, combine="concat", pairwise=pairwise) for pairwise in PAIRWISE),
    *(partial(PNL, n=3, combine="attention", pairwise=pairwise) for pairwise in PAIRWISE),
    partial(PNL, n=2, combine="attention", shared=False),
    partial(PNL, n=3, combine="concat", shared=False),
    *(partial(CGNL, groups=groups) for groups in (1, 2, 4)),
    partial(CGD),
]
# a bias in front of a softmax over keys has no gradient, see below
WITH_BIAS = [partial(NonLocal, pairwise=pairwise, bias=True) for pairwise in PAIRWISE]


def name(build):
    options = (f"{key}={value}" for key, value in build.keywords.items())
    return f"{build.func.__name__}({', '.join(options)})"


def let_scalars_through(block):
    """Weaken the norm of CGNL, which divides the scalars of p and g out again, see below."""
    if isinstance(block, CGNL):
        block.gn.eps = 1e3
    return block


every_block = pytest.mark.parametrize("build", BLOCKS, ids=name)


@pytest.mark.parametrize("build", [b for b in BLOCKS + WITH_BIAS if b.func is not CGD], ids=name)
def test_is_the_identity_at_initialisation(build):
    x = torch.randn(2, 24, 3, 5, 7)
    for training in (True, False):
        assert torch.equal(x, build(24).train(training)(x))


@every_block
def test_can_leave_the_identity(build):
    """At initialisation some parameter has a gradient: the block is no fixed point of training."""
    block = build(24).double()
    x = torch.randn(2, 24, 3, 5, 7, dtype=torch.float64)
    (block(x) * torch.randn_like(x)).sum().backward()
    reached = {key for key, p in block.named_parameters() if p.grad.abs().max() > 1e-6}
    assert reached & {"bn.weight", "gn.weight", "w2"}


@pytest.mark.parametrize("training", [True, False], ids=["train", "eval"])
@every_block
def test_gradients_reach_every_parameter_and_the_input(randomised, clip, build, training):
    block = let_scalars_through(randomised(build(24)).train(training))
    x = clip(2, 24, 3, 5, 7).requires_grad_()
    probe = torch.randn(x.shape, dtype=x.dtype, generator=torch.Generator().manual_seed(3))
    (block(x) * probe).sum().backward()
    assert x.grad.abs().min() > 0
    reached = {key for key, p in block.named_parameters() if p.grad.abs().max() > 1e-6}
    assert {key for key, _ in block.named_parameters()} == reached


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@every_block
def test_keeps_the_dtype_of_its_input(randomised, clip, build, dtype):
    block = randomised(build(24))
    for parameter in block.parameters():
        parameter.data *= 0.3  # or a softmax of large scores makes much of each rounding
    x = clip(2, 24, 3, 5, 7)
    expected = block(x)
    actual = block.to(dtype)(x.to(dtype))
    assert dtype == actual.dtype
    tolerance = {torch.float32: 1e-6, torch.bfloat16: 0.01}[dtype]
    assert (actual.double() - expected).abs().mean() < tolerance * expected.abs().mean()


@every_block
def test_takes_inputs_in_any_memory_format(randomised, clip, assert_close, build):
    block = randomised(build(24))
    x = clip(2, 24, 3, 5, 7)
    assert_close(block(x), block(x.to(memory_format=torch.channels_last_3d)))
    assert_close(block(x), block(x.transpose(3, 4).contiguous().transpose(3, 4)))


# Hand-worked integers, with one case for each term of a closed form.
#
# NonLocal: 22 channels, 11 inner: one convolution has 242 weights. Two clips of 3 x 5 x 7 = 105
# positions: 105 x 105 = 11025 pairs. Pooled keys are 3 x 2 x 3 = 18: 105 x 18 = 1890 pairs.
# BatchNorm: 22 weights and 22 biases, 2 x 22 x 105 = 4620 elements.
#
# PNL: 42 channels in 3 groups of 14, inner width 7: one convolution has 98 weights. Two clips of 3
# frames, 5 x 7 = 35, 2 x 3 = 6 and 1 x 1 = 1 pixels: 105, 18 and 3 positions, 126 together; their
# squares are 11025 + 324 + 9 = 11358 pairs. BatchNorm: 84 parameters, 2 x 42 x 105 = 8820 elements.
# Pooling leaves 14 x 18 for group 1, 14 x 18 and then 14 x 3 for group 2: 546, twice is 1092.
@pytest.mark.parametrize(
    ("build", "shape", "expected"),
    [
        (
            partial(NonLocal),
            (2, 22, 3, 5, 7),
            Cost(
                params=1012,  # 4 x 242 + 44
                conv=203_280,  # 2 x 4 x 242 x 105 = 2 x 101640
                matmul=485_100,  # 2 x 11025 x (11 + 11)
                norm=4620,
                softmax=22_050,  # 2 x 11025
            ),
        ),
        (
            partial(NonLocal, pool_keys=True, bias=True),
            (2, 22, 3, 5, 7),
            Cost(
                params=1067,  # 1012, and 11 + 11 + 11 + 22 = 55 biases, which are no MACs
                conv=203_280,
                matmul=83_160,  # 2 x 1890 x 22
                norm=4620,
                pool=792,  # 2 x 18 keys x (11 of phi + 11 of g)
                softmax=3780,  # 2 x 1890
            ),
        ),
        (
            partial(NonLocal, pairwise="gaussian"),
            (2, 22, 3, 5, 7),
            Cost(
                params=528,  # g and z only: 484 + 44
                conv=101_640,
                matmul=727_650,  # 2 x 11025 x (22 + 11): affinity of the 22 channels themselves
                norm=4620,
                softmax=22_050,
            ),
        ),
        (
            partial(NonLocal, pairwise="concatenation", pool_keys=True),
            (2, 22, 3, 5, 7),
            Cost(
                params=1034,  # 1012, and the 22 weights of w_f
                conv=205_986,  # 203280 + 2 x (11 x 105 for a query + 11 x 18 for a key)
                matmul=41_580,  # 2 x 1890 x 11: only the weighted sum
                norm=4620,
                pool=792,
                activation=3780,  # the ReLU of each pair
            ),
        ),
        (
            partial(PNL, n=3),
            (2, 42, 3, 5, 7),
            Cost(
                params=672,  # 4 x 98 + 84, and Q and K of 98
                conv=98_784,  # 2 x 392 x 126
                linear=1176,  # 2 clips x 3 scales x 2 x 98
                matmul=344_610,  # 2 x 11358 x (7 + 7) + 2 x (3 x 3 x 7 + 3 x 3 x 14 x 105)
                norm=8820,
                pool=1176,  # 1092 + 2 x 3 averages of 14
                softmax=22_734,  # 2 x 11358 + 2 x 3 x 3
            ),
        ),
        (
            partial(PNL, n=3, shared=False, pairwise="concatenation"),
            (2, 42, 3, 5, 7),
            Cost(
                params=1498,  # 3 x (392 + 14 of w_f) + 84 + 196
                conv=102_312,  # 2 x (392 + 7 + 7) x 126
                linear=1176,
                matmul=185_598,  # 2 x 11358 x 7 + 2 x (3 x 3 x 7 + 3 x 3 x 14 x 105)
                norm=8820,
                pool=1176,
                softmax=18,
                activation=22_716,
            ),
        ),
        (
            # 30 channels, 15 inner. t, p, g: 450 weights each; z: 3 groups of 5 x 10 = 50.
            # In all 1350 + 150 = 1500; GroupNorm has 60 more.
            partial(CGNL, groups=3),
            (2, 30, 3, 5, 7),
            Cost(
                params=1560,
                conv=315_000,  # 2 x 1500 x 105
                matmul=6300,  # 2 x (15 x 105 for p . g + 15 x 105 times t)
                norm=6300,  # 2 x 30 x 105
            ),
        ),
        (
            # 5 clips of 7 channels: 35 numbers, pooled twice, in one softmax and three tanh, and
            # multiplied by w0, w1 and w2. No size of the map matters.
            partial(CGD),
            (5, 7, 3, 11, 13),
            Cost(params=42, linear=105, pool=70, softmax=35, activation=105),
        ),
    ],
    ids=str,
)
def test_cost_by_hand(build, shape, expected):
    assert expected == build(shape[1]).cost(shape)


@pytest.mark.parametrize(
    ("build", "channels", "message"),
    [
        *(
            (partial(NonLocal), n, f"channels must be even and at least 2, got {n}$")
            for n in (7, 0)
        ),
        (partial(NonLocal, pairwise="cosine"), 6, ".* 'cosine': choose from embedded-gaussian, "),
        (partial(NonLocal, pool_first=True), 6, "pool_first says .*: give pool_keys too"),
        (partial(NonLocal, pairwise="gaussian", scale=True), 6, "scale is of the embedded"),
        (partial(PNL), 9, "channels must be even and at least 2, got 9"),
        (partial(PNL, n=0), 12, "n must be at least 1, got 0"),
        (partial(PNL, combine="sum"), 24, "unknown combination 'sum': choose from concat, "),
        (partial(PNL, n=3, pairwise="cosine"), 12, "unknown pairwise function 'cosine': choose"),
        (partial(PNL, n=3), 22, "22 channels cannot be split into n=3 .*: n that can are 11$"),
        # divides, but into groups of odd width
        (partial(PNL, n=4), 12, "12 channels cannot be split into n=4 .*: n that can are 2, 3, 6$"),
        (partial(PNL, n=2), 2, "2 channels cannot be split into n=2 .*: n that can are only 1$"),
        (partial(CGNL, groups=0), 12, "groups must be at least 1, got 0$"),
        (partial(CGNL, groups=1), 7, r"channels must be a positive multiple of 2 \(2 x 1 groups\)"),
        (partial(CGNL, groups=1), 0, r"channels .* got 0$"),
        (partial(CGNL, groups=8), 24, r"channels .* multiple of 16 \(2 x 8 groups\), got 24"),
        (partial(CGD), 0, "channels must be at least 1, got 0$"),
        *(
            (partial(b, impl="fast"), 48, "unknown implementation 'fast'")
            for b in (NonLocal, PNL, CGNL)
        ),
    ],
)
def test_what_cannot_be_built(build, channels, message):
    with pytest.raises(ValueError, match=f"^{message}"):
        build(channels)


@pytest.mark.parametrize(
    ("build", "height", "width", "message"),
    [
        *(
            (partial(NonLocal, 240, pool_keys=True), h, w, f"pool_keys needs a map .* got {h}x{w}$")
            for h, w in [(5, 1), (1, 7)]
        ),
        *(
            (partial(PNL, 240, n=n + 1), h, w, f"a feature map of {h}x{w} .* at most n={n} scales")
            for h, w, n in [(7, 7, 3), (5, 14, 3), (14, 3, 2), (1, 14, 1), (8, 8, 4)]
        ),
    ],
)
def test_maps_that_are_too_small(build, height, width, message):
    with torch.device("meta"):
        block, x = build(), torch.empty(2, 240, 1, height, width)
        for reject in (lambda: block(x), lambda: block.cost(x.shape)):
            with pytest.raises(ValueError, match=f"^{message}"):
                reject()
        if isinstance(block, PNL):
            assert PNL(240, n=block.n - 1)(x).shape == x.shape


def test_macs_of_the_authors_pooling_and_of_ours():
    # four frames of 14x14 in res4 of ResNet-50: what a counter says of either
    for first, macs in ((True, 1_184_956_416), (False, 1_801_519_104)):
        block = NonLocal(1024, pool_keys=True, pool_first=first)
        assert macs == block.cost((1, 1024, 4, 14, 14)).macs


def test_cgd_starts_as_the_authors_do_near_the_identity_and_not_at_it():
    block, bound = CGD(64), math.sqrt(6 / 65)
    for weight in (block.w0, block.w1, block.w2):
        assert 0.9 * bound < weight.abs().max() <= bound
    assert not any(bias.any() for bias in (block.b0, block.b1, block.b2))
    x = torch.randn(2, 64, 3, 5, 7)
    assert 0 < (block(x) / x - 1).abs().max() < 1e-2

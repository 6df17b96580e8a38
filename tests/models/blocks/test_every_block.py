from functools import partial

import pytest
import torch

from vidcost.models.blocks.cgd import CGD
from vidcost.models.blocks.cgnl import CGNL
from vidcost.models.blocks.non_local import PAIRWISE, NonLocal
from vidcost.models.blocks.pnl import PNL

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
# a bias in front of a softmax over keys has no gradient, see test_non_local
WITH_BIAS = [partial(NonLocal, pairwise=pairwise, bias=True) for pairwise in PAIRWISE]


def name(build):
    options = (f"{key}={value}" for key, value in build.keywords.items())
    return f"{build.func.__name__}({', '.join(options)})"


def let_scalars_through(block):
    """Weaken the norm of CGNL, which divides the scalars of p and g out again: see test_cgnl."""
    if isinstance(block, CGNL):
        block.gn.eps = 1e3
    return block


every_block = pytest.mark.parametrize("build", BLOCKS, ids=name)
every_block_and_bias = pytest.mark.parametrize("build", BLOCKS + WITH_BIAS, ids=name)


@pytest.mark.parametrize("build", [b for b in BLOCKS + WITH_BIAS if b.func is not CGD], ids=name)
def test_is_the_identity_at_initialisation(build):
    x = torch.randn(2, 24, 3, 5, 7)
    for training in (True, False):
        assert torch.equal(x, build(24).train(training)(x))


@every_block
def test_commutes_with_permutations_of_what_it_does_not_order(
    randomised, clip, assert_close, build
):
    """Of all positions, or of frames where pixels are pooled."""
    block = randomised(build(24))
    x = clip(2, 24, 3, 5, 7)
    is_pooled = isinstance(block, PNL) or "pool_keys" in build.keywords
    permute = (lambda y: y[:, :, [1, 2, 0]]) if is_pooled else shuffled
    assert not torch.allclose(block(x), permute(block(x)))
    assert_close(permute(block(x)), block(permute(x)))
    if is_pooled:
        rows = [3, 1, 4, 0, 2]
        assert not torch.allclose(block(x)[:, :, :, rows], block(x[:, :, :, rows]), rtol=1e-3)


def shuffled(y):
    order = torch.randperm(105, generator=torch.Generator().manual_seed(1))
    return y.flatten(2)[:, :, order].reshape(y.shape)


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


@pytest.mark.parametrize(
    "build",
    [
        partial(NonLocal, 2, pairwise="gaussian", pool_keys=True),
        partial(NonLocal, 2, pairwise="concatenation", bias=True),
        partial(PNL, 4, n=2),
        partial(CGNL, 4, groups=2),
        partial(CGD, 3),
    ],
    ids=name,
)
def test_gradients_are_those_of_finite_differences(randomised, clip, build):
    block = let_scalars_through(randomised(build()))
    x = clip(2, block.channels if hasattr(block, "channels") else 2, 1, 2, 3).requires_grad_()
    parameters = tuple(block.parameters())
    assert torch.autograd.gradcheck(lambda x, *_: block(x), (x, *parameters))


@every_block_and_bias
def test_clips_of_a_batch_do_not_meet(randomised, clip, assert_close, build):
    block = randomised(build(24))
    x = clip(3, 24, 3, 5, 7)
    other = x.clone()
    other[1] += 1.5
    before, after = block(x), block(other)
    assert torch.equal(clip(3, 24, 3, 5, 7), x)  # the input is left alone
    assert_close(before[[0, 2]], after[[0, 2]])
    assert_close(before[:1], block(x[:1]))
    assert not torch.allclose(before[1], after[1])


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


@every_block_and_bias
def test_runs_on_meta_with_the_parameters_of_its_closed_form(build):
    with torch.device("meta"):
        block, x = build(24), torch.empty(2, 24, 3, 5, 7)
    y = block(x)
    assert (x.shape, x.dtype, x.device) == (y.shape, y.dtype, y.device)
    assert sum(p.numel() for p in block.parameters()) == block.cost(x.shape).params

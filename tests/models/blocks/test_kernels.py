"""The blocks' kernels against torch's operators: on a GPU, or with TRITON_INTERPRET=1 on a CPU."""

import copy
import math
import os

import pytest
import torch
import torch.nn.functional as F
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

from vidcost.models.blocks import CGD, PNL, kernels, pnl, pooling

# decided when triton is imported
INTERPRETED = os.environ.get("TRITON_INTERPRET") == "1"
DEVICE = "cpu" if INTERPRETED else "cuda"

cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device")
either = pytest.mark.skipif(
    not (INTERPRETED or torch.cuda.is_available()),
    reason="there is no CUDA device, and TRITON_INTERPRET is not 1",
)

# of the largest value
TOLERANCES = {torch.float32: 2e-6, torch.float16: 2e-3, torch.bfloat16: 1e-2}


@pytest.fixture
def used(monkeypatch):
    """Names of the kernels' functions that were called, in order."""
    pytest.importorskip("triton.language")
    from vidcost.models.blocks import pooling_kernel, scales_kernel

    names = []
    monkeypatch.setattr(kernels, "LAUNCH", 0)
    monkeypatch.setattr(pooling, "FEW", 0)

    def noted(name, function):
        def call(*args, **kwargs):
            names.append(name)
            return function(*args, **kwargs)

        return call

    if INTERPRETED:
        for module in (pnl, pooling):
            monkeypatch.setattr(module, "may_run", lambda *tensors: True)
    else:
        for allow in (torch.backends.cudnn, torch.backends.cuda.matmul):
            monkeypatch.setattr(allow, "allow_tf32", False)
        # it runs one, which is no call of a test's
        kernels._works(torch.ones(1, device="cuda").device)
    for module, name in [
        (scales_kernel, "combine_scales"),
        (pooling_kernel, "mean_and_max"),
        (pooling_kernel, "_pooled"),
    ]:
        monkeypatch.setattr(module, name, noted(name, getattr(module, name)))
    return names


def off(expected, got):
    """The largest difference relative to the largest value."""
    scale = expected.double().abs().max().item()
    return (got.double() - expected.double()).abs().max().item() / (scale or 1.0)


def assert_as_good(exact, expected, got):
    """Whether ``got`` has the digits of its type, or as many as torch's operators keep."""
    assert expected.dtype == got.dtype
    bound = 1e-5 if got.dtype == torch.float32 else 2e-2
    assert off(exact, got) < max(bound, 2 * off(exact, expected))


def draw(*shape, dtype=torch.float32, seed=3):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed)).to(DEVICE, dtype)


def randomised(block, dtype=torch.float32):
    generator = torch.Generator().manual_seed(1)
    for name, tensor in block.state_dict().items():
        if tensor.is_floating_point():
            tensor.copy_(torch.randn(tensor.shape, generator=generator) / 3)
        if name.endswith("running_var"):
            tensor.abs_().add_(0.5)
    return block.to(DEVICE, dtype)


# mean and maximum


SHAPES = [
    (1, 1, 1, 1, 1),
    (2, 3, 2, 5, 7),
    (3, 5, 1, 1, 1),
    (1, 3, 8, 14, 14),
    (2, 2, 3, 31, 33),
    (1, 2, 4, 128, 16),
]


@pytest.mark.cuda
@either
@pytest.mark.parametrize("programs", [1, 7, 1024])
@pytest.mark.parametrize("dtype", TOLERANCES, ids=str)
@pytest.mark.parametrize("whole", [True, False], ids=["equal values", "any values"])
@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: "x".join(map(str, shape)))
def test_mean_and_max(shape, whole, dtype, programs, used, monkeypatch):
    from vidcost.models.blocks import pooling_kernel

    monkeypatch.setattr(pooling_kernel, "PROGRAMS", programs)
    x = draw(*shape, dtype=dtype)
    x = (x.round() if whole else x).requires_grad_()
    exact = x.detach().double().requires_grad_()
    expected = exact.mean((2, 3, 4)), exact.amax((2, 3, 4))
    got = pooling_kernel.MeanAndMax.apply(x)
    with torch.no_grad():
        for counted, plain in zip(got, pooling_kernel.mean_and_max(x), strict=True):
            assert torch.equal(counted, plain)
            assert dtype == plain.dtype
    grads = [draw(*shape[:2], dtype=dtype, seed=seed) for seed in (4, 5)]
    (to_exact,) = torch.autograd.grad(expected, exact, [grad.double() for grad in grads])
    (to_x,) = torch.autograd.grad(got, x, grads)
    assert torch.equal(expected[1], got[1].double())
    # a mean near 0 has few digits beside the values that it is of
    assert (got[0].double() - expected[0]).abs().max() < TOLERANCES[dtype] * exact.abs().max()
    assert off(to_exact, to_x) < TOLERANCES[dtype]
    assert dtype == to_x.dtype


@pytest.mark.cuda
@either
@pytest.mark.parametrize("programs", [1, 1024])
def test_no_numbers_and_infinities(programs, used, monkeypatch):
    from vidcost.models.blocks import pooling_kernel

    monkeypatch.setattr(pooling_kernel, "PROGRAMS", programs)
    x = draw(2, 3, 3, 31, 33)
    x[0, 1, 2, 3, 4] = math.nan
    x[1, 2] = -math.inf
    x[1, 0, 0, 0, 0] = math.inf
    for got in (pooling_kernel.mean_and_max(x), pooling_kernel.MeanAndMax.apply(x)):
        torch.testing.assert_close(got[0], x.mean((2, 3, 4)), equal_nan=True)
        torch.testing.assert_close(got[1], x.amax((2, 3, 4)), equal_nan=True, rtol=0, atol=0)


@pytest.mark.cuda
@either
@pytest.mark.parametrize("wanted", [False, True], ids=["inference", "training"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_cgd(dtype, wanted, used):
    textbook, fast = (randomised(CGD(6, path=path), dtype) for path in ("textbook", "fast"))
    x = draw(2, 6, 3, 9, 11, dtype=dtype)
    found = []
    for block in (copy.deepcopy(textbook).double(), textbook, fast):
        leaf = x.to(next(block.parameters()).dtype, copy=True).requires_grad_(wanted)
        with torch.set_grad_enabled(wanted):
            y = block(leaf)
        if wanted:
            (y * draw(*y.shape, dtype=dtype)).sum().backward()
        found.append([y.detach(), *((leaf.grad, block.w1.grad, block.b2.grad) if wanted else ())])
    assert used == (["_pooled"] if wanted else ["mean_and_max", "_pooled"])
    for exact, expected, got in zip(*found, strict=True):
        assert_as_good(exact, expected, got)


# the scales of PNL


def reference(scales, weights, x, bn):
    """In double precision, of torch's operators."""
    size = x.shape[2:]
    full = [
        scales[0].double(),
        *(F.interpolate(y.double(), size=size, mode="nearest") for y in scales[1:]),
    ]
    y = torch.cat(full, dim=1)
    if weights is not None:
        y = (weights.double() @ torch.stack(full, dim=1).flatten(2)).reshape(x.shape)
    return copy.deepcopy(bn).double()(y) + x.double()


@pytest.mark.cuda
@either
@pytest.mark.parametrize("last", [False, True], ids=["contiguous", "channels last"])
@pytest.mark.parametrize("mixed", [False, True], ids=["concat", "attention"])
@pytest.mark.parametrize(
    ("dtype", "of_x"),
    [
        (torch.float32, torch.float32),
        (torch.float16, torch.float16),
        (torch.bfloat16, torch.bfloat16),
        (torch.bfloat16, torch.float32),
    ],
    ids=str,
)
@pytest.mark.parametrize(
    ("n", "shape"),
    [
        (1, (2, 3, 1, 1, 1)),
        (1, (2, 6, 3, 5, 1)),
        (2, (2, 2, 3, 2, 3)),
        (2, (1, 18, 2, 7, 9)),
        (3, (2, 6, 1, 15, 8)),
        (3, (1, 4, 5, 4, 31)),
        (4, (2, 17, 2, 14, 14)),
        (4, (1, 6, 3, 8, 13)),
    ],
    ids=str,
)
def test_scales(n, shape, dtype, of_x, mixed, last, used):
    from vidcost.models.blocks.scales_kernel import combine_scales

    batch, group, frames, height, width = shape
    scales = [
        draw(batch, group, frames, height >> k, width >> k, dtype=dtype, seed=k) for k in range(n)
    ]
    if last:
        scales = [y.contiguous(memory_format=torch.channels_last_3d) for y in scales]
    bn = randomised(torch.nn.BatchNorm3d(n * group).eval())
    x = draw(batch, n * group, *shape[2:], dtype=of_x, seed=8)
    weights = draw(batch, n, n, dtype=dtype, seed=9) if mixed else None
    with torch.no_grad():
        got = combine_scales(scales, weights, x, bn)
        expected = reference(scales, weights, x, bn)
    assert of_x == got.dtype
    assert got.is_contiguous()
    assert off(expected, got) < TOLERANCES[of_x]


@pytest.mark.cuda
@either
@pytest.mark.parametrize("first", range(8, 9 if INTERPRETED else 200, 12))
def test_pixels_of_every_size(first, used):
    """Each scale's values are the numbers of its pixels, which must come out as torch has them."""
    from vidcost.models.blocks.scales_kernel import combine_scales

    bn = torch.nn.BatchNorm3d(8, eps=0).eval().to(DEVICE)
    for height in range(first, first + 12):
        width = height + 5
        sizes = [(height >> k, width >> k) for k in range(4)]
        scales = [torch.arange(2.0 * h * w, device=DEVICE).reshape(1, 2, 1, h, w) for h, w in sizes]
        x = torch.zeros(1, 8, 1, height, width, device=DEVICE)
        with torch.no_grad():
            got = combine_scales(scales, None, x, bn)
        full = [F.interpolate(y, size=x.shape[2:], mode="nearest") for y in scales[1:]]
        # whole numbers below 2^24; a root and a quotient of ones are exact
        assert torch.equal(torch.cat([scales[0], *full], dim=1), got)


PNLS = {
    "attention": {"n": 4},
    "concat": {"n": 3, "combine": "concat", "shared": False},
    "one": {"n": 1},
    "gaussian": {"n": 2, "pairwise": "gaussian"},
    "dot-product": {"n": 2, "pairwise": "dot-product"},
}


@pytest.mark.cuda
@either
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("shape", [(1, 3, 8, 9), (3, 1, 14, 14), (2, 2, 13, 23)], ids=str)
@pytest.mark.parametrize("name", PNLS)
def test_pnl(name, shape, dtype, used):
    batch, *extents = shape
    textbook, fast = (
        randomised(PNL(48, path=path, **PNLS[name]), dtype).eval() for path in ("textbook", "fast")
    )
    x = draw(batch, 48, *extents, dtype=dtype)
    with torch.no_grad():
        expected, got = textbook(x), fast(x)
        exact = textbook.double()(x.double())
    assert ["combine_scales"] == used
    assert_as_good(exact, expected, got)


@pytest.mark.cuda
@either
@pytest.mark.parametrize("training", [False, True], ids=["eval", "train"])
def test_pnl_takes_torchs_operators_where_gradients_are_wanted(training, used):
    textbook, fast = (randomised(PNL(48, path=path)) for path in ("textbook", "fast"))
    x = draw(2, 48, 2, 9, 10)
    gradients = []
    for block in (textbook, fast):
        leaf = x.clone().requires_grad_()
        y = block.train(training)(leaf)
        (y * draw(*y.shape, seed=4)).sum().backward()
        gradients.append([leaf.grad, *(p.grad for p in block.parameters())])
    assert [] == used
    largest = max(tensor.abs().max().item() for tensor in gradients[0])
    for expected, got in zip(*gradients, strict=True):
        assert (expected - got).abs().max() < 1e-5 * largest


def hooked(block, x):
    block.bn.register_forward_hook(lambda *_: None)
    return block, x


def replaced(block, x):
    block.bn = torch.nn.Identity()
    return block, x


@pytest.mark.cuda
@either
@pytest.mark.parametrize(
    "change",
    [
        hooked,
        replaced,
        lambda block, x: (block, x.contiguous(memory_format=torch.channels_last_3d)),
        lambda block, x: (block, x.transpose(3, 4)),
    ],
    ids=["hook", "no batch norm", "channels last", "transposed"],
)
def test_pnl_takes_torchs_operators_for(change, used):
    fast, x = change(randomised(PNL(48, path="fast")).eval(), draw(1, 48, 2, 9, 11))
    textbook = copy.deepcopy(fast)
    textbook.path = "textbook"
    with torch.no_grad():
        expected, got = textbook(x), fast(x)
    assert [] == used
    assert off(expected, got) < 1e-5


@pytest.mark.cuda
@cuda
@pytest.mark.parametrize("block", [CGD(48, path="fast"), PNL(48, path="fast")], ids=["cgd", "pnl"])
def test_kernels_do_not_run_where_operators_are_to_be_seen(block, used):
    class Seen(TorchDispatchMode):
        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            return func(*args, **(kwargs or {}))

    class Called(TorchFunctionMode):
        def __torch_function__(self, func, types, args=(), kwargs=None):
            return func(*args, **(kwargs or {}))

    block = randomised(copy.deepcopy(block)).eval()
    x = draw(1, 48, 2, 9, 11)
    with torch.no_grad():
        expected = block(x)
        assert used
        used.clear()
        with Seen():
            assert off(expected, block(x)) < 1e-5
        assert off(expected, torch.func.vmap(block)(x[None])[0]) < 1e-5
        compiled = torch.compile(block, backend="aot_eager", fullgraph=True)
        assert off(expected, compiled(x)) < 1e-5
        block.double()(x.double())
        assert [] == used
        # which sees calls and no operators
        with Called():
            block.float()(x)
        assert used


@pytest.mark.cuda
@cuda
def test_a_sliced_input(used):
    x = draw(2, 8, 3, 9, 11)[:, 2:7]
    mean, largest = pooling.mean_and_max(x)
    assert [] == used
    torch.testing.assert_close(mean, x.mean((2, 3, 4)))
    torch.testing.assert_close(largest, x.amax((2, 3, 4)))


@pytest.mark.cuda
@cuda
@pytest.mark.parametrize("make", [CGD, PNL])
def test_under_autocast(make, used):
    textbook, fast = (randomised(make(48, path=path)).eval() for path in ("textbook", "fast"))
    x = draw(2, 48, 3, 9, 11)
    with torch.no_grad(), torch.autocast("cuda", torch.bfloat16):
        expected, got = textbook(x), fast(x)
    assert used
    assert expected.dtype == got.dtype
    assert off(expected, got) < 4e-2


@pytest.mark.cuda
@cuda
@pytest.mark.parametrize("make", [CGD, PNL])
def test_in_a_cuda_graph(make, used):
    fast = randomised(make(48, path="fast")).eval()
    x, other = draw(2, 48, 3, 9, 11), draw(2, 48, 3, 9, 11, seed=7)
    stream = torch.cuda.Stream()
    with torch.no_grad():
        expected = fast(other)
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            for _ in range(3):
                fast(x)
        torch.cuda.current_stream().wait_stream(stream)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            got = fast(x)
        x.copy_(other)
        graph.replay()
    assert used
    torch.testing.assert_close(got, expected)


def test_no_kernel_off_a_gpu():
    for device in ("cpu", "meta"):
        assert not kernels.may_run(torch.ones(2, 3, device=device))


def test_a_folder_named_triton_is_no_triton(tmp_path, monkeypatch):
    (tmp_path / "triton").mkdir()
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(torch.version, "cuda", None)
    assert not kernels._works.__wrapped__(torch.device("cuda", 0))

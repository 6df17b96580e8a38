"""Attention in tiles against matrix products: on a GPU, or with TRITON_INTERPRET=1 on a CPU."""

import os

import pytest
import torch

pytest.importorskip("triton.language")

from vidcost.models.blocks import attention_kernel
from vidcost.models.blocks.attention import WIDEST_IN_TILES
from vidcost.models.blocks.attention_kernel import attend_in_tiles

# decided when triton is imported
INTERPRETED = os.environ.get("TRITON_INTERPRET") == "1"
DEVICE = "cpu" if INTERPRETED else "cuda"
HAS_CUDA = torch.cuda.is_available()
gpu = pytest.mark.skipif(INTERPRETED or not HAS_CUDA, reason="there is no CUDA device")
either = pytest.mark.skipif(
    not (INTERPRETED or HAS_CUDA), reason="there is no CUDA device, nor TRITON_INTERPRET=1"
)
# of the norm
TOLERANCES = {torch.float32: 2e-3, torch.float16: 2e-3, torch.bfloat16: 1e-2}
# the interpreter multiplies the bits of bfloat16 as whole numbers
DTYPES = [torch.float32, torch.float16, *(() if INTERPRETED else (torch.bfloat16,))]


def draw(batch, d, queries, e, keys, dtype=torch.float32):
    """Queries, keys and values, of scores that vary by about 1."""
    generator = torch.Generator().manual_seed(3)
    shapes = (batch, d, queries), (batch, d, keys), (batch, e, keys)
    scales = d**-0.25, d**-0.25, 1.0
    return [
        (torch.randn(shape, generator=generator) * scale).to(DEVICE, dtype)
        for shape, scale in zip(shapes, scales, strict=True)
    ]


def check(query, key, value):
    """The tiles give what products of matrices give."""
    weights = (query.double().transpose(1, 2) @ key.double()).softmax(-1)
    expected = value.double() @ weights.transpose(1, 2)
    got = attend_in_tiles(query, key, value)
    assert (expected.shape, value.dtype) == (got.shape, got.dtype)
    # NaN is not less
    assert (got.double() - expected).norm() < TOLERANCES[value.dtype] * expected.norm()


NARROW = [
    (1, 8, 1, 24, 1),
    (2, 24, 37, 8, 53),
    (3, 48, 70, 96, 131),
    (1, 96, 130, 48, 64),
    (1, 128, 64, 128, 192),
    (2, 192, 65, 96, 40),
    (1, 40, 129, 11, 67),
]
WIDE = [(2, 192, 65, 384, 40), (1, 384, 33, 192, 130)]


@pytest.mark.cuda
@either
@pytest.mark.parametrize("splits", [1, 2, 3])
@pytest.mark.parametrize(
    ("shape", "dtype"),
    [
        *((shape, dtype) for shape in NARROW for dtype in DTYPES),
        *((shape, dtype) for shape in WIDE for dtype in DTYPES[1:]),
    ],
    ids=str,
)
def test_shapes(shape, dtype, splits, monkeypatch):
    monkeypatch.setattr(attention_kernel, "_splits", lambda tiles, blocks, _: min(splits, blocks))
    check(*draw(*shape, dtype=dtype))


@pytest.mark.cuda
@either
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_any_strides(dtype):
    query, key, value = draw(2, 48, 70, 24, 66, dtype=dtype)
    check(*(x.transpose(1, 2).contiguous().transpose(1, 2) for x in (query, key, value)))
    check(torch.cat([query, query], dim=1)[:, 48:], key, value)
    # one tensor as queries and keys is copied once
    x, _, value = draw(2, 24, 90, 8, 90, dtype=dtype)
    check(x, x, value)


@pytest.mark.cuda
@either
@pytest.mark.parametrize("splits", [1, 3])
def test_large_scores(splits, monkeypatch):
    """Maxima in the thousands, late, and in one part of the keys alone."""
    monkeypatch.setattr(attention_kernel, "_splits", lambda *_: splits)
    query, key, value = draw(1, 48, 40, 24, 250)
    # values that TF32 holds, and products of which single precision holds the sums
    query, key = query.round() * 8, key.round() * 8
    key[:, :, 200:] *= 4
    check(query, key, value)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_tiles_fit(dtype):
    widths = range(8, WIDEST_IN_TILES[dtype] + 1, 8)
    for d in widths:
        for e in widths:
            _, keys, _, _ = attention_kernel._tiles(d, e, dtype)
            assert attention_kernel.STAGES * keys * dtype.itemsize * (d + e) < 227 << 10
    with pytest.raises(ValueError, match="2048 and 64 channels fit into no tile"):
        attention_kernel._tiles(2048, 64, dtype)


@pytest.mark.cuda
@gpu
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize(("batch", "n", "d", "e"), [(1, 6272, 192, 192), (3, 392, 96, 96)])
def test_the_matrix_is_not_materialized(batch, n, d, e, dtype):
    inputs = draw(batch, d, n, e, n, dtype=dtype)
    check(*inputs)
    torch.cuda.synchronize()
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    attend_in_tiles(*inputs)
    used = torch.cuda.max_memory_allocated() - before
    # copies of two operands, the output, and one in single precision for each part of the keys
    rows = batch * n * (2 * d + e) * dtype.itemsize
    assert used < rows + batch * n * attention_kernel.MOST_SPLITS * (e + 2) * 4 + (1 << 20)
    if n > 6000:
        assert used < batch * n * n * dtype.itemsize / 1.5


@pytest.mark.cuda
@gpu
def test_in_a_cuda_graph():
    inputs = draw(1, 192, 1568, 192, 1568)
    expected = attend_in_tiles(*inputs)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        got = attend_in_tiles(*inputs)
    graph.replay()
    torch.testing.assert_close(got, expected)

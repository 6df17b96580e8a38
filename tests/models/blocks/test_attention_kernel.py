"""Attention in tiles against matrix products: on a GPU, or with TRITON_INTERPRET=1 on a CPU."""

import os

import pytest
import torch

pytest.importorskip("triton.language")

from vidcost.models.blocks import attention_kernel
from vidcost.models.blocks.attention_kernel import attend_in_tiles

# decided when triton is imported
INTERPRETED = os.environ.get("TRITON_INTERPRET") == "1"
DEVICE = "cpu" if INTERPRETED else "cuda"

HAS_CUDA = torch.cuda.is_available()
cuda = pytest.mark.skipif(INTERPRETED or not HAS_CUDA, reason="there is no CUDA device")
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


def reference(query, key, value):
    weights = (query.double().transpose(1, 2) @ key.double()).softmax(-1)
    return value.double() @ weights.transpose(1, 2)


def assert_close(expected, got, dtype):
    assert expected.shape == got.shape
    assert dtype == got.dtype
    # NaN is not less
    assert (got.double() - expected).norm() < TOLERANCES[dtype] * expected.norm()


SHAPES = [
    (1, 8, 1, 24, 1),
    (2, 24, 37, 8, 53),
    (3, 48, 70, 96, 131),
    (1, 96, 130, 48, 64),
    (1, 128, 64, 128, 192),
    (2, 192, 65, 384, 40),
    (1, 384, 33, 192, 130),
    (1, 40, 129, 11, 67),
]


@pytest.mark.cuda
@either
@pytest.mark.parametrize("splits", [1, 2, 3])
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_shapes(shape, dtype, splits, monkeypatch):
    monkeypatch.setattr(attention_kernel, "_splits", lambda tiles, blocks, _: min(splits, blocks))
    inputs = draw(*shape, dtype=dtype)
    assert_close(reference(*inputs), attend_in_tiles(*inputs), dtype)


@pytest.mark.cuda
@either
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_any_strides(dtype):
    query, key, value = draw(2, 48, 70, 24, 66, dtype=dtype)
    expected = reference(query, key, value)
    last = [x.transpose(1, 2).contiguous().transpose(1, 2) for x in (query, key, value)]
    assert_close(expected, attend_in_tiles(*last), dtype)
    wide = torch.cat([query, query], dim=1)[:, 48:]
    assert_close(expected, attend_in_tiles(wide, key, value), dtype)
    # one tensor as queries and keys is copied once
    x, _, value = draw(2, 24, 90, 8, 90, dtype=dtype)
    assert_close(reference(x, x, value), attend_in_tiles(x, x, value), dtype)


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
    assert_close(reference(query, key, value), attend_in_tiles(query, key, value), value.dtype)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_tiles_fit(dtype):
    for d in range(8, 513, 8):
        for e in range(8, 513, 8):
            tiles = attention_kernel._tiles(d, e, dtype)
            assert tiles.stages * tiles.keys * dtype.itemsize * (d + e) < 227 << 10
    with pytest.raises(ValueError, match="2048 and 64 channels fit into no tile"):
        attention_kernel._tiles(2048, 64, dtype)


@pytest.mark.cuda
@cuda
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize(
    ("batch", "n", "d", "e"),
    [(1, 6272, 192, 192), (8, 1568, 48, 48), (3, 392, 96, 96), (1, 3136, 384, 192)],
)
def test_the_matrix_is_not_materialized(batch, n, d, e, dtype):
    inputs = draw(batch, d, n, e, n, dtype=dtype)
    attend_in_tiles(*inputs)
    torch.cuda.synchronize()
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    got = attend_in_tiles(*inputs)
    used = torch.cuda.max_memory_allocated() - before
    assert_close(reference(*inputs), got, dtype)
    # copies of two operands, the output, and one in single precision for each part of the keys
    rows = batch * n * (2 * d + e) * dtype.itemsize
    assert used < rows + batch * n * attention_kernel.MOST_SPLITS * (e + 2) * 4 + (1 << 20)
    if n > 6000:
        assert used < batch * n * n * dtype.itemsize / 1.5


@pytest.mark.cuda
@cuda
def test_in_a_cuda_graph():
    inputs = draw(1, 192, 1568, 192, 1568)
    expected = attend_in_tiles(*inputs)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        got = attend_in_tiles(*inputs)
    graph.replay()
    torch.testing.assert_close(got, expected)

"""Softmax attention in tiles that stay on the chip, by one kernel.

It serves where torch's fused attention is slow on a GPU: single precision with TF32 products, and
half precision of wide or unequally wide operands.

Shapes: B batch, D width of queries and keys, E width of values, P queries, K keys, S parts of the
keys. A tile has M queries and N keys. Arguments of kernels without a type are tensors.
"""
# mypy: allow-untyped-defs, allow-incomplete-defs, allow-untyped-calls
# ruff: noqa: N803

import torch
import torch.nn.functional as F
import triton
import triton.language as tl
from torch import Tensor
from triton.language import constexpr

from vidcost.models.blocks.attention import SHARED

MOST_SPLITS = 16
"""Parts of the keys at most: each writes an output of its own, in single precision."""

STARTING = 4
"""Tiles of keys that take as long as a program's beginning and end."""

ROW = 8
"""Values that rows of keys are rounded up to: 16 bytes in half precision, as wide as loads are."""

LEAST = 16
"""The narrowest operands that Triton multiplies."""

Tiles = tuple[int, int, int, int]
"""Queries and keys of a program's tiles, its warps, and programs on one multiprocessor."""

TILES: tuple[Tiles, ...] = ((128, 64, 8, 1), (128, 32, 8, 1), (64, 32, 8, 1))
"""In order of preference."""

STAGES = 2
"""Buffers for tiles of keys and of values."""


def attend_in_tiles(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """The values, weighed for each query by the softmax over keys of query . key, unscaled.

    Without a gradient. Products of single precision have TF32's ten bits, sums are of single
    precision. All three of one type. Nothing of P x K is materialized: only a transposed copy of
    the queries and of the keys, and S outputs in single precision where keys are taken in parts.

    Shapes: (B, D, P), (B, D, K), (B, E, K) -> (B, E, P), whose channels are side by side.
    """
    batch, d, queries = query.shape
    e, keys = value.shape[1:]
    (d1, d2), (e1, e2) = _pieces(d), _pieces(e)
    m, n, warps, resident = _tiles(d, e, query.dtype)
    rows = triton.cdiv(queries, m)
    blocks = triton.cdiv(keys, n)
    chips = 1
    if query.is_cuda:
        chips = torch.cuda.get_device_properties(query.device).multi_processor_count
    per_split = triton.cdiv(blocks, _splits(batch * rows, blocks, resident * chips))
    # none without a key
    splits = triton.cdiv(blocks, per_split)
    out, maxima, sums = query.new_empty(batch, queries, e), None, None
    if splits > 1:
        out = query.new_empty(splits, batch, queries, e, dtype=torch.float32)
        # apart, since a part of a tensor may begin anywhere, for which kernels are compiled anew
        maxima, sums = (out.new_empty(splits, batch, queries, 1) for _ in range(2))
    # an odd number of keys would leave most rows of values unaligned; the weights beyond are 0
    beyond = -keys % ROW
    v = F.pad(value, (0, beyond)) if beyond else value.contiguous()
    q = _positions_first(query)
    k = q if key is query else _positions_first(key)
    sizes = queries, keys, v.shape[2] // ROW, per_split, rows
    widths = {"D": d, "E": e, "D1": d1, "D2": d2, "E1": e1, "E2": e2, "M": m, "N": n}
    # the blocks of a part begin at multiples of N
    widths |= {"ROW": ROW, "WHOLE": keys % n == 0}
    with torch.cuda.device_of(query):
        _attend[(rows * splits, batch)](
            *(out, maxima, sums, q, k, v, *sizes), **widths, num_warps=warps, num_stages=STAGES
        )
    if maxima is not None and sums is not None:
        # what the parts of the keys found, as one
        shares = torch.exp2(maxima - maxima.amax(0))
        out = out.mul_(shares / (shares * sums).sum(0)).sum(0).to(query.dtype)
    return out.transpose(1, 2)


def _tiles(d: int, e: int, dtype: torch.dtype) -> Tiles:
    """The first tiles that fit into the 227 KB of shared memory of an H100.

    Queries stay there, and tiles of keys and of values have a buffer for each stage. Outputs stay
    in registers, in at most 128 of the 255 that a thread has.
    """
    d, e = sum(_pieces(d)), sum(_pieces(e))
    if max(d, e) <= 64:
        return 64, 64, 4, 3
    for queries, keys, warps, resident in TILES:
        values = queries * d + STAGES * keys * (d + e)
        if values * dtype.itemsize <= SHARED and queries * e <= 128 * 32 * warps:
            return queries, keys, warps, resident
    raise ValueError(f"operands of {d} and {e} channels fit into no tile")


def _pieces(width: int) -> tuple[int, int]:
    """Two powers of two that are a width together, or little more; the second can be 0."""
    first = max(LEAST, 1 << width.bit_length() - 1)
    rest = width - first
    return first, max(LEAST, 1 << (rest - 1).bit_length()) if rest > 0 else 0


def _splits(tiles: int, blocks: int, programs: int) -> int:
    """Parts of the keys with which the last wave of programs ends soonest."""

    def time(splits: int) -> int:
        waves: int = triton.cdiv(tiles * splits, programs)
        longest: int = triton.cdiv(blocks, splits)
        return waves * (longest + STARTING)

    return min(range(1, min(MOST_SPLITS, blocks) + 1), key=time)


def _positions_first(x: Tensor) -> Tensor:
    """A contiguous copy (B, D, P) -> (B, P, D), in single precision rounded to TF32.

    The tensor cores' products would cut the bits beyond off, which makes large scores smaller.
    """
    turned = x.transpose(1, 2).contiguous()
    if x.dtype != torch.float32:
        return turned
    # half of the last place that stays, and no bits below it; infinities keep theirs
    rounded = ((turned.view(torch.int32) + 0x1000) & -0x2000).view(torch.float32)
    return torch.where(turned.isfinite(), rounded, turned)


@triton.jit
def _block(x, row, column, rows, columns, stride, WHOLE: constexpr) -> tl.tensor:
    """Rows and columns of a matrix (rows, columns), with 0 for those beyond it unless WHOLE."""
    at = x + row[:, None] * stride + column[None, :]
    if WHOLE:
        return tl.load(at)
    return tl.load(at, mask=(row < rows)[:, None] & (column < columns)[None, :], other=0.0)


@triton.jit
def _store(out, values, row, column, rows, columns: constexpr) -> None:
    """Rows and columns of a matrix (rows, columns), without those beyond it."""
    inside = (row < rows)[:, None] & (column < columns)[None, :]
    at = out + row[:, None] * columns + column[None, :]
    tl.store(at, values.to(out.dtype.element_ty), mask=inside)


@triton.jit(do_not_specialize=["queries", "keys", "stride", "per_split", "rows"])
def _attend(
    out,
    maxima,
    sums,
    q,
    k,
    v,
    queries,
    keys,
    stride,
    per_split,
    rows,
    D: constexpr,
    E: constexpr,
    D1: constexpr,
    D2: constexpr,
    E1: constexpr,
    E2: constexpr,
    M: constexpr,
    N: constexpr,
    ROW: constexpr,
    WHOLE: constexpr,
) -> None:
    """M queries of one clip, and one part of the keys: ``per_split`` tiles of N.

    q (B, P, D), k (B, K, D), v (B, E, stride * ROW): the tensor cores want 32-bit operands so.
    Without maxima, out is (B, P, E) and done; else it is (S, B, P, E), which the sums (S, B, P) of
    weights are yet to divide, and the maxima (S, B, P) are those of the scores in bits.
    """
    b, split = tl.program_id(1).to(tl.int64), tl.program_id(0) // rows
    m = tl.program_id(0) % rows * M + tl.arange(0, M)
    # a multiple of ROW whatever the keys, so that rows and masks are known to be aligned
    stride = stride * ROW
    q += b * queries * D
    k += b * keys * D
    v += b * E * stride

    # widths in two pieces, since the power of two above them could be a third of padding
    q1 = _block(q, m, tl.arange(0, D1), queries, D, D, False)
    attended1 = tl.zeros((M, E1), tl.float32)
    if D2 > 0:
        q2 = _block(q, m, D1 + tl.arange(0, D2), queries, D, D, False)
    if E2 > 0:
        attended2 = tl.zeros((M, E2), tl.float32)
    largest = tl.full((M,), -float("inf"), tl.float32)
    total = tl.zeros((M,), tl.float32)

    first = split * per_split * N
    for start in range(first, tl.minimum(first + per_split * N, keys), N):
        n = start + tl.arange(0, N)
        k1 = _block(k, n, tl.arange(0, D1), keys, D, D, WHOLE and D1 <= D)
        scores = tl.dot(q1, k1.trans(), input_precision="tf32")
        if D2 > 0:
            k2 = _block(k, n, D1 + tl.arange(0, D2), keys, D, D, WHOLE and D1 + D2 == D)
            scores = tl.dot(q2, k2.trans(), scores, input_precision="tf32")
        scores *= 1.4426950408889634  # bits
        if not WHOLE:
            scores = tl.where((n < keys)[None, :], scores, -float("inf"))
        larger = tl.maximum(largest, tl.max(scores, 1))
        weights = tl.exp2(scores - larger[:, None])
        shrunk = tl.exp2(largest - larger)
        total = total * shrunk + tl.sum(weights, 1)
        largest = larger
        weights = weights.to(v.dtype.element_ty)
        v1 = _block(v, tl.arange(0, E1), n, E, stride, stride, WHOLE and E1 <= E)
        attended1 *= shrunk[:, None]
        attended1 = tl.dot(weights, v1.trans(), attended1, input_precision="tf32")
        if E2 > 0:
            v2 = _block(v, E1 + tl.arange(0, E2), n, E, stride, stride, WHOLE and E1 + E2 == E)
            attended2 *= shrunk[:, None]
            attended2 = tl.dot(weights, v2.trans(), attended2, input_precision="tf32")

    if maxima is not None:
        b += split * tl.num_programs(1).to(tl.int64)
        tl.store(maxima + b * queries + m, largest, mask=m < queries)
        tl.store(sums + b * queries + m, total, mask=m < queries)
        share = tl.full((M,), 1.0, tl.float32)
    else:
        share = 1.0 / total
    out += b * queries * E
    _store(out, attended1 * share[:, None], m, tl.arange(0, E1), queries, E)
    if E2 > 0:
        _store(out, attended2 * share[:, None], m, E1 + tl.arange(0, E2), queries, E)

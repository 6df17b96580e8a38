"""Softmax attention that holds no large matrix of all queries by all keys.

Shapes: B batch, D width of queries and keys, E width of values, P queries, K keys; channels first,
as convolutions leave them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from vidcost.models.blocks.kernels import may_run, wants_gradient
from vidcost.models.blocks.slices import SlicedAttention, sliced
from vidcost.models.blocks.symmetric import SymmetricAttention

FEW = 1 << 20
"""Scores that are held as a matrix on a CPU: 4 MB in single precision, which caches hold."""

FEW_ON_GPU = 1 << 25
"""The same on a GPU, 134 MB: kernels that hold none take longer to launch than so few take, and
have too few queries to keep all of it busy."""

HELD = 1 << 22
"""Scores up to which they are held on a CPU where there is no fused kernel, or one that would
compute wide products anew for the gradients: slices save nothing then."""

WIDE = 128
"""Channels of queries and keys above which computing few scores anew takes longer than holding them
saves. Between 2^20 and 2^22 scores, measured on one and two cores."""

WIDEST = 256
"""Channels up to which torch's kernels for half precision use a GPU's matrix units."""

WIDEST_IN_TILES = {torch.float32: 192, torch.bfloat16: 512, torch.float16: 512}
"""Channels up to which our kernel has tiles that are large enough."""

SHARED = 227 << 10
"""Bytes that a program can have on the chip of an H100, for which our kernel's tiles are cut."""

QUERIES = 64
"""Of a program of torch's kernel in single precision."""

HALF = (torch.bfloat16, torch.float16)


def attend(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """The values, weighed for each query by the softmax over keys of query . key, unscaled.

    Few scores are held. Else it is torch's fused attention, unless that holds the matrix, as on a
    CPU where D differs from E, or leaves a GPU's matrix units unused. Then, and where a tracer or a
    run on shapes alone is to see the products or fused kernels are switched off, the queries are
    taken in slices; on a GPU, where no gradient is wanted, in tiles by a kernel of ours. All but
    the held matrix compute the scores anew for the gradients. The MACs are those of the
    whole matrices, BPK(D + E), and 2BPK(D + E) for the gradients, or BPK(3D + 2E) where scores are
    computed anew.

    Shapes: (B, D, P), (B, D, K), (B, E, K) -> (B, E, P).
    """
    if _holds(query, key, value):
        # B P D @ B D K -> B P K;  B P K @ B K E -> B P E
        return ((query.transpose(1, 2) @ key).softmax(-1) @ value.transpose(1, 2)).transpose(1, 2)
    query, key, value = _of_one_dtype(query, key, value)
    if _has_fused(query, value) and not _is_taken_apart(query):
        return _fused(query, key, value)
    if _fits_tiles(query, key, value):
        from vidcost.models.blocks.attention_kernel import attend_in_tiles

        return attend_in_tiles(query, key, value)
    if wants_gradient(query, key, value) and not _is_traced():
        return SlicedAttention.apply(query, key, value)  # type: ignore[no-any-return,no-untyped-call]
    return sliced(query, key, value)


def attend_itself(x: Tensor, value: Tensor) -> Tensor:
    """``attend(x, x, value)``, whose scores are symmetric.

    Where the gradients take neither a held matrix nor a fused kernel, that saves one of five
    products and half of another: see :class:`SymmetricAttention`.

    Shapes: (B, D, P), (B, E, P) -> (B, E, P).
    """
    # its tiles are too small for a GPU
    as_any = x.is_cuda or _holds(x, x, value) or _has_fused(x, value) or _is_traced()
    if wants_gradient(x, value) and not as_any:
        return SymmetricAttention.apply(*_of_one_dtype(x, value))  # type: ignore[no-any-return,no-untyped-call]
    return attend(x, x, value)


def holds(
    scores: int, width: int, width_of_values: int, on_gpu: bool, is_training: Callable[[], bool]
) -> bool:
    """Whether the matrix of so many ``scores`` is held: of all clips, queries and keys.

    ``width`` is that of queries and keys.
    """
    if on_gpu:
        return scores <= FEW_ON_GPU
    if scores <= FEW:
        return True
    return scores <= HELD and (width != width_of_values or (width > WIDE and is_training()))


def _holds(query: Tensor, key: Tensor, value: Tensor) -> bool:
    scores = query.shape[0] * query.shape[2] * key.shape[2]
    widths = query.shape[1], value.shape[1]
    return holds(scores, *widths, query.is_cuda, lambda: wants_gradient(query, key, value))


def _has_fused(query: Tensor, value: Tensor) -> bool:
    """Whether torch has an attention for these that holds no matrix, and is no slower for it.

    On a GPU its kernel for whatever is not half precision of equal widths multiplies in single
    precision: right where TF32 is off, and a third as fast as TF32 where it is on.
    """
    equal = query.shape[1] == value.shape[1]
    if not query.is_cuda:
        return equal
    if query.dtype in HALF:
        return equal and query.shape[1] <= WIDEST
    return query.dtype == torch.float32 and not _multiplies_in_tf32()


def _fits_tiles(query: Tensor, key: Tensor, value: Tensor) -> bool:
    """Whether our kernel takes these, and they were not better off with torch's."""
    if _is_taken_apart(query) or wants_gradient(query, key, value):
        return False
    if not may_run(query, key, value) or not query.dtype == key.dtype == value.dtype:
        return False
    if query.dtype == torch.float32 and not _multiplies_in_tf32():
        return False
    chip = torch.cuda.get_device_properties(query.device)
    if getattr(chip, "shared_memory_per_block_optin", 0) < SHARED:
        return False
    return max(query.shape[1], value.shape[1]) <= WIDEST_IN_TILES[query.dtype]


def _multiplies_in_tf32() -> bool:
    # a compiler cannot look at the switch
    return not torch.compiler.is_compiling() and (
        # follows set_float32_matmul_precision and allow_tf32, whose own getters refuse to answer
        # who has set it here
        torch.backends.cuda.matmul.fp32_precision == "tf32"
    )


def _fused(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    # the kernels want each position's channels side by side
    q, k, v = (_side_by_side(x.transpose(1, 2)).unsqueeze(1) for x in (query, key, value))
    if (parts := _parts(q, k, v)) > 1 and not wants_gradient(q, k, v):
        return _fused_in_parts(q, k, v, parts).transpose(1, 2)
    attended = F.scaled_dot_product_attention(q, k, v, scale=1.0)  # B 1 P E
    return attended.squeeze(1).transpose(1, 2)


def _side_by_side(x: Tensor) -> Tensor:
    fits = x.stride(2) == 1 and (not x.is_cuda or _is_aligned(x))
    return x if fits else x.contiguous()


def _is_aligned(x: Tensor) -> bool:
    """Whether each row begins at a multiple of 16 bytes, as a GPU's kernels want them."""
    # a compiler cannot look at the offset
    return not torch.compiler.is_compiling() and all(
        step * x.element_size() % 16 == 0 for step in (x.stride(0), x.stride(1), x.storage_offset())
    )


def _parts(query: Tensor, key: Tensor, value: Tensor) -> int:
    """Into how many parts keys are cut, so that few queries keep all of a GPU busy.

    Its kernel in single precision has a program for some queries, and wants rows of 16 bytes. Half
    precision has kernels that need no such help.
    """
    if not query.is_cuda or query.dtype != torch.float32 or torch.compiler.is_compiling():
        return 1
    # torch's own call would look at these, and take another kernel
    aligned = query.shape[3] % 4 == 0 and value.shape[3] % 4 == 0
    if not aligned or torch.version.hip or not torch._C._get_mem_efficient_sdp_enabled():
        return 1
    processors = torch.cuda.get_device_properties(query.device).multi_processor_count
    programs = query.shape[0] * -(-query.shape[2] // QUERIES)
    return next((n for n in (4, 2) if programs < 2 * processors and key.shape[2] % n == 0), 1)


def _fused_in_parts(query: Tensor, key: Tensor, value: Tensor, parts: int) -> Tensor:
    """Attention to each part of the keys as a head of its own, joined by the weights of the parts.

    Shapes: (B, 1, P, D), (B, 1, K, D), (B, 1, K, E) -> (B, P, E).
    """
    k, v = (x.reshape(len(x), parts, -1, x.shape[3]) for x in (key, value))  # B n K/n D, E
    attended, log_sums, *_ = torch.ops.aten._scaled_dot_product_efficient_attention(
        query.expand(-1, parts, -1, -1), k, v, None, True, scale=1.0
    )
    # rows of sums are padded
    share = log_sums[:, :, : query.shape[2], None].softmax(1)  # B n P 1
    return (attended * share).sum(1)  # type: ignore[no-any-return]


def _is_taken_apart(query: Tensor) -> bool:
    """Whether fused kernels are not to be had, or their parts are to be seen."""
    if query.is_meta or _is_traced():
        return True
    # a compiler cannot look at the switches, and takes the kernel
    return not torch.compiler.is_compiling() and not (
        torch._C._get_flash_sdp_enabled() or torch._C._get_mem_efficient_sdp_enabled()
    )


def _is_traced() -> bool:
    return torch.jit.is_tracing()  # type: ignore[attr-defined,no-untyped-call,no-any-return]


def _of_one_dtype(*tensors: Tensor) -> Sequence[Tensor]:
    """Under autocast in its type, as a matrix product there would have them."""
    device = tensors[0].device.type
    if not (torch.amp.is_autocast_available(device) and torch.is_autocast_enabled(device)):
        return tensors
    return tuple(x.to(torch.get_autocast_dtype(device)) for x in tensors)

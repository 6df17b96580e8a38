"""Softmax attention that does not materialize the matrix of all queries by all keys.

Shapes: B batch, D width of queries and keys, E width of values, P queries, K keys; channels first,
as convolutions return them.
"""

from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.checkpoint import checkpoint

SCORES = 1 << 20
"""Scores of a slice: 4 MB in single precision, which caches hold."""

FEWEST_QUERIES = 512
"""Of a slice, however many keys there are: products of fewer queries are slow on a CPU."""


def attend(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """Sum the values, weighted for each query by the softmax over keys of query . key, unscaled.

    It is torch's fused attention. On a CPU that materializes the matrix where D differs from E, so
    slices of queries take its place. On the meta device, under a tracer and where fused kernels are
    disabled, the products are operators, in slices.

    Where one key has nearly all the weight of a query, the gradients of queries and keys are small
    differences of large numbers: implementations differ in them by much more than in the output.
    Second derivatives are those of the products, or torch's error that it has none.

    Shapes: (B, D, P), (B, D, K), (B, E, K) -> (B, E, P).
    Cost:   MACs BPK(D + E); the gradients BPK(3D + 2E), since scores are computed again.
    """
    if _shows_products(query):
        return attend_in_slices(query, key, value)
    if not query.is_cuda and query.shape[1] != value.shape[1]:
        return attend_in_slices(query, key, value)
    # the kernels read a position's channels as a row; B 1 P D
    q, k, v = (x.transpose(1, 2).contiguous().unsqueeze(1) for x in (query, key, value))
    attended = F.scaled_dot_product_attention(q, k, v, scale=1.0)
    return attended.squeeze(1).transpose(1, 2)


def attend_in_slices(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """Compute the same function from products of some queries at a time with all keys.

    The backward pass computes the scores of each slice again.
    """
    queries, values = query.transpose(1, 2), value.transpose(1, 2)  # B P D, B K E
    # a tracer cannot see through a checkpoint
    recompute = _wants_gradient(query, key, value) and not _is_traced()
    weigh = _weigh
    if recompute:
        weigh = partial(checkpoint, _weigh, use_reentrant=False, preserve_rng_state=False)
    size = max(FEWEST_QUERIES, SCORES // key.shape[2])
    parts = [weigh(some, key, values) for some in torch.split(queries, size, dim=1)]
    return torch.cat(parts, dim=1).transpose(1, 2)


def _weigh(queries: Tensor, key: Tensor, values: Tensor) -> Tensor:
    # B p D @ B D K -> B p K;  B p K @ B K E -> B p E
    return (queries @ key).softmax(-1) @ values


def _shows_products(query: Tensor) -> bool:
    if query.is_meta or _is_traced():
        return True
    # a compiler cannot read the switches, and gets the fused kernel
    if torch.compiler.is_compiling():
        return False
    switches = torch.backends.cuda
    return not (switches.flash_sdp_enabled() or switches.mem_efficient_sdp_enabled())  # type: ignore[no-untyped-call]


def _is_traced() -> bool:
    return torch.jit.is_tracing()  # type: ignore[attr-defined,no-untyped-call,no-any-return]


def _wants_gradient(*tensors: Tensor) -> bool:
    return torch.is_grad_enabled() and any(x.requires_grad for x in tensors)

"""Softmax attention that holds no matrix of all queries by all keys.

Shapes: B batch, D width of queries and keys, E width of values, P queries, K keys; channels first,
as convolutions leave them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

HELD = 1 << 22
"""Scores up to which the whole matrix is held: 16 MB in single precision. Slices save nothing then,
and have to compute it twice for gradients."""

SLICE = 1 << 20
"""Scores in a slice of a larger one: 4 MB in single precision, which caches hold."""

FEWEST_QUERIES = 64
"""Of a slice, however many keys there are: thinner products are slow."""


def attend(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """The values, weighed for each query by the softmax over keys of query . key, unscaled.

    On CUDA it is torch's fused attention. That knows no widths E other than D on a CPU and was
    slower there, so elsewhere the queries are taken in slices, whose scores are computed anew for
    the gradients; all in one if there are few. The MACs are those of the whole matrices,
    BPK(D + E).

    Shapes: (B, D, P), (B, D, K), (B, E, K) -> (B, E, P).
    """
    few = query.shape[0] * query.shape[2] * key.shape[2] <= HELD
    if few and not query.is_cuda:
        return ((query.transpose(1, 2) @ key).softmax(-1) @ value.transpose(1, 2)).transpose(1, 2)
    query, key, value = _of_one_dtype(query, key, value)
    if query.is_cuda:
        # the fused kernels want each position's channels side by side
        q, k, v = (x.transpose(1, 2).contiguous().unsqueeze(1) for x in (query, key, value))
        attended = F.scaled_dot_product_attention(q, k, v, scale=1.0)  # B 1 P E
        return attended.squeeze(1).transpose(1, 2)
    if torch.is_grad_enabled() and any(x.requires_grad for x in (query, key, value)):
        return _Attention.apply(query, key, value)  # type: ignore[no-any-return,no-untyped-call]
    return _sliced(query, key, value)


def _of_one_dtype(*tensors: Tensor) -> Sequence[Tensor]:
    """Under autocast in its type, as a matrix product there would have them."""
    device = tensors[0].device.type
    if not (torch.amp.is_autocast_available(device) and torch.is_autocast_enabled(device)):
        return tensors
    return tuple(x.to(torch.get_autocast_dtype(device)) for x in tensors)


def _slices(batch: int, queries: int, keys: int) -> Iterator[tuple[slice, slice]]:
    """Of the batch and of the queries: a few queries of one item."""
    size = max(FEWEST_QUERIES, SLICE // keys)
    for item in range(batch):
        for start in range(0, queries, size):
            yield slice(item, item + 1), slice(start, min(start + size, queries))


def _sliced(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    queries, values = query.transpose(1, 2), value.transpose(1, 2).contiguous()  # B P D, B K E
    attended = queries.new_empty((*queries.shape[:2], values.shape[2]))
    for item, some in _slices(queries.shape[0], queries.shape[1], key.shape[2]):
        # b p D @ b D K -> b p K;  b p K @ b K E -> b p E
        attended[item, some] = (queries[item, some] @ key[item]).softmax(-1) @ values[item]
    return attended.transpose(1, 2)


class _Attention(torch.autograd.Function):
    """The same with gradients: five products in the backward pass, where four need the matrix."""

    @staticmethod
    def forward(ctx: Any, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        ctx.save_for_backward(query, key, value)
        return _sliced(query, key, value)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        query, key, value = ctx.saved_tensors
        queries, grads = query.transpose(1, 2), grad.transpose(1, 2)  # B P D, B P E
        # half precision would lose what many slices add
        held = torch.promote_types(query.dtype, torch.float32)
        to_key, to_value = (x.new_zeros(x.shape, dtype=held) for x in (key, value))
        to_query = torch.empty_like(queries)
        for item, some in _slices(queries.shape[0], queries.shape[1], key.shape[2]):
            weights = (queries[item, some] @ key[item]).softmax(-1)  # b p K
            # b E p @ b p K -> b E K
            _add_product(to_value[item], grads[item, some].transpose(1, 2), weights)
            # b p E @ b E K -> b p K
            to_weights = grads[item, some] @ value[item]
            to_scores = torch._softmax_backward_data(to_weights, weights, -1, weights.dtype)
            # b p K @ b K D -> b p D;  b D p @ b p K -> b D K
            to_query[item, some] = to_scores @ key[item].transpose(1, 2)
            _add_product(to_key[item], queries[item, some].transpose(1, 2), to_scores)
        return to_query.transpose(1, 2), to_key.to(key.dtype), to_value.to(value.dtype)


def _add_product(held: Tensor, left: Tensor, right: Tensor) -> None:
    if held.dtype == left.dtype:
        held.baddbmm_(left, right)
    else:
        held += left @ right

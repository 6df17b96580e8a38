"""Softmax attention in slices of queries, whose scores are few.

Shapes: B batch, D width of queries and keys, E width of values, P queries, K keys, p queries of a
slice.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from vidcost.models.blocks.kernels import PLAIN, is_watched, wants_gradient

SLICE = 1 << 20
"""Scores in a slice: 4 MB in single precision, which caches hold."""

SLICE_ON_GPU = 1 << 25
"""The same on a GPU, as many as are held there anyway. Fewer leave it partly idle: on an H100
slices of 2^22 took twice as long as the matrix."""

FEWEST_QUERIES = 512
"""Of a slice, however many keys there are: thinner products are slow, more so than what a cache
does not hold."""


def slices(queries: Tensor, keys: int) -> Iterator[tuple[int, slice]]:
    """An item of the batch of ``queries``, (B, P, D), and a few of them, until all were there."""
    batch, positions, _ = queries.shape
    size = queries_of_a_slice(queries, keys)
    for item in range(batch):
        for start in range(0, positions, size):
            yield item, slice(start, min(start + size, positions))


def queries_of_a_slice(queries: Tensor, keys: int) -> int:
    """How many of them, (B, P, D), a slice has, unless it is the last one."""
    scores = SLICE_ON_GPU if queries.is_cuda else SLICE
    return max(1, min(max(FEWEST_QUERIES, scores // keys), queries.shape[1]))


def memory(queries: Tensor, key: Tensor) -> Tensor | None:
    """On a CPU, for the scores and weights of each slice; or none, where each has its own.

    The system gives out what is as large page by page, for each slice anew.

    Shapes: (B, P, D), (B, D, K) -> (2, p, K).
    """
    if not _may_write_over(queries, key):
        return None
    keys = key.shape[2]
    return queries.new_empty((2, queries_of_a_slice(queries, keys), keys))


def weigh(queries: Tensor, key: Tensor, held: Tensor | None) -> tuple[Tensor, Tensor]:
    """Scores of a slice and their softmax, in :func:`memory`, which the next slice writes over.

    Shapes: (p, D), (D, K) -> (p, K) twice.
    """
    if held is None:
        scores = queries @ key
        return scores, scores.softmax(-1)
    scores, weights = held[:, : len(queries)]
    torch.mm(queries, key, out=scores)
    torch.softmax(scores, -1, out=weights)
    return scores, weights


def _may_write_over(*tensors: Tensor) -> bool:
    """Whether results may go where others were, which torch differentiates in no mode."""
    return (
        all(type(x) in PLAIN and x.device.type == "cpu" for x in tensors)
        and not torch.compiler.is_compiling()
        and not is_watched()
        and not wants_gradient(*tensors)
    )


def sliced(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """Attention without gradients: (B, D, P), (B, D, K), (B, E, K) -> (B, E, P)."""
    queries, values = query.transpose(1, 2), value.transpose(1, 2).contiguous()  # B P D, B K E
    attended = queries.new_empty((*queries.shape[:2], values.shape[2]))
    held = memory(queries, key)
    for item, some in slices(queries, key.shape[2]):
        # p K @ K E -> p E, and no name for what the next slice does without
        attended[item, some] = weigh(queries[item, some], key[item], held)[1] @ values[item]
    return attended.transpose(1, 2)


class SlicedAttention(torch.autograd.Function):
    """The same with gradients: five products in the backward pass, where four need the matrix."""

    @staticmethod
    def forward(ctx: Any, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        ctx.save_for_backward(query, key, value)
        return sliced(query, key, value)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        query, key, value = ctx.saved_tensors
        queries, grads = query.transpose(1, 2), grad.transpose(1, 2)  # B P D, B P E
        # half precision would lose what many slices add
        exact = torch.promote_types(query.dtype, torch.float32)
        to_key, to_value = (x.new_zeros(x.shape, dtype=exact) for x in (key, value))
        to_query = torch.empty_like(queries)
        held = memory(queries, key)
        for item, some in slices(queries, key.shape[2]):
            _, weights = weigh(queries[item, some], key[item], held)  # p K
            # E p @ p K -> E K
            add_product(to_value[item], grads[item, some].t(), weights)
            # p E @ E K -> p K
            to_weights = grads[item, some] @ value[item]
            to_scores = torch._softmax_backward_data(to_weights, weights, -1, weights.dtype)
            # p K @ K D -> p D;  D p @ p K -> D K
            to_query[item, some] = to_scores @ key[item].t()
            add_product(to_key[item], queries[item, some].t(), to_scores)
        return to_query.transpose(1, 2), to_key.to(key.dtype), to_value.to(value.dtype)


def add_product(held: Tensor, left: Tensor, right: Tensor) -> None:
    """``held += left @ right``, also where ``held`` is of another type than the two."""
    if held.dtype == left.dtype:
        held.addmm_(left, right)
    else:
        held += left @ right

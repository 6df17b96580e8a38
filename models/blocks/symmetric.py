"""Attention of positions to themselves, in training: what its symmetric scores save.

Shapes: B batch, D width of the input, E width of values, P positions, p and q positions of tiles.
"""

from __future__ import annotations

from math import e, log2
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from vidcost.models.blocks.slices import add_product, memory, slices, weigh

TILE = 512
"""Positions of a tile's side: its scores are 1 MB in single precision, which caches hold."""


class SymmetricAttention(torch.autograd.Function):
    """Values weighed by the softmax over j of x_i . x_j, and the gradients of x and the values.

    With S the gradients of the scores, x gets (S + S^T) x: one product, where queries and keys
    that differ get one each. And x_i . x_j is computed anew only for tiles on or above the
    diagonal, each of which stands for its mirror image as well. So the backward pass takes
    B(P^2 (D + 2E) + D (P^2 + sum_t p_t^2) / 2) MACs, with p_t the positions of tile t, instead of
    2BP^2 (D + E) that hold the matrix.

    Shapes: (B, D, P), (B, E, P) -> (B, E, P).
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, value: Tensor) -> Tensor:
        attended, *tops = _attended(x, value)
        ctx.save_for_backward(x, value, attended, *tops)
        return attended.transpose(1, 2)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor]:
        x, value, attended, top_score, top_weight = ctx.saved_tensors
        # what the softmax takes off a query's gradients: B P 1
        mean = (grad.transpose(1, 2) * attended).sum(-1, keepdim=True, dtype=top_score.dtype)
        to_x, to_value = (
            y.new_zeros((len(y), y.shape[2], y.shape[1]), dtype=top_score.dtype) for y in (x, value)
        )
        for item in range(len(x)):
            _add_gradients(
                to_x[item],
                to_value[item],
                *(y[item] for y in (x, value, grad, top_score, top_weight, mean)),
            )
        return (
            to_x.transpose(1, 2).to(x.dtype),
            to_value.transpose(1, 2).to(value.dtype),
        )


def _attended(x: Tensor, value: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """B P E; and of each query its largest score and that one's weight, as its log2: B P 1."""
    queries, values = x.transpose(1, 2), value.transpose(1, 2).contiguous()  # B P D, B P E
    attended = queries.new_empty((*queries.shape[:2], values.shape[2]))
    # half precision has too few digits for scores of which an exponential is taken
    exact = torch.promote_types(x.dtype, torch.float32)
    top_score, top_weight = (
        queries.new_empty((*queries.shape[:2], 1), dtype=exact) for _ in range(2)
    )
    held = memory(queries, x)
    for item, some in slices(queries, x.shape[2]):
        scores, weights = weigh(queries[item, some], x[item], held)  # p P
        top_score[item, some] = scores.amax(-1, keepdim=True).to(exact)
        top_weight[item, some] = weights.amax(-1, keepdim=True).to(exact).log2()
        attended[item, some] = weights @ values[item]  # p P @ P E -> p E
    return attended, top_score, top_weight


def _add_gradients(
    to_x: Tensor,
    to_value: Tensor,
    x: Tensor,
    value: Tensor,
    grad: Tensor,
    top_score: Tensor,
    top_weight: Tensor,
    mean: Tensor,
) -> None:
    """Of one item of the batch.

    Shapes: to_x P D, to_value P E, x D P, value and grad E P, the rest P 1.
    """
    rows, values, grads = (y.t().contiguous() for y in (x, value, grad))  # P D, P E, P E
    positions = len(rows)
    tiles = [slice(a, min(a + TILE, positions)) for a in range(0, positions, TILE)]

    def weights(scores: Tensor, top_score: Tensor, top_weight: Tensor) -> Tensor:
        # torch's exp takes over 100 times as long where the result is subnormal, as for
        # many pairs of a Gaussian; its exp2 does not
        return torch.add(top_weight, scores - top_score, alpha=log2(e)).exp2_().to(x.dtype)

    def to_scores(of_weights: Tensor, weight: Tensor, off: Tensor) -> Tensor:
        return of_weights.sub_(off).mul_(weight)

    for t, i in enumerate(tiles):
        for j in tiles[t:]:
            scores = rows[i] @ x[:, j]  # p D @ D q -> p q
            weight = weights(scores, top_score[i], top_weight[i])
            add_product(to_value[j], weight.t(), grads[i])
            through = to_scores(grads[i] @ value[:, j], weight, mean[i])
            if i == j:
                add_product(to_x[i], through + through.t(), rows[i])
                continue
            # the mirror image: keys of i for the queries of j, laid out p q as well
            weight = weights(scores, top_score[j].t(), top_weight[j].t())
            add_product(to_value[i], weight, grads[j])
            through += to_scores(values[i] @ grad[:, j], weight, mean[j].t())
            add_product(to_x[i], through, rows[j])
            add_product(to_x[j], through.t(), rows[i])

"""Sums of values weighed by ReLU(a + b), without the matrix of all a by all b.

Shapes: B batch, E width of values, P queries, K keys.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

MATRIX = 1 << 18
"""Pairs of a query and a key up to which the matrix of all pairs is used, since it is faster."""


def rectified_sums(a: Tensor, b: Tensor, value: Tensor) -> Tensor:
    """For each query i the sum over keys j of ReLU(a_i + b_j) value_j.

    Of the keys by falling b, those with a_i + b_j > 0 are the first m_i. So the sum is
    a_i (value_1 + ... + value_m) + (b_1 value_1 + ... + b_m value_m): two running sums, looked up.
    O(K log K + (P + K) E) instead of O(P K E), and no product of matrices; for few pairs the
    matrix of all is faster: see :data:`MATRIX`.

    Shapes: (B, P), (B, K), (B, E, K) -> (B, E, P).
    """
    if a.shape[1] * b.shape[1] <= MATRIX:
        return (F.relu(a[:, :, None] + b[:, None]) @ value.transpose(1, 2)).transpose(1, 2)
    dtype = value.dtype
    # a running sum in half precision would lose its last terms
    exact = torch.promote_types(dtype, torch.float32)
    a, b, value = a.to(exact), b.to(exact), value.to(exact)
    falling, order = b.sort(dim=1, descending=True)
    # -b rises; right=False finds how many are below a, so that a + b = 0 is not among them
    first = torch.searchsorted(-falling.detach(), a.detach().contiguous())  # B P
    sorted_values = value.gather(2, _spread(order, value))
    sums = _running(sorted_values), _running(sorted_values * falling[:, None])  # B E K+1
    plain, weighed = (x.gather(2, _spread(first, value)) for x in sums)  # B E P
    return torch.addcmul(weighed, plain, a[:, None]).to(dtype)


def _spread(index: Tensor, value: Tensor) -> Tensor:
    return index[:, None].expand(-1, value.shape[1], -1)


def _running(x: Tensor) -> Tensor:
    """Sums of the first 0, 1, 2, ... along the last axis."""
    return torch.cat([x.new_zeros(*x.shape[:-1], 1), x.cumsum(-1)], dim=-1)

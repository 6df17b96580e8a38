"""The non-local operation with its four pairwise functions: what NonLocal and PNL are made of.

Shapes: B batch, C channels, D = C // 2 inner channels, T frames, H x W pixels,
P = T*H*W query positions, K key positions (P, or T*(H//2)*(W//2) with pooled keys).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vidcost.models.blocks.attention import attend, attend_itself, holds
from vidcost.models.blocks.kernels import wants_gradient
from vidcost.models.blocks.path import Path, checked
from vidcost.models.blocks.pointwise import (
    has_own_weight,
    is_for_products,
    project,
    project_back,
    project_by,
)
from vidcost.models.blocks.rectified import MATRIX, rectified_sums
from vidcost.models.cost import Cost

Pairwise = Literal["embedded-gaussian", "gaussian", "dot-product", "concatenation"]
PAIRWISE: tuple[Pairwise, ...] = get_args(Pairwise)


class NonLocalOperation(nn.Module):
    """Non-local operation W_z( f(x, x) g(x) ), without normalisation or residual.

    ``pairwise`` chooses f, with theta, phi and g 1x1x1 convolutions C -> D and z one D -> C:
      - ``embedded-gaussian``  softmax over keys of theta(x_i) . phi(x_j)
      - ``gaussian``           softmax over keys of x_i . x_j
      - ``dot-product``        theta(x_i) . phi(x_j) / K
      - ``concatenation``      ReLU(w_f . [theta(x_i), phi(x_j)]) / K, with w_f split into its two
        halves: w_f . [a, b] = w_a . a + w_b . b is the same function without a 2D x P x K tensor.
    ``pool_keys`` max-pools phi and g 2x2 in space, after their convolutions.
    ``path`` "fast" is the same function: the Gaussians hold no large P x K matrix, the dot product
    is multiplied in the order that takes fewer MACs, concatenation becomes running sums over sorted
    keys, and its theta and phi are multiplied into w_f, weight by weight, and have no output that
    a hook could see. With pooled keys they have.

    Shapes: (B, C, T, H, W) -> (B, C, T, H, W).
    Cost:   embedded-gaussian: params 2C^2; MACs B(2C^2 P + C P K). Bias counts no MACs. Of the
            fast path, dot-product: the smaller of C P K and C^2 (P + K) / 4 instead of C P K;
            concatenation: B(C^2 P + 2 C P) + C^2, and C more with bias, unless keys are pooled;
            and no matrix product, unless P K is below 2^18.
    Raises: ValueError if channels is odd or below 2, or the pairwise function or the path is
            unknown; from forward and cost, if ``pool_keys`` meets a map smaller than 2x2.
    Source: Wang et al. 2018, arXiv:1711.07971, Eq. 1 to 6 and section 3.3 (subsampling).
    """

    def __init__(
        self,
        channels: int,
        *,
        pairwise: Pairwise = "embedded-gaussian",
        pool_keys: bool = False,
        bias: bool = False,
        path: Path = "textbook",
    ) -> None:
        super().__init__()
        if channels < 2 or channels % 2:
            raise ValueError(f"channels must be even and at least 2, got {channels}")
        if pairwise not in PAIRWISE:
            raise ValueError(
                f"unknown pairwise function {pairwise!r}: choose from {', '.join(PAIRWISE)}"
            )
        inner = channels // 2
        self.channels, self.pairwise, self.pool_keys = channels, pairwise, pool_keys
        self.bias, self.path = bias, checked(path)
        if pairwise != "gaussian":
            self.theta = nn.Conv3d(channels, inner, 1, bias=bias)
            self.phi = nn.Conv3d(channels, inner, 1, bias=bias)
        if pairwise == "concatenation":
            self.w_theta = nn.Conv3d(inner, 1, 1, bias=False)
            self.w_phi = nn.Conv3d(inner, 1, 1, bias=False)
        self.g = nn.Conv3d(channels, inner, 1, bias=bias)
        self.z = nn.Conv3d(inner, channels, 1, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        if self.pool_keys:
            self._check_poolable(x.shape)
        if self.path == "fast" and not self.pool_keys and not self._is_as_the_textbooks(x):
            return project_back(self._fast(*self._projected(x)), self.z, like=x)
        query = x if self.pairwise == "gaussian" else self.theta(x)
        key = x if self.pairwise == "gaussian" else self.phi(x)
        value = self.g(x)  # B D T H W
        if self.pool_keys:
            key, value = F.max_pool3d(key, (1, 2, 2)), F.max_pool3d(value, (1, 2, 2))
        if self.pairwise == "concatenation":
            query, key = self.w_theta(query), self.w_phi(key)  # B 1 T H W
        weigh = self._fast if self.path == "fast" and self.pool_keys else self._textbook
        y = weigh(query.flatten(2), key.flatten(2), value.flatten(2))
        # B D P -> B D T H W
        return self.z(y.reshape(x.shape[0], -1, *x.shape[2:]))  # type: ignore[no-any-return]

    def _is_as_the_textbooks(self, x: Tensor) -> bool:
        """Whether the fast path would be the textbook's operators, as for few positions.

        Then it is the textbook's itself, and asks nothing more.
        """
        if is_for_products(x, x) or "gaussian" not in self.pairwise:
            return False
        inner = self.channels // 2
        return holds(
            x.shape[0] * x.shape[2:].numel() ** 2,
            self.channels if self.pairwise == "gaussian" else inner,
            inner,
            x.is_cuda,
            lambda: wants_gradient(x, *self.parameters()),
        )

    def _projected(self, x: Tensor) -> Sequence[Tensor]:
        """Queries, keys and values on the fast path: B D P each, D = 1 with concatenation."""
        if self.pairwise == "gaussian":
            return x.flatten(2), x.flatten(2), *project(x, self.g, side_by_side="channels")
        if self.pairwise != "concatenation":
            return project(x, self.theta, self.phi, self.g, side_by_side="channels")
        if self._folds(len(x), x.shape[2:].numel()) and self._may_fold(x):
            query, key = self._folded(x)
        else:
            query, key = (
                last(first(x)).flatten(2)
                for last, first in ((self.w_theta, self.theta), (self.w_phi, self.phi))
            )
        return query, key, *project(x, self.g, side_by_side="positions")

    def _folded(self, x: Tensor) -> Sequence[Tensor]:
        """w_f . [theta(x), phi(x)], its halves, by w_f times the weights of theta and phi."""
        pairs = ((self.w_theta, self.theta), (self.w_phi, self.phi))
        # 1 D @ D C -> 1 C
        weights = [last.weight.flatten(1) @ first.weight.flatten(1) for last, first in pairs]
        biases = [
            # 1 D @ D -> 1
            last.weight.flatten(1) @ first.bias
            for last, first in pairs
            if first.bias is not None
        ]
        bias = torch.cat(biases) if biases else None
        return torch.split(project_by(x, torch.cat(weights), bias), 1, dim=1)

    def _folds(self, batch: int, positions: int) -> bool:
        """Whether theta and phi are multiplied into w_f: where that takes no more MACs."""
        concat = self.pairwise == "concatenation"
        return self.path == "fast" and concat and not self.pool_keys and batch * positions > 1

    def _may_fold(self, x: Tensor) -> bool:
        """Whether the convolutions are what was built; what was put in their place is called."""
        rows, both = (self.w_theta, self.w_phi), (self.theta, self.phi)
        return (
            all(has_own_weight(each, x) for each in (*both, *rows))
            and all(each.bias is None for each in rows)
            and len({each.bias is None for each in both}) == 1
        )

    def _textbook(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        if self.pairwise == "concatenation":
            # B P 1 + B 1 K -> B P K
            scores = query.transpose(1, 2) + key
        else:
            # B P D @ B D K -> B P K
            scores = query.transpose(1, 2) @ key
        if self.pairwise == "concatenation":
            weights = F.relu(scores) / scores.shape[-1]
        elif self.pairwise == "dot-product":
            weights = scores / scores.shape[-1]
        else:
            weights = scores.softmax(dim=-1)
        # B P K @ B K D -> B P D -> B D P
        return (weights @ value.transpose(1, 2)).transpose(1, 2)

    def _fast(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        if self.pairwise == "gaussian" and not self.pool_keys:
            return attend_itself(query, value)
        if "gaussian" in self.pairwise:
            return attend(query, key, value)
        value = value / value.shape[-1]
        if self.pairwise == "concatenation":
            return rectified_sums(query[:, 0], key[:, 0], value)
        if _keys_first(query.shape[2], key.shape[2], query.shape[1]):
            # B D K @ B K D -> B D D;  B D D @ B D P -> B D P
            return (value @ key.transpose(1, 2)) @ query
        # B K D @ B D P -> B K P;  B D K @ B K P -> B D P
        return value @ (key.transpose(1, 2) @ query)

    def _check_poolable(self, shape: Sequence[int]) -> None:
        height, width = shape[3:]
        if min(height, width) < 2:
            raise ValueError(f"pool_keys needs a map of at least 2x2, got {height}x{width}")

    def cost(self, shape: Sequence[int]) -> Cost:
        """Closed form for an input of ``shape`` (B, C, T, H, W)."""
        batch, channels, frames, height, width = shape
        assert channels == self.channels, (channels, self.channels)
        inner = channels // 2
        queries = frames * height * width
        keys = queries
        if self.pool_keys:
            self._check_poolable(shape)
            keys = frames * (height // 2) * (width // 2)
        embedded = self.pairwise != "gaussian"
        concat = self.pairwise == "concatenation"
        width_of_key = inner if embedded else channels
        convs = 4 if embedded else 2  # theta, phi, g, z or only g, z
        folded = self._folds(batch, queries)
        return Cost(
            params=convs * channels * inner
            + (2 * inner if concat else 0)
            + ((convs - 1) * inner + channels if self.bias else 0),
            conv=batch * self._convolutions(convs, queries, keys, folded=folded),
            linear=2 * inner * (channels + self.bias) if folded else 0,
            matmul=batch * self._products(queries, keys),
            pool=batch * keys * (width_of_key + inner) if self.pool_keys else 0,
            softmax=batch * queries * keys if "gaussian" in self.pairwise else 0,
            activation=batch * queries * keys if concat and not self._sums(queries, keys) else 0,
        )

    def _convolutions(self, convs: int, queries: int, keys: int, *, folded: bool) -> int:
        """MACs of the convolutions, for one clip."""
        channels, inner = self.channels, self.channels // 2
        if folded:
            return 2 * channels * inner * queries + 2 * channels * queries
        rows = inner * (queries + keys) if self.pairwise == "concatenation" else 0
        return convs * channels * inner * queries + rows

    def _products(self, queries: int, keys: int) -> int:
        """MACs of the products of activations, for one clip."""
        inner = self.channels // 2
        if self.pairwise == "concatenation":
            return 0 if self._sums(queries, keys) else queries * keys * inner
        if self.pairwise == "gaussian":
            return queries * keys * (self.channels + inner)
        if self.pairwise == "dot-product" and self.path == "fast":
            return min(2 * queries * keys * inner, inner * inner * (queries + keys))
        return 2 * queries * keys * inner

    def _sums(self, queries: int, keys: int) -> bool:
        """Whether concatenation goes without the matrix of all pairs."""
        return self.path == "fast" and queries * keys > MATRIX


def _keys_first(queries: int, keys: int, inner: int) -> bool:
    """Whether values times keys, and that times queries, takes fewer MACs than the other order."""
    return inner * (queries + keys) < 2 * queries * keys

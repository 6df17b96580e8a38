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

from vidcost.models.blocks.attention import attend
from vidcost.models.blocks.impl import Impl, checked, has_plain_weight
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

    ``impl`` "optimized": the Gaussians never materialize the P x K matrix, the dot product is
    multiplied in the order that takes fewer MACs, and concatenation sums over sorted keys. Unless
    keys are pooled, concatenation multiplies w_f into the weights of theta and phi, whose outputs
    a hook then cannot see.

    Shapes: (B, C, T, H, W) -> (B, C, T, H, W).
    Cost:   embedded-gaussian: params 2C^2; MACs B(2C^2 P + C P K). Bias counts 0. Optimized:
            dot-product: the smaller of C P K and C^2 (P + K) / 4 instead of C P K;
            concatenation: B(C^2 P + 2 C P) + C^2, and C more with bias, unless keys are pooled;
            no matrix product, unless P K is at most 2^18.
    Raises: ValueError if channels is odd or below 2, or the pairwise function or the
            implementation is unknown; from forward and cost, if ``pool_keys`` meets a map smaller
            than 2x2.
    Source: Wang et al. 2018, arXiv:1711.07971, Eq. 1 to 6 and section 3.3 (subsampling).
    """

    def __init__(
        self,
        channels: int,
        *,
        pairwise: Pairwise = "embedded-gaussian",
        pool_keys: bool = False,
        bias: bool = False,
        impl: Impl = "reference",
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
        self.bias, self.impl = bias, checked(impl)
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
        query, key = self._query_and_key(x)
        value = self._pooled(self.g(x))
        weigh = self._optimized if self.impl == "optimized" else self._reference
        y = weigh(query.flatten(2), key.flatten(2), value.flatten(2))
        # B D P -> B D T H W
        return self.z(y.reshape(x.shape[0], -1, *x.shape[2:]))  # type: ignore[no-any-return]

    def _query_and_key(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """B D T H W, keys pooled; D = C of the plain Gaussian, 1 of concatenation."""
        if self.pairwise == "gaussian":
            return x, self._pooled(x)
        if self._folds and self._may_fold():
            return self._folded(x)
        query, key = self.theta(x), self._pooled(self.phi(x))
        if self.pairwise == "concatenation":
            return self.w_theta(query), self.w_phi(key)
        return query, key

    def _pooled(self, x: Tensor) -> Tensor:
        return F.max_pool3d(x, (1, 2, 2)) if self.pool_keys else x

    @property
    def _folds(self) -> bool:
        """Whether w_f is multiplied into the weights of theta and phi."""
        concat = self.pairwise == "concatenation"
        return self.impl == "optimized" and concat and not self.pool_keys

    def _may_fold(self) -> bool:
        """Whether the convolutions are as they were built; replacements are called instead."""
        both = (self.theta, self.phi)
        plain = all(map(has_plain_weight, (*both, self.w_theta, self.w_phi)))
        return plain and all((each.bias is not None) == self.bias for each in both)

    def _folded(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """The halves of w_f . [theta(x), phi(x)], by w_f times the weights: B 1 T H W each."""
        pairs = ((self.w_theta, self.theta), (self.w_phi, self.phi))
        # 1 D @ D C -> 1 C
        weights = [last.weight.flatten(1) @ first.weight.flatten(1) for last, first in pairs]
        # 1 D @ D -> 1
        biases = [
            last.weight.flatten(1) @ first.bias for last, first in pairs if first.bias is not None
        ]
        bias = torch.cat(biases) if biases else None
        both = F.conv3d(x, torch.cat(weights)[:, :, None, None, None], bias)
        return both[:, :1], both[:, 1:]

    def _reference(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        if self.pairwise == "concatenation":
            # B P 1 + B 1 K -> B P K
            weights = F.relu(query.transpose(1, 2) + key) / key.shape[-1]
        else:
            # B P D @ B D K -> B P K
            scores = query.transpose(1, 2) @ key
            is_dot = self.pairwise == "dot-product"
            weights = scores / key.shape[-1] if is_dot else scores.softmax(dim=-1)
        # B P K @ B K D -> B P D -> B D P
        return (weights @ value.transpose(1, 2)).transpose(1, 2)

    def _optimized(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        if "gaussian" in self.pairwise:
            return attend(query, key, value)
        value = value / value.shape[-1]
        if self.pairwise == "concatenation":
            return rectified_sums(query[:, 0], key[:, 0], value)
        inner, queries, keys = query.shape[1], query.shape[2], key.shape[2]
        if inner * (queries + keys) < 2 * queries * keys:
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
        queries = keys = frames * height * width
        if self.pool_keys:
            self._check_poolable(shape)
            keys = frames * (height // 2) * (width // 2)
        pairs = queries * keys
        concat = self.pairwise == "concatenation"
        optimized = self.impl == "optimized"
        convs = 2 if self.pairwise == "gaussian" else 4  # only g and z, or theta and phi too
        width_of_key = channels if self.pairwise == "gaussian" else inner
        conv = convs * channels * inner * queries
        matmul = pairs * (width_of_key + inner)
        if concat:
            conv += inner * (queries + keys)
            # the pairs are summed element by element, or not formed at all
            matmul = pairs * inner
        if self._folds:
            conv = 2 * channels * inner * queries + 2 * channels * queries
        sums = optimized and concat and pairs > MATRIX
        if sums:
            matmul = 0
        if optimized and self.pairwise == "dot-product":
            matmul = min(matmul, inner * inner * (queries + keys))
        return Cost(
            params=convs * channels * inner
            + (2 * inner if concat else 0)
            + ((convs - 1) * inner + channels if self.bias else 0),
            conv=batch * conv,
            linear=2 * inner * (channels + self.bias) if self._folds else 0,
            matmul=batch * matmul,
            pool=batch * keys * (width_of_key + inner) if self.pool_keys else 0,
            softmax=batch * pairs if "gaussian" in self.pairwise else 0,
            activation=batch * pairs if concat and not sums else 0,
        )

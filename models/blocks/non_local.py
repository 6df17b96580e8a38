"""The non-local block, and the operation that it shares with the pyramid module.

Shapes: B batch, C channels, D = C // 2 inner channels, T frames, H x W pixels,
P = T*H*W query positions, K key positions (P, or T*(H//2)*(W//2) with pooled keys).
"""

from collections.abc import Sequence
from typing import Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vidcost.models.blocks.attention import attend
from vidcost.models.blocks.impl import Impl, checked, has_plain_weight
from vidcost.models.cost import Cost

Pairwise = Literal["embedded-gaussian", "gaussian", "dot-product", "concatenation"]
PAIRWISE: tuple[Pairwise, ...] = get_args(Pairwise)

MATRIX = 1 << 18
"""Pairs of a query and a key up to which the matrix of all pairs is used, since it is faster."""


def check_even(channels: int) -> None:
    """Reject channels that cannot be halved.  Raises: ValueError."""
    if channels < 2 or channels % 2:
        raise ValueError(f"channels must be even and at least 2, got {channels}")


class NonLocalOperation(nn.Module):
    """Non-local operation W_z( f(x, x) g(x) ), without normalisation or residual.

    ``pairwise`` chooses f, with theta, phi and g 1x1x1 convolutions C -> D and z one D -> C:
      - ``embedded-gaussian``  softmax over keys of theta(x_i) . phi(x_j)
      - ``gaussian``           softmax over keys of x_i . x_j
      - ``dot-product``        theta(x_i) . phi(x_j) / K
      - ``concatenation``      ReLU(w_f . [theta(x_i), phi(x_j)]) / K, with w_f split into its two
        halves: w_f . [a, b] = w_a . a + w_b . b is the same function without a 2D x P x K tensor.
    ``pool_keys`` max-pools phi and g 2x2 in space, after their convolutions; with ``pool_first``
    before them, which is another function with fewer MACs. ``scale`` divides theta . phi by
    sqrt(D). The authors' public code (video-nonlocal-net) pools first, and has pooling, the scale
    and the biases as switches.

    ``impl`` "optimized": the Gaussians never materialize the P x K matrix, the dot product is
    multiplied in the order that takes fewer MACs, and concatenation sums over sorted keys. Unless
    keys are pooled, concatenation multiplies w_f into the weights of theta and phi, whose outputs
    a hook then cannot see.

    Shapes: (B, C, T, H, W) -> (B, C, T, H, W).
    Cost:   embedded-gaussian: params 2C^2; MACs B(2C^2 P + C P K). Bias counts 0. Optimized:
            dot-product: the smaller of C P K and C^2 (P + K) / 4 instead of C P K;
            concatenation: B(C^2 P + 2 C P) + C^2, and C more with bias, unless keys are pooled;
            no matrix product, unless P K is at most 2^18. With ``pool_first`` B C^2 (P + K) instead
            of 2 B C^2 P.
    Raises: ValueError if channels is odd or below 2, the pairwise function or the implementation
            is unknown, ``pool_first`` comes without ``pool_keys``, or ``scale`` with another
            function than the embedded Gaussian; from forward and cost, if ``pool_keys`` meets a
            map smaller than 2x2.
    Source: Wang et al. 2018, arXiv:1711.07971, Eq. 1 to 6 and section 3.3 (subsampling).
    """

    def __init__(
        self,
        channels: int,
        *,
        pairwise: Pairwise = "embedded-gaussian",
        pool_keys: bool = False,
        pool_first: bool = False,
        scale: bool = False,
        bias: bool = False,
        impl: Impl = "reference",
    ) -> None:
        super().__init__()
        check_even(channels)
        if pairwise not in PAIRWISE:
            raise ValueError(
                f"unknown pairwise function {pairwise!r}: choose from {', '.join(PAIRWISE)}"
            )
        if pool_first and not pool_keys:
            raise ValueError("pool_first says where keys are pooled: give pool_keys too")
        if scale and pairwise != "embedded-gaussian":
            raise ValueError(f"scale is of the embedded Gaussian alone, not of {pairwise}")
        inner = channels // 2
        self.channels, self.pairwise, self.bias, self.scale = channels, pairwise, bias, scale
        self.pool_keys, self.pool_first, self.impl = pool_keys, pool_first, checked(impl)
        if pairwise != "gaussian":
            self.theta = nn.Conv3d(channels, inner, 1, bias=bias)
            self.phi = nn.Conv3d(channels, inner, 1, bias=bias)
        if pairwise == "concatenation":
            self.w_theta = nn.Conv3d(inner, 1, 1, bias=False)
            self.w_phi = nn.Conv3d(inner, 1, 1, bias=False)
        self.g = nn.Conv3d(channels, inner, 1, bias=bias)
        self.z = nn.Conv3d(inner, channels, 1, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        self._check_poolable(x.shape)
        source = F.max_pool3d(x, (1, 2, 2)) if self.pool_first else x
        query, key = self._query_and_key(x, source)
        value = self._pooled(self.g(source))
        weigh = self._optimized if self.impl == "optimized" else self._reference
        y = weigh(query.flatten(2), key.flatten(2), value.flatten(2))
        # B D P -> B D T H W
        return self.z(y.reshape(x.shape[0], -1, *x.shape[2:]))  # type: ignore[no-any-return]

    def _query_and_key(self, x: Tensor, source: Tensor) -> tuple[Tensor, Tensor]:
        """B D T H W, keys pooled; D = C of the plain Gaussian, 1 of concatenation."""
        if self.pairwise == "gaussian":
            return x, self._pooled(source)
        if self._folds and self._may_fold():
            return self._folded(x)
        query, key = self.theta(x), self._pooled(self.phi(source))
        if self.pairwise == "concatenation":
            return self.w_theta(query), self.w_phi(key)
        return query * (self.channels // 2) ** -0.5 if self.scale else query, key

    def _pooled(self, x: Tensor) -> Tensor:
        return F.max_pool3d(x, (1, 2, 2)) if self.pool_keys and not self.pool_first else x

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
        pairs = [
            (w.weight.flatten(1), conv)
            for w, conv in ((self.w_theta, self.theta), (self.w_phi, self.phi))
        ]
        # 1 D @ D C -> 1 C;  1 D @ D -> 1
        weights = torch.cat([w @ conv.weight.flatten(1) for w, conv in pairs])
        biases = [w @ conv.bias for w, conv in pairs if conv.bias is not None]
        bias = torch.cat(biases) if biases else None
        both = F.conv3d(x, weights[:, :, None, None, None], bias)
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
        if self.pool_keys and min(height, width) < 2:
            raise ValueError(f"pool_keys needs a map of at least 2x2, got {height}x{width}")

    def cost(self, shape: Sequence[int]) -> Cost:
        """Closed form for an input of ``shape`` (B, C, T, H, W)."""
        batch, channels, frames, height, width = shape
        assert channels == self.channels, (channels, self.channels)
        self._check_poolable(shape)
        inner, queries = channels // 2, frames * height * width
        keys = frames * (height // 2) * (width // 2) if self.pool_keys else queries
        pairs = queries * keys
        concat, optimized = self.pairwise == "concatenation", self.impl == "optimized"
        # only g and z, or theta and phi too
        convs, width_of_key = (2, channels) if self.pairwise == "gaussian" else (4, inner)
        # theta and z at all positions, phi and g at those that they see
        conv = convs // 2 * channels * inner * (queries + (keys if self.pool_first else queries))
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
        pooled = channels if self.pool_first else width_of_key + inner
        return Cost(
            params=convs * channels * inner
            + (2 * inner if concat else 0)
            + ((convs - 1) * inner + channels if self.bias else 0),
            conv=batch * conv,
            linear=2 * inner * (channels + self.bias) if self._folds else 0,
            matmul=batch * matmul,
            pool=batch * keys * pooled if self.pool_keys else 0,
            softmax=batch * pairs if "gaussian" in self.pairwise else 0,
            activation=batch * pairs if concat and not sums else 0,
        )


def rectified_sums(a: Tensor, b: Tensor, value: Tensor) -> Tensor:
    """For each query i the sum over keys j of ReLU(a_i + b_j) value_j.

    Of the keys by falling b, those with a_i + b_j > 0 are the first m_i. So the sum is
    a_i (value_1 + ... + value_m) + (b_1 value_1 + ... + b_m value_m): two running sums, looked up.
    O(K log K + (P + K) E) instead of O(P K E), and no product of matrices; for few pairs the
    matrix of all is faster: see :data:`MATRIX`. What is not finite spoils the sums as it does with
    the matrix.

    Shapes: (B, P), (B, K), (B, E, K) -> (B, E, P), with E the width of values.
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
    # a value that is not finite, and a key of +inf or NaN, spoil the sums of all queries
    spoilt = 0 * (sums[0][..., -1:] + falling[:, None, :1])  # B E 1
    return (torch.addcmul(weighed, plain, a[:, None]) + spoilt).to(dtype)


def _spread(index: Tensor, value: Tensor) -> Tensor:
    return index[:, None].expand(-1, value.shape[1], -1)


def _running(x: Tensor) -> Tensor:
    """Sums of the first 0, 1, 2, ... along the last axis."""
    return torch.cat([x.new_zeros(*x.shape[:-1], 1), x.cumsum(-1)], dim=-1)


class NonLocal(nn.Module):
    """Non-local block: z = BN( W_z( f(x, x) g(x) ) ) + x, the identity at initialisation.

    The options are those of :class:`NonLocalOperation`.

    Shapes: x and z are (B, C, T, H, W); P = T*H*W positions; D = C // 2 inner channels.
    Cost:   params 2C^2 + 2C;  MACs B(2C^2 P + C P^2) with the embedded Gaussian and no bias.
            Softmax, BatchNorm and the sum count 0; their elements are in ``cost``.
    Raises: ValueError as the operation does.
    Source: Wang et al. 2018, arXiv:1711.07971, Eq. 1 and 6; the zero-initialised BatchNorm is
            section 4.1.
    """

    def __init__(
        self,
        channels: int,
        *,
        pairwise: Pairwise = "embedded-gaussian",
        pool_keys: bool = False,
        pool_first: bool = False,
        scale: bool = False,
        bias: bool = False,
        impl: Impl = "reference",
    ) -> None:
        super().__init__()
        pooling = {"pool_keys": pool_keys, "pool_first": pool_first}
        self.operation = NonLocalOperation(
            channels, pairwise=pairwise, **pooling, scale=scale, bias=bias, impl=impl
        )
        self.bn = nn.BatchNorm3d(channels)
        nn.init.zeros_(self.bn.weight)

    def forward(self, x: Tensor) -> Tensor:
        return self.bn(self.operation(x)) + x  # type: ignore[no-any-return]

    def cost(self, shape: Sequence[int]) -> Cost:
        """Closed form for an input of ``shape`` (B, C, T, H, W)."""
        batch, channels, frames, height, width = shape
        return self.operation.cost(shape) + Cost(
            params=2 * channels, norm=batch * channels * frames * height * width
        )

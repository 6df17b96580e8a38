"""The pyramid non-local module.

Shapes: B batch, C channels, n scales, E = C // n channels of a scale (the paper's C'),
Q = E // 2 width of the attention over scales, P = T*H*W positions,
P_k = T * floor(H / 2^k) * floor(W / 2^k) positions of scale k.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vidcost.models.blocks.impl import Impl
from vidcost.models.blocks.non_local import NonLocalOperation, Pairwise, check_even
from vidcost.models.cost import Cost

Combine = Literal["concat", "attention"]
COMBINE: tuple[Combine, ...] = get_args(Combine)


class PNL(nn.Module):
    """Pyramid non-local module: z = BN( f_comb(Y_0, ..., Y_{n-1}) ) + x.

    The channels are split into n groups of E = C / n; group k is max-pooled 2x2 in space k times,
    passed through a non-local operation E -> E, and brought back to T x H x W (nearest).
    ``combine`` is f_comb: ``concat`` stacks the groups; ``attention`` (Eq. 2 and 3) reweighs the
    scales by softmax(Q K^T / sqrt(E)), Q and K linear in each scale's global average.
    ``shared`` uses one non-local operation for all scales, as the text says; otherwise one each.
    The zero-initialised BatchNorm makes it the identity at the start. n = 1 with ``concat`` is
    the non-local block.

    The paper leaves open the kind of pooling, the upsampling, the width of Q and K and how the
    identity is reached: max-pooling, nearest, E -> E // 2 without bias, and a BatchNorm are ours.
    Each scale is averaged before it is upsampled. The convolution z belongs to the non-local
    operation, as in Eq. 4, so it is applied at every scale.

    Shapes: x and z are (B, C, T, H, W).
    Cost:   embedded Gaussian: params 2E^2 [n times if not shared] + 2C [+ 2EQ];
            MACs B(2E^2 sum_k P_k + E sum_k P_k^2 [+ 2nEQ + n^2 Q + nCP]), [] with ``attention``.
            For other pairwise functions and implementations see :class:`NonLocalOperation`.
    Raises: ValueError if channels is not a positive multiple of 2n, combine, the pairwise
            function or the implementation is unknown; from forward and cost, if the map is too
            small for n scales.
    Source: Xu et al. 2020, arXiv:2006.05091, section 3.2, Eq. 2, 3 and 7.
    """

    def __init__(
        self,
        channels: int,
        *,
        n: int = 4,
        combine: Combine = "attention",
        pairwise: Pairwise = "embedded-gaussian",
        shared: bool = True,
        impl: Impl = "reference",
    ) -> None:
        super().__init__()
        if n < 1:
            raise ValueError(f"n must be at least 1, got {n}")
        check_even(channels)
        if channels % (2 * n):
            fitting = [m for m in range(2, channels // 2 + 1) if channels % (2 * m) == 0]
            raise ValueError(
                f"{channels} channels cannot be split into n={n} groups of even width: "
                f"n that can are {', '.join(map(str, fitting)) or 'only 1'}"
            )
        if combine not in COMBINE:
            raise ValueError(f"unknown combination {combine!r}: choose from {', '.join(COMBINE)}")
        self.channels, self.n, self.combine, self.shared = channels, n, combine, shared
        group = channels // n
        self.operations = nn.ModuleList(
            NonLocalOperation(group, pairwise=pairwise, impl=impl)
            for _ in range(1 if shared else n)
        )
        if combine == "attention":
            self.pool = nn.AdaptiveAvgPool3d(1)
            self.query = nn.Linear(group, group // 2, bias=False)
            self.key = nn.Linear(group, group // 2, bias=False)
        self.bn = nn.BatchNorm3d(channels)
        nn.init.zeros_(self.bn.weight)

    def forward(self, x: Tensor) -> Tensor:
        self._check_scales(x.shape)
        scales = []  # B E T H/2^k W/2^k
        for k, group in enumerate(x.chunk(self.n, dim=1)):
            for _ in range(k):
                group = F.max_pool3d(group, (1, 2, 2))
            scales.append(self._operation_of(k)(group))
        return self.bn(self._combined(scales, x.shape[2:])) + x  # type: ignore[no-any-return]

    def _combined(self, scales: Sequence[Tensor], size: torch.Size) -> Tensor:
        extents = list(size)
        full = [scales[0], *(F.interpolate(y, size=extents, mode="nearest") for y in scales[1:])]
        if self.combine == "concat":
            return torch.cat(full, dim=1)
        # B n n @ B n EP -> B n EP -> B C T H W
        y = self._weights(scales) @ torch.stack(full, dim=1).flatten(2)
        return y.reshape(len(y), self.channels, *extents)

    def _weights(self, scales: Sequence[Tensor]) -> Tensor:
        """The attention over scales, Eq. 3: B n n."""
        pooled = torch.stack([self.pool(y).flatten(1) for y in scales], dim=1)  # B n E
        query, key = self.query(pooled), self.key(pooled)  # B n Q
        # B n Q @ B Q n -> B n n; the root is of E as printed in Eq. 3, not of Q
        return (query @ key.transpose(1, 2) / (self.channels // self.n) ** 0.5).softmax(-1)  # type: ignore[no-any-return]

    def _check_scales(self, shape: Sequence[int]) -> None:
        height, width = shape[3:]
        most = int(min(height, width)).bit_length()
        if self.n > most:
            raise ValueError(
                f"a feature map of {height}x{width} has room for at most n={most} scales, "
                f"not n={self.n}"
            )

    def cost(self, shape: Sequence[int]) -> Cost:
        """Closed form for an input of ``shape`` (B, C, T, H, W)."""
        batch, channels, frames, height, width = shape
        assert channels == self.channels, (channels, self.channels)
        self._check_scales(shape)
        n, group, positions = self.n, channels // self.n, frames * height * width
        scales = [(frames, height >> k, width >> k) for k in range(n)]
        at_scale = [
            self._operation_of(k).cost((batch, group, *extents)) for k, extents in enumerate(scales)
        ]
        # group k is pooled k times, to P_1, ..., P_k positions
        pooled = sum(f * h * w for k in range(n) for f, h, w in scales[1 : k + 1])
        weights = at_scale[0].params * (1 if self.shared else n)
        # the scales may share their parameters
        whole = replace(sum(at_scale, Cost()), params=weights + 2 * channels) + Cost(
            norm=batch * channels * positions, pool=batch * group * pooled
        )
        if self.combine == "concat":
            return whole
        queries = group // 2
        return whole + Cost(
            params=2 * group * queries,
            linear=batch * 2 * n * group * queries,
            matmul=batch * (n * n * queries + n * channels * positions),
            pool=batch * channels,
            softmax=batch * n * n,
        )

    def _operation_of(self, scale: int) -> NonLocalOperation:
        return self.operations[0 if self.shared else scale]  # type: ignore[return-value]

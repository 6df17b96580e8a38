"""Other ways to compute the blocks faster, which were slower: kept, so that this can be measured.

Each computes what its block does and has its parameters.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from vidcost.models.blocks import CGD, CGNL, PNL, NonLocal
from vidcost.models.blocks.pooling import max_pool_2x2


class NonLocalBySDPA(NonLocal):
    """The embedded Gaussian by torch's fused attention, also where that is no CUDA kernel."""

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, T, H, W) -> the same."""
        operation = self.operation
        q, k, v = (
            projected(x).flatten(2).transpose(1, 2).contiguous().unsqueeze(1)
            for projected in (operation.theta, operation.phi, operation.g)
        )
        y = F.scaled_dot_product_attention(q, k, v, scale=1.0)  # B 1 P D
        y = y.squeeze(1).transpose(1, 2).reshape(x.shape[0], -1, *x.shape[2:])
        return self.bn(operation.z(y)) + x  # type: ignore[no-any-return]


class PNLMixedSmall(PNL):
    """The scales mixed at their own resolution and brought up afterwards.

    That takes n E sum_k P_k MACs for f_comb instead of n^2 E P, and adds n maps at full resolution.
    """

    def __init__(self, channels: int, *, n: int = 4) -> None:
        super().__init__(channels, n=n, path="fast")

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, T, H, W) -> the same."""
        scales = []
        for k, group in enumerate(x.chunk(self.n, dim=1)):
            for _ in range(k):
                group = max_pool_2x2(group)
            scales.append(self.operations[0](group))
        pooled = torch.stack([self.pool(y).flatten(1) for y in scales], dim=1)
        query, key = self.query(pooled), self.key(pooled)
        weights = (query @ key.transpose(1, 2) / (self.channels // self.n) ** 0.5).softmax(-1)
        size = list(x.shape[2:])
        y: Tensor | None = None
        for k, scale in enumerate(scales):
            # B n 1 @ B 1 EP_k -> B C T H/2^k W/2^k
            mixed = weights[:, :, k : k + 1] @ scale.reshape(len(x), 1, -1)
            mixed = mixed.reshape(len(x), self.channels, *scale.shape[2:])
            y = mixed if y is None else y + F.interpolate(mixed, size=size, mode="nearest")
        return self.bn(y) + x  # type: ignore[no-any-return]


class CGDInOnePass(CGD):
    """Mean and maximum of a few channels at a time, while they are in a core's cache."""

    VALUES = 1 << 18
    """Of the channels that are taken together: 1 MB in single precision."""

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, T, H, W) -> the same."""
        flat = x.flatten(2)
        some = max(1, self.VALUES // flat.shape[2])
        both = [(part.mean(-1), part.amax(-1)) for part in torch.split(flat, some, dim=1)]
        average, maximum = (torch.cat(each, dim=1) for each in zip(*both, strict=True))
        share = average.softmax(dim=1)
        p = torch.tanh(average @ self.w0 * share + self.b0)
        q = torch.tanh(maximum @ self.w1 * share + self.b1)
        gate = torch.tanh(q @ self.w2 * p + self.b2)
        return x * (1 + gate)[:, :, None, None, None]


class CGNLStacked(CGNL):
    """The three projections as one convolution, which reads the input once."""

    def __init__(self, channels: int) -> None:
        super().__init__(channels, path="fast")

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, T, H, W) -> the same."""
        weight = torch.cat([self.t.weight, self.p.weight, self.g.weight])
        t, p, g = F.conv3d(x, weight).chunk(3, dim=1)
        return self.gn(self._fast(t, p, g)) + x  # type: ignore[no-any-return]

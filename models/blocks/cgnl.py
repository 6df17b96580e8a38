"""The compact generalised non-local block.

Shapes: B batch, C channels, D = C // 2 inner channels, G groups, P = T*H*W positions.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from vidcost.models.blocks.impl import Impl, checked, has_plain_weight
from vidcost.models.cost import Cost


class CGNL(nn.Module):
    """Compact generalised non-local block: z = GN( W_z( (p . g) t ) ) + x, one scalar per group.

    t, p and g are 1x1x1 convolutions C -> D without bias, flattened over the channels and positions
    of each of G groups. W_z is one D -> C in G groups; the GroupNorm(G) starts at zero, so the
    block starts as the identity. The norm has the groups of W_z, and divides the scalar p . g out
    again except for its sign and the effect of eps.

    ``impl`` "optimized" multiplies p and g element by element and sums, since a batched product of
    a row and a column was slow on a CPU, and scales W_z by the scalar instead of t.

    Shapes: x and z are (B, C, T, H, W).
    Cost:   params (3/2 + 1/(2G)) C^2 + 2C;  MACs B((3/2 + 1/(2G)) C^2 P + C P), the last term of
            p . g and its product with t. The optimized implementation counts 0 for it, as element
            by element products do, though p . g takes its CP/2 multiplications. Its W_z is a
            product of activations, since it depends on the clip.
    Raises: ValueError if channels is not a positive multiple of 2G, groups is below 1 or the
            implementation is unknown.
    Source: Yue et al., NeurIPS 2018, arXiv:1810.13125, the dot-product kernel without scaling.
    """

    def __init__(self, channels: int, *, groups: int = 8, impl: Impl = "reference") -> None:
        super().__init__()
        if groups < 1:
            raise ValueError(f"groups must be at least 1, got {groups}")
        if channels < 1 or channels % (2 * groups):
            raise ValueError(
                f"channels must be a positive multiple of {2 * groups} (2 x {groups} groups), "
                f"got {channels}"
            )
        inner = channels // 2
        self.channels, self.groups, self.impl = channels, groups, checked(impl)
        self.t, self.p, self.g = (nn.Conv3d(channels, inner, 1, bias=False) for _ in range(3))
        self.z = nn.Conv3d(inner, channels, 1, groups=groups, bias=False)
        self.gn = nn.GroupNorm(groups, channels)
        nn.init.zeros_(self.gn.weight)

    def forward(self, x: Tensor) -> Tensor:
        t, p, g = self.t(x), self.p(x), self.g(x)  # B D T H W
        weigh = self._optimized if self.impl == "optimized" else self._reference
        return self.gn(weigh(t, p, g)) + x  # type: ignore[no-any-return]

    def _reference(self, t: Tensor, p: Tensor, g: Tensor) -> Tensor:
        rows = t.shape[0] * self.groups
        # BG 1 (D/G P) @ BG (D/G P) 1 -> BG 1 1
        correlation = p.reshape(rows, 1, -1) @ g.reshape(rows, -1, 1)
        # BG 1 1 @ BG 1 (D/G P) -> B D T H W
        y = (correlation @ t.reshape(rows, 1, -1)).reshape(t.shape)
        return self.z(y)  # type: ignore[no-any-return]

    def _optimized(self, t: Tensor, p: Tensor, g: Tensor) -> Tensor:
        batch, groups, extents = t.shape[0], self.groups, t.shape[2:]
        # a sum over many positions loses digits in half precision
        exact = torch.promote_types(p.dtype, torch.float32)
        correlation = (p * g).reshape(batch, groups, -1).sum(-1, dtype=exact).to(t.dtype)
        grouped = t.reshape(batch, groups, -1, extents.numel())  # B G D/G P
        if not has_plain_weight(self.z):
            y = correlation[:, :, None, None] * grouped
            return self.z(y.reshape(t.shape))  # type: ignore[no-any-return]
        weight = self.z.weight.view(groups, self.channels // groups, -1).to(t.dtype)
        # B G 1 1 * G C/G D/G -> B G C/G D/G;  @ B G D/G P -> B C T H W
        y = correlation[:, :, None, None] * weight @ grouped
        return y.reshape(batch, self.channels, *extents)

    def cost(self, shape: Sequence[int]) -> Cost:
        """Closed form for an input of ``shape`` (B, C, T, H, W)."""
        batch, channels, frames, height, width = shape
        assert channels == self.channels, (channels, self.channels)
        inner, positions = channels // 2, frames * height * width
        projections, last = 3 * channels * inner, inner * channels // self.groups
        whole = Cost(
            params=projections + last + 2 * channels,
            conv=batch * projections * positions,
            norm=batch * channels * positions,
        )
        if self.impl == "optimized":
            return whole + Cost(matmul=batch * last * positions)
        return whole + Cost(conv=batch * last * positions, matmul=batch * 2 * inner * positions)

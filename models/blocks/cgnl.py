"""The compact generalised non-local block.

Shapes: B batch, C channels, D = C // 2 inner channels, G groups, P = T*H*W positions.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from vidcost.models.cost import Cost


class CGNL(nn.Module):
    """Compact generalised non-local block: z = GN( W_z( (p . g) t ) ) + x, one scalar per group.

    t, p and g are 1x1x1 convolutions C -> D without bias. In each of G channel groups they are
    flattened over channels and positions, so p . g correlates across channels too. W_z is a
    1x1x1 convolution D -> C in G groups, the GroupNorm(G) starts at zero: the block starts as
    the identity. W_z and the GroupNorm share their groups, so the norm divides the scalar p . g
    out again but for its sign and what eps lets through; that is so in the definition.

    Shapes: x and z are (B, C, T, H, W).
    Cost:   params (3/2 + 1/(2G)) C^2 + 2C;  MACs B((3/2 + 1/(2G)) C^2 P + C P).
    Raises: ValueError if channels is not a positive multiple of 2G, or groups is below 1.
    Source: Yue et al., NeurIPS 2018, arXiv:1810.13125, the dot-product kernel without scaling.
    """

    def __init__(self, channels: int, *, groups: int = 8) -> None:
        super().__init__()
        if groups < 1:
            raise ValueError(f"groups must be at least 1, got {groups}")
        if channels < 1 or channels % (2 * groups):
            raise ValueError(
                f"channels must be a positive multiple of {2 * groups} (2 x {groups} groups), "
                f"got {channels}"
            )
        inner = channels // 2
        self.channels, self.groups = channels, groups
        self.t = nn.Conv3d(channels, inner, 1, bias=False)
        self.p = nn.Conv3d(channels, inner, 1, bias=False)
        self.g = nn.Conv3d(channels, inner, 1, bias=False)
        self.z = nn.Conv3d(inner, channels, 1, groups=groups, bias=False)
        self.gn = nn.GroupNorm(groups, channels)
        nn.init.zeros_(self.gn.weight)

    def forward(self, x: Tensor) -> Tensor:
        t, p, g = self.t(x), self.p(x), self.g(x)  # B D T H W
        rows = x.shape[0] * self.groups
        # BG 1 (D/G P) @ BG (D/G P) 1 -> BG 1 1
        correlation = p.reshape(rows, 1, -1) @ g.reshape(rows, -1, 1)
        # BG 1 1 @ BG 1 (D/G P) -> B D T H W
        y = (correlation @ t.reshape(rows, 1, -1)).reshape(t.shape)
        return self.gn(self.z(y)) + x  # type: ignore[no-any-return]

    def cost(self, shape: Sequence[int]) -> Cost:
        """Closed form for an input of ``shape`` (B, C, T, H, W)."""
        batch, channels, frames, height, width = shape
        assert channels == self.channels, (channels, self.channels)
        inner, positions = channels // 2, frames * height * width
        weights = 3 * channels * inner + inner * channels // self.groups
        return Cost(
            params=weights + 2 * channels,
            conv=batch * weights * positions,
            matmul=batch * 2 * inner * positions,
            norm=batch * channels * positions,
        )

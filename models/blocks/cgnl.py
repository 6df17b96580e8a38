"""The compact generalised non-local block.

Shapes: B batch, C channels, D = C // 2 inner channels, G groups, P = T*H*W positions.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from vidcost.models.blocks.path import Path, checked
from vidcost.models.blocks.pointwise import has_own_weight, project
from vidcost.models.cost import Cost


class CGNL(nn.Module):
    """Compact generalised non-local block: z = GN( W_z( (p . g) t ) ) + x, one scalar per group.

    t, p and g are 1x1x1 convolutions C -> D without bias. In each of G channel groups they are
    flattened over channels and positions, so p . g correlates across channels too. W_z is a
    1x1x1 convolution D -> C in G groups, the GroupNorm(G) starts at zero: the block starts as
    the identity. W_z and the GroupNorm share their groups, so the norm divides the scalar p . g
    out again but for its sign and what eps lets through; that is so in the definition.

    ``path`` "fast" is the same function: p . g is multiplied element by element and summed, since
    a batched product of a row and a column was slow on a CPU; and the scalar scales W_z, not t.

    Shapes: x and z are (B, C, T, H, W).
    Cost:   params (3/2 + 1/(2G)) C^2 + 2C;  MACs B((3/2 + 1/(2G)) C^2 P + C P), the last term of
            p . g and its product with t. The fast path books none of it: what is multiplied element
            by element is no MAC by convention, though p . g takes its CP/2 multiplications. Its
            W_z is a product of activations, as it depends on the clip.
    Raises: ValueError if channels is not a positive multiple of 2G, groups is below 1 or the path
            is unknown.
    Source: Yue et al., NeurIPS 2018, arXiv:1810.13125, the dot-product kernel without scaling.
    """

    def __init__(self, channels: int, *, groups: int = 8, path: Path = "textbook") -> None:
        super().__init__()
        if groups < 1:
            raise ValueError(f"groups must be at least 1, got {groups}")
        if channels < 1 or channels % (2 * groups):
            raise ValueError(
                f"channels must be a positive multiple of {2 * groups} (2 x {groups} groups), "
                f"got {channels}"
            )
        inner = channels // 2
        self.channels, self.groups, self.path = channels, groups, checked(path)
        self.t = nn.Conv3d(channels, inner, 1, bias=False)
        self.p = nn.Conv3d(channels, inner, 1, bias=False)
        self.g = nn.Conv3d(channels, inner, 1, bias=False)
        self.z = nn.Conv3d(inner, channels, 1, groups=groups, bias=False)
        self.gn = nn.GroupNorm(groups, channels)
        nn.init.zeros_(self.gn.weight)

    def forward(self, x: Tensor) -> Tensor:
        if self.path == "fast":
            return self.gn(self._fast(x)) + x  # type: ignore[no-any-return]
        t, p, g = self.t(x), self.p(x), self.g(x)  # B D T H W
        rows = x.shape[0] * self.groups
        # BG 1 (D/G P) @ BG (D/G P) 1 -> BG 1 1
        correlation = p.reshape(rows, 1, -1) @ g.reshape(rows, -1, 1)
        # BG 1 1 @ BG 1 (D/G P) -> B D T H W
        y = (correlation @ t.reshape(rows, 1, -1)).reshape(t.shape)
        return self.gn(self.z(y)) + x  # type: ignore[no-any-return]

    def _fast(self, x: Tensor) -> Tensor:
        batch, groups = x.shape[0], self.groups
        t, p, g = self._projected(x)  # B D P
        # half precision would lose what many positions add
        held = torch.promote_types(p.dtype, torch.float32)
        correlation = (p * g).reshape(batch, groups, -1).sum(-1, dtype=held).to(t.dtype)
        if not has_own_weight(self.z, x, groups):
            y = correlation[:, :, None, None] * t.reshape(batch, groups, -1, t.shape[2])
            return self.z(y.reshape(batch, -1, *x.shape[2:]))  # type: ignore[no-any-return]
        weight = self.z.weight.view(groups, self.channels // groups, -1)
        # B G 1 1 * G C/G D/G -> B G C/G D/G;  @ B G D/G P -> B C T H W
        scaled = correlation[:, :, None, None] * weight.to(t.dtype)
        y = scaled @ t.reshape(batch, groups, weight.shape[2], -1)
        return y.reshape(x.shape)

    def _projected(self, x: Tensor) -> Sequence[Tensor]:
        return project(x, self.t, self.p, self.g, side_by_side="positions")

    def cost(self, shape: Sequence[int]) -> Cost:
        """Closed form for an input of ``shape`` (B, C, T, H, W)."""
        batch, channels, frames, height, width = shape
        assert channels == self.channels, (channels, self.channels)
        inner, positions = channels // 2, frames * height * width
        projections, last = 3 * channels * inner, inner * channels // self.groups
        norm = batch * channels * positions
        params = projections + last + 2 * channels
        if self.path == "fast":
            return Cost(
                params=params,
                conv=batch * projections * positions,
                matmul=batch * last * positions,
                norm=norm,
            )
        return Cost(
            params=params,
            conv=batch * (projections + last) * positions,
            matmul=batch * 2 * inner * positions,
            norm=norm,
        )

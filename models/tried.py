"""Other ways to compute the blocks, which were not faster throughout: kept, to be measured.

Each computes what its block does and has its parameters.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from vidcost.models.blocks import CGD, CGNL, PNL, NonLocal
from vidcost.models.blocks.attention import attend
from vidcost.models.blocks.operation import NonLocalOperation
from vidcost.models.blocks.pointwise import in_one_product, project, project_back
from vidcost.models.blocks.slices import sliced


class NonLocalInSlices(NonLocal):
    """The embedded Gaussian in slices of queries, also where torch has a fused kernel for it."""

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, T, H, W) -> the same."""
        operation = self.operation
        kinds = (operation.theta, operation.phi, operation.g)
        y = sliced(*project(x, *kinds, side_by_side="channels"))
        return self.bn(project_back(y, operation.z, like=x)) + x  # type: ignore[no-any-return]


class NonLocalInTwoProducts(NonLocal):
    """On a GPU, too, theta, phi and g are one matrix product, and z another.

    A convolution there brings a half-precision map into a layout of its own and back, and takes the
    host longer to launch than a product. Channels come out side by side, as attention wants them.
    """

    def __init__(self, channels: int) -> None:
        super().__init__(channels, path="fast")

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, T, H, W) -> the same."""
        z = _in_products(x.flatten(2), self.operation, [x.shape[2:].numel()])
        return self.bn(z.reshape(x.shape)) + x  # type: ignore[no-any-return]


class PNLMixedSmall(PNL):
    """The scales mixed at their own resolution and brought up afterwards.

    That takes n E sum_k P_k MACs for f_comb instead of n^2 E P, and adds n maps at full resolution.
    """

    def __init__(self, channels: int, *, n: int = 4) -> None:
        super().__init__(channels, n=n, path="fast")

    def _has_kernel(self, scales: Sequence[Tensor], x: Tensor) -> bool:
        return False

    def _combined(self, scales: Sequence[Tensor], size: list[int]) -> Tensor:
        weights, batch = self._weights(scales), len(scales[0])
        y: Tensor | None = None
        for k, scale in enumerate(scales):
            # B n 1 @ B 1 EP_k -> B C T H/2^k W/2^k
            mixed = weights[:, :, k : k + 1] @ scale.reshape(batch, 1, -1)
            mixed = mixed.reshape(batch, self.channels, *scale.shape[2:])
            y = mixed if y is None else y + F.interpolate(mixed, size=size, mode="nearest")
        assert y is not None
        return y


class CGDInOnePass(CGD):
    """Mean and maximum of a few channels at a time, while they are in a core's cache."""

    VALUES = 1 << 18
    """Of the channels that are taken together: 1 MB in single precision."""

    def _pools(self, x: Tensor) -> tuple[Tensor, Tensor]:
        flat = x.flatten(2)
        some = max(1, self.VALUES // flat.shape[2])
        both = [(part.mean(-1), part.amax(-1)) for part in torch.split(flat, some, dim=1)]
        means, maxima = zip(*both, strict=True)
        return torch.cat(means, dim=1), torch.cat(maxima, dim=1)


class CGNLStacked(CGNL):
    """The three projections as one convolution, which reads the input once."""

    def __init__(self, channels: int) -> None:
        super().__init__(channels, path="fast")

    def _projected(self, x: Tensor) -> Sequence[Tensor]:
        weight = torch.cat([self.t.weight, self.p.weight, self.g.weight])
        return F.conv3d(x, weight).flatten(2).chunk(3, dim=1)


class PNLStacked(PNL):
    """The projections of all scales at once: one of each kind, over the positions of all."""

    def __init__(self, channels: int, *, n: int = 4) -> None:
        super().__init__(channels, n=n, path="fast")

    def _operated(self, groups: Sequence[Tensor]) -> list[Tensor]:
        positions = [group[0, 0].numel() for group in groups]
        # B E P_0 + ... + P_{n-1}
        together = torch.cat([group.flatten(2) for group in groups], dim=2)
        z = self._operated_together(together, positions)
        scales = torch.split(z, positions, dim=2)
        return [each.reshape(group.shape) for each, group in zip(scales, groups, strict=True)]

    def _operated_together(self, together: Tensor, positions: list[int]) -> Tensor:
        operation, map_ = self._operation_of_scales()[0], together[..., None, None]
        kinds = (operation.theta, operation.phi, operation.g)
        projected = project(map_, *kinds, side_by_side="channels")
        y = _attended(projected, positions)
        return project_back(y, operation.z, like=map_)[..., 0, 0]


class PNLInTwoProducts(PNLStacked):
    """The same in two matrix products on a GPU, too: see :class:`NonLocalInTwoProducts`."""

    def _operated_together(self, together: Tensor, positions: list[int]) -> Tensor:
        return _in_products(together, self._operation_of_scales()[0], positions)


def _in_products(x: Tensor, operation: NonLocalOperation, positions: list[int]) -> Tensor:
    """The embedded Gaussian of parts of ``x``, as many ``positions`` each, in two products.

    Shapes: (B, C, P) -> (B, C, P).
    """
    kinds = (operation.theta, operation.phi, operation.g)
    projected = in_one_product(x, kinds, each_clip=False)
    # C D @ B D P -> B C P
    return operation.z.weight.flatten(1) @ _attended(projected, positions)


def _attended(projected: Sequence[Tensor], positions: list[int]) -> Tensor:
    """Attention within each part of queries, keys and values: (B, D, P) each -> (B, D, P)."""
    parts = zip(*(torch.split(each, positions, dim=2) for each in projected), strict=True)
    attended = [attend(query, key, value) for query, key, value in parts]
    return attended[0] if len(attended) == 1 else torch.cat(attended, dim=2)

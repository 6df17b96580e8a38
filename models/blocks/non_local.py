"""The non-local block."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from vidcost.models.blocks.impl import Impl
from vidcost.models.blocks.operation import NonLocalOperation, Pairwise
from vidcost.models.cost import Cost


class NonLocal(nn.Module):
    """Non-local block: z = BN( W_z( f(x, x) g(x) ) ) + x, the identity at initialisation.

    Shapes: x and z are (B, C, T, H, W); P = T*H*W positions; D = C // 2 inner channels.
    Cost:   params 2C^2 + 2C;  MACs B(2C^2 P + C P^2) with the embedded Gaussian and no bias.
            Softmax, BatchNorm and the sum count 0; their elements are in ``cost``.
            For other pairwise functions and implementations see :class:`NonLocalOperation`.
    Raises: ValueError if channels is odd or below 2, or the pairwise function or the
            implementation is unknown.
    Source: Wang et al. 2018, arXiv:1711.07971, Eq. 1 and 6; the zero-initialised BatchNorm is
            section 4.1.
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
        self.operation = NonLocalOperation(
            channels, pairwise=pairwise, pool_keys=pool_keys, bias=bias, impl=impl
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

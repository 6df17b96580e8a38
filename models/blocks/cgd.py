"""The compact global descriptor."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from vidcost.models.cost import Cost


class CGD(nn.Module):
    """Compact global descriptor: x scaled per channel by 1 + tanh((q . w2) p + b2).

    With a the global average and m the global maximum of each channel over all frames and
    pixels, s = softmax over channels of a,  p = tanh((a . w0) s + b0),  q = tanh((m . w1) s + b1).

    As in the authors' public code w0, w1 and w2 start Xavier uniform, within sqrt(6 / (C + 1)), and
    the biases at 0: near the identity and not at it, within 1e-3 at C = 64.

    Shapes: (B, C, T, H, W) -> (B, C, T, H, W).
    Cost:   params 6C;  MACs 3BC.  The two poolings and the scaling count 0.
    Raises: ValueError if channels is below 1.
    Source: He et al. 2019, arXiv:1907.09665.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        if channels < 1:
            raise ValueError(f"channels must be at least 1, got {channels}")
        self.channels = channels
        self.w0, self.w1, self.w2 = (nn.Parameter(torch.empty(channels, 1)) for _ in range(3))
        self.b0, self.b1, self.b2 = (nn.Parameter(torch.zeros(channels)) for _ in range(3))
        for weight in (self.w0, self.w1, self.w2):
            nn.init.xavier_uniform_(weight)

    def forward(self, x: Tensor) -> Tensor:
        average, maximum = x.mean((2, 3, 4)), x.amax((2, 3, 4))  # B C
        share = average.softmax(dim=1)
        # B C @ C 1 -> B 1, spread over channels by share
        p = torch.tanh(average @ self.w0 * share + self.b0)
        q = torch.tanh(maximum @ self.w1 * share + self.b1)
        gate = torch.tanh(q @ self.w2 * p + self.b2)
        return x * (1 + gate)[:, :, None, None, None]

    def cost(self, shape: Sequence[int]) -> Cost:
        """Closed form for an input of ``shape`` (B, C, T, H, W)."""
        batch, channels = shape[:2]
        assert channels == self.channels, (channels, self.channels)
        elements = batch * channels
        return Cost(
            params=6 * channels,
            linear=3 * elements,
            pool=2 * elements,
            softmax=elements,
            activation=3 * elements,
        )

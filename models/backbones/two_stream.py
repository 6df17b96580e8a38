"""Two networks side by side.

Source: Carreira & Zisserman 2017, arXiv:1705.07750, section 2.4: an RGB and a flow stream, trained
apart; their predictions are averaged. The authors' public code sums the logits, as we do.
"""

from torch import Tensor, nn


class TwoStream(nn.Module):
    """The sum of two networks' logits, each of its own clip.

    Shapes: whatever the two networks take -> (B, classes).
    Cost:   the sum of the two; adding the logits counts 0.
    """

    def __init__(self, first: nn.Module, second: nn.Module) -> None:
        super().__init__()
        self.first = first
        self.second = second

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        return self.first(x) + self.second(y)  # type: ignore[no-any-return]

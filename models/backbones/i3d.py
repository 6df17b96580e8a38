"""I3D, the two-dimensional Inception-V1 inflated to three.

Source: Carreira & Zisserman 2017, arXiv:1705.07750, Figure 3. State-dict keys are those of
piergiaj's public PyTorch port (``pytorch-i3d``), whose checkpoints fit.
"""

from collections import OrderedDict
from typing import NamedTuple

import torch
from torch import Tensor, nn

from vidcost.models.backbones.clip import check_clip, clip_of
from vidcost.models.backbones.positions import Blocks, Unit, check_positions, with_blocks

Triple = tuple[int, int, int]
"""Time, height, width."""


class Widths(NamedTuple):
    """Widths of an Inception unit's branches; a branch with an ``a`` and a ``b`` has two layers."""

    b0: int
    b1a: int
    b1b: int
    b2a: int
    b2b: int
    b3b: int

    @property
    def out(self) -> int:
        return self.b0 + self.b1b + self.b2b + self.b3b


STAGES = {
    "mixed3": {
        "Mixed_3b": Widths(64, 96, 128, 16, 32, 32),
        "Mixed_3c": Widths(128, 128, 192, 32, 96, 64),
    },
    "mixed4": {
        "Mixed_4b": Widths(192, 96, 208, 16, 48, 64),
        "Mixed_4c": Widths(160, 112, 224, 24, 64, 64),
        "Mixed_4d": Widths(128, 128, 256, 24, 64, 64),
        "Mixed_4e": Widths(112, 144, 288, 32, 64, 64),
        "Mixed_4f": Widths(256, 160, 320, 32, 128, 128),
    },
    "mixed5": {
        "Mixed_5b": Widths(256, 160, 320, 32, 128, 128),
        "Mixed_5c": Widths(384, 192, 384, 48, 128, 128),
    },
}
"""Inception units of each stage."""


class I3D(nn.Sequential):
    """I3D for clips of one size; its flow stream is the same network with ``in_channels=2``.

    It is a Sequential because the published keys name every unit at the top level.
    Positions: ``mixed3`` to ``mixed5`` with the places of
               :mod:`vidcost.models.backbones.positions`.
    Shapes: (B, in_channels, frames, size, size) -> (B, classes).
    Cost:   params 12,287,264 + 1025 classes with 3 input channels and no block;
            12,265,312 + 1025 classes with 2.
    Raises: ValueError if classes or in_channels is below 1, or a position does not exist.
    """

    def __init__(
        self,
        *,
        classes: int = 400,
        frames: int = 64,
        size: int = 224,
        in_channels: int = 3,
        blocks: Blocks | None = None,
    ) -> None:
        clip = clip_of("I3D", classes, (in_channels, frames, size))
        blocks = blocks or {}
        check_positions(blocks, {name: len(units) for name, units in STAGES.items()})

        def shrunk(time: int, space: int) -> Triple:
            # SAME padding rounds up, and rounding up twice is rounding up once
            height = -(-size // space)
            return -(-frames // time), height, height

        time_pad, space_pad, _ = (_same(length, 7, 2) for length in shrunk(1, 1))
        layers: list[tuple[str, nn.Module]] = [
            ("pad", nn.ConstantPad3d((*space_pad, *space_pad, *time_pad), 0.0)),
            ("Conv3d_1a_7x7", _unit(in_channels, 64, 7, stride=2, padding=0)),
            ("MaxPool3d_2a_3x3", _max_pool((1, 3, 3), (1, 2, 2), shrunk(2, 2))),
            ("Conv3d_2b_1x1", _unit(64, 64, 1)),
            ("Conv3d_2c_3x3", _unit(64, 192, 3, padding=1)),
        ]
        pools = {
            "mixed3": ("MaxPool3d_3a_3x3", _max_pool((1, 3, 3), (1, 2, 2), shrunk(2, 4))),
            "mixed4": ("MaxPool3d_4a_3x3", _max_pool((3, 3, 3), (2, 2, 2), shrunk(2, 8))),
            "mixed5": ("MaxPool3d_5a_2x2", _max_pool((2, 2, 2), (2, 2, 2), shrunk(4, 16))),
        }
        channels = 192
        for stage, mixed in STAGES.items():
            units: list[Unit] = []
            for name, widths in mixed.items():
                units.append((name, _Mixed(channels, widths), widths.out))
                channels = widths.out
            layers += [pools[stage], *with_blocks(stage, units, blocks)]
        # the authors' fixed (2, 7, 7), sized to the map that these clips leave
        time, height, width = shrunk(8, 32)
        layers += [
            ("avg_pool", nn.AvgPool3d((min(2, time), height, width), stride=1)),
            ("dropout", nn.Dropout(0.5)),
            ("logits", nn.Sequential(OrderedDict(conv3d=nn.Conv3d(channels, classes, 1)))),
        ]
        super().__init__(OrderedDict(layers))
        self.clip = clip

    def forward(self, x: Tensor) -> Tensor:
        check_clip(x, self.clip)
        for layer in self:
            x = layer(x)
        return x.mean((2, 3, 4))


class _Mixed(nn.Module):
    def __init__(self, channels: int, widths: Widths) -> None:
        super().__init__()
        self.b0 = _unit(channels, widths.b0, 1)
        self.b1a = _unit(channels, widths.b1a, 1)
        self.b1b = _unit(widths.b1a, widths.b1b, 3, padding=1)
        self.b2a = _unit(channels, widths.b2a, 1)
        self.b2b = _unit(widths.b2a, widths.b2b, 3, padding=1)
        self.b3a = nn.MaxPool3d(3, 1, 1)
        self.b3b = _unit(channels, widths.b3b, 1)

    def forward(self, x: Tensor) -> Tensor:
        third, fourth = self.b2b(self.b2a(x)), self.b3b(self.b3a(x))
        return torch.cat((self.b0(x), self.b1b(self.b1a(x)), third, fourth), 1)


def _unit(
    channels: int, width: int, kernel: int, *, stride: int = 1, padding: int = 0
) -> nn.Sequential:
    return nn.Sequential(
        OrderedDict(
            conv3d=nn.Conv3d(channels, width, kernel, stride, padding, bias=False),
            bn=nn.BatchNorm3d(width, eps=1e-3),
            relu=nn.ReLU(inplace=True),
        )
    )


def _same(length: int, kernel: int, stride: int) -> tuple[int, int]:
    """TensorFlow's SAME padding, before and after; the odd one goes after."""
    outputs = -(-length // stride)
    total = max((outputs - 1) * stride + kernel - length, 0)
    return total // 2, total - total // 2


def _max_pool(kernel: Triple, stride: Triple, shape: Triple) -> nn.MaxPool3d:
    # ceil_mode pads behind as far as SAME does, so only the padding in front is left to state
    front = [_same(*each)[0] for each in zip(shape, kernel, stride, strict=True)]
    return nn.MaxPool3d(kernel, stride, (front[0], front[1], front[2]), ceil_mode=True)

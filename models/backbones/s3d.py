"""S3D, I3D with each 3D convolution parted into one over space and one over time.

Source: Xie et al. 2018, arXiv:1712.04851; layer by layer torchvision's ``s3d``, whose weights fit
(its keys are ours).
"""

from collections import OrderedDict
from itertools import count

import torch
from torch import Tensor, nn

from vidcost.models.backbones.clip import check_clip, clip_of
from vidcost.models.backbones.i3d import STAGES, Triple, Widths
from vidcost.models.backbones.positions import Blocks, Unit, check_positions, with_blocks


class S3D(nn.Module):
    """S3D for clips of one size.

    Positions: ``mixed3`` to ``mixed5`` with the places of
               :mod:`vidcost.models.backbones.positions`.
    Shapes: (B, in_channels, frames, size, size) -> (B, classes).
    Cost:   params 7,910,048 + 1025 classes with 3 input channels and no block.
    Raises: ValueError if classes or in_channels is below 1, the clip has fewer than 5 frames or
            17 pixels a side (the last max-pool is not padded), or a position does not exist.
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
        super().__init__()
        self.clip = clip_of("S3D", classes, (in_channels, frames, size), least=(5, 17))
        blocks = blocks or {}
        check_positions(blocks, {name: len(units) for name, units in STAGES.items()})
        pools = {
            "mixed3": nn.MaxPool3d((1, 3, 3), (1, 2, 2), (0, 1, 1)),
            "mixed4": nn.MaxPool3d(3, 2, 1),
            "mixed5": nn.MaxPool3d(2, 2),
        }
        stem = (
            _separable(in_channels, 64, 7, stride=2),
            nn.MaxPool3d((1, 3, 3), (1, 2, 2), (0, 1, 1)),
            _unit(64, 64),
            _separable(64, 192, 3),
        )
        # keys count layers, not blocks
        numbers = map(str, count())
        features: list[tuple[str, nn.Module]] = [(next(numbers), layer) for layer in stem]
        channels = 192
        for stage, mixed in STAGES.items():
            features.append((next(numbers), pools[stage]))
            units: list[Unit] = []
            for widths in mixed.values():
                units.append((next(numbers), _Mixed(channels, widths), widths.out))
                channels = widths.out
            features += with_blocks(stage, units, blocks)
        self.features = nn.Sequential(OrderedDict(features))
        # torchvision's fixed (2, 7, 7), cut to the map where these clips leave less
        time, height = -(-frames // 4) // 2, -(-size // 16) // 2
        self.avgpool = nn.AvgPool3d((min(2, time), min(7, height), min(7, height)), stride=1)
        self.classifier = nn.Sequential(nn.Dropout(0.2), nn.Conv3d(channels, classes, 1))

    def forward(self, x: Tensor) -> Tensor:
        check_clip(x, self.clip)
        x = self.classifier(self.avgpool(self.features(x)))
        return x.mean((2, 3, 4))


class _Mixed(nn.Module):
    def __init__(self, channels: int, widths: Widths) -> None:
        super().__init__()
        self.branch0 = _unit(channels, widths.b0)
        self.branch1 = nn.Sequential(
            _unit(channels, widths.b1a), _separable(widths.b1a, widths.b1b, 3)
        )
        self.branch2 = nn.Sequential(
            _unit(channels, widths.b2a), _separable(widths.b2a, widths.b2b, 3)
        )
        self.branch3 = nn.Sequential(nn.MaxPool3d(3, 1, 1), _unit(channels, widths.b3b))

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat((self.branch0(x), self.branch1(x), self.branch2(x), self.branch3(x)), 1)


def _separable(channels: int, width: int, kernel: int, *, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(
        _unit(channels, width, (1, kernel, kernel), stride=(1, stride, stride)),
        _unit(width, width, (kernel, 1, 1), stride=(stride, 1, 1)),
    )


def _unit(
    channels: int, width: int, kernel: Triple = (1, 1, 1), *, stride: Triple = (1, 1, 1)
) -> nn.Sequential:
    padding = (kernel[0] // 2, kernel[1] // 2, kernel[2] // 2)
    return nn.Sequential(
        nn.Conv3d(channels, width, kernel, stride, padding, bias=False),
        nn.BatchNorm3d(width, eps=1e-3, momentum=1e-3),
        nn.ReLU(inplace=True),
    )

"""C2D ResNet-50: a 2D ResNet-50 over frames, with time only pooled.

Source: Wang et al. 2018, arXiv:1711.07971, Table 1. State-dict keys are those of the usual 2D
ResNet-50, whose ImageNet weights fit after inserting a time axis of 1 into each kernel.
"""

import torch
from torch import Tensor, nn

from vidcost.models.backbones.clip import check_clip, clip_of
from vidcost.models.backbones.positions import (
    BlockFactory,
    Blocks,
    Unit,
    check_positions,
    stage_of,
)

STAGES = {"res2": (3, 64), "res3": (4, 128), "res4": (6, 256), "res5": (3, 512)}
"""Bottlenecks and inner width of each stage; the output is four times as wide."""
INSIDE = "bottlenecks:after-conv1"
"""The position inside every bottleneck, between conv1 and its BatchNorm."""


class C2DResNet50(nn.Module):
    """C2D ResNet-50 for clips of one size.

    ``padded``: whether the max-pools are, as the paper's table has it, so that res2 is 56x56 at 224
    pixels. The authors' public code (video-nonlocal-net) does not pad: 2x3x3 and 2x1x1, 55x55.

    Positions: ``res2`` to ``res5`` with the places of :mod:`vidcost.models.backbones.positions`,
               and ``bottlenecks:after-conv1``, in every bottleneck between conv1 and its BatchNorm.
    Shapes: (B, in_channels, frames, size, size) -> (B, classes).
    Cost:   params 23,508,032 + 2049 classes with 3 input channels and no block.
    Raises: ValueError if classes or in_channels is below 1, or a position does not exist.
    """

    def __init__(
        self,
        *,
        classes: int = 400,
        frames: int = 32,
        size: int = 224,
        in_channels: int = 3,
        blocks: Blocks | None = None,
        padded: bool = True,
    ) -> None:
        super().__init__()
        # pools that are not padded need more
        least = (1, 1) if padded else (7, 5)
        self.clip = clip_of("C2D ResNet-50", classes, (in_channels, frames, size), least=least)
        blocks = blocks or {}
        check_positions(blocks, {name: count for name, (count, _) in STAGES.items()}, (INSIDE,))
        self.conv1 = nn.Conv3d(in_channels, 64, (1, 7, 7), 2, (0, 3, 3), bias=False)
        self.bn1 = nn.BatchNorm3d(64)
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool3d(3, 2, 1)
        self.temporal_pool = nn.MaxPool3d((3, 1, 1), (2, 1, 1), (1, 0, 0))
        if not padded:
            self.maxpool, self.temporal_pool = nn.MaxPool3d((2, 3, 3), 2), nn.MaxPool3d((2, 1, 1))
        channels = 64
        for index, (name, (count, width)) in enumerate(STAGES.items(), start=1):
            units: list[Unit] = []
            for number in range(count):
                stride = 2 if number == 0 and name != "res2" else 1
                unit = Bottleneck(channels, width, stride, blocks.get(INSIDE))
                channels = 4 * width
                units.append((str(number), unit, channels))
            self.add_module(f"layer{index}", stage_of(name, units, blocks))
        self.avgpool = nn.AdaptiveAvgPool3d(1)
        self.dropout = nn.Dropout(0.5)
        self.fc = nn.Linear(channels, classes)

    def forward(self, x: Tensor) -> Tensor:
        check_clip(x, self.clip)
        x = self.maxpool(self.relu(self.bn1(self.conv1(x))))
        for index in range(1, len(STAGES) + 1):
            x = self.get_submodule(f"layer{index}")(x)
            if index == 1:
                x = self.temporal_pool(x)
        return self.fc(self.dropout(torch.flatten(self.avgpool(x), 1)))  # type: ignore[no-any-return]


class Bottleneck(nn.Module):
    def __init__(
        self, channels: int, width: int, stride: int, after_conv1: BlockFactory | None
    ) -> None:
        super().__init__()
        self.conv1 = nn.Conv3d(channels, width, 1, bias=False)
        self.after_conv1 = after_conv1(width) if after_conv1 else nn.Identity()
        self.bn1 = nn.BatchNorm3d(width)
        self.conv2 = nn.Conv3d(width, width, (1, 3, 3), (1, stride, stride), (0, 1, 1), bias=False)
        self.bn2 = nn.BatchNorm3d(width)
        self.conv3 = nn.Conv3d(width, 4 * width, 1, bias=False)
        self.bn3 = nn.BatchNorm3d(4 * width)
        self.relu = nn.ReLU(inplace=True)
        self.downsample: nn.Module = nn.Identity()
        if stride != 1 or channels != 4 * width:
            self.downsample = nn.Sequential(
                nn.Conv3d(channels, 4 * width, 1, (1, stride, stride), bias=False),
                nn.BatchNorm3d(4 * width),
            )

    def forward(self, x: Tensor) -> Tensor:
        y = self.relu(self.bn1(self.after_conv1(self.conv1(x))))
        y = self.relu(self.bn2(self.conv2(y)))
        return self.relu(self.bn3(self.conv3(y)) + self.downsample(x))  # type: ignore[no-any-return]

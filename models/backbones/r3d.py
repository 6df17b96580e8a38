"""3D ResNets: the frame that they share, and the one with 18 layers.

Source: Hara et al. 2018, arXiv:1711.09577, with shortcut type B (a strided convolution); layer by
layer the authors' public ``3D-ResNets-PyTorch``, whose checkpoints fit (their keys are ours).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn

from vidcost.models.backbones.clip import check_clip, clip_of
from vidcost.models.backbones.positions import Blocks, Unit, check_positions, stage_of

UnitFactory = Callable[[int, int, int], nn.Module]
"""Builds a residual unit for input channels, output channels and stride."""


class ResNet3D(nn.Module):
    """Stem, four stages of residual units, head: what the 3D ResNets share.

    Args: name: for messages; stages: units and output channels of ``res2`` to ``res5``; unit.
    """

    def __init__(
        self,
        name: str,
        stages: Mapping[str, tuple[int, int]],
        unit: UnitFactory,
        *,
        classes: int,
        frames: int,
        size: int,
        in_channels: int,
        blocks: Blocks | None,
    ) -> None:
        super().__init__()
        self.clip = clip_of(
            name, classes=classes, in_channels=in_channels, frames=frames, size=size
        )
        blocks = blocks or {}
        check_positions(blocks, {stage: count for stage, (count, _) in stages.items()})
        self.conv1 = nn.Conv3d(in_channels, 64, 7, (1, 2, 2), 3, bias=False)
        self.bn1 = nn.BatchNorm3d(64)
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool3d(3, 2, 1)
        channels = 64
        for index, (stage, (count, width)) in enumerate(stages.items(), start=1):
            units: list[Unit] = []
            for number in range(count):
                stride = 2 if number == 0 and stage != "res2" else 1
                units.append((str(number), unit(channels, width, stride), width))
                channels = width
            self.add_module(f"layer{index}", stage_of(stage, units, blocks))
        self.avgpool = nn.AvgPool3d((-(-frames // 16), -(-size // 32), -(-size // 32)), stride=1)
        self.fc = nn.Linear(channels, classes)

    def forward(self, x: Tensor) -> Tensor:
        check_clip(x, self.clip)
        x = self.maxpool(self.relu(self.bn1(self.conv1(x))))
        for index in range(1, 5):
            x = self.get_submodule(f"layer{index}")(x)
        return self.fc(torch.flatten(self.avgpool(x), 1))  # type: ignore[no-any-return]


class R3D18(ResNet3D):
    """3D ResNet-18 for clips of one size.

    Positions: ``res2`` to ``res5`` with the places of :mod:`vidcost.models.backbones.positions`.
    Shapes: (B, in_channels, frames, size, size) -> (B, classes).
    Cost:   params 33,203,904 + 513 classes with 3 input channels and no block.
    Raises: ValueError if classes or in_channels is below 1, or a position does not exist.
    """

    def __init__(
        self,
        *,
        classes: int = 400,
        frames: int = 16,
        size: int = 112,
        in_channels: int = 3,
        blocks: Blocks | None = None,
    ) -> None:
        super().__init__(
            "3D ResNet-18",
            {"res2": (2, 64), "res3": (2, 128), "res4": (2, 256), "res5": (2, 512)},
            _BasicBlock,
            classes=classes,
            frames=frames,
            size=size,
            in_channels=in_channels,
            blocks=blocks,
        )


class _BasicBlock(nn.Module):
    def __init__(self, channels: int, width: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv3d(channels, width, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm3d(width)
        self.conv2 = nn.Conv3d(width, width, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm3d(width)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = shortcut(channels, width, stride)

    def forward(self, x: Tensor) -> Tensor:
        y = self.relu(self.bn1(self.conv1(x)))
        return self.relu(self.bn2(self.conv2(y)) + self.downsample(x))  # type: ignore[no-any-return]


def shortcut(channels: int, width: int, stride: int) -> nn.Module:
    """Shortcut type B: a convolution where the shape changes, nothing elsewhere."""
    if stride == 1 and channels == width:
        return nn.Identity()
    return nn.Sequential(nn.Conv3d(channels, width, 1, stride, bias=False), nn.BatchNorm3d(width))

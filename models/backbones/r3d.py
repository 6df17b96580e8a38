"""3D ResNets: 3D ResNet-18 and 3D ResNeXt-101.

Source: Hara et al. 2018, arXiv:1711.09577, Table 1, with shortcut type B (a strided convolution),
layer by layer the authors' public ``3D-ResNets-PyTorch``. Their keys are ours.
"""

from collections.abc import Mapping
from typing import ClassVar

import torch
from torch import Tensor, nn

from vidcost.models.backbones.clip import check_clip, clip_of
from vidcost.models.backbones.positions import Blocks, Unit, check_positions, stage_of

CARDINALITY = 32


class _BasicBlock(nn.Module):
    def __init__(self, channels: int, width: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv3d(channels, width, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm3d(width)
        self.conv2 = nn.Conv3d(width, width, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm3d(width)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = _shortcut(channels, width, stride)

    def forward(self, x: Tensor) -> Tensor:
        y = self.relu(self.bn1(self.conv1(x)))
        return self.relu(self.bn2(self.conv2(y)) + self.downsample(x))  # type: ignore[no-any-return]


class _Bottleneck(nn.Module):
    def __init__(self, channels: int, width: int, stride: int) -> None:
        super().__init__()
        inner = width // 2
        self.conv1 = nn.Conv3d(channels, inner, 1, bias=False)
        self.bn1 = nn.BatchNorm3d(inner)
        self.conv2 = nn.Conv3d(inner, inner, 3, stride, 1, groups=CARDINALITY, bias=False)
        self.bn2 = nn.BatchNorm3d(inner)
        self.conv3 = nn.Conv3d(inner, width, 1, bias=False)
        self.bn3 = nn.BatchNorm3d(width)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = _shortcut(channels, width, stride)

    def forward(self, x: Tensor) -> Tensor:
        y = self.relu(self.bn2(self.conv2(self.relu(self.bn1(self.conv1(x))))))
        return self.relu(self.bn3(self.conv3(y)) + self.downsample(x))  # type: ignore[no-any-return]


def _shortcut(channels: int, width: int, stride: int) -> nn.Module:
    if stride == 1 and channels == width:
        return nn.Identity()
    return nn.Sequential(nn.Conv3d(channels, width, 1, stride, bias=False), nn.BatchNorm3d(width))


class ResNet3D(nn.Module):
    """A 3D ResNet for clips of one size: stem, four stages of residual units, head.

    Positions: ``res2`` to ``res5`` with the places of :mod:`vidcost.models.backbones.positions`.
    Shapes: (B, in_channels, frames, size, size) -> (B, classes).
    Raises: ValueError if classes or in_channels is below 1, or a position does not exist.
    """

    title: ClassVar[str]
    stem: ClassVar[tuple[int, int, int]] = (7, 7, 7)
    """The first convolution's kernel."""
    pools: ClassVar[bool] = True
    """Whether a max-pool halves the map, and the frames, after it."""
    unit: ClassVar[type[_BasicBlock | _Bottleneck]]
    stages: ClassVar[Mapping[str, tuple[int, int]]]
    """Units and output channels of each stage."""

    def __init__(
        self,
        *,
        classes: int = 400,
        frames: int = 16,
        size: int = 112,
        in_channels: int = 3,
        blocks: Blocks | None = None,
    ) -> None:
        super().__init__()
        self.clip = clip_of(self.title, classes, (in_channels, frames, size))
        blocks = blocks or {}
        check_positions(blocks, {stage: count for stage, (count, _) in self.stages.items()})
        time, height, width = self.stem
        padding = (time // 2, height // 2, width // 2)
        self.conv1 = nn.Conv3d(in_channels, 64, self.stem, (1, 2, 2), padding, bias=False)
        self.bn1 = nn.BatchNorm3d(64)
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool3d(3, 2, 1) if self.pools else nn.Identity()
        channels = 64
        for index, (stage, (count, width)) in enumerate(self.stages.items(), start=1):
            units: list[Unit] = []
            for number in range(count):
                stride = 2 if number == 0 and stage != "res2" else 1
                units.append((str(number), self.unit(channels, width, stride), width))
                channels = width
            self.add_module(f"layer{index}", stage_of(stage, units, blocks))
        shorter = 16 if self.pools else 8
        side = -(-size // (2 * shorter))
        self.avgpool = nn.AvgPool3d((-(-frames // shorter), side, side), stride=1)
        self.fc = nn.Linear(channels, classes)

    def forward(self, x: Tensor) -> Tensor:
        check_clip(x, self.clip)
        x = self.maxpool(self.relu(self.bn1(self.conv1(x))))
        for index in range(1, 5):
            x = self.get_submodule(f"layer{index}")(x)
        return self.fc(torch.flatten(self.avgpool(x), 1))  # type: ignore[no-any-return]


class R3D18(ResNet3D):
    """3D ResNet-18: params 33,203,904 + 513 classes with 3 input channels and no block."""

    title = "3D ResNet-18"
    unit = _BasicBlock
    stages = {"res2": (2, 64), "res3": (2, 128), "res4": (2, 256), "res5": (2, 512)}  # noqa: RUF012


class TorchvisionR3D18(R3D18):
    """3D ResNet-18 in the layout of torchvision's ``r3d_18``: a stem of 3x7x7 and no max-pool.

    Params 33,166,272 + 513 classes with 3 input channels and no block. Keys are those of R3D18.
    """

    stem = (3, 7, 7)
    pools = False


class ResNeXt101(ResNet3D):
    """3D ResNeXt-101, as MARS uses it (Crasto et al., CVPR 2019); flow has ``in_channels=2``.

    Params 47,521,216 + 2049 classes with 3 input channels and no block, 47,499,264 + 2049 classes
    with 2. The checkpoints fit of MARS, and of 3D-ResNets-PyTorch before November 2018.
    """

    title = "3D ResNeXt-101"
    unit = _Bottleneck
    stages = {"res2": (3, 256), "res3": (4, 512), "res4": (23, 1024), "res5": (3, 2048)}  # noqa: RUF012

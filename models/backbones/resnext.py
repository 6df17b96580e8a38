"""3D ResNeXt-101.

Source: Hara et al. 2018, arXiv:1711.09577, Table 1; as MARS uses it, Crasto et al., CVPR 2019.
Layer by layer the authors' public ``resnext.py``, whose checkpoints fit (their keys are ours).
"""

from __future__ import annotations

from torch import Tensor, nn

from vidcost.models.backbones.positions import Blocks
from vidcost.models.backbones.r3d import ResNet3D, shortcut

CARDINALITY = 32


class ResNeXt101(ResNet3D):
    """3D ResNeXt-101 for clips of one size; its flow stream has ``in_channels=2``.

    Positions: ``res2`` to ``res5`` with the places of :mod:`vidcost.models.backbones.positions`.
    Shapes: (B, in_channels, frames, size, size) -> (B, classes).
    Cost:   params 47,521,216 + 2049 classes with 3 input channels and no block;
            47,499,264 + 2049 classes with 2.
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
            "3D ResNeXt-101",
            {"res2": (3, 256), "res3": (4, 512), "res4": (23, 1024), "res5": (3, 2048)},
            _Bottleneck,
            classes=classes,
            frames=frames,
            size=size,
            in_channels=in_channels,
            blocks=blocks,
        )


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
        self.downsample = shortcut(channels, width, stride)

    def forward(self, x: Tensor) -> Tensor:
        y = self.relu(self.bn1(self.conv1(x)))
        y = self.relu(self.bn2(self.conv2(y)))
        return self.relu(self.bn3(self.conv3(y)) + self.downsample(x))  # type: ignore[no-any-return]

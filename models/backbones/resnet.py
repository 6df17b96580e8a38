"""ResNets of one family of layers: C2D ResNet-50, 3D ResNet-18 and 3D ResNeXt-101.

Positions are in ``res2`` to ``res5``, and in C2D :data:`INSIDE`.
Source: Wang et al. 2018, arXiv:1711.07971, Table 1 (C2D); Hara et al. 2018, arXiv:1711.09577,
Table 1, with shortcut type B (a strided convolution), layer by layer the authors' public
``3D-ResNets-PyTorch``. Keys are theirs, and those of the usual 2D ResNet-50, whose ImageNet weights
fit C2D after inserting a time axis of 1 into each kernel.
"""

from typing import ClassVar

from torch import Tensor, nn

from vidcost.models.backbones.backbone import Backbone, Blocks, Clip, Layers, Triple, Unit, named

INSIDE = "bottlenecks:after-conv1"
"""The position inside every bottleneck of C2D, between conv1 and its BatchNorm."""


class _BasicBlock(nn.Module):
    def __init__(self, channels: int, width: int, stride: int, _: Blocks) -> None:
        super().__init__()
        self.conv1 = nn.Conv3d(channels, width, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm3d(width)
        self.conv2 = nn.Conv3d(width, width, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm3d(width)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = _shortcut(channels, width, (stride, stride, stride))

    def forward(self, x: Tensor) -> Tensor:
        y = self.relu(self.bn1(self.conv1(x)))
        return self.relu(self.bn2(self.conv2(y)) + self.downsample(x))  # type: ignore[no-any-return]


class Bottleneck(nn.Module):
    """1x1x1, ``kernel`` on a map that is ``narrower``, 1x1x1."""

    kernel: ClassVar[Triple] = (1, 3, 3)
    groups: ClassVar[int] = 1
    narrower: ClassVar[int] = 4

    def __init__(self, channels: int, width: int, stride: int, blocks: Blocks) -> None:
        super().__init__()
        inner, time, inside = width // self.narrower, self.kernel[0], blocks.get(INSIDE)
        steps = (stride if time > 1 else 1, stride, stride)
        self.conv1 = nn.Conv3d(channels, inner, 1, bias=False)
        self.after_conv1 = inside(inner) if inside else nn.Identity()
        self.bn1 = nn.BatchNorm3d(inner)
        self.conv2 = nn.Conv3d(
            inner, inner, self.kernel, steps, (time // 2, 1, 1), groups=self.groups, bias=False
        )
        self.bn2 = nn.BatchNorm3d(inner)
        self.conv3 = nn.Conv3d(inner, width, 1, bias=False)
        self.bn3 = nn.BatchNorm3d(width)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = _shortcut(channels, width, steps)

    def forward(self, x: Tensor) -> Tensor:
        y = self.relu(self.bn1(self.after_conv1(self.conv1(x))))
        y = self.relu(self.bn2(self.conv2(y)))
        return self.relu(self.bn3(self.conv3(y)) + self.downsample(x))  # type: ignore[no-any-return]


class _GroupedBottleneck(Bottleneck):
    kernel = (3, 3, 3)
    groups = 32
    narrower = 2


def _shortcut(channels: int, width: int, steps: Triple) -> nn.Module:
    if steps == (1, 1, 1) and channels == width:
        return nn.Identity()
    return nn.Sequential(nn.Conv3d(channels, width, 1, steps, bias=False), nn.BatchNorm3d(width))


class ResNet(Backbone):
    """A stem, four stages of units, which the first of each but ``res2`` halves, and a head."""

    stages = {"res2": 3, "res3": 4, "res4": 6, "res5": 3}  # noqa: RUF012
    unit: ClassVar[type[_BasicBlock | Bottleneck]] = Bottleneck
    width: ClassVar[int] = 256
    """Output channels of ``res2``; each later stage has twice as many."""
    stem: ClassVar[Triple] = (7, 7, 7)
    """The first convolution's kernel."""
    steps: ClassVar[Triple] = (1, 2, 2)
    """Its strides."""
    pools: ClassVar[bool] = True
    """Whether a max-pool halves the map, and the frames, after it."""

    def layers(self, classes: int, clip: Clip, blocks: Blocks) -> Layers:
        padding = (self.stem[0] // 2, self.stem[1] // 2, self.stem[2] // 2)
        yield "conv1", nn.Conv3d(clip[0], 64, self.stem, self.steps, padding, bias=False)
        yield "bn1", nn.BatchNorm3d(64)
        yield "relu", nn.ReLU(inplace=True)
        yield "maxpool", nn.MaxPool3d(3, 2, 1) if self.pools else nn.Identity()
        channels, width = 64, self.width
        for index, (stage, count) in enumerate(self.stages.items(), start=1):
            units: list[Unit] = []
            for number in range(count):
                stride = 2 if number == 0 and stage != "res2" else 1
                unit = self.unit(channels, width, stride, blocks)
                units.append((str(number), unit, width))
                channels = width
            yield f"layer{index}", named(**dict(self.with_blocks(stage, units, blocks)))
            width *= 2
        yield "avgpool", self.average(clip)
        yield "flatten", nn.Flatten()
        yield "fc", nn.Linear(channels, classes)

    def average(self, clip: Clip) -> nn.Module:
        """The authors' fixed average pool, sized to the map that these clips leave."""
        _, frames, size, _ = clip
        shorter = 16 if self.pools else 8
        side = -(-size // (2 * shorter))
        return nn.AvgPool3d((-(-frames // shorter), side, side), stride=1)


class C2DResNet50(ResNet):
    """C2D ResNet-50: a 2D ResNet-50 over frames, with time only pooled.

    The max-pools are padded, as the paper's table has it, so that res2 is 56x56 at 224 pixels.
    Cost: params 23,508,032 + 2049 classes with 3 input channels and no block.
    """

    title = "C2D ResNet-50"
    frames = 32
    inside = (INSIDE,)
    maxpool: nn.Module
    temporal_pool: nn.Module
    stem = (1, 7, 7)
    steps = (2, 2, 2)

    def layers(self, classes: int, clip: Clip, blocks: Blocks) -> Layers:
        for name, layer in super().layers(classes, clip, blocks):
            yield name, layer
            if name == "layer1":
                yield "temporal_pool", nn.MaxPool3d((3, 1, 1), (2, 1, 1), (1, 0, 0))
            elif name == "avgpool":
                yield "dropout", nn.Dropout(0.5)

    def average(self, clip: Clip) -> nn.Module:
        return nn.AdaptiveAvgPool3d(1)


class UnpaddedC2D(C2DResNet50):
    """The same with the max-pools of its authors' public code (video-nonlocal-net), not padded."""

    least = (7, 5)

    def layers(self, classes: int, clip: Clip, blocks: Blocks) -> Layers:
        pools = {"maxpool": nn.MaxPool3d((2, 3, 3), 2), "temporal_pool": nn.MaxPool3d((2, 1, 1))}
        for name, layer in super().layers(classes, clip, blocks):
            yield name, pools.get(name, layer)


class R3D18(ResNet):
    """3D ResNet-18: params 33,203,904 + 513 classes with 3 input channels and no block."""

    title = "3D ResNet-18"
    size = 112
    stages = {"res2": 2, "res3": 2, "res4": 2, "res5": 2}  # noqa: RUF012
    unit = _BasicBlock
    width = 64


class TorchvisionR3D18(R3D18):
    """3D ResNet-18 in the layout of torchvision's ``r3d_18``: a stem of 3x7x7 and no max-pool.

    Params 33,166,272 + 513 classes with 3 input channels and no block. Keys are those of R3D18.
    """

    stem = (3, 7, 7)
    pools = False


class ResNeXt101(ResNet):
    """3D ResNeXt-101, as MARS uses it (Crasto et al., CVPR 2019); flow has ``in_channels=2``.

    Params 47,521,216 + 2049 classes with 3 input channels and no block, 47,499,264 + 2049 classes
    with 2. The checkpoints fit of MARS, and of 3D-ResNets-PyTorch before November 2018.
    """

    title = "3D ResNeXt-101"
    size = 112
    stages = {"res2": 3, "res3": 4, "res4": 23, "res5": 3}  # noqa: RUF012
    unit = _GroupedBottleneck

"""MFNet, the multi-fiber network.

Source: Chen et al., ECCV 2018, arXiv:1807.11195; layer by layer the authors' ``MFNET_3D``, whose
checkpoints fit (their keys are ours).
"""

from torch import Tensor, nn

from vidcost.models.backbones.backbone import Backbone, Blocks, Clip, Layers, Triple, Unit, named

ONE: Triple = (1, 1, 1)
GROUPS = 16
STAGES = {"conv2": (3, 96), "conv3": (4, 192), "conv4": (6, 384), "conv5": (3, 768)}
"""Units and width of each stage."""


class MFNet(Backbone):
    """MFNet.  Positions: ``conv2`` to ``conv5``.

    Cost: params 7,688,768 + 769 classes with 3 input channels and no block.
    """

    title = "MFNet"
    stages = {name: units for name, (units, _) in STAGES.items()}  # noqa: RUF012

    def layers(self, classes: int, clip: Clip, blocks: Blocks) -> Layers:
        in_channels, frames, size, _ = clip
        stem = nn.Conv3d(in_channels, 16, (3, 5, 5), (1, 2, 2), (1, 2, 2), bias=False)
        yield "conv1", named(conv=stem, bn=nn.BatchNorm3d(16), relu=nn.ReLU(inplace=True))
        yield "maxpool", nn.MaxPool3d((1, 3, 3), (1, 2, 2), (0, 1, 1))
        channels = 16
        for name, (count, width) in STAGES.items():
            # conv2 halves the frames, the later stages the pixels
            stride = (2, 1, 1) if name == "conv2" else (1, 2, 2)
            units: list[Unit] = []
            for number in range(1, count + 1):
                unit = MultiFiberUnit(channels, width, stride if number == 1 else None)
                units.append((f"B{number:02d}", unit, width))
                channels = width
            yield name, named(**dict(self.with_blocks(name, units, blocks)))
        yield "tail", named(bn=nn.BatchNorm3d(channels), relu=nn.ReLU(inplace=True))
        # the authors' fixed average pool, sized to the map that these clips leave
        left = (-(-frames // 2), -(-size // 32), -(-size // 32))
        yield "globalpool", nn.AvgPool3d(left, stride=1)
        yield "flatten", nn.Flatten()
        yield "classifier", nn.Linear(channels, classes)


class MultiFiberUnit(nn.Module):
    """Multi-fiber unit: a multiplexer (i1, i2), then grouped convolutions (m1, m2).

    The first of a stage has a ``stride``, and a convolution in its shortcut.
    """

    def __init__(self, channels: int, width: int, stride: Triple | None = None) -> None:
        super().__init__()
        first, stride = stride is not None, stride or ONE
        self.conv_i1 = _bn_relu_conv(channels, width // 4, ONE)
        self.conv_i2 = _bn_relu_conv(width // 4, channels, ONE)
        self.conv_m1 = _bn_relu_conv(channels, width, (3, 3, 3), stride, GROUPS)
        if first:
            self.conv_m2 = _bn_relu_conv(width, width, ONE)
            self.conv_w1 = _bn_relu_conv(channels, width, ONE, stride)
        else:
            self.conv_m2 = _bn_relu_conv(width, width, (1, 3, 3), groups=GROUPS)
        self.first = first

    def forward(self, x: Tensor) -> Tensor:
        routed = x + self.conv_i2(self.conv_i1(x))
        shortcut = self.conv_w1(x) if self.first else x
        return self.conv_m2(self.conv_m1(routed)) + shortcut  # type: ignore[no-any-return]


def _bn_relu_conv(
    channels: int, width: int, kernel: Triple, stride: Triple = ONE, groups: int = 1
) -> nn.Sequential:
    padding = (kernel[0] // 2, kernel[1] // 2, kernel[2] // 2)
    return named(
        bn=nn.BatchNorm3d(channels),
        relu=nn.ReLU(inplace=True),
        conv=nn.Conv3d(channels, width, kernel, stride, padding, groups=groups, bias=False),
    )

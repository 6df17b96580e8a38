"""SlowOnly, which published tables print with non-local blocks such as this project's."""

from torch import nn

from vidcost.models.backbones.backbone import Blocks, Clip, Layers
from vidcost.models.backbones.resnet import Bottleneck, ResNet


class SlowOnly50(ResNet):
    """SlowOnly ResNet-50 (arXiv:1812.03982): only units of res4 and res5 see several frames.

    Cost: params 31,634,496 + 2049 classes with 3 input channels and no block.
    """

    title = "SlowOnly ResNet-50"
    frames, size = 8, 256
    stem = (1, 7, 7)

    def layers(self, classes: int, clip: Clip, blocks: Blocks) -> Layers:
        for name, layer in super().layers(classes, clip, blocks):
            for unit in layer.children() if name in ("layer3", "layer4") else ():
                if isinstance(unit, Bottleneck):
                    first = unit.conv1.in_channels, unit.conv1.out_channels
                    unit.conv1 = nn.Conv3d(*first, (3, 1, 1), padding=(1, 0, 0), bias=False)
            if name == "maxpool":
                layer = nn.MaxPool3d((1, 3, 3), (1, 2, 2), (0, 1, 1))
            yield name, layer

    def average(self, clip: Clip) -> nn.Module:
        return nn.AdaptiveAvgPool3d(1)

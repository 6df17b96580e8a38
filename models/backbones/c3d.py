"""C3D: eight 3x3x3 convolutions and three linear layers.

Source: Tran et al. 2015, arXiv:1412.0767, Figure 3; layers carry the names of the authors' public
Caffe model (``conv3b``), linear ones without its ``-1``.
"""

from torch import nn

from vidcost.models.backbones.backbone import Backbone, Blocks, Clip, Layers, Unit, named

WIDTHS = {"conv1": 64, "conv2": 128, "conv3": 256, "conv4": 512, "conv5": 512}
"""Width of each stage; a max-pool ends it."""


class C3D(Backbone):
    """C3D.  Positions: ``conv1`` to ``conv5``; a unit is a convolution with its ReLU.

    Cost: params 77,995,776 + 4097 classes with 3 input channels, 16 to 31 frames of 96 to 127
          pixels a side, and no block. Four pools halve frames and pixels.
    """

    title = "C3D"
    size = 112
    stages = {"conv1": 1, "conv2": 1, "conv3": 2, "conv4": 2, "conv5": 2}  # noqa: RUF012
    least = (16, 16)

    def layers(self, classes: int, clip: Clip, blocks: Blocks) -> Layers:
        channels, frames, size, _ = clip
        pools = {"conv1": nn.MaxPool3d((1, 2, 2)), "conv5": nn.MaxPool3d(2, padding=(0, 1, 1))}
        for stage, width in WIDTHS.items():
            units: list[Unit] = []
            for letter in "ab"[: self.stages[stage]]:
                conv = nn.Conv3d(channels, width, 3, padding=1)
                units.append((stage + letter, named(conv=conv, relu=nn.ReLU(inplace=True)), width))
                channels = width
            yield from self.with_blocks(stage, units, blocks)
            yield stage.replace("conv", "pool"), pools.get(stage, nn.MaxPool3d(2))
        yield "flatten", nn.Flatten()
        features = channels * (frames // 16) * (size // 16 // 2 + 1) ** 2
        for number in (6, 7):
            yield f"fc{number}", nn.Linear(features if number == 6 else 4096, 4096)
            yield f"relu{number}", nn.ReLU(inplace=True)
            yield f"dropout{number}", nn.Dropout(0.5)
        yield "fc8", nn.Linear(4096, classes)

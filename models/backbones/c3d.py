"""C3D: eight 3x3x3 convolutions and three linear layers.

Source: Tran et al. 2015, arXiv:1412.0767, Figure 3; layers carry the names of the authors' public
Caffe model (``conv3b``), linear ones without its ``-1``.
"""

from collections import OrderedDict

from torch import Tensor, nn

from vidcost.models.backbones.clip import check_clip, clip_of
from vidcost.models.backbones.positions import Blocks, Unit, check_positions, with_blocks

STAGES = {
    "conv1": (1, 64),
    "conv2": (1, 128),
    "conv3": (2, 256),
    "conv4": (2, 512),
    "conv5": (2, 512),
}
"""Convolutions and width of each stage; a max-pool ends it."""


class C3D(nn.Sequential):
    """C3D for clips of one size.

    Positions: ``conv1`` to ``conv5`` with the places of :mod:`vidcost.models.backbones.positions`;
               a unit is a convolution with its ReLU, and ``conv1`` and ``conv2`` have but one.
    Shapes: (B, in_channels, frames, size, size) -> (B, classes).
    Cost:   params 77,995,776 + 4097 classes with 3 input channels, 16 to 31 frames of 96 to 127
            pixels a side, and no block.
    Raises: ValueError if classes or in_channels is below 1, the clip has fewer than 16 frames or
            16 pixels a side (four pools halve both), or a position does not exist.
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
        clip = clip_of("C3D", classes, (in_channels, frames, size), least=(16, 16))
        blocks = blocks or {}
        check_positions(blocks, {name: count for name, (count, _) in STAGES.items()})
        pools = {"conv1": nn.MaxPool3d((1, 2, 2)), "conv5": nn.MaxPool3d(2, padding=(0, 1, 1))}
        layers: list[tuple[str, nn.Module]] = []
        channels = in_channels
        for stage, (count, width) in STAGES.items():
            units: list[Unit] = []
            for letter in "ab"[:count]:
                conv, relu = nn.Conv3d(channels, width, 3, padding=1), nn.ReLU(inplace=True)
                unit = nn.Sequential(OrderedDict(conv=conv, relu=relu))
                units.append((stage + letter, unit, width))
                channels = width
            pool = pools.get(stage, nn.MaxPool3d(2))
            layers += [*with_blocks(stage, units, blocks), (stage.replace("conv", "pool"), pool)]
        time, height = frames // 16, size // 16 // 2 + 1
        layers += [
            ("flatten", nn.Flatten()),
            ("fc6", nn.Linear(channels * time * height**2, 4096)),
            ("relu6", nn.ReLU(inplace=True)),
            ("dropout6", nn.Dropout(0.5)),
            ("fc7", nn.Linear(4096, 4096)),
            ("relu7", nn.ReLU(inplace=True)),
            ("dropout7", nn.Dropout(0.5)),
            ("fc8", nn.Linear(4096, classes)),
        ]
        super().__init__(OrderedDict(layers))
        self.clip = clip

    def forward(self, x: Tensor) -> Tensor:
        check_clip(x, self.clip)
        for layer in self:
            x = layer(x)
        return x

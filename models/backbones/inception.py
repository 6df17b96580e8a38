"""Inception-V1 over clips: I3D, S3D, and two streams of a network.

Sources: I3D is Carreira & Zisserman 2017, arXiv:1705.07750, Figure 3; keys are those of piergiaj's
public PyTorch port (``pytorch-i3d``), whose checkpoints fit. S3D is Xie et al. 2018,
arXiv:1712.04851; layer by layer torchvision's ``s3d``, whose weights fit (its keys are ours).
"""

from collections.abc import Sequence
from itertools import count

import torch
from torch import Tensor, nn

from vidcost.models.backbones.backbone import Backbone, Blocks, Clip, Layers, Triple, Unit, named

STAGES = {
    "mixed3": {"Mixed_3b": (64, 96, 128, 16, 32, 32), "Mixed_3c": (128, 128, 192, 32, 96, 64)},
    "mixed4": {
        "Mixed_4b": (192, 96, 208, 16, 48, 64),
        "Mixed_4c": (160, 112, 224, 24, 64, 64),
        "Mixed_4d": (128, 128, 256, 24, 64, 64),
        "Mixed_4e": (112, 144, 288, 32, 64, 64),
        "Mixed_4f": (256, 160, 320, 32, 128, 128),
    },
    "mixed5": {
        "Mixed_5b": (256, 160, 320, 32, 128, 128),
        "Mixed_5c": (384, 192, 384, 48, 128, 128),
    },
}
"""Inception units of each stage: widths of the branches b0, b1a, b1b, b2a, b2b and b3b.

A branch with an ``a`` and a ``b`` has two layers.
"""


def _out(b0: int, b1a: int, b1b: int, b2a: int, b2b: int, b3b: int) -> int:
    """Channels of a unit, whose branches stand side by side."""
    return b0 + b1b + b2b + b3b


class _Inception(Backbone):
    frames = 64
    stages = {name: len(units) for name, units in STAGES.items()}  # noqa: RUF012

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x).mean((2, 3, 4))


class I3D(_Inception):
    """I3D; its flow stream is the same network with ``in_channels=2``.

    Positions: in ``mixed3`` to ``mixed5``.
    Cost: params 12,287,264 + 1025 classes with 3 input channels and no block;
          12,265,312 + 1025 classes with 2.
    """

    title = "I3D"

    def layers(self, classes: int, clip: Clip, blocks: Blocks) -> Layers:
        in_channels, frames, size, _ = clip

        def shrunk(time: int, space: int) -> Triple:
            # SAME padding rounds up, and rounding up twice is rounding up once
            height = -(-size // space)
            return -(-frames // time), height, height

        time_pad, space_pad, _ = (_same(length, 7, 2) for length in shrunk(1, 1))
        yield "pad", nn.ConstantPad3d((*space_pad, *space_pad, *time_pad), 0.0)
        yield "Conv3d_1a_7x7", _full(in_channels, 64, 7, stride=2, padding=0)
        yield "MaxPool3d_2a_3x3", _max_pool((1, 3, 3), (1, 2, 2), shrunk(2, 2))
        yield "Conv3d_2b_1x1", _full(64, 64, 1)
        yield "Conv3d_2c_3x3", _full(64, 192, 3, padding=1)
        pools = {
            "mixed3": ("MaxPool3d_3a_3x3", _max_pool((1, 3, 3), (1, 2, 2), shrunk(2, 4))),
            "mixed4": ("MaxPool3d_4a_3x3", _max_pool((3, 3, 3), (2, 2, 2), shrunk(2, 8))),
            "mixed5": ("MaxPool3d_5a_2x2", _max_pool((2, 2, 2), (2, 2, 2), shrunk(4, 16))),
        }
        channels = 192
        for stage, mixed in STAGES.items():
            units: list[Unit] = []
            for name, widths in mixed.items():
                units.append((name, _FullMixed(channels, widths), _out(*widths)))
                channels = _out(*widths)
            yield pools[stage]
            yield from self.with_blocks(stage, units, blocks)
        # the authors' fixed (2, 7, 7), sized to the map that these clips leave
        time, height, width = shrunk(8, 32)
        yield "avg_pool", nn.AvgPool3d((min(2, time), height, width), stride=1)
        yield "dropout", nn.Dropout(0.5)
        yield "logits", named(conv3d=nn.Conv3d(channels, classes, 1))


class _FullMixed(nn.Module):
    def __init__(self, channels: int, widths: Sequence[int]) -> None:
        super().__init__()
        b0, b1a, b1b, b2a, b2b, b3b = widths
        self.b0 = _full(channels, b0, 1)
        self.b1a = _full(channels, b1a, 1)
        self.b1b = _full(b1a, b1b, 3, padding=1)
        self.b2a = _full(channels, b2a, 1)
        self.b2b = _full(b2a, b2b, 3, padding=1)
        self.b3a = nn.MaxPool3d(3, 1, 1)
        self.b3b = _full(channels, b3b, 1)

    def forward(self, x: Tensor) -> Tensor:
        third, fourth = self.b2b(self.b2a(x)), self.b3b(self.b3a(x))
        return torch.cat((self.b0(x), self.b1b(self.b1a(x)), third, fourth), 1)


def _full(
    channels: int, width: int, kernel: int, *, stride: int = 1, padding: int = 0
) -> nn.Sequential:
    return named(
        conv3d=nn.Conv3d(channels, width, kernel, stride, padding, bias=False),
        bn=nn.BatchNorm3d(width, eps=1e-3),
        relu=nn.ReLU(inplace=True),
    )


def _same(length: int, kernel: int, stride: int) -> tuple[int, int]:
    """TensorFlow's SAME padding, before and after; the odd one goes after."""
    outputs = -(-length // stride)
    total = max((outputs - 1) * stride + kernel - length, 0)
    return total // 2, total - total // 2


def _max_pool(kernel: Triple, stride: Triple, shape: Triple) -> nn.MaxPool3d:
    # ceil_mode pads behind as far as SAME does, so only the padding in front is left to state
    front = [_same(*each)[0] for each in zip(shape, kernel, stride, strict=True)]
    return nn.MaxPool3d(kernel, stride, (front[0], front[1], front[2]), ceil_mode=True)


class S3D(_Inception):
    """S3D, I3D with each 3D convolution parted into one over space and one over time.

    Positions: in ``mixed3`` to ``mixed5``. The last max-pool is not padded.
    Cost: params 7,910,048 + 1025 classes with 3 input channels and no block.
    """

    title = "S3D"
    least = (5, 17)
    features: nn.Sequential

    def layers(self, classes: int, clip: Clip, blocks: Blocks) -> Layers:
        in_channels, frames, size, _ = clip
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
                units.append((next(numbers), _Mixed(channels, widths), _out(*widths)))
                channels = _out(*widths)
            features += self.with_blocks(stage, units, blocks)
        yield "features", named(**dict(features))
        # torchvision's fixed (2, 7, 7), cut to the map where these clips leave less
        time, height = -(-frames // 4) // 2, -(-size // 16) // 2
        yield "avgpool", nn.AvgPool3d((min(2, time), min(7, height), min(7, height)), stride=1)
        yield "classifier", nn.Sequential(nn.Dropout(0.2), nn.Conv3d(channels, classes, 1))


class _Mixed(nn.Module):
    def __init__(self, channels: int, widths: Sequence[int]) -> None:
        super().__init__()
        b0, b1a, b1b, b2a, b2b, b3b = widths
        self.branch0 = _unit(channels, b0)
        self.branch1 = nn.Sequential(_unit(channels, b1a), _separable(b1a, b1b, 3))
        self.branch2 = nn.Sequential(_unit(channels, b2a), _separable(b2a, b2b, 3))
        self.branch3 = nn.Sequential(nn.MaxPool3d(3, 1, 1), _unit(channels, b3b))

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


class TwoStream(nn.Module):
    """The sum of two networks' logits, each of its own clip; adding the logits counts 0.

    Source: I3D's, section 2.4: an RGB and a flow stream, trained apart; their predictions are
    averaged. The authors' public code sums the logits, as we do.
    """

    def __init__(self, first: nn.Module, second: nn.Module) -> None:
        super().__init__()
        self.first = first
        self.second = second

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        return self.first(x) + self.second(y)  # type: ignore[no-any-return]

"""The operators and networks of the conformance suite, each with its MACs worked out by hand.

The products say where they come from: a convolution's are output elements times entries of a
filter, a transposed one's input elements times what each is multiplied with, a matrix product's
rows times inner times columns. Nothing here comes from a counter. Dimensions are distinct primes,
but that kernels of 3-D convolutions use 2, 3 and 7 again, or a pass would take long.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from operator import itemgetter
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vidcost.bench.count.operands import Shape
from vidcost.papers.catalog import select


@dataclass(frozen=True)
class Operator:
    """An operator as a network uses it: ``build`` makes a module for inputs of ``shapes``.

    ``macs`` are the true MACs, 0 where nothing is a convolution or matrix product.
    """

    name: str
    build: Callable[[], nn.Module]
    shapes: tuple[Shape, ...]
    macs: int = 0

    def network(self) -> nn.Module:
        """The operator inside a network; some counters do not look at a layer by itself."""
        return Calls(self.build())

    def inputs(self) -> tuple[Tensor, ...]:
        """Inputs of ones on the default device, leaves that want a gradient."""
        return tuple(torch.ones(shape, requires_grad=True) for shape in self.shapes)


class Calls(nn.Module):
    """Calls ``operator`` on its inputs and then on parameters of these shapes."""

    def __init__(self, operator: Callable[..., Tensor], *parameters: Shape) -> None:
        super().__init__()
        self.operator = operator
        self.operands = nn.ParameterList(torch.ones(shape) for shape in parameters)

    def forward(self, *inputs: Tensor) -> Tensor:
        return self.operator(*inputs, *self.operands)


def _call(
    name: str,
    function: Callable[..., Tensor],
    macs: int,
    *shapes: Shape,
    parameters: tuple[Shape, ...] = (),
) -> Operator:
    return Operator(name, partial(Calls, function, *parameters), shapes, macs)


def _layer(
    layer: str, macs: int, shape: Shape, *args: Any, label: str | None = None, **options: Any
) -> Operator:
    """A layer of torch, named with its options or a label."""
    said = "".join(f", {key} {value}" for key, value in options.items() if key != "bias")
    build = partial(getattr(nn, layer), *args, **options)
    return Operator(f"nn.{layer}{said if label is None else label}", build, (shape,), macs)


_CLIP, _TOKENS = (2, 3, 12, 15, 23), (2, 3, 5)
_VOLUME = 11 * 13 * 17
_ENTRIES = 2 * 3 * 7
_CONV3D = 2 * 5 * _VOLUME * 3 * _ENTRIES
_TRANSPOSED3D = 2 * 3 * _VOLUME * 5 * _ENTRIES
_GROUPED = 2 * 21 * _VOLUME * 5 * _ENTRIES

_conv = partial(_layer, bias=False)
_conv3d = partial(_conv, "Conv3d")
_transposed = partial(_conv, "ConvTranspose3d")
_K2, _K3 = (7, 11), (2, 3, 7)

# outputs of (2, 5, 11), (2, 5, 13, 17) and, if not said otherwise, (2, 5, 11, 13, 17)
CONVOLUTIONS = (
    _conv("Conv1d", 2 * 5 * 11 * 3 * 7, (2, 3, 17), 3, 5, 7),
    _conv("Conv2d", 2 * 5 * 13 * 17 * 3 * 7 * 11, (2, 3, 19, 27), 3, 5, _K2),
    _conv3d(_CONV3D, _CLIP, 3, 5, _K3),
    _call("F.conv3d", lambda *x: F.conv3d(*x), _CONV3D, _CLIP, parameters=((5, 3, *_K3),)),
    _layer("Conv3d", _CONV3D, _CLIP, 3, 5, _K3, label=" with bias"),
    # padding is multiplied too
    _conv3d(_CONV3D, (2, 3, 10, 13, 17), 3, 5, _K3, padding=(1, 1, 3)),
    # (2, 5, 11, 7, 5) out
    _conv3d(2 * 5 * 11 * 7 * 5 * 3 * _ENTRIES, (2, 3, 12, 15, 19), 3, 5, _K3, stride=(1, 2, 3)),
    _conv3d(_CONV3D, (2, 3, 14, 17, 29), 3, 5, _K3, dilation=(3, 2, 2)),
    # 5 channels in and 7 out in each of 3 groups: (2, 21, 11, 13, 17) out
    _conv3d(_GROUPED, (2, 15, 12, 15, 23), 15, 21, _K3, groups=3, label=", 3 groups"),
    # each channel for itself: (2, 19, 11, 13, 17) out
    _conv3d(
        *(2 * 19 * _VOLUME * _ENTRIES, (2, 19, 12, 15, 23), 19, 19, _K3),
        groups=19,
        label=", depthwise",
    ),
    _conv("ConvTranspose1d", 2 * 3 * 11 * 5 * 7, (2, 3, 11), 3, 5, 7),
    _conv("ConvTranspose2d", 2 * 3 * 13 * 17 * 5 * 7 * 11, (2, 3, 13, 17), 3, 5, _K2),
    _transposed(_TRANSPOSED3D, (2, 3, 11, 13, 17), 3, 5, _K3),
    _transposed(_TRANSPOSED3D, (2, 3, 11, 13, 17), 3, 5, _K3, stride=2),
    # 2 x 15 channels in, each to 7: as many as in the groups above
    _transposed(_GROUPED, (2, 15, 11, 13, 17), 15, 21, _K3, groups=3, label=", 3 groups"),
)

_ONE = 3 * 5 * 7
_PAIR = 2 * _ONE


def _einsum(equation: str, macs: int, *shapes: Shape) -> Operator:
    return _call(f"einsum {equation}", lambda *x: torch.einsum(equation, *x), macs, *shapes)


def _product(left: Tensor, right: Tensor) -> Tensor:
    return left @ right


def _self_attention() -> nn.Module:
    layer = nn.MultiheadAttention(14, 2, batch_first=True)
    attention = Calls(lambda x: layer(x, x, x, need_weights=False)[0])
    attention.layer = layer
    return attention


PRODUCTS = (
    _layer("Linear", _ONE, (3, 5), 5, 7, label=" on 2-D"),
    _layer("Linear", _PAIR, _TOKENS, 5, 7, label=" on 3-D"),
    _call("F.linear", lambda *x: F.linear(*x), _PAIR, _TOKENS, parameters=((7, 5), (7,))),
    _call("x @ parameter", _product, _PAIR, _TOKENS, parameters=((5, 7),)),
    _call("torch.mm", lambda *x: torch.mm(*x), _ONE, (3, 5), (5, 7)),
    _call("torch.bmm", lambda *x: torch.bmm(*x), _PAIR, _TOKENS, (2, 5, 7)),
    _call("4-D @ 2-D", _product, 11 * _PAIR, (2, 11, 3, 5), (5, 7)),
    # batches (2, 1) and (1, 11) make (2, 11)
    _call("4-D @ 4-D, broadcasting", _product, 11 * _PAIR, (2, 1, 3, 5), (1, 11, 5, 7)),
    # backward: a product with the matrix, and an outer product, which is its gradient
    _call("2-D @ vector", _product, 3 * 5, (3, 5), (5,)),
    _call("3-D @ vector", _product, 2 * 3 * 5, _TOKENS, (5,)),
    # of these equations fvcore has a rule of its own for the first
    _einsum("bkn,bkm->bnm", _PAIR, (2, 5, 3), (2, 5, 7)),
    _einsum("bnk,bmk->bnm", _PAIR, _TOKENS, (2, 7, 5)),
    _einsum("bhnk,bhmk->bhnm", 11 * _PAIR, (2, 11, 3, 5), (2, 11, 7, 5)),
    _einsum("bcthw,oc->bothw", 2 * _VOLUME * 3 * 5, (2, 3, 11, 13, 17), (5, 3)),
    _call("torch.addmm", lambda *x: torch.addmm(*x), _ONE, (3, 7), (3, 5), (5, 7)),
    _call("torch.baddbmm", lambda *x: torch.baddbmm(*x), _PAIR, (2, 3, 7), _TOKENS, (2, 5, 7)),
    # 3 heads, 5 queries, 7 keys, width 11: scores, and scores times values
    _call(
        "F.scaled_dot_product_attention",
        *(lambda *x: F.scaled_dot_product_attention(*x), 2 * 11 * _PAIR),
        *((2, 3, 5, 11), (2, 3, 7, 11), (2, 3, 7, 11)),
    ),
    # 3 clips of 5 positions, 2 heads of width 7: four projections 14 -> 14, and two products
    Operator(
        "nn.MultiheadAttention", _self_attention, ((3, 5, 14),), 4 * 15 * 14 * 14 + 2 * 75 * 14
    ),
)


def _resampling(mode: str, *size: int) -> Operator:
    name = f"F.interpolate, {mode} {len(size)}d"
    return _call(name, lambda x: F.interpolate(x, None, 2, mode), 0, (2, 3, *size))


_MAP = (2, 3, 11, 13)
_SMALL = (2, 3, 5, 7, 11)
_LARGE = (2, 3, 11, 13, 17)

NO_PRODUCTS = (
    _layer("BatchNorm1d", 0, (2, 3, 5), 3),
    _layer("BatchNorm3d", 0, _SMALL, 3),
    _layer("BatchNorm3d", 0, _SMALL, 3, affine=False, label=", not affine"),
    _layer("GroupNorm", 0, (2, 15, 7, 11, 13), 3, 15),
    _layer("LayerNorm", 0, (2, 3, 7), 7),
    _layer("InstanceNorm3d", 0, _SMALL, 3),
    _layer("RMSNorm", 0, (2, 3, 7), 7),
    _layer("MaxPool3d", 0, _SMALL, 2),
    _layer("AvgPool2d", 0, (2, 3, 7, 11), 2),
    _layer("AvgPool3d", 0, _SMALL, 2),
    _layer("AdaptiveAvgPool2d", 0, _MAP, 1),
    _layer("AdaptiveAvgPool3d", 0, _LARGE, 1),
    _call("F.adaptive_avg_pool3d", lambda x: F.adaptive_avg_pool3d(x, 1), 0, _LARGE),
    _call("global mean, x.mean((2, 3, 4))", partial(torch.mean, dim=(2, 3, 4)), 0, _LARGE),
    _layer("Upsample", 0, _MAP, scale_factor=2, label=", nearest 2d"),
    _resampling("nearest", 11, 13),
    _resampling("nearest", 7, 11, 13),
    _resampling("bilinear", 11, 13),
    _resampling("trilinear", 7, 11, 13),
    _call("F.softmax", lambda x: F.softmax(x, -1), 0, (3, 5, 7)),
    _layer("Softmax", 0, (3, 5, 7), dim=-1, label=""),
    _call("x * parameter", lambda x, y: x * y, 0, (3, 5), parameters=((5,),)),
    _layer("ReLU", 0, (3, 5)),
)


class _Block(nn.Module):
    """A layer of VideoMAE as transformers has it: without bias of keys, and it keeps a function."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads, self.norm = heads, nn.LayerNorm(width)
        self.qkv = nn.ModuleList(nn.Linear(width, width, bias=each != "k") for each in "qkv")
        self.out = nn.Linear(width, width)
        self.up = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, 4 * width))
        self.down, self.activation = nn.Linear(4 * width, width), F.gelu

    def forward(self, x: Tensor) -> Tensor:
        y = self.norm(x)
        q, k, v = (each(y).unflatten(-1, (self.heads, -1)).transpose(1, 2) for each in self.qkv)
        x = x + self.out(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2))
        return x + self.down(self.activation(self.up(x)))  # type: ignore[no-any-return]


def _video_mae() -> nn.Module:
    patches, tokens = nn.Conv3d(3, 192, (2, 16, 16), (2, 16, 16)), Calls(lambda x: x.flatten(2).mT)
    return nn.Sequential(patches, tokens, *(_Block(192, 3) for _ in range(12)))


def _lstm() -> nn.Module:
    lstm = nn.LSTM(512, 256, 2, batch_first=True)
    return nn.Sequential(lstm, Calls(itemgetter(0)), nn.Linear(256, 200))


_CLIP_OF_16 = (1, 3, 16, 224, 224)
NETWORKS = (
    # 8 x 14 x 14 patches of 1536 elements; 12 layers of 12 x 192^2 weights and two products
    Operator(
        *("VideoMAE, 12 layers of width 192", _video_mae, (_CLIP_OF_16,)),
        1568 * (1536 * 192 + 12 * (12 * 192**2 + 2 * 1568 * 192)),
    ),
    # as its authors' code has it
    Operator("MFNet", lambda: select(["mfnet"])[0].model(), (_CLIP_OF_16,), 11_045_296_128),
    # 4 gates from 512 or 256 inputs and 256 states, and 200 classes, in each of 16 steps
    Operator(
        *("LSTM, 2 layers of width 256", _lstm, ((1, 16, 512),)),
        16 * (4 * 256 * (512 + 256 + 2 * 256) + 256 * 200),
    ),
)

OPERATORS = (*CONVOLUTIONS, *PRODUCTS, *NO_PRODUCTS)
CASES = (*OPERATORS, *NETWORKS)

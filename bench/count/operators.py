"""The operators of the conformance suite, each with its MACs worked out by hand.

The products say where they come from: a convolution's are output elements times entries of a
filter, a transposed one's input elements times what each is multiplied with, a matrix product's
rows times inner times columns. Nothing here comes from a counter. Dimensions are distinct primes,
but that kernels of 3-D convolutions use 2, 3 and 7 again, or a pass would take long.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass, field
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vidcost.bench.count.counter import Shape


@dataclass(frozen=True)
class Operator:
    """An operator as a network uses it: ``build`` makes a module for inputs of ``shapes``.

    ``macs`` are the true MACs, 0 where nothing is a convolution or matrix product. ``readings`` and
    ``backward_readings`` are figures by other conventions, by name; they explain what a counter
    says and judge nothing.
    """

    name: str
    build: Callable[[], nn.Module]
    shapes: tuple[Shape, ...]
    macs: int = 0
    has_gradient: bool = True
    readings: Mapping[str, int] = field(default_factory=dict)
    backward_readings: Mapping[str, int] = field(default_factory=dict)

    @property
    def backward(self) -> int | None:
        """The MACs of the gradients of all parameters and inputs, as inside a network.

        Each MAC of the forward pass is one in the gradient of either operand. None without one.
        """
        return 2 * self.macs if self.has_gradient else None

    def network(self) -> nn.Module:
        """The operator inside a network; some counters do not look at a layer by itself."""
        return _Network(self.build())

    def inputs(self) -> tuple[Tensor, ...]:
        """Inputs of ones on the default device, leaves that want a gradient."""
        return tuple(torch.ones(shape, requires_grad=True) for shape in self.shapes)


class _Network(nn.Module):
    def __init__(self, operator: nn.Module) -> None:
        super().__init__()
        self.operator = operator

    def forward(self, *inputs: Tensor) -> Tensor:
        out: Tensor = self.operator(*inputs)
        return out


class _Function(nn.Module):
    """Calls ``function`` on its inputs and then on parameters of these shapes."""

    def __init__(self, function: Callable[..., Tensor], *parameters: Shape) -> None:
        super().__init__()
        self.function = function
        for position, shape in enumerate(parameters):
            self.register_parameter(f"parameter{position}", nn.Parameter(torch.ones(shape)))

    def forward(self, *inputs: Tensor) -> Tensor:
        return self.function(*inputs, *self.parameters())


class _SelfAttention(nn.Module):
    """Multi-head attention of (B, L, C) to itself; for ``inference`` it is under no_grad."""

    def __init__(self, channels: int, heads: int, *, inference: bool) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(channels, heads, batch_first=True)
        self.inference = inference

    def forward(self, x: Tensor) -> Tensor:
        with torch.no_grad() if self.inference else nullcontext():
            out: Tensor = self.attention(x, x, x, need_weights=False)[0]
        return out


def _function(function: Callable[..., Tensor], *parameters: Shape) -> Callable[[], nn.Module]:
    return partial(_Function, function, *parameters)


def _einsum(equation: str) -> Callable[[], nn.Module]:
    return _function(partial(torch.einsum, equation))


_KERNEL = (2, 3, 7)
_PER_OUTPUT = "as if not transposed, a filter for each output element"
_UNGROUPED = "the weight's gradient as if there were no groups"
_PROJECTIONS = "the four projections alone"

CONVOLUTIONS = (
    # (2, 5, 11) out
    Operator(
        "nn.Conv1d", partial(nn.Conv1d, 3, 5, 7, bias=False), ((2, 3, 17),), macs=2 * 5 * 11 * 3 * 7
    ),
    # (2, 5, 13, 17) out
    Operator(
        "nn.Conv2d",
        partial(nn.Conv2d, 3, 5, (7, 11), bias=False),
        ((2, 3, 19, 27),),
        macs=2 * 5 * 13 * 17 * 3 * 7 * 11,
    ),
    # (2, 5, 11, 13, 17) out
    Operator(
        "nn.Conv3d",
        partial(nn.Conv3d, 3, 5, _KERNEL, bias=False),
        ((2, 3, 12, 15, 23),),
        macs=2 * 5 * 11 * 13 * 17 * 3 * 2 * 3 * 7,
    ),
    Operator(
        "F.conv3d",
        _function(F.conv3d, (5, 3, 2, 3, 7)),
        ((2, 3, 12, 15, 23),),
        macs=2 * 5 * 11 * 13 * 17 * 3 * 2 * 3 * 7,
    ),
    Operator(
        "nn.Conv3d with bias",
        partial(nn.Conv3d, 3, 5, _KERNEL),
        ((2, 3, 12, 15, 23),),
        macs=2 * 5 * 11 * 13 * 17 * 3 * 2 * 3 * 7,
        readings={
            "1 more per output element, the bias": 2 * 5 * 11 * 13 * 17 * (3 * 2 * 3 * 7 + 1)
        },
    ),
    # padding is multiplied too
    Operator(
        "nn.Conv3d, padding (1, 1, 3)",
        partial(nn.Conv3d, 3, 5, _KERNEL, padding=(1, 1, 3), bias=False),
        ((2, 3, 10, 13, 17),),
        macs=2 * 5 * 11 * 13 * 17 * 3 * 2 * 3 * 7,
    ),
    # (2, 5, 11, 7, 5) out
    Operator(
        "nn.Conv3d, stride (1, 2, 3)",
        partial(nn.Conv3d, 3, 5, _KERNEL, stride=(1, 2, 3), bias=False),
        ((2, 3, 12, 15, 19),),
        macs=2 * 5 * 11 * 7 * 5 * 3 * 2 * 3 * 7,
    ),
    Operator(
        "nn.Conv3d, dilation (3, 2, 2)",
        partial(nn.Conv3d, 3, 5, _KERNEL, dilation=(3, 2, 2), bias=False),
        ((2, 3, 14, 17, 29),),
        macs=2 * 5 * 11 * 13 * 17 * 3 * 2 * 3 * 7,
    ),
    # 5 channels in and 7 out in each of 3 groups: (2, 21, 11, 13, 17) out
    Operator(
        "nn.Conv3d, 3 groups",
        partial(nn.Conv3d, 15, 21, _KERNEL, groups=3, bias=False),
        ((2, 15, 12, 15, 23),),
        macs=2 * 21 * 11 * 13 * 17 * 5 * 2 * 3 * 7,
        backward_readings={_UNGROUPED: 2 * 21 * 11 * 13 * 17 * (5 + 15) * 2 * 3 * 7},
    ),
    # each channel for itself: (2, 19, 11, 13, 17) out
    Operator(
        "nn.Conv3d, depthwise",
        partial(nn.Conv3d, 19, 19, _KERNEL, groups=19, bias=False),
        ((2, 19, 12, 15, 23),),
        macs=2 * 19 * 11 * 13 * 17 * 2 * 3 * 7,
        backward_readings={_UNGROUPED: 2 * 19 * 11 * 13 * 17 * (1 + 19) * 2 * 3 * 7},
    ),
    # (2, 3, 11) in; (2, 5, 17) out
    Operator(
        "nn.ConvTranspose1d",
        partial(nn.ConvTranspose1d, 3, 5, 7, bias=False),
        ((2, 3, 11),),
        macs=2 * 3 * 11 * 5 * 7,
        readings={_PER_OUTPUT: 2 * 5 * 17 * 3 * 7},
    ),
    # (2, 3, 13, 17) in; (2, 5, 19, 27) out
    Operator(
        "nn.ConvTranspose2d",
        partial(nn.ConvTranspose2d, 3, 5, (7, 11), bias=False),
        ((2, 3, 13, 17),),
        macs=2 * 3 * 13 * 17 * 5 * 7 * 11,
        readings={_PER_OUTPUT: 2 * 5 * 19 * 27 * 3 * 7 * 11},
    ),
    # (2, 3, 11, 13, 17) in; (2, 5, 12, 15, 23) out
    Operator(
        "nn.ConvTranspose3d",
        partial(nn.ConvTranspose3d, 3, 5, _KERNEL, bias=False),
        ((2, 3, 11, 13, 17),),
        macs=2 * 3 * 11 * 13 * 17 * 5 * 2 * 3 * 7,
        readings={_PER_OUTPUT: 2 * 5 * 12 * 15 * 23 * 3 * 2 * 3 * 7},
    ),
    # (2, 5, 22, 27, 39) out
    Operator(
        "nn.ConvTranspose3d, stride 2",
        partial(nn.ConvTranspose3d, 3, 5, _KERNEL, stride=2, bias=False),
        ((2, 3, 11, 13, 17),),
        macs=2 * 3 * 11 * 13 * 17 * 5 * 2 * 3 * 7,
        readings={_PER_OUTPUT: 2 * 5 * 22 * 27 * 39 * 3 * 2 * 3 * 7},
    ),
    # (2, 15, 11, 13, 17) in; (2, 21, 12, 15, 23) out
    Operator(
        "nn.ConvTranspose3d, 3 groups",
        partial(nn.ConvTranspose3d, 15, 21, _KERNEL, groups=3, bias=False),
        ((2, 15, 11, 13, 17),),
        macs=2 * 15 * 11 * 13 * 17 * 7 * 2 * 3 * 7,
        readings={_PER_OUTPUT: 2 * 21 * 12 * 15 * 23 * 5 * 2 * 3 * 7},
        backward_readings={_UNGROUPED: 2 * 15 * 11 * 13 * 17 * (7 + 21) * 2 * 3 * 7},
    ),
)

PRODUCTS = (
    Operator("nn.Linear on 2-D", partial(nn.Linear, 5, 7), ((3, 5),), macs=3 * 5 * 7),
    Operator("nn.Linear on 3-D", partial(nn.Linear, 5, 7), ((2, 3, 5),), macs=2 * 3 * 5 * 7),
    Operator("F.linear", _function(F.linear, (7, 5), (7,)), ((2, 3, 5),), macs=2 * 3 * 5 * 7),
    Operator("x @ parameter", _function(torch.matmul, (5, 7)), ((2, 3, 5),), macs=2 * 3 * 5 * 7),
    Operator("torch.mm", _function(torch.mm), ((3, 5), (5, 7)), macs=3 * 5 * 7),
    Operator("torch.bmm", _function(torch.bmm), ((2, 3, 5), (2, 5, 7)), macs=2 * 3 * 5 * 7),
    Operator(
        "4-D @ 2-D", _function(torch.matmul), ((2, 11, 3, 5), (5, 7)), macs=2 * 11 * 3 * 5 * 7
    ),
    # batches (2, 1) and (1, 11) make (2, 11)
    Operator(
        "4-D @ 4-D, broadcasting",
        _function(torch.matmul),
        ((2, 1, 3, 5), (1, 11, 5, 7)),
        macs=2 * 11 * 3 * 5 * 7,
        readings={"the first operand before broadcasting": 2 * 1 * 3 * 5 * 7},
    ),
    # backward: a product with the matrix, and an outer product, which is its gradient
    Operator("2-D @ vector", _function(torch.matmul), ((3, 5), (5,)), macs=3 * 5),
    Operator("3-D @ vector", _function(torch.matmul), ((2, 3, 5), (5,)), macs=2 * 3 * 5),
    # of these equations fvcore has a rule of its own for the first
    Operator(
        "einsum bkn,bkm->bnm", _einsum("bkn,bkm->bnm"), ((2, 5, 3), (2, 5, 7)), macs=2 * 3 * 5 * 7
    ),
    Operator(
        "einsum bnk,bmk->bnm", _einsum("bnk,bmk->bnm"), ((2, 3, 5), (2, 7, 5)), macs=2 * 3 * 5 * 7
    ),
    Operator(
        "einsum bhnk,bhmk->bhnm",
        _einsum("bhnk,bhmk->bhnm"),
        ((2, 11, 3, 5), (2, 11, 7, 5)),
        macs=2 * 11 * 3 * 5 * 7,
    ),
    Operator(
        "einsum bcthw,oc->bothw",
        _einsum("bcthw,oc->bothw"),
        ((2, 3, 11, 13, 17), (5, 3)),
        macs=2 * 11 * 13 * 17 * 3 * 5,
        # twice 72,930 is 145,860
        readings={"half of the FLOPs that numpy prints, in four digits": 145_900 // 2},
    ),
    Operator("torch.addmm", _function(torch.addmm), ((3, 7), (3, 5), (5, 7)), macs=3 * 5 * 7),
    Operator(
        "torch.baddbmm",
        _function(torch.baddbmm),
        ((2, 3, 7), (2, 3, 5), (2, 5, 7)),
        macs=2 * 3 * 5 * 7,
    ),
    # 3 heads, 5 queries, 7 keys, width 11: scores, and scores times values
    Operator(
        "F.scaled_dot_product_attention",
        _function(F.scaled_dot_product_attention),
        ((2, 3, 5, 11), (2, 3, 7, 11), (2, 3, 7, 11)),
        macs=2 * 3 * 5 * 7 * 11 + 2 * 3 * 5 * 7 * 11,
    ),
    # 3 clips of 5 positions, 2 heads of width 7: four projections 14 -> 14, and two products
    Operator(
        "nn.MultiheadAttention",
        partial(_SelfAttention, 14, 2, inference=False),
        ((3, 5, 14),),
        macs=4 * 3 * 5 * 14 * 14 + 2 * 3 * 5 * 5 * 14,
        readings={_PROJECTIONS: 4 * 3 * 5 * 14 * 14},
        backward_readings={_PROJECTIONS: 2 * 4 * 3 * 5 * 14 * 14},
    ),
    Operator(
        "nn.MultiheadAttention, no_grad",
        partial(_SelfAttention, 14, 2, inference=True),
        ((3, 5, 14),),
        macs=4 * 3 * 5 * 14 * 14 + 2 * 3 * 5 * 5 * 14,
        has_gradient=False,
        readings={_PROJECTIONS: 4 * 3 * 5 * 14 * 14},
    ),
)

NO_PRODUCTS = (
    Operator("nn.BatchNorm1d", partial(nn.BatchNorm1d, 3), ((2, 3, 5),)),
    Operator("nn.BatchNorm3d", partial(nn.BatchNorm3d, 3), ((2, 3, 5, 7, 11),)),
    Operator(
        "nn.BatchNorm3d, not affine", partial(nn.BatchNorm3d, 3, affine=False), ((2, 3, 5, 7, 11),)
    ),
    Operator("nn.GroupNorm", partial(nn.GroupNorm, 3, 15), ((2, 15, 7, 11, 13),)),
    Operator("nn.LayerNorm", partial(nn.LayerNorm, 7), ((2, 3, 7),)),
    Operator("nn.InstanceNorm3d", partial(nn.InstanceNorm3d, 3), ((2, 3, 5, 7, 11),)),
    Operator("nn.RMSNorm", partial(nn.RMSNorm, 7), ((2, 3, 7),)),
    Operator("nn.MaxPool3d", partial(nn.MaxPool3d, 2), ((2, 3, 5, 7, 11),)),
    Operator("nn.AvgPool2d", partial(nn.AvgPool2d, 2), ((2, 3, 7, 11),)),
    Operator("nn.AvgPool3d", partial(nn.AvgPool3d, 2), ((2, 3, 5, 7, 11),)),
    Operator("nn.AdaptiveAvgPool2d", partial(nn.AdaptiveAvgPool2d, 1), ((2, 3, 11, 13),)),
    Operator("nn.AdaptiveAvgPool3d", partial(nn.AdaptiveAvgPool3d, 1), ((2, 3, 11, 13, 17),)),
    Operator(
        "F.adaptive_avg_pool3d",
        _function(partial(F.adaptive_avg_pool3d, output_size=1)),
        ((2, 3, 11, 13, 17),),
    ),
    Operator(
        "global mean, x.mean((2, 3, 4))",
        _function(partial(torch.mean, dim=(2, 3, 4))),
        ((2, 3, 11, 13, 17),),
    ),
    Operator("nn.Upsample, nearest 2d", partial(nn.Upsample, scale_factor=2), ((2, 3, 11, 13),)),
    *(
        Operator(
            f"F.interpolate, {mode} {len(size)}d",
            _function(partial(F.interpolate, scale_factor=2, mode=mode)),
            ((2, 3, *size),),
        )
        for mode, size in (
            ("nearest", (11, 13)),
            ("nearest", (7, 11, 13)),
            ("bilinear", (11, 13)),
            ("trilinear", (7, 11, 13)),
        )
    ),
    Operator("F.softmax", _function(partial(F.softmax, dim=-1)), ((3, 5, 7),)),
    Operator(
        "nn.Softmax",
        partial(nn.Softmax, dim=-1),
        ((3, 5, 7),),
        # 7 exponentials, 6 additions, 7 divisions in each of 15 rows
        readings={"3 per element less 1 per row": 3 * 5 * (7 + 6 + 7)},
    ),
    Operator("x * parameter", _function(torch.mul, (5,)), ((3, 5),)),
    Operator("nn.ReLU", nn.ReLU, ((3, 5),)),
)

OPERATORS = (*CONVOLUTIONS, *PRODUCTS, *NO_PRODUCTS)

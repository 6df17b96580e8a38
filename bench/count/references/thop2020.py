"""thop of May 2020, implemented again: its convention fits the baselines of papers of that time.

These are the rules of version 0.0.31.post2005241907. A test runs that version itself on every row
and compares.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from vidcost.bench.count.counter import mode
from vidcost.bench.count.references.reference import Printed, Reference
from vidcost.bench.count.references.thop import (
    BATCH_NORMS,
    CATEGORIES,
    CONVOLUTIONS,
    PER_UPSAMPLED,
    Version,
    flop_terms,
    param_terms,
)

_VERSION = "0.0.31.post2005241907"

_Rule = Callable[[Any, Tensor, Tensor], int]
"""(module, its first input, its output) -> operations."""


def profile(model: nn.Module, inputs: tuple[Tensor, ...]) -> Printed:
    """Count one forward pass of ``model`` on ``inputs``, in evaluation mode, on any device.

    It does not see what has no hook: products and convolutions called as functions, GroupNorm,
    parameters outside of layers, and ``model`` itself if it is a single layer.
    Raises: ValueError for a recurrent layer, whose rules are not implemented here.
    """
    operations: dict[nn.Module, int] = {}

    def add(module: nn.Module, args: tuple[Tensor, ...], output: Tensor) -> None:
        operations[module] = operations.get(module, 0) + _RULES[type(module)](
            module, args[0], output
        )

    for module in model.modules():
        if isinstance(module, nn.RNNBase | nn.RNNCellBase):
            raise ValueError(f"thop-2020 is not implemented for {type(module).__name__}")
    hooks: list[RemovableHandle] = []

    def watch(module: nn.Module) -> None:
        if type(module) in _RULES:
            hooks.append(module.register_forward_hook(add))

    # once for every owner, as there: a layer with two owners counts each call twice
    model.apply(watch)
    try:
        with mode(model, training=False), torch.no_grad():
            model(*inputs)
    finally:
        for hook in hooks:
            hook.remove()
    # a layer that was not called has added neither operations nor parameters
    layers = [module for module in _leaves(model) if module in operations]
    return Printed(
        sum(operations[module] for module in layers),
        sum(p.numel() for module in layers for p in module.parameters()),
        [(type(module).__name__, operations[module]) for module in layers],
    )


def _leaves(module: nn.Module) -> Iterator[nn.Module]:
    """The modules below with a rule, once for every owner, not descending further."""
    for child in module.children():
        if type(child) in _RULES:
            yield child
        else:
            yield from _leaves(child)


def _nothing(module: nn.Module, x: Tensor, y: Tensor) -> int:
    return 0


def _convolution(module: Any, x: Tensor, y: Tensor) -> int:
    # per output element, also where transposed
    products = int(module.in_channels) // module.groups * math.prod(module.kernel_size)
    return y.numel() * int(products + (module.bias is not None))


def _batch_norm(module: nn.Module, x: Tensor, y: Tensor) -> int:
    return 2 * x.numel()


def _leaky_relu(module: nn.Module, x: Tensor, y: Tensor) -> int:
    return x.numel()


def _average_pool(module: nn.Module, x: Tensor, y: Tensor) -> int:
    return y.numel()


def _adaptive_average_pool(module: nn.Module, x: Tensor, y: Tensor) -> int:
    # a division per output element and an addition per element of a kernel, rounded down per axis
    kernel = math.prod(size // out for size, out in zip(x.shape[2:], y.shape[2:], strict=True))
    return y.numel() * (kernel + 1)


def _linear(module: Any, x: Tensor, y: Tensor) -> int:
    return int(module.in_features) * y.numel()


def _upsample(module: Any, x: Tensor, y: Tensor) -> int:
    return PER_UPSAMPLED.get(module.mode, 0) * y.numel()


_RULES: dict[type[nn.Module], _Rule] = {
    **dict.fromkeys((nn.Conv1d, nn.Conv2d, nn.Conv3d), _convolution),
    **dict.fromkeys((nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d), _convolution),
    **dict.fromkeys((nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d), _batch_norm),
    nn.SyncBatchNorm: _batch_norm,
    nn.LeakyReLU: _leaky_relu,
    **dict.fromkeys((nn.AvgPool1d, nn.AvgPool2d, nn.AvgPool3d), _average_pool),
    nn.AdaptiveAvgPool1d: _adaptive_average_pool,
    nn.AdaptiveAvgPool2d: _adaptive_average_pool,
    nn.AdaptiveAvgPool3d: _adaptive_average_pool,
    nn.Linear: _linear,
    **dict.fromkeys((nn.Upsample, nn.UpsamplingBilinear2d, nn.UpsamplingNearest2d), _upsample),
    **dict.fromkeys((nn.ReLU, nn.ReLU6, nn.Dropout, nn.ZeroPad2d), _nothing),
    **dict.fromkeys((nn.MaxPool1d, nn.MaxPool2d, nn.MaxPool3d), _nothing),
    **dict.fromkeys((nn.AdaptiveMaxPool1d, nn.AdaptiveMaxPool2d, nn.AdaptiveMaxPool3d), _nothing),
}
"""Rules by the exact type of a module."""

_MAY_2020 = Version(
    with_rule=(*CONVOLUTIONS, *BATCH_NORMS, nn.Linear),
    norms=dict.fromkeys(BATCH_NORMS, (2, 2)),
    bias=1,
    activations={nn.LeakyReLU: 1},
    upsampling=PER_UPSAMPLED,
    counts_root=False,
    counts_softmax=False,
    rounds_kernels_down=True,
)

COUNTER = Reference(
    name="thop-2020",
    profile=profile,
    flop_terms=lambda model, count: flop_terms(model, count, _MAY_2020),
    param_terms=lambda model, count: param_terms(model, count, _MAY_2020),
    categories=CATEGORIES,
    reimplemented=_VERSION,
)

"""thop as it was in May 2020, the counter whose convention the paper's baseline fits.

Our own implementation of what version 0.0.31.post2005241907 books, by hooks on modules. A test runs
that version itself on every row and compares.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from vidcost.bench.count.counter import mode

VERSION = "0.0.31.post2005241907"

Rule = Callable[[Any, Tensor, Tensor], int]
"""(module, its first input, its output) -> operations."""


@dataclass
class Profile:
    """What thop of May 2020 prints, in its own convention.

    ``by_type`` are the same operations by the name of the module's type.
    """

    flops: int = 0
    params: int = 0
    by_type: dict[str, int] = field(default_factory=dict)


def profile(model: nn.Module, *inputs: Tensor) -> Profile:
    """Count one forward pass of ``model`` on ``inputs``, in evaluation mode, on any device.

    What has no hook of its own there is invisible: products and convolutions called as functions,
    GroupNorm, bare parameters, and ``model`` itself if it is a single layer.
    Raises: ValueError for a recurrent layer, whose rules are not implemented here.
    """
    operations: dict[nn.Module, int] = {}

    def book(module: nn.Module, args: tuple[Tensor, ...], output: Tensor) -> None:
        operations[module] = operations.get(module, 0) + RULES[type(module)](
            module, args[0], output
        )

    for module in model.modules():
        if isinstance(module, nn.RNNBase | nn.RNNCellBase):
            raise ValueError(f"thop-2020 is not implemented for {type(module).__name__}")
    hooks: list[RemovableHandle] = []

    def watch(module: nn.Module) -> None:
        if type(module) in RULES:
            hooks.append(module.register_forward_hook(book))

    # once for every owner, as there: a layer with two owners books each call twice
    model.apply(watch)
    try:
        with mode(model, training=False), torch.no_grad():
            model(*inputs)
    finally:
        for hook in hooks:
            hook.remove()
    total = Profile()
    for module in _leaves(model):
        # a layer that was not called has booked neither operations nor parameters
        if module in operations:
            name = type(module).__name__
            total.flops += operations[module]
            total.params += sum(p.numel() for p in module.parameters())
            total.by_type[name] = total.by_type.get(name, 0) + operations[module]
    return total


def _leaves(module: nn.Module) -> Iterator[nn.Module]:
    """The modules below with a rule, once for every owner, not descending further."""
    for child in module.children():
        if type(child) in RULES:
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


PER_UPSAMPLED = {"linear": 5, "bilinear": 11, "bicubic": 224 + 35}
"""Operations per output element, by mode; others are none."""


def _upsample(module: Any, x: Tensor, y: Tensor) -> int:
    return PER_UPSAMPLED.get(module.mode, 0) * y.numel()


RULES: dict[type[nn.Module], Rule] = {
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

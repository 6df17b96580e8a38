"""ultralytics-thop: thop carried on, with products called as functions and subclasses of layers.

A function inside a layer with a rule of its own is counted by that rule alone.
Source: ultralytics-thop 2.2.3, profile.py and vision/basic_hooks.py.
"""

import math
from typing import Any

from torch import Tensor, nn

from vidcost.bench.count.counter import Count, Operation
from vidcost.bench.count.references.reference import (
    Printed,
    Reference,
    Term,
    Terms,
    modules_by_name,
    no_terms,
)
from vidcost.bench.count.references.thop import CELLS, recurrent

_UNSEEN = (
    *("addmm", "addbmm", "baddbmm", "mv", "addmv", "dot", "vdot", "addr"),
    "affine_grid_generator",
)
_NORMS = (nn.modules.batchnorm._NormBase, nn.LayerNorm, nn.GroupNorm, nn.RMSNorm)
_POOLS = (nn.AvgPool1d, nn.AvgPool2d, nn.AvgPool3d)
_ADAPTIVE = nn.modules.pooling._AdaptiveAvgPoolNd
_PER_UPSAMPLED = {"linear": 5, "bilinear": 11, "bicubic": 259, "trilinear": 31}


def _profile(model: nn.Module, inputs: tuple[Tensor, ...]) -> Printed:
    import thop

    flops, params = thop.profile(model, inputs, verbose=False)
    # its tree of layers leaves out functions, so there is only the total
    return Printed(flops, params, [])


def _flop_terms(model: nn.Module, count: Count) -> tuple[Term, ...]:
    terms, modules = Terms(), modules_by_name(model)
    for operation in count.operations:
        module = modules[operation.module]
        if operation.kind == "conv":
            if not isinstance(module, nn.modules.conv._ConvNd):
                terms.add("convolutions called as functions unseen", "total", -operation.amount)
        elif operation.kind in ("linear", "matmul"):
            if isinstance(module, tuple(CELLS)):
                name = "recurrent layers, gates and states too"
                terms.add(name, "total", -operation.amount)
            elif operation.operator in _UNSEEN and not isinstance(module, nn.Linear):
                terms.add(f"{operation.operator} unseen", "total", -operation.amount)
        else:
            _layer(module, operation, terms)
    for call in count.calls:
        module = modules[call.module]
        if isinstance(module, tuple(CELLS)) and call.input:
            amount = recurrent(module, call.input)
            terms.add("recurrent layers, gates and states too", "total", amount)
    for function in count.functions:
        module = modules[function.module]
        if function.function == "interpolate" and isinstance(module, nn.Upsample):
            weight = _PER_UPSAMPLED.get(function.detail, 0)
            name = f"{function.detail} upsampling, {weight} per output element"
            terms.add(name, "total", weight * math.prod(function.output))
    return terms.done()


def _layer(module: Any, operation: Operation, terms: Terms) -> None:
    """Add what a layer without products is counted for."""
    kind, into, out = operation.kind, operation.operands[0] or (), operation.output
    if kind == "norm" and isinstance(module, _NORMS):
        is_affine = getattr(module, "affine", False) or getattr(module, "elementwise_affine", False)
        weight, name = 4 if is_affine else 2, type(module).__name__
        terms.add(f"{name}, {weight} per element", "total", weight * operation.amount)
    elif kind == "softmax" and isinstance(module, nn.Softmax | nn.MultiheadAttention):
        size = into[getattr(module, "dim", -1)]
        name = "softmax layers and attention, 3 per element less 1 per row"
        terms.add(name, "total", operation.amount // size * (3 * size - 1))
    elif kind == "pool" and isinstance(module, _ADAPTIVE):
        windows = math.prod(map(_pooled, into, out))
        name = "adaptive pooling, 1 per element of a window and 1 per output"
        terms.add(name, "total", windows + math.prod(out))
    elif kind == "pool" and isinstance(module, _POOLS):
        name = "average pooling, 1 per element of a window and 1 per output"
        terms.add(name, "total", _windows(module, into, out) + math.prod(out))
    elif kind == "activation" and isinstance(module, nn.PReLU):
        terms.add("PReLU, 1 per element", "total", operation.amount)


def _pooled(size: int, out: int) -> int:
    """The sizes of all windows along one axis, which may overlap."""
    return sum(-(-(j + 1) * size // out) - j * size // out for j in range(out))


def _windows(module: Any, into: tuple[int, ...], out: tuple[int, ...]) -> int:
    axes = {nn.AvgPool1d: 1, nn.AvgPool2d: 2, nn.AvgPool3d: 3}[type(module)]

    def per_axis(value: Any) -> tuple[int, ...]:
        return value if isinstance(value, tuple) else (value,) * axes

    total = math.prod(into[:-axes])
    kernels, strides, paddings = map(per_axis, (module.kernel_size, module.stride, module.padding))
    for size, to, kernel, stride, padding in zip(
        into[-axes:], out[-axes:], kernels, strides, paddings, strict=True
    ):
        low, high = (-padding, size + padding) if module.count_include_pad else (0, size)
        starts = (i * stride - padding for i in range(to))
        total *= sum(max(min(at + kernel, high) - max(at, low), 0) for at in starts)
    return total


COUNTER = Reference(
    name="ultralytics-thop",
    profile=_profile,
    flop_terms=_flop_terms,
    param_terms=no_terms,
    package="thop",
    installed_as="ultralytics-thop",
    optional=True,
)

"""Counters of layers: thop of today and of May 2020, ultralytics-thop, ptflops, torchinfo.

All hook modules and add up their operations. The thop of May 2020 fits the baselines of papers of
that time. It is not run but re-implemented: its answer is our count and its terms. A slow test
compares them with that version itself. ultralytics-thop is thop carried on, with products called
as functions and subclasses of layers. ptflops replaces functions too, so that it counts some
activations and pools twice; what layers count it gives as the mean over a batch. torchinfo
multiplies the parameters of each layer that is called by what its output repeats: for layers with
Conv in their name batch and positions, for all others the first axis alone, so that a linear layer
on tokens counts as if there were one; for recurrent layers two axes.
Source: thop 0.1.1.post2209072238 and 0.0.31.post2005241907, profile.py, rnn_hooks.py and vision/*;
ultralytics-thop 2.2.3, profile.py and vision/basic_hooks.py; ptflops 0.7.5, pytorch_engine.py and
pytorch_ops.py; torchinfo 1.8.0, layer_info.py, calculate_macs.
"""

import io
import math
from collections.abc import Callable, Iterator
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import replace
from fractions import Fraction
from functools import partial
from itertools import zip_longest
from operator import floordiv
from typing import Any

from torch import Tensor, nn

from vidcost.bench.count.counter import FunctionCall
from vidcost.bench.count.operands import Operation
from vidcost.bench.count.references import seen
from vidcost.bench.count.references.reference import Printed, Reference
from vidcost.bench.count.references.seen import Function, Rule, Types


def _bias(module: Any, operation: Operation) -> int:
    is_attention = isinstance(module, nn.MultiheadAttention)
    bias = module.in_proj_bias if is_attention else module.bias
    return 0 if bias is None else math.prod(operation.output)


def _transposed(module: Any, operation: Operation) -> int:
    entries = module.in_channels // module.groups * math.prod(module.kernel_size)
    return int(math.prod(operation.output) * entries - operation.amount)


def _rows(module: Any, operation: Operation) -> int:
    size = (operation.operands[0] or ())[getattr(module, "dim", -1)]
    return operation.amount // size * (3 * size - 1)


def _adaptive(divided: Callable[[int, int], Any], module: Any, operation: Operation) -> int:
    given, made = operation.operands[0] or (), operation.output
    kernel = math.prod(map(divided, given[2:], made[2:]))
    return int((kernel + 1) * math.prod(made))


def _average_windows(module: Any, operation: Operation) -> int:
    given, made = operation.operands[0] or (), operation.output
    axes = next(n for n, layer in enumerate(seen.AVG_POOL, start=1) if isinstance(module, layer))
    windows = math.prod(given[:-axes])
    for axis in range(-axes, 0):
        options = module.kernel_size, module.stride, module.padding
        kernel, stride, padding = (x if isinstance(x, int) else x[axis] for x in options)
        low, high = (-padding, padding) if module.count_include_pad else (0, 0)
        starts = range(-padding, made[axis] * stride - padding, stride)
        ends = (min(at + kernel, given[axis] + high) for at in starts)
        windows *= sum(max(end - max(at, low), 0) for at, end in zip(starts, ends, strict=True))
    return windows + math.prod(made)


def _adaptive_windows(module: Any, operation: Operation) -> int:
    def windows(size: int, to: int) -> int:
        # those along one axis may overlap
        return sum(-(-(i + 1) * size // to) - i * size // to for i in range(to))

    given, made = operation.operands[0] or (), operation.output
    return math.prod(map(windows, given, made)) + math.prod(made)


_PRODUCTS = [
    Rule("conv", "convolutions", types=seen.CONV),
    Rule("linear", "products", types=(nn.Linear,)),
    *seen.recurrent(),
]
_PER_OUTPUT = "transposed convolutions, per output element"
_TRANSPOSED = Rule("conv", "convolutions", _PER_OUTPUT, _transposed, seen.TRANSPOSED)
_CONV_BIAS = "bias of convolutions, 1 per output element"
_BIASED = Rule("conv", "convolutions", _CONV_BIAS, _bias, (*seen.CONV, *seen.TRANSPOSED))
_SOFTMAX = "softmax modules, 3 per element less 1 per row"
_LEAKY = "leaky activations, 1 per element"
_AVERAGE = "average pooling, 1 per output element"
_ADAPTIVE = "adaptive pooling, kernel + 1 per output element"
_WINDOWS = "pooling, 1 per element of a window and 1 per output"
_UPSAMPLED = {"linear": 5, "bilinear": 11, "bicubic": 224 + 35}
_THOP = [
    *_PRODUCTS,
    _TRANSPOSED,
    *seen.norms("BatchNorm InstanceNorm LayerNorm", 4, 2),
    Rule("softmax", "softmax", _SOFTMAX, _rows, (nn.Softmax,)),
    Rule("pool", "pooling", _AVERAGE, seen.out, seen.AVG_POOL),
    Rule("pool", "pooling", _ADAPTIVE, partial(_adaptive, Fraction), seen.ADAPTIVE_POOL),
    Rule("activation", "activations", _LEAKY, seen.elements, (nn.PReLU,)),
    seen.upsampling(seen.UPSAMPLE, _UPSAMPLED | {"nearest": 1}),
]


def _profile(by_layer: bool, model: nn.Module, inputs: tuple[Tensor, ...]) -> Printed:
    import thop

    flops, params, layers = thop.profile(model, inputs, verbose=False, ret_layer_info=True)
    if not by_layer:
        return Printed(flops, params, [])
    # a network that is one layer has no tree
    parts = _by_type(model, layers) if layers else [(type(model).__name__, flops)]
    return Printed(flops, params, parts)


def _by_type(module: nn.Module, layers: dict[str, Any]) -> Iterator[tuple[str, float]]:
    """(type of a layer, its operations), from thop's tree of (operations, params, children)."""
    for name, (operations, _, below) in layers.items():
        child = module.get_submodule(name)
        if below:
            yield from _by_type(child, below)
        else:
            yield type(child).__name__, operations


THOP = Reference(
    name="thop",
    rules=_THOP,
    unseen=seen.BY_KIND,
    subclasses=False,
    # it hooks a layer once for every owner, and adds it up once for every owner
    owners=2,
    params="of layers",
    profile=partial(_profile, True),
    categories={
        **{each.__name__: rule.part for rule in _THOP for each in rule.exact_types},
        **{each.__name__: "recurrent" for each in seen.CELLS},
    },
    package="thop",
)
THOP_2020 = replace(
    THOP,
    name="thop-2020",
    rules=[
        *_PRODUCTS,
        _TRANSPOSED,
        _BIASED,
        *seen.norms("BatchNorm", 2, 2),
        Rule("pool", "pooling", _AVERAGE, seen.out, seen.AVG_POOL),
        Rule("pool", "pooling", _ADAPTIVE, partial(_adaptive, floordiv), seen.ADAPTIVE_POOL),
        Rule("activation", "activations", _LEAKY, seen.elements, (nn.LeakyReLU,)),
        seen.upsampling(seen.UPSAMPLE, _UPSAMPLED),
    ],
    counts_root=False,
    profile=None,
    package="",
    reimplemented="0.0.31.post2005241907",
)
ULTRALYTICS = Reference(
    name="ultralytics-thop",
    rules=[
        *_PRODUCTS,
        *(Rule(kind, "products", types=seen.ATTENTION) for kind in ("linear", "matmul")),
        Rule("conv", "convolutions", types=seen.TRANSPOSED),
        *seen.norms("BatchNorm InstanceNorm LayerNorm GroupNorm RMSNorm", 4, 2),
        Rule("softmax", "softmax", _SOFTMAX, _rows, (nn.Softmax, *seen.ATTENTION)),
        Rule("pool", "pooling", f"average {_WINDOWS}", _average_windows, seen.AVG_POOL),
        Rule("pool", "pooling", f"adaptive {_WINDOWS}", _adaptive_windows, seen.ADAPTIVE_POOL),
        Rule("activation", "activations", _LEAKY, seen.elements, (nn.PReLU,)),
        seen.upsampling(seen.UPSAMPLE, _UPSAMPLED | {"trilinear": 31}),
    ],
    functions=seen.functions("linear matmul @ bmm einsum SDPA"),
    unseen=seen.BY_KIND,
    # its tree of layers leaves out functions, so there is only the total
    profile=partial(_profile, False),
    package="thop",
    installed_as="ultralytics-thop",
    optional=True,
)


# ptflops

_POOLS = [f"{a}{p}_pool{d}d" for a in ("", "adaptive_") for p in ("max", "avg") for d in (1, 2, 3)]
_POOL_LAYERS = tuple(getattr(nn, f"{name.title().replace('_', '')[:-1]}d") for name in _POOLS)
_ACTIVATIONS: Types = (nn.ReLU, nn.PReLU, nn.ELU, nn.LeakyReLU, nn.ReLU6, nn.GELU)
_MODES = "nearest linear bilinear bicubic trilinear area".split()


def _aligned_left(module: nn.Module, call: FunctionCall) -> int:
    return math.prod(map(max, zip_longest(*call.operands, fillvalue=1)))


def _with_addend(module: nn.Module, call: FunctionCall) -> int:
    return seen.into(module, call) + math.prod(call.operands[1]) * call.operands[2][-1]


def _scaled(module: Any, call: Any) -> int:
    # the last bias counts in any case
    return int(math.prod(call.input) * (1 if module.in_proj_bias is not None else 2))


def _of_one_clip(module: Any, call: FunctionCall) -> int:
    return math.prod(call.output[1:])


def _profile_ptflops(model: nn.Module, inputs: tuple[Tensor, ...]) -> Printed:
    from ptflops.pytorch_engine import get_flops_pytorch

    said, forward = io.StringIO(), model.forward
    # it takes one input, and prints what the network raises
    model.forward = lambda first: forward(first, *inputs[1:])
    with redirect_stdout(said), redirect_stderr(said):
        flops, params = get_flops_pytorch(model, (), False, input_constructor=lambda _: inputs[0])
    del model.forward
    if flops is None or params is None:
        raise RuntimeError(said.getvalue().strip().splitlines()[-1])
    return Printed(flops, params, [])


_LINEAR_BIAS = "bias of linear layers, 1 per output element"
_POOLED = "pooling layers, 1 per element that goes in"
_ACTIVE = "activation layers, 1 per element"
_IN_ATTENTION = "softmax in attention layers, 1 per element"
_SCALING = "attention layers, scaling 1 per element"
PTFLOPS = Reference(
    name="ptflops",
    rules=[
        _BIASED,
        Rule("linear", "products", _LINEAR_BIAS, _bias, (nn.Linear, *seen.ATTENTION)),
        *seen.recurrent(seen.CELLS | dict.fromkeys((nn.LSTM, nn.LSTMCell), (4, 10))),
        Rule("matmul", "products", types=seen.ATTENTION),
        Rule("softmax", "softmax", _IN_ATTENTION, seen.elements, seen.ATTENTION),
        Rule("call", "scaling", _SCALING, _scaled, seen.ATTENTION),
        *seen.norms("BatchNorm InstanceNorm GroupNorm", 2, 1),
        *seen.norms("LayerNorm", 1, 1),
        Rule("pool", "pooling", _POOLED, seen.into, _POOL_LAYERS),
        Rule("activation", "activations", _ACTIVE, seen.elements, _ACTIVATIONS),
        seen.upsampling((nn.Upsample,), dict.fromkeys(_MODES, 1), _of_one_clip),
    ],
    functions={
        **seen.functions("matmul mm bmm", Function(seen.FIRST.macs)),
        **seen.functions("addmm baddbmm", Function(_with_addend)),
        **seen.functions("relu prelu elu relu6 gelu silu softmax", Function(seen.into)),
        **dict.fromkeys(_POOLS, Function(seen.into)),
        **seen.functions("mul add", Function(_aligned_left)),
        "interpolate": Function(seen.out),
    },
    unseen=seen.BY_KIND,
    subclasses=False,
    owners=1,
    per_clip=True,
    params="with gradient",
    profile=_profile_ptflops,
    package="ptflops",
    optional=True,
    # on the meta device torch itself calls functions that it replaces
    needs_values=True,
)


# torchinfo


def _part_of(module: nn.Module) -> str:
    if next(module.children(), None) is not None:
        return "no layer"
    if "Conv" in type(module).__name__:
        return "convolutions"
    return "products" if isinstance(module, nn.Linear) else "other layers"


def _is(part: str) -> Callable[[nn.Module], bool]:
    return lambda module: _part_of(module) == part


def _parameters(module: nn.Module) -> int:
    named = module.named_parameters()
    return sum(p.numel() for name, p in named if "weight" in name or "bias" in name)


def _by_positions(module: nn.Module, operation: Operation) -> int:
    positions = math.prod((*operation.output[:1], *operation.output[2:]))
    return positions * _parameters(module) - operation.amount


def _by_first_axis(module: Any, call: Any) -> int:
    times = call.input[0]
    if isinstance(module, nn.RNNBase):
        times *= call.input[1]
    elif isinstance(module, nn.RNNCellBase):
        times *= module.hidden_size
    return int(times * _parameters(module))


def _profile_torchinfo(model: nn.Module, inputs: tuple[Tensor, ...]) -> Printed:
    from torchinfo import summary

    found = summary(model, input_data=list(inputs), verbose=0)
    layers = [layer for layer in found.summary_list if layer.is_leaf_layer]
    parts = [(_part_of(layer.module), layer.macs) for layer in layers]
    return Printed(found.total_mult_adds, found.total_params, parts)


_FIRST_AXIS = "parameters of {type}, times the first axis"
_OUTSIDE = "products outside of linear layers"
_POSITIONS = "parameters of {type}, times batch and positions"
TORCHINFO = Reference(
    name="torchinfo",
    rules=[
        Rule("conv", "convolutions", _POSITIONS, _by_positions, _is("convolutions")),
        Rule("linear", "products", _FIRST_AXIS, seen.elements, _is("products"), weight=-1),
        Rule("call", "products", _FIRST_AXIS, _by_first_axis, _is("products")),
        Rule("call", "other layers", _FIRST_AXIS, _by_first_axis, _is("other layers")),
    ],
    unseen={"conv": seen.BY_KIND["conv"], "linear": _OUTSIDE, "matmul": _OUTSIDE},
    profile=_profile_torchinfo,
    package="torchinfo",
    optional=True,
)

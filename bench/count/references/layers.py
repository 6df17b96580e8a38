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
from fractions import Fraction
from functools import partial
from itertools import zip_longest
from operator import floordiv
from typing import Any

from torch import Tensor, nn

from vidcost.bench.count.counter import FunctionCall
from vidcost.bench.count.operands import Operation
from vidcost.bench.count.references import seen
from vidcost.bench.count.references.reference import Printed, Reference, frozen, no_terms
from vidcost.bench.count.references.seen import Function, Rule, Seen


def _bias(module: Any, operation: Operation) -> int:
    is_attention = isinstance(module, nn.MultiheadAttention)
    bias = module.in_proj_bias if is_attention else module.bias
    return 0 if bias is None else math.prod(operation.output)


def _transposed(module: Any, operation: Operation) -> int:
    entries = module.in_channels // module.groups * math.prod(module.kernel_size)
    return int(math.prod(operation.output) * entries - operation.amount)


def _softmax(module: Any, operation: Operation) -> int:
    size = (operation.operands[0] or ())[getattr(module, "dim", -1)]
    return operation.amount // size * (3 * size - 1)


def _adaptive(divided: Callable[[int, int], Any], module: Any, operation: Operation) -> int:
    given, made = operation.operands[0] or (), operation.output
    kernel = math.prod(map(divided, given[2:], made[2:]))
    return int((kernel + 1) * math.prod(made))


def _average_windows(module: Any, operation: Operation) -> int:
    given, made = operation.operands[0] or (), operation.output
    axes = {nn.AvgPool1d: 1, nn.AvgPool2d: 2, nn.AvgPool3d: 3}[type(module)]

    def per_axis(value: Any) -> tuple[int, ...]:
        return value if isinstance(value, tuple) else (value,) * axes

    windows = math.prod(given[:-axes])
    kernels, strides, paddings = map(per_axis, (module.kernel_size, module.stride, module.padding))
    for size, to, kernel, stride, padding in zip(
        given[-axes:], made[-axes:], kernels, strides, paddings, strict=True
    ):
        low, high = (-padding, size + padding) if module.count_include_pad else (0, size)
        starts = (i * stride - padding for i in range(to))
        windows *= sum(max(min(at + kernel, high) - max(at, low), 0) for at in starts)
    return windows + math.prod(made)


def _adaptive_windows(module: Any, operation: Operation) -> int:
    def windows(size: int, to: int) -> int:
        # those along one axis may overlap
        return sum(-(-(i + 1) * size // to) - i * size // to for i in range(to))

    given, made = operation.operands[0] or (), operation.output
    return math.prod(map(windows, given, made)) + math.prod(made)


_PER_UPSAMPLED = {"linear": 5, "bilinear": 11, "bicubic": 224 + 35}
_PRODUCTS = [
    Rule("conv", "convolutions", types=seen.CONV),
    Rule("linear", "products", types=(nn.Linear,)),
    *seen.recurrent_rules(),
]
_TRANSPOSED = Rule(
    *("conv", "convolutions", "transposed convolutions, per output element"),
    *(_transposed, seen.TRANSPOSED),
)
_CONV_BIAS = Rule(
    *("conv", "convolutions", "bias of convolutions, 1 per output element"),
    *(_bias, (*seen.CONV, *seen.TRANSPOSED)),
)
_AVERAGE = Rule("pool", "pooling", "average pooling, 1 per output element", seen.out, seen.AVG_POOL)
_ADAPTIVE = "pool", "pooling", "adaptive pooling, kernel + 1 per output element"
_SOFTMAX = "softmax", "softmax", "softmax modules, 3 per element less 1 per row", _softmax
_LEAKY = "activation", "activations", "leaky activations, 1 per element", seen.amount
_WINDOWS = "pooling, 1 per element of a window and 1 per output"
# it hooks a layer once for every owner, and adds it up once for every owner
_HOOKS: dict[str, Any] = {"unseen": seen.BY_KIND, "subclasses": False, "owners": 2}
_THOP = Seen(
    [
        *_PRODUCTS,
        _TRANSPOSED,
        *seen.norm_rules("BatchNorm InstanceNorm LayerNorm", 4, 2),
        Rule(*_SOFTMAX, (nn.Softmax,)),
        _AVERAGE,
        Rule(*_ADAPTIVE, partial(_adaptive, Fraction), seen.ADAPTIVE_POOL),
        Rule(*_LEAKY, (nn.PReLU,)),
        *seen.upsampling_rules(seen.UPSAMPLE, {"nearest": 1} | _PER_UPSAMPLED),
    ],
    **_HOOKS,
)
_MAY_2020 = Seen(
    [
        *_PRODUCTS,
        _TRANSPOSED,
        _CONV_BIAS,
        *seen.norm_rules("BatchNorm", 2, 2),
        _AVERAGE,
        Rule(*_ADAPTIVE, partial(_adaptive, floordiv), seen.ADAPTIVE_POOL),
        Rule(*_LEAKY, (nn.LeakyReLU,)),
        *seen.upsampling_rules(seen.UPSAMPLE, _PER_UPSAMPLED),
    ],
    counts_root=False,
    **_HOOKS,
)
_ULTRALYTICS = Seen(
    [
        *_PRODUCTS,
        *(Rule(kind, "products", types=seen.ATTENTION) for kind in ("linear", "matmul")),
        Rule("conv", "convolutions", types=seen.TRANSPOSED),
        *seen.norm_rules("BatchNorm InstanceNorm LayerNorm GroupNorm RMSNorm", 4, 2),
        Rule(*_SOFTMAX, (nn.Softmax, *seen.ATTENTION)),
        Rule("pool", "pooling", f"average {_WINDOWS}", _average_windows, seen.AVG_POOL),
        Rule("pool", "pooling", f"adaptive {_WINDOWS}", _adaptive_windows, seen.ADAPTIVE_POOL),
        Rule(*_LEAKY, (nn.PReLU,)),
        *seen.upsampling_rules(seen.UPSAMPLE, _PER_UPSAMPLED | {"trilinear": 31}),
    ],
    functions=seen.functions(f"linear matmul @ bmm einsum {seen.FUSED}"),
    unseen=seen.BY_KIND,
)


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
    *("thop", _THOP.flop_terms, _THOP.param_terms, partial(_profile, True)),
    categories={
        **{each.__name__: rule.part for rule in _THOP.rules for each in rule.exact_types},
        **{each.__name__: "recurrent" for each in seen.CELLS},
    },
    package="thop",
)
THOP_2020 = Reference(
    *("thop-2020", _MAY_2020.flop_terms, _MAY_2020.param_terms),
    reimplemented="0.0.31.post2005241907",
)
ULTRALYTICS = Reference(
    # its tree of layers leaves out functions, so there is only the total
    *("ultralytics-thop", _ULTRALYTICS.flop_terms, no_terms, partial(_profile, False)),
    package="thop",
    installed_as="ultralytics-thop",
    optional=True,
)


# ptflops

_POOL_LAYERS = (
    *(*seen.AVG_POOL, *seen.ADAPTIVE_POOL),
    *(nn.MaxPool1d, nn.MaxPool2d, nn.MaxPool3d),
    *(nn.AdaptiveMaxPool1d, nn.AdaptiveMaxPool2d, nn.AdaptiveMaxPool3d),
)
_POOLS = [f"{a}{p}_pool{d}d" for a in ("", "adaptive_") for p in ("max", "avg") for d in (1, 2, 3)]
_ACTIVATIONS = nn.ReLU, nn.PReLU, nn.ELU, nn.LeakyReLU, nn.ReLU6, nn.GELU
_MODES = "nearest linear bilinear bicubic trilinear area".split()


def _given(call: FunctionCall) -> int:
    return math.prod(call.operands[0])


def _aligned_left(call: FunctionCall) -> int:
    return math.prod(map(max, zip_longest(*call.operands, fillvalue=1)))


def _with_addend(call: FunctionCall) -> int:
    return _given(call) + math.prod(call.operands[1]) * call.operands[2][-1]


def _scaled(module: Any, call: Any) -> int:
    # the last bias counts in any case
    return int(math.prod(call.input) * (1 if module.in_proj_bias is not None else 2))


def _of_one_clip(module: Any, call: FunctionCall) -> int:
    return math.prod(call.output[1:])


_LINEAR_BIAS = "bias of linear layers, 1 per output element"
_POOLED = "pooling layers, 1 per element that goes in"
_ACTIVE = "activation layers, 1 per element"
_ATTENTION_SOFTMAX = "softmax in attention layers, 1 per element"
_PTFLOPS = Seen(
    [
        _CONV_BIAS,
        Rule("linear", "products", _LINEAR_BIAS, _bias, (nn.Linear, *seen.ATTENTION)),
        *seen.recurrent_rules(seen.CELLS | dict.fromkeys((nn.LSTM, nn.LSTMCell), (4, 10))),
        Rule("matmul", "products", types=seen.ATTENTION),
        Rule("softmax", "softmax", _ATTENTION_SOFTMAX, seen.amount, seen.ATTENTION),
        Rule("call", "scaling", "attention layers, scaling 1 per element", _scaled, seen.ATTENTION),
        *seen.norm_rules("BatchNorm InstanceNorm GroupNorm", 2, 1),
        *seen.norm_rules("LayerNorm", 1, 1),
        Rule("pool", "pooling", _POOLED, seen.into, _POOL_LAYERS),
        Rule("activation", "activations", _ACTIVE, seen.amount, _ACTIVATIONS),
        *seen.upsampling_rules((nn.Upsample,), dict.fromkeys(_MODES, 1), _of_one_clip),
    ],
    functions={
        **seen.functions("matmul mm bmm", Function(seen.FIRST.macs)),
        **seen.functions("addmm baddbmm", Function(_with_addend)),
        **seen.functions("relu prelu elu relu6 gelu silu softmax", Function(_given)),
        **dict.fromkeys(_POOLS, Function(_given)),
        **seen.functions("mul add", Function(_aligned_left)),
        "interpolate": Function(lambda call: math.prod(call.output)),
    },
    unseen=seen.BY_KIND,
    subclasses=False,
    owners=1,
    per_clip=True,
)


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


# on the meta device torch itself calls functions that it replaces
PTFLOPS = Reference(
    *("ptflops", _PTFLOPS.flop_terms, frozen, _profile_ptflops),
    package="ptflops",
    optional=True,
    needs_values=True,
)


# torchinfo


def _is(part: str) -> Callable[[nn.Module], bool]:
    def is_it(module: nn.Module) -> bool:
        is_leaf = next(module.children(), None) is None
        return is_leaf and part == _part_of(module)

    return is_it


def _part_of(module: nn.Module) -> str:
    if "Conv" in type(module).__name__:
        return "convolutions"
    return "products" if isinstance(module, nn.Linear) else "other layers"


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


_POSITIONS = "parameters of {}, times batch and positions"
_FIRST_AXIS = "parameters of {}, times the first axis"
_TORCHINFO = Seen(
    [
        Rule("conv", "convolutions", _POSITIONS, _by_positions, _is("convolutions")),
        Rule("linear", "products", _FIRST_AXIS, seen.scaled(-1, seen.amount), _is("products")),
        *(
            Rule("call", part, _FIRST_AXIS, _by_first_axis, _is(part))
            for part in ("products", "other layers")
        ),
    ],
    unseen=seen.BY_KIND | dict.fromkeys(("linear", "matmul"), "products outside of linear layers"),
)
TORCHINFO = Reference(
    *("torchinfo", _TORCHINFO.flop_terms, no_terms, _profile_torchinfo),
    package="torchinfo",
    optional=True,
)

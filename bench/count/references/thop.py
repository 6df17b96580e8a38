"""thop, thop of May 2020 and ultralytics-thop: hook modules and add up their operations.

thop hooks modules of some exact types. It does not see functions, such as products and convolutions
called without a module. Its version of May 2020 fits the baselines of papers of that time. It is
not run but re-implemented: its answer is our count and its terms. A slow test compares them with
that version itself. ultralytics-thop is thop carried on, with products called as functions and
subclasses of layers. A function inside a layer with a rule of its own is counted by that alone.
Source: thop 0.1.1.post2209072238 and 0.0.31.post2005241907, profile.py, rnn_hooks.py and vision/*;
ultralytics-thop 2.2.3, profile.py and vision/basic_hooks.py.
"""

import math
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from fractions import Fraction
from functools import partial
from operator import floordiv
from typing import Any

from torch import Tensor, nn

from vidcost.bench.count.counter import Count
from vidcost.bench.count.operands import Operation, Shape
from vidcost.bench.count.references.reference import Printed, Reference, Terms, modules_by_name
from vidcost.bench.count.rules import PRODUCTS

Types = tuple[type[nn.Module], ...]

_CONV: Types = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
_TRANSPOSED: Types = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
_AVG_POOL: Types = (nn.AvgPool1d, nn.AvgPool2d, nn.AvgPool3d)
_ADAPTIVE_POOL: Types = (nn.AdaptiveAvgPool1d, nn.AdaptiveAvgPool2d, nn.AdaptiveAvgPool3d)
_UPSAMPLE: Types = (nn.Upsample, nn.UpsamplingBilinear2d, nn.UpsamplingNearest2d)
_NORMS: dict[str, Types] = {
    "BatchNorm": (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm),
    "InstanceNorm": (nn.InstanceNorm1d, nn.InstanceNorm2d, nn.InstanceNorm3d),
    "LayerNorm": (nn.LayerNorm,),
    "GroupNorm": (nn.GroupNorm,),
    "RMSNorm": (nn.RMSNorm,),
}
_CELLS: dict[type[nn.Module], tuple[int, int]] = {
    **dict.fromkeys((nn.RNN, nn.RNNCell), (1, 0)),
    **dict.fromkeys((nn.GRU, nn.GRUCell), (3, 4)),
    **dict.fromkeys((nn.LSTM, nn.LSTMCell), (4, 4)),
}
"""Recurrent layers: the number of gates, and operations per element of the state beside them."""

_PER_UPSAMPLED = {"linear": 5, "bilinear": 11, "bicubic": 224 + 35}
"""Operations per output element, by mode."""


def _per(
    name: str, amount: Callable[[Operation], int]
) -> Callable[[Any, Operation], tuple[str, int]]:
    return lambda module, operation: (name, amount(operation))


_nothing = _per("", lambda operation: 0)
_recurrent = _per("recurrent layers, their products alone", lambda operation: -operation.amount)
_leaky = _per("leaky activations, 1 per element", lambda operation: operation.amount)
_average = _per(
    "average pooling, 1 per output element", lambda operation: math.prod(operation.output)
)


def _transposed(module: Any, operation: Operation) -> tuple[str, int]:
    entries = module.in_channels // module.groups * math.prod(module.kernel_size)
    counted = math.prod(operation.output) * entries
    return "transposed convolutions, per output element", counted - operation.amount


def _bias(module: Any, operation: Operation) -> tuple[str, int]:
    out = math.prod(operation.output)
    return "bias of convolutions, 1 per output element", 0 if module.bias is None else out


def _norm(name: str, affine: int, plain: int, module: Any, operation: Operation) -> tuple[str, int]:
    is_affine = getattr(module, "affine", False) or getattr(module, "elementwise_affine", False)
    per_element = affine if is_affine else plain
    return f"{name}, {per_element} per element", per_element * operation.amount


def _softmax(module: Any, operation: Operation) -> tuple[str, int]:
    size = (operation.operands[0] or ())[getattr(module, "dim", -1)]
    counted = operation.amount // size * (3 * size - 1)
    return "softmax modules, 3 per element less 1 per row", counted


def _adaptive(divided: Any, module: Any, operation: Operation) -> tuple[str, int]:
    into, out = operation.operands[0] or (), operation.output
    kernel = math.prod(map(divided, into[2:], out[2:]))
    name = "adaptive pooling, kernel + 1 per output element"
    return name, int((kernel + 1) * math.prod(out))


def _average_windows(module: Any, operation: Operation) -> tuple[str, int]:
    into, out = operation.operands[0] or (), operation.output
    axes = {nn.AvgPool1d: 1, nn.AvgPool2d: 2, nn.AvgPool3d: 3}[type(module)]

    def per_axis(value: Any) -> tuple[int, ...]:
        return tuple(value) if isinstance(value, tuple | list) else (value,) * axes

    windows = math.prod(into[:-axes])
    kernels, strides, paddings = map(per_axis, (module.kernel_size, module.stride, module.padding))
    for size, to, kernel, stride, padding in zip(
        into[-axes:], out[-axes:], kernels, strides, paddings, strict=True
    ):
        low, high = (-padding, size + padding) if module.count_include_pad else (0, size)
        starts = (i * stride - padding for i in range(to))
        windows *= sum(max(min(at + kernel, high) - max(at, low), 0) for at in starts)
    name = "average pooling, 1 per element of a window and 1 per output"
    return name, windows + math.prod(out)


def _adaptive_windows(module: Any, operation: Operation) -> tuple[str, int]:
    def windows(size: int, to: int) -> int:
        # those along one axis may overlap
        return sum(-(-(i + 1) * size // to) - i * size // to for i in range(to))

    into, out = operation.operands[0] or (), operation.output
    name = "adaptive pooling, 1 per element of a window and 1 per output"
    return name, math.prod(map(windows, into, out)) + math.prod(out)


@dataclass(frozen=True)
class Layer:
    """Operations of ``kind`` in modules of ``types``, which a counter adds up as ``part``.

    ``term`` gives the name and amount of what it counts beside our MACs.
    """

    kind: str
    types: Types
    part: str
    term: Callable[[Any, Operation], tuple[str, int]] = _nothing


_PRODUCT_LAYERS = (
    Layer("conv", _CONV, "convolutions"),
    Layer("linear", (nn.Linear,), "products"),
    Layer("linear", tuple(_CELLS), "products", _recurrent),
)


def _norm_layers(names: str, affine: int, plain: int) -> tuple[Layer, ...]:
    return tuple(
        Layer("norm", _NORMS[name], name, partial(_norm, name, affine, plain))
        for name in names.split()
    )


@dataclass(frozen=True)
class Version:
    """A version of thop: the layers that it counts.

    ``upsampling`` are operations per output element by mode, ``unseen`` names products outside of
    such layers that it does not see, by kind or operator. If ``by_owner`` it hooks layers of
    exactly these types, and once for each owner; otherwise subclasses too, once.
    """

    layers: tuple[Layer, ...]
    upsampling: Mapping[str, int]
    unseen: Mapping[str, str]
    by_owner: bool = True
    counts_root: bool = True

    def flop_terms(self, model: nn.Module, count: Count) -> Terms:
        """The differences between our MACs and the FLOPs that it prints."""
        modules, owners = modules_by_name(model), self._owners(model)
        for operation in count.operations:
            module = modules[operation.module]
            yield from self._operation(operation, module, owners.get(module, 0))
        for call in count.calls:
            module = modules[call.module]
            if call.input and owners.get(module) and self._is_one(module, tuple(_CELLS)):
                whole = _whole_recurrent(module, call.input)
                yield "recurrent layers, gates and states too", "recurrent", whole
        for function in count.functions:
            module = modules[function.module]
            is_layer = owners.get(module) and self._is_one(module, _UPSAMPLE)
            if is_layer and function.function == "interpolate":
                weight = self.upsampling.get(function.detail, 0)
                name = f"{function.detail} upsampling, {weight} per output element"
                yield name, "resampling", weight * math.prod(function.output)

    def _operation(self, operation: Operation, module: Any, times: int) -> Terms:
        ours = operation.amount if operation.kind in PRODUCTS else 0
        found = [
            layer
            for layer in self.layers
            if layer.kind == operation.kind and self._is_one(module, layer.types)
        ]
        if not (times and found):
            name = self.unseen.get(operation.kind) or self.unseen.get(operation.operator)
            if ours and (name or not times):
                part = "convolutions" if operation.kind == "conv" else "products"
                name = name if times else "a layer that is the whole network"
                yield f"{name} unseen", part, -ours
            return
        counted = ours
        for layer in found:
            name, amount = layer.term(module, operation)
            counted += amount
            if amount:
                yield name, layer.part, amount
        if times > 1:
            # it hooks a layer once for every owner, and adds it up once for every owner
            extra = (times**2 - 1) * counted
            yield "layers with several owners, counted by each", found[0].part, extra

    def param_terms(self, model: nn.Module, count: Count) -> Terms:
        """Parameters that it does not see, or sees more than once."""
        modules = modules_by_name(model)
        called = {modules[call.module] for call in count.calls}
        times: Counter[nn.Parameter] = Counter()
        for module in self._walk(model):
            if type(module) in self._types and module in called:
                times.update(module.parameters())
        for name, parameter in model.named_parameters():
            owner = modules[name.rpartition(".")[0]]
            if type(owner) not in self._types:
                why = f"parameters of {type(owner).__name__} unseen"
            elif owner not in called:
                why = "parameters of layers that are not called unseen"
            elif times[parameter]:
                why = "parameters with several owners"
            else:
                why = "parameters of a lone layer unseen"
            yield why, "params", (times[parameter] - 1) * parameter.numel()

    @property
    def _types(self) -> set[type[nn.Module]]:
        return {each for layer in self.layers for each in layer.types}

    def _is_one(self, module: nn.Module, types: Types) -> bool:
        return type(module) in types if self.by_owner else isinstance(module, types)

    def _owners(self, model: nn.Module) -> Mapping[nn.Module, int]:
        """How often each module is met on the way down the tree, where each owner lists it once.

        The walk ends at layers that are counted; the network itself may be left out.
        """
        if not self.by_owner:
            return dict.fromkeys(model.modules(), 1)
        met = Counter(self._walk(model))
        met[model] = int(self.counts_root or type(model) not in self._types)
        return met

    def _walk(self, module: nn.Module) -> Iterator[nn.Module]:
        for child in module.children():
            yield child
            if type(child) not in self._types:
                yield from self._walk(child)


def _whole_recurrent(module: Any, input_shape: Shape) -> int:
    """The operations of one call of a recurrent layer or cell; packed sequences are not known."""
    gates, beside = _CELLS[type(module)]

    def step(inputs: int) -> int:
        hidden = int(module.hidden_size)
        gate = hidden * (inputs + hidden) + hidden * (3 if module.bias else 1)
        return gates * gate + beside * hidden

    if not isinstance(module, nn.RNNBase):
        return step(module.input_size) * input_shape[0]
    directions = 2 if module.bidirectional else 1
    widths = [module.input_size, *[directions * module.hidden_size] * (module.num_layers - 1)]
    # the first two axes are batch and steps, or steps and batch
    return directions * sum(map(step, widths)) * input_shape[0] * input_shape[1]


_FUNCTIONS = {"conv": "convolutions called as functions"}
_LAYERS_ALONE = _FUNCTIONS | {
    "linear": "products with bare parameters",
    "matmul": "attention products",
}
# not addmm: a linear function with a bias, which it sees, is one here
_UNSEEN_BY_ULTRALYTICS = "addbmm baddbmm _grouped_mm mv addmv dot vdot addr affine_grid_generator"

_THOP = Version(
    layers=(
        *_PRODUCT_LAYERS,
        Layer("conv", _TRANSPOSED, "convolutions", _transposed),
        *_norm_layers("BatchNorm InstanceNorm LayerNorm", 4, 2),
        Layer("softmax", (nn.Softmax,), "softmax", _softmax),
        Layer("pool", _AVG_POOL, "pooling", _average),
        Layer("pool", _ADAPTIVE_POOL, "pooling", partial(_adaptive, Fraction)),
        Layer("activation", (nn.PReLU,), "activations", _leaky),
    ),
    upsampling={"nearest": 1} | _PER_UPSAMPLED,
    unseen=_LAYERS_ALONE,
)
_MAY_2020 = Version(
    layers=(
        *_PRODUCT_LAYERS,
        Layer("conv", _TRANSPOSED, "convolutions", _transposed),
        Layer("conv", (*_CONV, *_TRANSPOSED), "convolutions", _bias),
        *_norm_layers("BatchNorm", 2, 2),
        Layer("pool", _AVG_POOL, "pooling", _average),
        Layer("pool", _ADAPTIVE_POOL, "pooling", partial(_adaptive, floordiv)),
        Layer("activation", (nn.LeakyReLU,), "activations", _leaky),
    ),
    upsampling=_PER_UPSAMPLED,
    unseen=_LAYERS_ALONE,
    counts_root=False,
)
_ULTRALYTICS = Version(
    layers=(
        *_PRODUCT_LAYERS,
        Layer("conv", _TRANSPOSED, "convolutions"),
        *_norm_layers("BatchNorm InstanceNorm LayerNorm GroupNorm RMSNorm", 4, 2),
        Layer("softmax", (nn.Softmax, nn.MultiheadAttention), "softmax", _softmax),
        Layer("pool", _AVG_POOL, "pooling", _average_windows),
        Layer("pool", _ADAPTIVE_POOL, "pooling", _adaptive_windows),
        Layer("activation", (nn.PReLU,), "activations", _leaky),
    ),
    upsampling=_PER_UPSAMPLED | {"trilinear": 31},
    unseen=_FUNCTIONS | {each: each for each in _UNSEEN_BY_ULTRALYTICS.split()},
    by_owner=False,
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
    name="thop",
    flop_terms=_THOP.flop_terms,
    param_terms=_THOP.param_terms,
    profile=partial(_profile, True),
    categories={
        **{each.__name__: layer.part for layer in _THOP.layers for each in layer.types},
        **{each.__name__: "recurrent" for each in _CELLS},
        **{each.__name__: "resampling" for each in _UPSAMPLE},
    },
    package="thop",
)
THOP_2020 = Reference(
    name="thop-2020",
    flop_terms=_MAY_2020.flop_terms,
    param_terms=_MAY_2020.param_terms,
    reimplemented="0.0.31.post2005241907",
)
ULTRALYTICS = Reference(
    name="ultralytics-thop",
    flop_terms=_ULTRALYTICS.flop_terms,
    # its tree of layers leaves out functions, so there is only the total
    profile=partial(_profile, False),
    package="thop",
    installed_as="ultralytics-thop",
    optional=True,
)

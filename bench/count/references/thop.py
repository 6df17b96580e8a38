"""thop: hooks modules of some exact types, and adds up their operations over the tree of modules.

It does not see functions, such as products and convolutions called without a module.
Its version of May 2020 fits the baselines of papers of that time. It is not run but re-implemented:
its answer is our count and its terms. A slow test compares them with that version itself.
Source: thop 0.1.1.post2209072238 and 0.0.31.post2005241907, profile.py, rnn_hooks.py and vision/*.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from torch import Tensor, nn

from vidcost.bench.count.counter import Count, Operation
from vidcost.bench.count.operands import Shape
from vidcost.bench.count.references.reference import (
    Printed,
    Reference,
    Term,
    Terms,
    modules_by_name,
)

_CONV = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
_TRANSPOSED = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
_BATCH_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm)
_INSTANCE_NORM = (nn.InstanceNorm1d, nn.InstanceNorm2d, nn.InstanceNorm3d)
_CONVOLUTIONS = (*_CONV, *_TRANSPOSED)
_AVG_POOL = (nn.AvgPool1d, nn.AvgPool2d, nn.AvgPool3d)
_UPSAMPLE = (nn.Upsample, nn.UpsamplingBilinear2d, nn.UpsamplingNearest2d)
_ADAPTIVE_POOL = (nn.AdaptiveAvgPool1d, nn.AdaptiveAvgPool2d, nn.AdaptiveAvgPool3d)

CELLS: dict[type[nn.Module], tuple[int, int]] = {
    nn.RNN: (1, 0),
    nn.RNNCell: (1, 0),
    nn.GRU: (3, 4),
    nn.GRUCell: (3, 4),
    nn.LSTM: (4, 4),
    nn.LSTMCell: (4, 4),
}
"""Recurrent layers: the number of gates, and operations per element of the state beside them."""

_PER_UPSAMPLED = {"linear": 5, "bilinear": 11, "bicubic": 224 + 35}
"""Operations per output element, by mode."""

_CATEGORIES = {
    **{kind.__name__: "convolutions" for kind in _CONVOLUTIONS},
    "Linear": "products",
    **{kind.__name__: "BatchNorm" for kind in _BATCH_NORMS},
    **{kind.__name__: "InstanceNorm" for kind in _INSTANCE_NORM},
    "LayerNorm": "LayerNorm",
    **{kind.__name__: "pooling" for kind in (*_AVG_POOL, *_ADAPTIVE_POOL)},
    "Softmax": "softmax",
    **dict.fromkeys(("LeakyReLU", "PReLU"), "activations"),
    **{kind.__name__: "recurrent" for kind in CELLS},
    **dict.fromkeys(("Upsample", "UpsamplingBilinear2d", "UpsamplingNearest2d"), "resampling"),
}
"""Categories of the types of modules that thop counts."""


@dataclass(frozen=True)
class Version:
    """In what the two versions differ.

    ``norms`` gives the operations per element with and without affine parameters, ``activations``
    those of leaky ones, ``upsampling`` those per output element by mode. ``with_rule`` are the
    types of modules with parameters that it knows.
    """

    with_rule: tuple[type[nn.Module], ...]
    norms: dict[type[nn.Module], tuple[int, int]]
    bias: int
    activations: dict[type[nn.Module], int]
    upsampling: dict[str, int]
    counts_root: bool
    counts_softmax: bool
    rounds_kernels_down: bool


_INSTALLED = Version(
    with_rule=(
        *_CONVOLUTIONS,
        *_BATCH_NORMS,
        *_INSTANCE_NORM,
        nn.LayerNorm,
        nn.PReLU,
        nn.Linear,
        *CELLS,
    ),
    norms=dict.fromkeys((*_BATCH_NORMS, *_INSTANCE_NORM, nn.LayerNorm), (4, 2)),
    bias=0,
    activations={nn.PReLU: 1},
    upsampling={"nearest": 1} | _PER_UPSAMPLED,
    counts_root=True,
    counts_softmax=True,
    rounds_kernels_down=False,
)
_MAY_2020 = Version(
    with_rule=(*_CONVOLUTIONS, *_BATCH_NORMS, nn.Linear, *CELLS),
    norms=dict.fromkeys(_BATCH_NORMS, (2, 2)),
    bias=1,
    activations={nn.LeakyReLU: 1},
    upsampling=_PER_UPSAMPLED,
    counts_root=False,
    counts_softmax=False,
    rounds_kernels_down=True,
)


def flop_terms(model: nn.Module, count: Count, version: Version) -> tuple[Term, ...]:
    """The differences between our MACs and the FLOPs that ``version`` prints."""
    terms = Terms()
    owners, modules = _owners(model, version), modules_by_name(model)
    for operation in count.operations:
        module = modules[operation.module]
        times = owners.get(module, 0)
        if times == 0:
            _unseen(operation, "a layer that is the whole network", terms)
            continue
        if type(module) in CELLS and type(module) in version.with_rule:
            if operation.kind == "linear":
                terms.add("recurrent layers, their products alone", "products", -operation.amount)
            continue
        part, amount = _layer(operation, module, version, terms)
        if times > 1:
            # it hooks a layer once for every owner, and adds it up once for every owner
            extra = (times**2 - 1) * amount
            terms.add("layers with several owners, counted by each", part, extra)
    for call in count.calls:
        module = modules[call.module]
        if type(module) in CELLS and type(module) in version.with_rule and call.input:
            whole = recurrent(module, call.input)
            terms.add("recurrent layers, gates and states too", "recurrent", whole)
    for function in count.functions:
        module = modules[function.module]
        if function.function == "interpolate" and type(module) in _UPSAMPLE and owners.get(module):
            weight = version.upsampling.get(function.detail, 0)
            name = f"{function.detail} upsampling, {weight} per output element"
            terms.add(name, "resampling", weight * math.prod(function.output))
    return terms.done()


def _layer(operation: Operation, module: Any, version: Version, terms: Terms) -> tuple[str, int]:
    """Add the terms of one operation; returns the category and amount that thop counts."""
    kind, exact, amount = operation.kind, type(module), operation.amount
    out = math.prod(operation.output)
    if kind == "conv" and exact in _CONVOLUTIONS:
        counted = amount
        if exact in _TRANSPOSED:
            counted = out * (module.in_channels // module.groups) * math.prod(module.kernel_size)
            name = "transposed convolutions, per output element"
            terms.add(name, "convolutions", counted - amount)
        if version.bias and module.bias is not None:
            counted += out
            terms.add("bias of convolutions, 1 per output element", "convolutions", out)
        return "convolutions", counted
    if kind == "linear" and exact is nn.Linear:
        return "products", amount
    if kind in ("conv", "linear", "matmul"):
        return _unseen(operation, "", terms)
    if kind == "norm" and exact in version.norms:
        affine, plain = version.norms[exact]
        is_affine = getattr(module, "affine", False) or getattr(module, "elementwise_affine", False)
        per_element = affine if is_affine else plain
        part = _CATEGORIES[exact.__name__]
        terms.add(f"{part}, {per_element} per element", part, per_element * amount)
        return part, per_element * amount
    if kind == "pool" and exact in _AVG_POOL:
        terms.add("average pooling, 1 per output element", "pooling", out)
        return "pooling", out
    if kind == "pool" and exact in _ADAPTIVE_POOL:
        counted = _adaptive(operation, version)
        terms.add("adaptive pooling, kernel + 1 per output element", "pooling", counted)
        return "pooling", counted
    if kind == "softmax" and exact is nn.Softmax and version.counts_softmax:
        size = (operation.operands[0] or ())[module.dim]
        counted = amount // size * (3 * size - 1)
        terms.add("softmax modules, 3 per element less 1 per row", "softmax", counted)
        return "softmax", counted
    if kind == "activation":
        counted = version.activations.get(exact, 0) * amount
        terms.add("leaky activations, 1 per element", "activations", counted)
        return "activations", counted
    return "", 0


def _unseen(operation: Operation, why: str, terms: Terms) -> tuple[str, int]:
    if operation.kind == "conv":
        terms.add(
            f"{why or 'convolutions called as functions'} unseen", "convolutions", -operation.amount
        )
    elif operation.kind == "linear":
        terms.add(f"{why or 'products with bare parameters'} unseen", "products", -operation.amount)
    elif operation.kind == "matmul":
        terms.add(f"{why or 'attention products'} unseen", "products", -operation.amount)
    return "", 0


def _adaptive(operation: Operation, version: Version) -> int:
    into, out = operation.operands[0] or (), operation.output
    sizes = zip(into[2:], out[2:], strict=True)
    if version.rounds_kernels_down:
        return math.prod(out) * (math.prod(size // to for size, to in sizes) + 1)
    kernel = math.prod(Fraction(size, to) for size, to in sizes)
    return int((kernel + 1) * math.prod(out))


def _owners(model: nn.Module, version: Version) -> dict[nn.Module, int]:
    """How often each module is met on the way down the tree, where each owner lists it once.

    The walk ends at layers with a rule; the network itself may be left out.
    """
    met: dict[nn.Module, int] = {}
    for module in _walk(model, version):
        met[module] = met.get(module, 0) + 1
    if type(model) not in version.with_rule or version.counts_root:
        met[model] = 1
    return met


def _walk(module: nn.Module, version: Version) -> Iterator[nn.Module]:
    for child in module.children():
        yield child
        if type(child) not in version.with_rule:
            yield from _walk(child, version)


def param_terms(model: nn.Module, count: Count, version: Version) -> tuple[Term, ...]:
    """Parameters that thop does not see, or sees more than once."""
    modules = modules_by_name(model)
    called = {modules[call.module] for call in count.calls}
    times: dict[nn.Parameter, int] = {}
    for module in _walk(model, version):
        if type(module) in version.with_rule and module in called:
            for parameter in module.parameters():
                times[parameter] = times.get(parameter, 0) + 1
    terms = Terms()
    for name, parameter in model.named_parameters():
        owner = modules[name.rpartition(".")[0]]
        seen, kind = times.get(parameter, 0), type(owner).__name__
        if type(owner) not in version.with_rule:
            why = f"parameters of {kind} unseen"
        elif owner not in called:
            why = "parameters of layers that are not called unseen"
        else:
            why = "parameters with several owners" if seen else "parameters of a lone layer unseen"
        terms.add(why, "params", (seen - 1) * parameter.numel())
    return terms.done()


def recurrent(module: Any, input_shape: Shape) -> int:
    """The operations of one call of a recurrent layer or cell; packed sequences are not known."""
    gates, beside = CELLS[type(module)]

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


def _profile(model: nn.Module, inputs: tuple[Tensor, ...]) -> Printed:
    import thop

    flops, params, layers = thop.profile(model, inputs, verbose=False, ret_layer_info=True)
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


COUNTER = Reference(
    name="thop",
    profile=_profile,
    flop_terms=lambda model, count: flop_terms(model, count, _INSTALLED),
    param_terms=lambda model, count: param_terms(model, count, _INSTALLED),
    categories=_CATEGORIES,
    package="thop",
)
COUNTER_2020 = Reference(
    name="thop-2020",
    flop_terms=lambda model, count: flop_terms(model, count, _MAY_2020),
    param_terms=lambda model, count: param_terms(model, count, _MAY_2020),
    reimplemented="0.0.31.post2005241907",
)

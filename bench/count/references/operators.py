"""Counters of operators: fvcore, torch's FlopCounterMode, and ptflops with its aten backend.

fvcore traces a network with torch's JIT and counts the operators that it has handlers for. The
others count below the dispatcher; two FLOPs of torch's are one MAC, ptflops counts biases too.
Source: fvcore 0.1.5.post20221221, nn/flop_count.py and nn/jit_handles.py; ptflops 0.7.5,
aten_engine.py and aten_ops.py.
"""

import io
import math
from collections.abc import Iterable, Mapping
from functools import partial
from typing import Any

from torch import Tensor, nn

from vidcost.bench.call import TensorsOut
from vidcost.bench.count.counter import Count, FunctionCall, unfused
from vidcost.bench.count.operands import Operation
from vidcost.bench.count.references.reference import Printed, Reference, Terms, modules_by_name
from vidcost.bench.count.rules import PRODUCTS

_SEEN = ("convolution", "mm", "bmm", "addmm")
"""Products with a formula or handler of each."""


def _profile_torch(model: nn.Module, inputs: tuple[Tensor, ...]) -> Printed:
    # imports torch's compiler, which takes a second
    from torch.utils.flop_counter import FlopCounterMode

    counter = FlopCounterMode(display=False)
    # attention in parts, as on the meta device: it does not know the CPU's fused kernel
    with unfused(model), counter:
        model(*inputs)
    # without products there are none
    flops = counter.get_flop_counts().get("Global", {})
    return Printed(sum(flops.values()) / 2, None, _parts(flops, 2))


def _profile_ptflops(model: nn.Module, inputs: tuple[Tensor, ...]) -> Printed:
    from ptflops.aten_engine import FlopCounterMode
    from ptflops.pytorch_engine import get_model_parameters_number

    counter = FlopCounterMode(output_params={"print_params": {"file": io.StringIO()}})
    with unfused(model), counter:
        model(*inputs)
    parts = _parts(counter.flop_counts["Global"], 1)
    return Printed(counter.complexity, get_model_parameters_number(model), parts)


def _parts(amounts: Mapping[Any, float], per_mac: int) -> Iterable[tuple[str, float]]:
    for operator, amount in amounts.items():
        yield "convolutions" if "conv" in str(operator) else "products", amount / per_mac


def _dispatched_terms(seen: tuple[str, ...], biases: bool, model: nn.Module, count: Count) -> Terms:
    for operation in count.operations:
        out = math.prod(operation.output)
        if operation.kind in PRODUCTS and operation.operator not in seen:
            yield f"{operation.operator} unseen", "products", -operation.amount
        elif biases and operation.kind == "conv" and operation.operands[2] is not None:
            yield "bias of convolutions, 1 per output element", "convolutions", out
        elif biases and operation.operator == "addmm":
            yield "bias of linear layers, 1 per output element", "products", out


def _frozen(model: nn.Module, count: Count) -> Terms:
    frozen = sum(p.numel() for p in model.parameters() if not p.requires_grad)
    yield "parameters without gradient unseen", "params", -frozen


TORCH = Reference(
    "torch",
    partial(_dispatched_terms, (*_SEEN, "baddbmm", "_scaled_mm"), False),
    None,
    _profile_torch,
)
PTFLOPS = Reference(
    name="ptflops-aten",
    flop_terms=partial(_dispatched_terms, _SEEN, True),
    param_terms=_frozen,
    profile=_profile_ptflops,
    package="ptflops",
    optional=True,
)


# fvcore

_CATEGORIES = {
    "conv": "convolutions",
    **dict.fromkeys("linear addmm mm bmm matmul einsum".split(), "products"),
    **{f"{name.lower()}_norm": f"{name}Norm" for name in ("Batch", "Group", "Layer", "Instance")},
    "adaptive_avg_pool2d": "pooling",
    **dict.fromkeys("upsample_nearest2d upsample_bilinear2d grid_sampler".split(), "resampling"),
}

_NORMS = {
    "native_group_norm": "GroupNorm",
    "native_layer_norm": "LayerNorm",
    "_fused_rms_norm": "",
}


def _profile_fvcore(model: nn.Module, inputs: tuple[Tensor, ...]) -> Printed:
    from fvcore.nn import FlopCountAnalysis, parameter_count

    # its tracer takes tensors in tuples, lists and dicts alone
    analysis = FlopCountAnalysis(TensorsOut(model), inputs)
    analysis.unsupported_ops_warnings(False).uncalled_modules_warnings(False)
    analysis.tracer_warnings("none")
    return Printed(analysis.total(), parameter_count(model)[""], analysis.by_operator().items())


def _flop_terms(model: nn.Module, count: Count) -> Terms:
    modules = modules_by_name(model)
    for index, operation in enumerate(count.operations):
        module = modules[operation.module]
        unused = index in count.unused
        if operation.kind in PRODUCTS and (unused or operation.operator not in _SEEN):
            name = "what no output needs" if unused else operation.operator
            part = "convolutions" if operation.kind == "conv" else "products"
            yield f"{name} unseen", part, -operation.amount
        elif unused:
            continue
        elif operation.operator == "_safe_softmax":
            # scaled_dot_product_attention alone uses it, between its two products
            both = count.operations[index - 1].amount + count.operations[index + 1].amount
            yield "SDPA unseen", "products", -both
        elif operation.kind == "conv" and isinstance(getattr(module, "padding", 0), str):
            yield "convolutions padded by name unseen", "convolutions", -operation.amount
        elif operation.kind == "norm":
            yield from _norm(module, operation)
        elif isinstance(module, nn.RNNBase) and operation.kind == "linear":
            yield "recurrent layers unseen", "products", -operation.amount
    for call in count.functions:
        inside = count.operations[call.first : call.last]
        ours = sum(o.amount for o in inside if o.kind in PRODUCTS and o.operator in _SEEN)
        yield from _function(call, ours)


def _function(call: FunctionCall, ours: int) -> Terms:
    """The terms of one function, for whose products we count ``ours``."""
    into, out = math.prod(call.operands[0]), math.prod(call.output)
    if call.function == "adaptive_avg_pool2d":
        yield "adaptive 2D pooling, 1 per element", "pooling", into
    elif call.function == "matmul" and min(map(len, call.operands)) > 1:
        first = into * call.operands[1][-1]
        yield "broadcast products, the first operand as given", "products", first - ours
    elif call.function == "einsum" and call.detail:
        yield "einsum, as numpy rounds it", "products", _einsum(call) - ours
    elif call.function == "interpolate" and len(call.output) == 4:
        weight = {"nearest": 1, "bilinear": 4}.get(call.detail, 0)
        yield f"2D resampling, {weight} per output element", "resampling", weight * out
    elif call.function == "grid_sample":
        yield "grid sampling, 4 per output element", "resampling", 4 * out


def _einsum(call: FunctionCall) -> int:
    """Two equations have a rule; of others it takes half of what numpy prints, in four digits."""
    equation = call.detail.replace(" ", "")
    letters = dict.fromkeys(letter for letter in equation if letter.isalpha())
    equation = equation.translate(
        {ord(letter): ord("a") + place for place, letter in enumerate(letters)}
    )
    into = math.prod(call.operands[0])
    if equation == "abc,abd->acd":
        return into * call.operands[-1][-1]
    if equation == "abc,adc->adb":
        return into * call.operands[-1][1]
    import numpy as np

    nothing = np.zeros(())
    shaped = [np.broadcast_to(nothing, shape) for shape in call.operands]
    _, report = np.einsum_path(equation, *shaped, optimize="optimal")
    (printed,) = (line for line in report.splitlines() if "optimized flop" in line.lower())
    return math.floor(float(printed.rpartition(":")[2]) / 2)


def _norm(module: nn.Module, operation: Operation) -> Terms:
    is_affine = operation.operands[1] is not None
    name, per_element = _NORMS.get(operation.operator, "BatchNorm"), 5 if is_affine else 4
    if isinstance(module, nn.modules.instancenorm._InstanceNorm):
        name = "InstanceNorm"
    # without running statistics it computes them, as in training
    elif name == "BatchNorm" and operation.operands[3] is not None:
        per_element = 2 if is_affine else 1
    if name:
        yield f"{name}, {per_element} per element", name, per_element * operation.amount


FVCORE = Reference(
    name="fvcore",
    flop_terms=_flop_terms,
    profile=_profile_fvcore,
    categories=_CATEGORIES,
    package="fvcore",
    # torch's JIT cannot trace operators that are written in Python, as many are on meta
    needs_values=True,
)

"""fvcore: traces a network with torch's JIT and counts the operators that it has handlers for.

Source: fvcore 0.1.5.post20221221, nn/flop_count.py and nn/jit_handles.py.
"""

import math

from torch import Tensor, nn

from vidcost.bench.call import TensorsOut
from vidcost.bench.count.counter import Count, FunctionCall
from vidcost.bench.count.operands import Operation
from vidcost.bench.count.references.reference import (
    Printed,
    Reference,
    Terms,
    modules_by_name,
    no_terms,
)
from vidcost.bench.count.rules import PRODUCTS

_CATEGORIES = {
    "conv": "convolutions",
    **dict.fromkeys(("linear", "addmm", "mm", "bmm", "matmul", "einsum"), "products"),
    "batch_norm": "BatchNorm",
    "group_norm": "GroupNorm",
    "layer_norm": "LayerNorm",
    "instance_norm": "InstanceNorm",
    "adaptive_avg_pool2d": "pooling",
    "upsample_nearest2d": "resampling",
    "upsample_bilinear2d": "resampling",
    "grid_sampler": "resampling",
}

_SEEN = ("convolution", "mm", "bmm", "addmm")
"""Products with a handler."""
_NORMS = {
    "native_group_norm": "GroupNorm",
    "native_layer_norm": "LayerNorm",
    "_fused_rms_norm": "",
}


def _profile(model: nn.Module, inputs: tuple[Tensor, ...]) -> Printed:
    from fvcore.nn import FlopCountAnalysis, parameter_count

    # its tracer takes tensors in tuples, lists and dicts alone
    analysis = FlopCountAnalysis(TensorsOut(model), inputs)
    analysis.unsupported_ops_warnings(False).uncalled_modules_warnings(False)
    analysis.tracer_warnings("none")
    return Printed(analysis.total(), parameter_count(model)[""], analysis.by_operator().items())


def _flop_terms(model: nn.Module, count: Count) -> Terms:
    modules = modules_by_name(model)
    for index, operation in enumerate(count.operations):
        if operation.kind in PRODUCTS and operation.operator not in _SEEN:
            yield f"{operation.operator} unseen", "products", -operation.amount
        elif operation.operator == "_safe_softmax":
            # scaled_dot_product_attention alone uses it, between its two products
            both = count.operations[index - 1].amount + count.operations[index + 1].amount
            yield "SDPA unseen", "products", -both
        elif operation.kind == "norm":
            yield from _norm(modules[operation.module], operation)
        elif isinstance(modules[operation.module], nn.RNNBase) and operation.kind == "linear":
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
    profile=_profile,
    flop_terms=_flop_terms,
    param_terms=no_terms,
    categories=_CATEGORIES,
    package="fvcore",
    # torch's JIT cannot trace operators that are written in Python, as many are on meta
    needs_values=True,
)

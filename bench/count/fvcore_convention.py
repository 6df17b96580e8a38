"""fvcore's convention, in terms of our trace.

It traces a network with torch's JIT and has handlers for some operators; what has none counts 0.
Source: fvcore 0.1.5.post20221221, nn/flop_count.py and nn/jit_handles.py.
"""

from __future__ import annotations

import math

from torch import nn

from vidcost.bench.count.counter import Count, Operation
from vidcost.bench.count.term import Term, Terms, modules_by_name

PARTS = {
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
"""fvcore's names of operators, by our headings."""

_UNSEEN = ("baddbmm", "addbmm", "mv", "addmv", "dot", "vdot", "addr")
_NORMS = {
    "native_group_norm": "GroupNorm",
    "native_layer_norm": "LayerNorm",
    "_fused_rms_norm": "",
}


def flop_terms(model: nn.Module, count: Count) -> tuple[Term, ...]:
    """What fvcore books otherwise than we do."""
    terms, modules = Terms(), modules_by_name(model)
    for index, operation in enumerate(count.operations):
        if operation.operator in _UNSEEN:
            terms.add(f"{operation.operator} unseen", "products", -operation.amount)
        elif operation.operator == "_safe_softmax":
            # scaled_dot_product_attention alone uses it, between its two products
            both = count.operations[index - 1].amount + count.operations[index + 1].amount
            terms.add("SDPA unseen", "products", -both)
        elif operation.kind == "norm":
            _norm(modules[operation.module], operation, terms)
        elif isinstance(modules[operation.module], nn.AdaptiveAvgPool2d):
            taken_in = math.prod(operation.operands[0] or ())
            terms.add("adaptive 2D pooling, 1 per element", "pooling", taken_in)
    return terms.done()


def _norm(module: nn.Module, operation: Operation, terms: Terms) -> None:
    is_affine = operation.operands[1] is not None
    if operation.operator in _NORMS:
        name, per_element = _NORMS[operation.operator], 5 if is_affine else 4
    elif isinstance(module, nn.modules.instancenorm._InstanceNorm):
        name, per_element = "InstanceNorm", 5 if is_affine else 4
    elif operation.operands[3] is None:
        # without running statistics it computes them, as in training
        name, per_element = "BatchNorm", 5 if is_affine else 4
    else:
        name, per_element = "BatchNorm", 2 if is_affine else 1
    if name:
        terms.add(f"{name}, {per_element} per element", name, per_element * operation.amount)

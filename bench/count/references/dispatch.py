"""Counters below the dispatcher: torch's FlopCounterMode, and ptflops with its aten backend.

Two FLOPs of torch's are one MAC. ptflops counts four operators, biases included.
Source: ptflops 0.7.5, aten_engine.py and aten_ops.py.
"""

import io
import math
from collections.abc import Iterable, Mapping
from functools import partial
from typing import Any

from torch import Tensor, nn

from vidcost.bench.count.counter import Count, unfused
from vidcost.bench.count.references.reference import Printed, Reference, Terms
from vidcost.bench.count.rules import PRODUCTS

_TORCH = ("convolution", "mm", "bmm", "addmm", "baddbmm", "_scaled_mm")
_PTFLOPS = ("convolution", "mm", "bmm", "addmm")
"""Products with a formula."""


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


def _flop_terms(seen: tuple[str, ...], biases: bool, model: nn.Module, count: Count) -> Terms:
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


TORCH = Reference("torch", partial(_flop_terms, _TORCH, False), None, _profile_torch)
PTFLOPS = Reference(
    name="ptflops-aten",
    flop_terms=partial(_flop_terms, _PTFLOPS, True),
    param_terms=_frozen,
    profile=_profile_ptflops,
    package="ptflops",
    optional=True,
)

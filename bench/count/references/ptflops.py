"""ptflops with its aten backend: a dispatch mode that counts four operators, biases included.

Source: ptflops 0.7.5, aten_engine.py and aten_ops.py.
"""

import io
import math

from torch import Tensor, nn

from vidcost.bench.count.counter import Count, unfused
from vidcost.bench.count.references.reference import Printed, Reference, Term, Terms

_SEEN = ("mm", "addmm", "bmm")


def _profile(model: nn.Module, inputs: tuple[Tensor, ...]) -> Printed:
    from ptflops.aten_engine import FlopCounterMode
    from ptflops.pytorch_engine import get_model_parameters_number

    counter = FlopCounterMode(output_params={"print_params": {"file": io.StringIO()}})
    # attention in parts, as on the meta device: it does not know the CPU's fused kernel
    with unfused(model), counter:
        model(*inputs)
    parts = [
        ("convolutions" if "conv" in str(operator) else "products", amount)
        for operator, amount in counter.flop_counts["Global"].items()
    ]
    return Printed(counter.complexity, get_model_parameters_number(model), parts)


def _flop_terms(model: nn.Module, count: Count) -> tuple[Term, ...]:
    terms = Terms()
    for operation in count.operations:
        out = math.prod(operation.output)
        if operation.kind == "conv" and operation.operands[2] is not None:
            terms.add("bias of convolutions, 1 per output element", "convolutions", out)
        elif operation.operator == "addmm":
            terms.add("bias of linear layers, 1 per output element", "products", out)
        elif operation.kind in ("linear", "matmul") and operation.operator not in _SEEN:
            terms.add(f"{operation.operator} unseen", "products", -operation.amount)
    return terms.done()


def _param_terms(model: nn.Module, count: Count) -> tuple[Term, ...]:
    terms = Terms()
    frozen = sum(p.numel() for p in model.parameters() if not p.requires_grad)
    terms.add("parameters without gradient unseen", "params", -frozen)
    return terms.done()


ATEN = Reference(
    name="ptflops-aten",
    profile=_profile,
    flop_terms=_flop_terms,
    param_terms=_param_terms,
    package="ptflops",
    optional=True,
)

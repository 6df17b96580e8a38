"""torchinfo: multiplies the parameters of each layer that is called by what its output repeats.

For layers with Conv in their name that is batch and positions; for all others the first axis alone,
so that a linear layer on tokens counts as if there were one. Recurrent layers count two axes.
Source: torchinfo 1.8.0, layer_info.py, calculate_macs.
"""

import math

from torch import Tensor, nn

from vidcost.bench.count.counter import Count
from vidcost.bench.count.references.reference import (
    Printed,
    Reference,
    Term,
    Terms,
    modules_by_name,
    no_terms,
)


def _category(module: nn.Module) -> str:
    if "Conv" in type(module).__name__:
        return "convolutions"
    return "products" if isinstance(module, nn.Linear) else "other layers"


def _profile(model: nn.Module, inputs: tuple[Tensor, ...]) -> Printed:
    from torchinfo import summary

    found = summary(model, input_data=list(inputs), verbose=0)
    layers = [layer for layer in found.summary_list if layer.is_leaf_layer]
    parts = [(_category(layer.module), layer.macs) for layer in layers]
    return Printed(found.total_mult_adds, found.total_params, parts)


def _flop_terms(model: nn.Module, count: Count) -> tuple[Term, ...]:
    terms, modules = Terms(), modules_by_name(model)
    for operation in count.operations:
        module, part = modules[operation.module], "products"
        is_leaf = next(module.children(), None) is None
        if operation.kind == "conv" and is_leaf and _category(module) == "convolutions":
            positions = math.prod((*operation.output[:1], *operation.output[2:]))
            counted, name, part = positions * _parameters(module), _name(module), "convolutions"
            terms.add(f"{name}, times batch and positions", part, counted - operation.amount)
        elif operation.kind == "linear" and is_leaf and isinstance(module, nn.Linear):
            terms.add(f"{_name(module)}, times the first axis", part, -operation.amount)
        elif operation.kind == "conv":
            name, part = "convolutions called as functions unseen", "convolutions"
            terms.add(name, part, -operation.amount)
        elif operation.kind in ("linear", "matmul"):
            terms.add("products outside of linear layers unseen", part, -operation.amount)
    for call in count.calls:
        module = modules[call.module]
        part = _category(module)
        if part == "convolutions" or not call.input or next(module.children(), None) is not None:
            continue
        times = call.input[0]
        if isinstance(module, nn.RNNBase):
            times *= call.input[1]
        elif isinstance(module, nn.RNNCellBase):
            times *= module.hidden_size
        terms.add(f"{_name(module)}, times the first axis", part, times * _parameters(module))
    return terms.done()


def _name(module: nn.Module) -> str:
    return f"parameters of {type(module).__name__}"


def _parameters(module: nn.Module) -> int:
    named = module.named_parameters()
    return sum(p.numel() for name, p in named if "weight" in name or "bias" in name)


COUNTER = Reference(
    name="torchinfo",
    profile=_profile,
    flop_terms=_flop_terms,
    param_terms=no_terms,
    package="torchinfo",
    optional=True,
)

"""torchinfo: multiplies the parameters of each layer that is called by what its output repeats.

For layers with Conv in their name that is batch and positions; for all others the first axis alone,
so that a linear layer on tokens counts as if there were one. Recurrent layers count two axes.
Source: torchinfo 1.8.0, layer_info.py, calculate_macs.
"""

import math

from torch import Tensor, nn

from vidcost.bench.count.counter import Count
from vidcost.bench.count.references.reference import Printed, Reference, Terms, modules_by_name
from vidcost.bench.count.rules import PRODUCTS


def _profile_torchinfo(model: nn.Module, inputs: tuple[Tensor, ...]) -> Printed:
    from torchinfo import summary

    found = summary(model, input_data=list(inputs), verbose=0)
    layers = [layer for layer in found.summary_list if layer.is_leaf_layer]
    parts = [(_category(layer.module), layer.macs) for layer in layers]
    return Printed(found.total_mult_adds, found.total_params, parts)


def _torchinfo_terms(model: nn.Module, count: Count) -> Terms:
    modules = modules_by_name(model)
    for operation in count.operations:
        module, kind, amount = modules[operation.module], operation.kind, operation.amount
        is_layer = _is_leaf(module)
        if kind == "conv" and is_layer and _category(module) == "convolutions":
            positions = math.prod((*operation.output[:1], *operation.output[2:]))
            name = f"{_parameters_of(module)}, times batch and positions"
            yield name, "convolutions", positions * _seen_parameters(module) - amount
        elif kind == "linear" and is_layer and isinstance(module, nn.Linear):
            yield f"{_parameters_of(module)}, times the first axis", "products", -amount
        elif kind == "conv":
            yield "convolutions called as functions unseen", "convolutions", -amount
        elif kind in PRODUCTS:
            yield "products outside of linear layers unseen", "products", -amount
    for call in count.calls:
        module = modules[call.module]
        part = _category(module)
        if part == "convolutions" or not call.input or not _is_leaf(module):
            continue
        times = call.input[0]
        if isinstance(module, nn.RNNBase):
            times *= call.input[1]
        elif isinstance(module, nn.RNNCellBase):
            times *= module.hidden_size
        name = f"{_parameters_of(module)}, times the first axis"
        yield name, part, times * _seen_parameters(module)


def _category(module: nn.Module) -> str:
    if "Conv" in type(module).__name__:
        return "convolutions"
    return "products" if isinstance(module, nn.Linear) else "other layers"


def _is_leaf(module: nn.Module) -> bool:
    return next(module.children(), None) is None


def _parameters_of(module: nn.Module) -> str:
    return f"parameters of {type(module).__name__}"


def _seen_parameters(module: nn.Module) -> int:
    named = module.named_parameters()
    return sum(p.numel() for name, p in named if "weight" in name or "bias" in name)


TORCHINFO = Reference(
    name="torchinfo",
    flop_terms=_torchinfo_terms,
    profile=_profile_torchinfo,
    package="torchinfo",
    optional=True,
)

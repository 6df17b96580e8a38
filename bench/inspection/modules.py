"""What is inside each module of a network."""

from __future__ import annotations

from dataclasses import dataclass

from torch import nn

from vidcost.bench.call import ByName, name_inside
from vidcost.bench.count.counter import Count
from vidcost.models.cost import Cost


@dataclass(frozen=True)
class Module:
    """One module: its dotted name, its class, and what it holds and does with all inside it."""

    name: str
    kind: str
    inside: Cost


def modules(model: nn.Module, found: Count) -> tuple[Module, ...]:
    """Every module of ``model``, outermost first, with what was counted inside."""
    inside = found.by_module()
    return tuple(
        Module(
            name_inside(model, name),
            type(module).__name__,
            inside.get(name, Cost()) + Cost(params=sum(p.numel() for p in module.parameters())),
        )
        for name, module in model.named_modules()
        # it stands for what it calls
        if not isinstance(module, ByName)
    )

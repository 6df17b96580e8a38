"""Holds what was counted inside each module against the closed form the module has."""

from __future__ import annotations

from dataclasses import dataclass

from torch import nn

from vidcost.bench.count.counter import Count
from vidcost.bench.exit_status import Ending
from vidcost.models.cost import Cost, total


class ClosedFormMismatch(Ending):
    """A module was counted otherwise than its closed form says."""


@dataclass(frozen=True)
class Check:
    """A module's count beside its closed form, over all calls of the forward pass."""

    module: str
    counted: Cost
    formula: Cost

    @property
    def equal(self) -> bool:
        """Whether the two agree in every quantity, as integers."""
        return self.counted == self.formula


def closed_forms(model: nn.Module, count: Count) -> tuple[Check, ...]:
    """Check every module of ``model`` that has a closed form, a method ``cost(shape) -> Cost``.

    A module that is called several times is checked over all its calls, its parameters once.
    """
    modules = model.named_modules(remove_duplicate=False)
    checks = (check(name, module, count) for name, module in modules)
    return tuple(checked for checked in checks if checked is not None)


def check(name: str, module: nn.Module, count: Count) -> Check | None:
    """Check one module, which goes by ``name`` in the count; None if it has no closed form.

    Nor has a module that was not called.
    Raises: TypeError if its ``cost`` returns something else; what ``cost`` raises.
    """
    cost = getattr(module, "cost", None)
    if not callable(cost):
        return None
    shapes = [call.input for call in count.calls if call.module == name and call.input]
    if not shapes:
        return None
    costs = [cost(shape) for shape in shapes]
    for said in costs:
        if not isinstance(said, Cost):
            raise TypeError(f"cost(shape) returns a Cost, not {type(said).__name__}")
    params = sum(p.numel() for p in module.parameters())
    return Check(
        name,
        counted=count.within(name, params=params),
        formula=total(costs, params=costs[0].params),
    )


def verify(what: str, model: nn.Module, count: Count) -> int:
    """The number of modules in ``model`` with a closed form, all of which the count equals.

    Raises: ClosedFormMismatch naming ``what``, the module and both costs.
    """
    checks = closed_forms(model, count)
    for check in checks:
        if not check.equal:
            raise ClosedFormMismatch(
                f"{what}: {check.module or 'the whole'} was counted as {check.counted}, "
                f"its closed form says {check.formula}"
            )
    return len(checks)

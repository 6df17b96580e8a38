"""Modules of a network: the cost inside each, and whether its closed form agrees with the count."""

from collections import Counter
from dataclasses import asdict, dataclass, replace

from torch import nn

from vidcost.bench.call import Called, name_inside
from vidcost.bench.count.counter import Count
from vidcost.bench.count.operands import Shape
from vidcost.bench.errors import named
from vidcost.bench.exit_status import Ending
from vidcost.models.cost import Cost


class ClosedFormMismatch(Ending):
    """The closed form of a module differs from its count."""


@dataclass(frozen=True)
class Check:
    """The count of a module and its closed form, over all calls of the forward pass."""

    module: str
    counted: Cost
    formula: Cost

    @property
    def equal(self) -> bool:
        """Whether the two agree in every quantity, as integers."""
        return self.counted == self.formula

    def __str__(self) -> str:
        differing = [
            f"{name} was counted as {amount}, its closed form says {getattr(self.formula, name)}"
            for name, amount in asdict(self.counted).items()
            if amount != getattr(self.formula, name)
        ]
        return f"{self.module or 'the whole'}: {'; '.join(differing)}"


@dataclass(frozen=True)
class ModuleCount:
    """What was counted inside one module and those below it; the whole network has the name "".

    ``forward`` and ``backward`` are sums over ``calls`` calls; ``backward`` is None unless training
    was counted. Parameters stand in ``forward``. ``output`` is the shape of the first tensor that
    the last call returned, if it is known.
    """

    module: str
    type: str
    calls: int
    forward: Cost
    backward: Cost | None = None
    output: Shape | None = None


def modules(
    model: nn.Module, forward: Count, backward: Count | None = None
) -> tuple[ModuleCount, ...]:
    """Every module of ``model``, outermost first; one with several names by those it is called by.

    Modules that are not called, such as lists of modules, have the sums of those below them.
    """
    calls = Counter(call.module for call in forward.calls)
    called = {model.get_submodule(name) for name in calls}
    owned: dict[str, dict[nn.Parameter, int]] = {}
    for name, parameter in model.named_parameters(remove_duplicate=False):
        while name:
            name = name.rpartition(".")[0]
            owned.setdefault(name, {})[parameter] = parameter.numel()
    found = []
    for name, module in model.named_modules(remove_duplicate=False):
        # the wrapper that passes inputs by name is not part of the network
        if isinstance(module, Called) or (module in called and name not in calls):
            continue
        params = sum(owned.get(name, {}).values())
        found.append(
            ModuleCount(
                module=name_inside(model, name),
                type=type(module).__name__,
                calls=calls[name],
                forward=forward.within(name, params=params),
                backward=None if backward is None else backward.within(name),
                output=forward.outputs.get(name),
            )
        )
    return tuple(found)


def closed_forms(model: nn.Module, count: Count) -> tuple[tuple[Check, ...], tuple[str, ...]]:
    """Check every module of ``model`` that has a closed form, a method ``cost(shape) -> Cost``.

    A module that is called several times is checked over all its calls, its parameters once. The
    second are lines on those whose method failed: one of that name may be about something else.
    """
    checks, failed = [], []
    for name, module in model.named_modules(remove_duplicate=False):
        cost = getattr(module, "cost", None)
        shapes = [c.input for c in count.calls if c.module == name and c.input] if cost else []
        if not callable(cost) or not shapes:
            continue
        inside = name_inside(model, name)
        try:
            costs = [cost(shape) for shape in shapes]
            for each in costs:
                if not isinstance(each, Cost):
                    raise TypeError(f"cost(shape) returns a Cost, not {type(each).__name__}")
        except Exception as error:
            failed.append(f"{inside or 'the whole'}: {named(error)}")
        else:
            counted = count.within(name, params=sum(p.numel() for p in module.parameters()))
            formula = replace(sum(costs, Cost()), params=costs[0].params)
            checks.append(Check(inside, counted, formula))
    return tuple(checks), tuple(failed)


def verify(network: str, model: nn.Module, count: Count) -> int:
    """The number of modules in ``model`` with a closed form, all of which equal the count.

    Raises: ClosedFormMismatch that names ``network``, the module and both costs, or the error.
    """
    checks, failed = closed_forms(model, count)
    for wrong in (*failed, *(each for each in checks if not each.equal)):
        raise ClosedFormMismatch(f"{network}: {wrong}")
    return len(checks)

"""What a counter sees, as a table: of operations, of functions, of layers.

Products that no line of its table covers it does not see.
"""

import math
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

import torch.nn.functional as F
from torch import nn

from vidcost.bench.count.counter import Count, FunctionCall
from vidcost.bench.count.operands import Operation, Shape
from vidcost.bench.count.rules import PRODUCTS

Types = tuple[type[nn.Module], ...]
Amount = Callable[[Any, Any], int]
"""Of a module, and an operation, a function or a call in it."""
Terms = Iterable[tuple[str, str, int]]
"""(name, part, amount) of terms that add up by name and part."""

CONV: Types = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
TRANSPOSED: Types = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
AVG_POOL: Types = (nn.AvgPool1d, nn.AvgPool2d, nn.AvgPool3d)
ADAPTIVE_POOL: Types = (nn.AdaptiveAvgPool1d, nn.AdaptiveAvgPool2d, nn.AdaptiveAvgPool3d)
UPSAMPLE: Types = (nn.Upsample, nn.UpsamplingBilinear2d, nn.UpsamplingNearest2d)
ATTENTION: Types = (nn.MultiheadAttention,)
_NORMS: dict[str, Types] = {
    "BatchNorm": (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm),
    "InstanceNorm": (nn.InstanceNorm1d, nn.InstanceNorm2d, nn.InstanceNorm3d),
    "LayerNorm": (nn.LayerNorm,),
    "GroupNorm": (nn.GroupNorm,),
    "RMSNorm": (nn.RMSNorm,),
}
CELLS: dict[type[nn.Module], tuple[int, int]] = {
    **dict.fromkeys((nn.RNN, nn.RNNCell), (1, 1)),
    **dict.fromkeys((nn.GRU, nn.GRUCell), (3, 7)),
    **dict.fromkeys((nn.LSTM, nn.LSTMCell), (4, 8)),
}
"""Recurrent layers: the number of gates, and operations per element of the state."""
SEVERAL_OWNERS = "layers with several owners, counted by each"
BY_KIND = {
    "conv": "convolutions called as functions",
    "linear": "products with bare parameters",
    "matmul": "attention products",
}
"""What products are called that counters of layers do not see."""


def elements(module: Any, operation: Operation) -> int:
    """The amount of the operation."""
    return operation.amount


def into(module: Any, event: Any) -> int:
    """Elements that go in."""
    return math.prod(event.operands[0] or ())


def out(module: Any, event: Any) -> int:
    """Elements that come out."""
    return math.prod(event.output)


def by_mode(weights: Mapping[str, int]) -> Amount:
    """A weight for each mode of a function; 0 for others."""
    return lambda module, call: weights.get(call.detail, 0)


class Rule(NamedTuple):
    """What ``kind`` of event in modules of ``types`` counts, added up as ``part``.

    ``kind`` is that of an operation, or its operator; a function as "name()"; or "call", a call of
    the module. ``weight`` times ``amount`` is what it counts beside our MACs: the term ``name``, in
    which {type} is the module's, {detail} the function's and {weight} the weight.
    """

    kind: str
    part: str
    name: str = ""
    amount: Amount = lambda module, event: 0
    types: Types | Callable[[nn.Module], bool] = (nn.Module,)
    weight: int | Amount = 1

    @property
    def exact_types(self) -> Types:
        """Its types, if it has any."""
        return () if callable(self.types) else self.types

    def term(self, module: nn.Module, event: Any) -> tuple[str, str, int]:
        """The name, the part and the amount of what an event counts beside our MACs."""
        weight = self.weight(module, event) if callable(self.weight) else self.weight
        detail = getattr(event, "detail", "")
        name = self.name.format(type=type(module).__name__, detail=detail, weight=weight)
        return name, self.part, weight * self.amount(module, event)


class Function(NamedTuple):
    """How many MACs a counter gives a function, and what its difference to ours is called."""

    macs: Amount
    name: str = ""


FIRST = Function(
    lambda module, call: into(module, call) * call.operands[1][-1],
    "broadcast products, the first operand as given",
)


def functions(names: str, how: Function | None = None) -> dict[str, Function | None]:
    """The same for all of these functions; None: our MACs."""
    return dict.fromkeys(names.split(), how)


def norms(names: str, affine: int, plain: int) -> list[Rule]:
    """Layers that norm, with and without parameters, at so many operations per element."""

    def weight(module: Any, operation: Operation) -> int:
        has = getattr(module, "affine", False) or getattr(module, "elementwise_affine", False)
        return affine if has else plain

    return [
        Rule("norm", name, f"{name}, {{weight}} per element", elements, _NORMS[name], weight)
        for name in names.split()
    ]


def recurrent(cells: Mapping[type[nn.Module], tuple[int, int]] = CELLS) -> list[Rule]:
    """Recurrent layers as a whole; packed sequences are not known."""

    def whole(module: Any, call: Any) -> int:
        gates, per_state = cells[type(module)]

        def step(inputs: int) -> int:
            hidden = int(module.hidden_size)
            return hidden * (gates * (inputs + hidden + 2 * bool(module.bias)) + per_state)

        if not isinstance(module, nn.RNNBase):
            return step(module.input_size) * int(call.input[0])
        directions = 2 if module.bidirectional else 1
        widths = [module.input_size, *[directions * module.hidden_size] * (module.num_layers - 1)]
        # the first two axes are batch and steps, or steps and batch
        return int(directions * sum(map(step, widths)) * math.prod(call.input[:2]))

    types, name = tuple(cells), "recurrent layers, their products alone"
    return [
        Rule("linear", "products", name, elements, types, weight=-1),
        Rule("call", "recurrent", "recurrent layers, gates and states too", whole, types),
    ]


def upsampling(types: Types, weights: Mapping[str, int], amount: Amount = out) -> Rule:
    """Upsampling at so many operations per output element, by mode."""
    name = "{detail} upsampling, {weight} per output element"
    return Rule("interpolate()", "resampling", name, amount, types, by_mode(weights))


@dataclass(frozen=True)
class Seen:
    """What a counter sees by ``rules``, in modules of their types, and if ``subclasses`` of those.

    What a module counts it adds up once for each owner to the power ``owners``. ``functions`` it
    sees, unless a rule does; one with MACs of its own also then. If ``functions_by_owner`` it adds
    up these once for each owner. ``unseen`` names products by kind. ``per_clip`` it divides what
    rules count by the batch. If it ``traces``, it sees neither what no output needs nor
    convolutions padded by name. ``params`` are those that it prints.
    """

    rules: Sequence[Rule] = ()
    functions: Mapping[str, Function | None] = field(default_factory=dict)
    unseen: Mapping[str, str] = field(default_factory=dict)
    subclasses: bool = True
    owners: int = 0
    functions_by_owner: bool = False
    counts_root: bool = True
    per_clip: bool = False
    traces: bool = False
    params: Literal["all", "with gradient", "of layers", "none"] = "all"

    def flop_terms(self, model: nn.Module, count: Count) -> Terms:
        """The differences between our MACs and the FLOPs that it prints."""
        modules, times, operations = _by_name(model), self._times(model), count.operations
        calls = _functions_of(modules, count)
        callers = {i: call.function for call in calls for i in range(call.first, call.last)}
        events: list[tuple[set[str], Any]] = [
            *(({each.kind, each.operator}, each) for each in operations),
            *(({f"{call.function}()"}, call) for call in calls),
            *(({"call"}, call) for call in count.calls if call.input),
        ]
        dropped = dict(self._dropped(modules, count))
        by_rules, ruled = 0, set(dropped)
        for index, (kinds, event) in enumerate(events):
            module = modules[event.module]
            ours = event.amount if kinds & {*PRODUCTS} else 0
            if index in dropped:
                yield f"{dropped[index]} unseen", _part_of(event), -ours
                continue
            found = [
                rule for rule in self.rules if rule.kind in kinds and self._is_in(module, rule)
            ]
            if found and times[module]:
                ruled.add(index)
                terms = [rule.term(module, event) for rule in found]
                yield from terms
                counted = ours + sum(amount for *_, amount in terms)
                more = (times[module] ** self.owners - 1) * counted
                yield SEVERAL_OWNERS, found[0].part, more
                by_rules += counted + more
            elif ours and not (callers.get(index) in self.functions and times[module]):
                name = (callers.get(index) if self.functions else "") or event.operator
                name = self.unseen.get(event.kind, name)
                name = name if times[module] else "a layer that is the whole network"
                yield f"{name} unseen", _part_of(event), -ours
        for call in calls:
            module = modules[call.module]
            # a function that a module keeps it calls past what replaces it
            replaced = getattr(F, call.function, module)
            how = self.functions.get(call.function)
            is_kept = how and any(each is replaced for each in vars(module).values())
            is_dropped = call.first in dropped and call.last > call.first
            if call.function not in self.functions or is_kept or is_dropped:
                continue
            products = [
                operations[i]
                for i in range(call.first, call.last)
                if i not in ruled and operations[i].kind in PRODUCTS
            ]
            ours = sum(each.amount for each in products)
            part = _part_of(products[0]) if products else "functions"
            counted = how.macs(module, call) if how else ours
            yield (how and how.name) or f"{call.function} as a function", part, counted - ours
            if self.functions_by_owner:
                yield SEVERAL_OWNERS, part, (times[module] - 1) * counted
        if self.per_clip and count.calls:
            batch = (count.calls[0].input or (1,))[0]
            yield "layers, the mean over the batch", "layers", by_rules // batch - by_rules

    def param_terms(self, model: nn.Module, count: Count) -> Terms:
        """Parameters that it does not see, or sees more than once."""
        if self.params == "with gradient":
            frozen = sum(p.numel() for p in model.parameters() if not p.requires_grad)
            yield "parameters without gradient unseen", "params", -frozen
        if self.params != "of layers":
            return
        modules = _by_name(model)
        called = {modules[call.module] for call in count.calls}
        times: Counter[nn.Parameter] = Counter()
        for module in self._walk(model):
            if type(module) in self.types and module in called:
                times.update(module.parameters())
        for name, parameter in model.named_parameters():
            owner = modules[name.rpartition(".")[0]]
            if type(owner) not in self.types:
                why = f"parameters of {type(owner).__name__} unseen"
            elif owner not in called:
                why = "parameters of layers that are not called unseen"
            elif times[parameter]:
                why = "parameters with several owners"
            else:
                why = "parameters of a lone layer unseen"
            yield why, "params", (times[parameter] - 1) * parameter.numel()

    @property
    def types(self) -> set[type[nn.Module]]:
        """The types of modules in its rules."""
        return {each for rule in self.rules for each in rule.exact_types}

    def _is_in(self, module: nn.Module, rule: Rule) -> bool:
        if callable(rule.types):
            return rule.types(module)
        return isinstance(module, rule.types) if self.subclasses else type(module) in rule.types

    def _dropped(self, modules: Mapping[str, nn.Module], count: Count) -> Iterator[tuple[int, str]]:
        """The operations that tracing drops, and why."""
        for index, operation in enumerate(count.operations if self.traces else ()):
            padding = getattr(modules[operation.module], "padding", 0)
            if index in count.unused:
                yield index, "what no output needs"
            elif operation.kind == "conv" and isinstance(padding, str):
                yield index, "convolutions padded by name"

    def _times(self, model: nn.Module) -> Mapping[nn.Module, int]:
        """How often it meets each module; the network itself may be left out."""
        if not self.owners:
            return dict.fromkeys(model.modules(), 1)
        met = Counter(self._walk(model))
        met[model] = int(self.counts_root or type(model) not in self.types)
        return met

    def _walk(self, module: nn.Module) -> Iterator[nn.Module]:
        """What it meets on the way down to layers, where each owner lists a module once."""
        for child in module.children():
            yield child
            if type(child) not in self.types:
                yield from self._walk(child)


def _by_name(model: nn.Module) -> dict[str, nn.Module]:
    """Every module by each of its names; the network itself is ""."""
    return dict(model.named_modules(remove_duplicate=False))


def _part_of(product: Operation) -> str:
    """The category of a product that no rule covers."""
    return "convolutions" if product.kind == "conv" else "products"


def _functions_of(modules: Mapping[str, nn.Module], count: Count) -> Sequence[FunctionCall]:
    """The calls that were recorded, and those that functions and layers of torch make themselves.

    A recurrent layer is a function by its name.
    """
    operations, found = count.operations, list(count.functions)
    recorded = {index for call in found for index in range(call.first, call.last)}

    def add(name: str, first: int, last: int, output: Shape) -> None:
        one = operations[first]
        operands = tuple(each for each in one.operands if each is not None)
        found.append(FunctionCall(name, one.module, "", operands, output, first, last))

    for index, operation in enumerate(operations):
        module, operator, made = modules[operation.module], operation.operator, operation.output
        if index in recorded:
            continue
        # used by fused attention alone, between its two products
        if operator == "_safe_softmax":
            recorded.add(index + 1)
            if found and found[-1].last == index:
                found.pop()
            add("SDPA", index - 1, index + 2, made)
        elif isinstance(module, nn.RNNBase | nn.RNNCellBase):
            add(type(module).__name__, index, index + 1, made)
        elif isinstance(module, nn.MultiheadAttention) and operator == "_softmax":
            add("softmax", index, index + 1, made)
            add("*", index - 1, index - 1, operations[index - 1].operands[-2] or ())
        elif isinstance(module, nn.MultiheadAttention):
            is_linear = operator in ("mm", "addmm")
            add("linear" if is_linear else operator, index, index + 1, made)
    return found

"""What a counter sees, as a table: of operations, of functions, of layers.

Products that no line of its table covers it does not see.
"""

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch.nn.functional as F
from torch import nn

from vidcost.bench.count.counter import Count, FunctionCall
from vidcost.bench.count.operands import Operation, Shape
from vidcost.bench.count.references.reference import Terms, modules_by_name, walk
from vidcost.bench.count.rules import PRODUCTS

Types = tuple[type[nn.Module], ...]
Amount = Callable[[Any, Any], int]
"""Of a module, and an operation, a function or a call in it."""

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
FUSED = "attention"


def amount(module: Any, operation: Operation) -> int:
    """Elements of the operation."""
    return operation.amount


def into(module: Any, operation: Any) -> int:
    """Elements that go in."""
    return math.prod(operation.operands[0] or ())


def out(module: Any, operation: Any) -> int:
    """Elements that come out."""
    return math.prod(operation.output)


class Rule(NamedTuple):
    """What ``kind`` of operation in modules of ``types`` counts, added up as ``part``.

    ``kind`` is that of an operation, or its operator; a function and its mode as "name(mode)"; or
    "call", a call of the module. ``amount`` is what it counts beside our MACs, the term ``name``,
    with the type of the module in place of {}.
    """

    kind: str
    part: str
    name: str = ""
    amount: Amount = lambda module, event: 0
    types: Types | Callable[[nn.Module], bool] = (nn.Module,)

    @property
    def exact_types(self) -> Types:
        """Its types, if it has any."""
        return () if callable(self.types) else self.types


class Function(NamedTuple):
    """How many MACs a counter gives a function, and what its difference to ours is called."""

    macs: Callable[[FunctionCall], int]
    name: str = ""


FIRST = Function(
    lambda call: math.prod(call.operands[0]) * call.operands[1][-1],
    "broadcast products, the first operand as given",
)


def functions(names: str, how: Function | None = None) -> dict[str, Function | None]:
    """The same for all of these functions; None: our MACs."""
    return dict.fromkeys(names.split(), how)


def scaled(weight: int, of: Amount = out) -> Amount:
    """So many times an amount."""
    return lambda module, event: weight * of(module, event)


def norm_rules(names: str, affine: int, plain: int) -> list[Rule]:
    """Norms with and without parameters, at so many operations per element."""

    def of(weight: int, is_affine: bool) -> Amount:
        def amount(module: Any, operation: Operation) -> int:
            has = getattr(module, "affine", False) or getattr(module, "elementwise_affine", False)
            return weight * operation.amount * (has == is_affine)

        return amount

    return [
        Rule("norm", name, f"{name}, {weight} per element", of(weight, is_affine), _NORMS[name])
        for name in names.split()
        for weight, is_affine in ((affine, True), (plain, False))
    ]


def recurrent_rules(cells: Mapping[type[nn.Module], tuple[int, int]] = CELLS) -> list[Rule]:
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
        Rule("linear", "products", name, scaled(-1, amount), types),
        Rule("call", "recurrent", "recurrent layers, gates and states too", whole, types),
    ]


def upsampling_rules(types: Types, weights: Mapping[str, int], of: Amount = out) -> list[Rule]:
    """Upsampling at so many operations per output element, by mode."""
    names = {
        mode: f"{mode} upsampling, {each} per output element" for mode, each in weights.items()
    }
    return [
        Rule(f"interpolate({mode})", "resampling", names[mode], scaled(weight, of), types)
        for mode, weight in weights.items()
    ]


BY_KIND = {
    "conv": "convolutions called as functions",
    "linear": "products with bare parameters",
    "matmul": "attention products",
}
"""What products are called that counters of layers do not see."""


@dataclass(frozen=True)
class Seen:
    """What a counter sees by ``rules``, in modules of their types, and if ``subclasses`` of those.

    What a module counts it adds up once for each owner to the power ``owners``. ``functions`` it
    sees, unless a rule does; one with MACs of its own also then. If ``functions_by_owner`` it adds
    up these once for each owner. ``unseen`` names products by kind. ``per_clip`` it divides what
    rules count by the batch. If it ``traces``, it sees neither what no output needs nor
    convolutions padded by name.
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

    def flop_terms(self, model: nn.Module, count: Count) -> Terms:
        """The differences between our MACs and the FLOPs that it prints."""
        modules, times, operations = modules_by_name(model), self._times(model), count.operations
        calls = functions_of(modules, count)
        callers = {i: call.function for call in calls for i in range(call.first, call.last)}
        events: list[tuple[set[str], Any]] = [
            *(({each.kind, each.operator}, each) for each in operations),
            *(({f"{call.function}({call.detail})"}, call) for call in calls),
            *(({"call"}, call) for call in count.calls if call.input),
        ]
        by_kind: dict[str, list[Rule]] = {}
        for rule in self.rules:
            by_kind.setdefault(rule.kind, []).append(rule)
        by_rules, ruled = 0, set[int]()
        dropped: dict[int, str] = {}
        for index, operation in enumerate(operations if self.traces else ()):
            padding = getattr(modules[operation.module], "padding", 0)
            if index in count.unused:
                dropped[index] = "what no output needs"
            elif operation.kind == "conv" and isinstance(padding, str):
                dropped[index] = "convolutions padded by name"
        for index, (kinds, event) in enumerate(events):
            module = modules[event.module]
            if index in dropped:
                ruled.add(index)
                yield (
                    f"{dropped[index]} unseen",
                    part_of(event),
                    -event.amount * (event.kind in PRODUCTS),
                )
                continue
            of_kind = (rule for kind in kinds for rule in by_kind.get(kind, ()))
            found = [rule for rule in of_kind if self._is_in(module, rule)]
            ours = event.amount if kinds & {*PRODUCTS} else 0
            if not (found and times[module]):
                caller = callers.get(index, "") if ours else ""
                if ours and (caller not in self.functions or not times[module]):
                    name = caller if caller and self.functions else event.operator
                    name = self.unseen.get(event.kind, name)
                    name = name if times[module] else "a layer that is the whole network"
                    yield f"{name} unseen", part_of(event), -ours
                continue
            ruled.add(index)
            counted = ours
            for rule in found:
                more = rule.amount(module, event)
                counted += more
                yield rule.name.format(type(module).__name__), rule.part, more
            by_rules += times[module] ** self.owners * counted
            yield SEVERAL_OWNERS, found[0].part, (times[module] ** self.owners - 1) * counted
        for call in calls:
            module = modules[call.module]
            # a function that a module keeps it calls past what replaces it
            replaced = getattr(F, call.function, module)
            kept = any(each is replaced for each in vars(module).values())
            is_dropped = call.first in dropped and call.last > call.first
            if (
                call.function in self.functions
                and not is_dropped
                and not (kept and self.functions[call.function])
            ):
                inside = [operations[i] for i in range(call.first, call.last) if i not in ruled]
                products = [each for each in inside if each.kind in PRODUCTS]
                ours, how = sum(each.amount for each in products), self.functions[call.function]
                part = part_of(products[0]) if products else "functions"
                counted = how.macs(call) if how else ours
                name = (how and how.name) or f"{call.function} as a function"
                yield name, part, counted - ours
                if self.functions_by_owner:
                    yield SEVERAL_OWNERS, part, (times[module] - 1) * counted
        if self.per_clip and count.calls:
            batch = (count.calls[0].input or (1,))[0]
            yield "layers, the mean over the batch", "layers", by_rules // batch - by_rules

    def param_terms(self, model: nn.Module, count: Count) -> Terms:
        """Parameters that a counter of layers does not see, or sees more than once."""
        modules, types = modules_by_name(model), self.types
        called = {modules[call.module] for call in count.calls}
        times: Counter[nn.Parameter] = Counter()
        for module in walk(model, types):
            if type(module) in types and module in called:
                times.update(module.parameters())
        for name, parameter in model.named_parameters():
            owner = modules[name.rpartition(".")[0]]
            if type(owner) not in types:
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

    def _times(self, model: nn.Module) -> Mapping[nn.Module, int]:
        """How often it meets each module; the network itself may be left out."""
        if not self.owners:
            return dict.fromkeys(model.modules(), 1)
        met = Counter(walk(model, self.types))
        met[model] = int(self.counts_root or type(model) not in self.types)
        return met


SEVERAL_OWNERS = "layers with several owners, counted by each"


def part_of(product: Operation) -> str:
    """The category of a product that no rule covers."""
    return "convolutions" if product.kind == "conv" else "products"


def functions_of(modules: Mapping[str, nn.Module], count: Count) -> Sequence[FunctionCall]:
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
            add(FUSED, index - 1, index + 2, made)
        elif isinstance(module, nn.RNNBase | nn.RNNCellBase):
            add(type(module).__name__, index, index + 1, made)
        elif isinstance(module, nn.MultiheadAttention) and operator == "_softmax":
            add("softmax", index, index + 1, made)
            add("*", index - 1, index - 1, operations[index - 1].operands[-2] or ())
        elif isinstance(module, nn.MultiheadAttention):
            is_linear = operator in ("mm", "addmm")
            add("linear" if is_linear else operator, index, index + 1, made)
    return found

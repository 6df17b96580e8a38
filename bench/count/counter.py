"""The counter: runs a network once and counts every operator that reaches the dispatcher."""

from __future__ import annotations

import dis
import math
import re
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from functools import cached_property
from types import FrameType
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

from vidcost.bench.call import tensors_in
from vidcost.bench.count import meta, shapes
from vidcost.bench.count.operands import Multiplication, Operands, Operation, Shape, tensors_of
from vidcost.bench.count.rules import Rule, product_kind, rule_of
from vidcost.models.cost import Cost


class UncountedOperator(ValueError):
    """Names the operators that have no counting rule and are not free by convention."""


@dataclass(frozen=True)
class Call:
    """One call of a module, with the shape of its first tensor argument."""

    module: str
    input: Shape | None


@dataclass(frozen=True)
class FunctionCall:
    """One call of a function: ``operations[first:last]`` of the count are those that it ran.

    ``function`` is its name, or the operator that called it, ``module`` the innermost module that
    was running. ``detail`` is an einsum's equation or the mode of an interpolation. ``operands``
    are the shapes of the tensors it was given, ``output`` that of what it returned.
    """

    function: str
    module: str
    detail: str
    operands: tuple[Shape, ...]
    output: Shape
    first: int
    last: int


@dataclass(frozen=True)
class Count:
    """The result of counting one pass.

    ``params`` and ``buffers`` are elements, each tensor once. ``functions`` are calls of functions
    that other counters count as one. ``multiply`` are elements of the results of multiplications
    element by element, where no sum makes a product of them. ``outputs`` are by module. ``masked``
    are MACs of attention whose result a mask discards, by its name; they are counted, too.
    ``unused`` are the indices of operations from which no output of the network comes.
    """

    params: int
    buffers: int
    operations: tuple[Operation, ...]
    calls: tuple[Call, ...]
    functions: tuple[FunctionCall, ...] = ()
    multiply: int = 0
    outputs: Mapping[str, Shape] = field(default_factory=dict)
    masked: Mapping[str, int] = field(default_factory=dict)
    unused: frozenset[int] = frozenset()

    @property
    def total(self) -> Cost:
        """The whole network, in the terms of a closed form."""
        return self.within("", params=self.params)

    def within(self, module: str, *, params: int = 0) -> Cost:
        """The operations inside ``module`` and its descendants."""
        return Cost(params=params, **self._by_module.get(module, Counter()))

    @property
    def recomputed(self) -> Cost:
        """What of a backward pass computes the forward pass again, as checkpoints do."""
        again = (each for each in self.operations if each.is_recomputed)
        return sum((Cost(**{each.kind: each.amount}) for each in again), Cost())

    @cached_property
    def _by_module(self) -> dict[str, Counter[str]]:
        """Amounts by kind, inside every module and its descendants."""
        amounts: dict[str, Counter[str]] = {"": Counter()}
        for operation in self.operations:
            module = operation.module
            while module:
                amounts.setdefault(module, Counter())[operation.kind] += operation.amount
                module = module.rpartition(".")[0]
            amounts[""][operation.kind] += operation.amount
        return amounts


def count(model: nn.Module, *inputs: Tensor, keep_integers: bool = False) -> Count:
    """Count one forward pass of ``model`` on ``inputs``, in evaluation mode, without gradients.

    On the meta device nothing is computed; elsewhere the pass runs. The model is left as it was.
    Where values of integers and booleans decide on shapes, ``keep_integers`` computes them during
    a pass on the meta device.
    Raises: UncountedOperator with the names of all that have no rule.
    """
    given = tensors_in(inputs)
    log = Log(given, keep_integers=keep_integers)
    with (
        mode(model, training=False),
        watched(model, log),
        torch.no_grad(),
        unfused(model, attention=not given or any(x.device.type != "cpu" for x in given)),
        supported(log),
        Functions(log),
        log,
    ):
        output = model(*inputs)
    found = log.counted(model)
    unused = log.operands.followed & ~log.operands.sources(tensors_in(output))
    return replace(
        found, unused=frozenset(i for i in range(unused.bit_length()) if unused >> i & 1)
    )


class Log(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts each operator in the module that is running."""

    def __init__(self, inputs: Iterable[Tensor], *, keep_integers: bool = False) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.keep_integers = keep_integers
        self.operations: list[Operation] = []
        self.functions: list[FunctionCall] = []
        self.multiply = 0
        self.masked: Counter[str] = Counter()
        self.last_multiplied: Multiplication | None = None
        self.calls: list[Call] = []
        self.outputs: dict[str, Shape] = {}
        self.running: list[str] = []
        # how many functions are running that make products of multiplications, or hide operators
        self.einsums = self.hiding = 0
        # by name, the module each first ran in
        self.uncounted: dict[str, str] = {}
        self.operands = Operands(inputs)
        self._known: dict[Any, tuple[str, Rule | None, str]] = {}

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        # True, torch's default, imports its whole compiler (a second) to keep it off this mode
        return False

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        if any(each is not Tensor for each in types):
            # a subclass of tensors, such as nested ones, calls operators on what it is made of
            return NotImplemented
        kwargs = kwargs or {}
        name, rule, whose = self._known.get(func) or self._known.setdefault(func, rule_of(func))
        if not whose:
            # composites reach us whole in inference mode
            with self:
                result = func.decompose(*args, **kwargs)
            if result is NotImplemented:
                # go on, so that all of them can be named
                self.uncounted.setdefault(func._overloadpacket._qualified_op_name, self.module)
                result = func(*args, **kwargs)
            return result
        if self.keep_integers:
            result = meta.call_with_integers(func, name, args, kwargs)
        else:
            result = shapes.call(func, args, kwargs)
        # what returns nothing writes to its arguments
        results = tensors_of(args if result is None else (result,))
        first = len(self.operations)
        if rule is None:
            self.operations += self.without_rule(name, args, results)
        else:
            if kwargs or whose == "vidcost":
                rest = func._schema.arguments[len(args) :]
                args = (*args, *(kwargs.get(each.name, each.default_value) for each in rest))
            out = result if whose != "vidcost" else results[0]
            parts = rule(args, out, self.operands.is_constant)
            self.operations += self.with_rule(name, args, results, parts, whose)
        made = (1 << len(self.operations)) - (1 << first)
        self.operands.follow(name, (*args, *kwargs.values()) if kwargs else args, results, made)
        return result

    def counted(self, model: nn.Module | None = None) -> Count:
        """What was counted since the last time, with the parameters and buffers of ``model``."""
        found = Count(
            params=sum(p.numel() for p in model.parameters()) if model is not None else 0,
            buffers=sum(b.numel() for b in model.buffers()) if model is not None else 0,
            operations=tuple(self.operations),
            calls=tuple(self.calls),
            functions=tuple(self.functions),
            multiply=self.multiply,
            outputs=self.outputs,
            masked={mask: macs for mask, macs in self.masked.items() if macs},
        )
        self.operations, self.calls, self.functions, self.multiply = [], [], [], 0
        self.masked = Counter()
        return found

    @property
    def module(self) -> str:
        """The innermost module that is running."""
        return self.running[-1] if self.running else ""

    def with_rule(
        self, name: str, args: Sequence[Any], out: Sequence[Tensor], parts: Any, whose: str
    ) -> list[Operation]:
        """The quantities that an operator's rule gives, in the module that is running."""
        if self.hiding:
            return []
        if name == "mean" and (made := self.operands.made(args[0])) and made.is_square:
            name, parts = "_fused_rms_norm", ("norm", args[0].numel())
        tensors = (a for a in args if a is None or isinstance(a, Tensor))
        operands = tuple(None if a is None else tuple(a.shape) for a in tensors)
        if not isinstance(parts, list):
            parts = [(name, *parts)]
        output = tuple(out[0].shape) if out else ()
        return [
            Operation(self.module, operator, kind, amount, operands, output, whose)
            for operator, kind, amount in parts
            if amount
        ]

    def without_rule(
        self, name: str, args: Sequence[Any], out: Sequence[Tensor]
    ) -> list[Operation]:
        """The products among multiplications and sums; all else without a rule is free."""
        if self.hiding:
            return []
        if name == "sum":
            made = self.operands.made(args[0])
            dims = args[1] if len(args) > 1 and args[1] is not None else ()
            product = made and made.contracted(args[0].shape, dims)
            if not made or not product:
                return []
            self.operands.note(args[0], None)
            self.multiply -= math.prod(product.output)
            if made.source is not None:
                made.source.product = product.kind
            return [product]
        if name == "mul" and (out[0].is_floating_point() or out[0].is_complex()):
            return self._multiplied(args, out[0])
        if name == "square" or (name == "pow" and not isinstance(args[1], Tensor) and args[1] == 2):
            self.operands.note(out[0], Multiplication(is_square=True))
        return []

    def _multiplied(self, args: Sequence[Any], out: Tensor) -> list[Operation]:
        elements = out.numel()
        if not isinstance(args[1], Tensor):
            self.multiply += elements
            return []
        kind = product_kind(self.operands.is_constant, *args[:2])
        left, right = (tuple(each.shape) for each in args[:2])
        amount = elements * (4 if out.is_complex() else 1)
        product = Operation(self.module, "mul", kind, amount, (left, right), tuple(out.shape))
        # an outer product, by its name
        if self.einsums and max(math.prod(left), math.prod(right)) < elements:
            return [product]
        self.multiply += elements
        self.last_multiplied = Multiplication(product, is_square=args[0] is args[1])
        self.operands.note(out, self.last_multiplied)
        return []


_PRODUCTS = "matmul mm bmm addmm addmv baddbmm mul add"
_NAMES: dict[Any, str] = {
    F: "linear conv1d conv2d conv3d conv_transpose1d conv_transpose2d conv_transpose3d "
    "interpolate grid_sample softmax relu prelu elu relu6 gelu silu "
    "avg_pool1d avg_pool2d avg_pool3d max_pool1d max_pool2d max_pool3d adaptive_avg_pool1d "
    "adaptive_avg_pool2d adaptive_avg_pool3d adaptive_max_pool1d adaptive_max_pool2d "
    "adaptive_max_pool3d rms_norm",
    torch: f"{_PRODUCTS} einsum outer rms_norm",
    Tensor: f"{_PRODUCTS} outer",
}
_FUNCTIONS: dict[Callable[..., Any], str] = {
    **{getattr(of, name): name for of, names in _NAMES.items() for name in names.split()},
    **dict.fromkeys((torch.ger, Tensor.ger, torch.kron, Tensor.kron), "outer"),
    F.scaled_dot_product_attention: "SDPA",
    torch.Tensor.is_cpu.__get__: "is_cpu",  # type: ignore[attr-defined]
    **dict.fromkeys((F.dropout, F.dropout1d, F.dropout2d, F.dropout3d, torch.dropout), "dropout"),
    **dict.fromkeys((F.alpha_dropout, F.feature_alpha_dropout), "dropout"),
    Tensor.__matmul__: "@",
    Tensor.mul_: "*",
}
_OPERATORS = {Tensor.matmul: "@", Tensor.mul: "*", Tensor.add: "+"}
"""Methods that operators call: a counter may replace one and not see the other."""


class Functions(TorchFunctionMode):
    """Records calls of the functions above, not those that other functions of torch make.

    RMSNorm counts as one operator, whether or not the device has one, and dropout as none.
    """

    def __init__(self, log: Log) -> None:
        super().__init__()
        self._log = log

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        name, log = _FUNCTIONS.get(func), self._log
        if name == "SDPA":
            self._note_mask(*args, **kwargs)
        if name == "is_cpu" and args[0].is_meta:
            raise RuntimeError("is_cpu asks about the device: only the network's own can answer")
        if name in (None, "is_cpu"):
            return func(*args, **kwargs)
        first = len(log.operations)
        is_product, hides = name in ("einsum", "outer"), name in ("rms_norm", "dropout")
        log.einsums += is_product
        log.hiding += hides
        try:
            result = func(*args, **kwargs)
        finally:
            log.einsums -= is_product
            log.hiding -= hides
        if name == "rms_norm" and not log.hiding:
            weight = kwargs.get("weight", args[2] if len(args) > 2 else None)
            parts = [("_fused_rms_norm", "norm", result.numel())]
            log.operations += log.with_rule("", (result, weight), [result], parts, "vidcost")
        elif name not in ("outer", "dropout", "rms_norm") and isinstance(result, Tensor):
            if func in _OPERATORS and _is_operator(sys._getframe(1)):
                name = _OPERATORS[func]
            # einsum takes its operands in a list, too
            operands = tuple(tuple(x.shape) for x in tensors_of((*args, *kwargs.values())))
            detail = ""
            if name == "einsum" and isinstance(args[0], str):
                detail = args[0]
            elif name in ("interpolate", "grid_sample"):
                place, mode = (3, "nearest") if name == "interpolate" else (2, "bilinear")
                detail = kwargs.get("mode", args[place] if len(args) > place else mode)
            call = name, log.module, detail, operands, tuple(result.shape)
            log.functions.append(FunctionCall(*call, first, len(log.operations)))
        return result

    def _note_mask(self, *args: Any, **kwargs: Any) -> None:
        given: dict[str, Any] = dict(zip(_ATTENTION, args, strict=False)) | kwargs
        (query, key, value), mask = (given[n] for n in _ATTENTION[:3]), given.get("attn_mask")
        rows, columns, masked = query.shape[-2], key.shape[-2], self._log.masked
        macs = math.prod(query.shape[:-2]) * (query.shape[-1] + value.shape[-1])
        if given.get("is_causal"):
            square = min(rows, columns)
            keys_after = square * (square - 1) // 2 + rows * (columns - square)
            masked["is_causal"] += macs * keys_after
        elif mask is not None and mask.is_meta:
            masked["attn_mask, whose values are not known, at most"] += macs * rows * columns
        elif mask is not None:
            off = mask == (False if mask.dtype == torch.bool else -math.inf)
            masked["attn_mask"] += macs * int(off.sum()) * rows * columns // mask.numel()


_ATTENTION = ("query", "key", "value", "attn_mask", "dropout_p", "is_causal")


def _is_operator(frame: FrameType) -> bool:
    """Whether ``frame`` is at an operator, such as ``x @ y``, and not at a call."""
    return dis.opname[frame.f_code.co_code[frame.f_lasti]] == "BINARY_OP"


@contextmanager
def mode(model: nn.Module, *, training: bool) -> Iterator[None]:
    """Training or evaluation mode, and afterwards each module's own mode again."""
    before = {module: module.training for module in model.modules()}
    model.train(training)
    try:
        yield
    finally:
        for module, its_own in before.items():
            module.training = its_own


@contextmanager
def watched(model: nn.Module, log: Log) -> Iterator[None]:
    """Record each call of the modules in ``model``, and which one is running."""
    names: dict[nn.Module, list[str]] = {}
    for name, module in model.named_modules(remove_duplicate=False):
        names.setdefault(module, []).append(name)

    def enter(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        name, *others = names[module]
        if others:
            # a module with several owners goes by the name under the one that is running
            owner = f"{log.running[-1]}." if log.running and log.running[-1] else ""
            name = next((n for n in names[module] if n.startswith(owner)), name)
        first = next((x for x in tensors_of((*args, *kwargs.values())) if not x.is_nested), None)
        log.calls.append(Call(name, None if first is None else tuple(first.shape)))
        log.running.append(name)

    def leave(_: nn.Module, args: Any, output: object) -> None:
        name = log.running.pop()
        if (tensors := tensors_in(output)) and not tensors[0].is_nested:
            log.outputs[name] = tuple(tensors[0].shape)

    hooks = []
    try:
        for module in names:
            # what is in a script goes by the module that calls it
            if isinstance(module, torch.jit.ScriptModule):
                continue
            hooks.append(module.register_forward_pre_hook(enter, with_kwargs=True))
            hooks.append(module.register_forward_hook(leave, always_call=True))
        yield
    finally:
        for hook in hooks:
            hook.remove()


@contextmanager
def supported(log: Log) -> Iterator[None]:
    """Raise an error that names all unsupported operators of a pass.

    It takes the place of what the pass itself raises, which may follow from one of them.
    """
    raised = None
    try:
        yield
    except Exception as error:
        if found := re.search(r"\b(?:HigherOrderOperator|HOP) (\w+)", str(error)):
            raise UncountedOperator(
                f"{found[1]}, a function of functions, cannot be counted: call what it calls"
            ) from error
        if "Cannot access storage of Sparse" in str(error):
            raise UncountedOperator(
                "sparse tensors cannot be counted: call to_dense() on them first"
            ) from error
        if not log.uncounted:
            raise
        raised = error
    if log.uncounted:
        first = next(iter(log.uncounted))
        named = ", ".join(f"{name} (in {at or 'the whole'})" for name, at in log.uncounted.items())
        uncounted = UncountedOperator(
            f"no counting rule for operator{'s' * (len(log.uncounted) > 1)} {named}: write "
            f'vidcost.rule("{first}") with its MACs, or vidcost.free("{first}") if it has none'
        )
        uncounted.add_note(
            f'@vidcost.rule("{first}")\n'
            "def macs(*args, out):\n    return ...  # multiply-accumulates"
        )
        raise uncounted from raised


@contextmanager
def unfused(model: nn.Module, *, attention: bool = True) -> Iterator[None]:
    """Run LSTM and ``attention`` as separate operators: fused, they hide some of their products.

    A fused attention kernel of the CPU counts the same; those of a GPU may pad their operands.
    """
    fast_path = torch.backends.mha.get_fastpath_enabled()
    # not torch.backends.mkldnn.flags, which warns of TF32 on the way out
    mkldnn = torch._C._get_mkldnn_enabled()
    has_lstm = any(isinstance(module, nn.LSTM) for module in model.modules())
    torch.backends.mha.set_fastpath_enabled(False)
    torch._C._set_mkldnn_enabled(mkldnn and not has_lstm)
    try:
        with sdpa_kernel(SDPBackend.MATH) if attention else nullcontext():
            yield
    finally:
        torch.backends.mha.set_fastpath_enabled(fast_path)
        torch._C._set_mkldnn_enabled(mkldnn)

"""The counter: runs a network once and counts every operator that reaches the dispatcher."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

from vidcost.bench.count import meta
from vidcost.bench.count.rules import FREE, RULES
from vidcost.models.cost import Cost

Shape = tuple[int, ...]


class UncountedOperator(ValueError):
    """Unsupported operators: they have no counting rule and are not free by convention."""


@dataclass(frozen=True)
class Operation:
    """One call of an operator: ``amount`` of the quantity ``kind`` (a field of ``Cost``).

    ``module`` is the dotted name of the innermost module it ran in, the network itself being "".
    ``operands`` are the shapes of the arguments that are tensors, None where an argument is None;
    ``output`` is the shape of the first result that is a tensor.
    """

    module: str
    operator: str
    kind: str
    amount: int
    operands: tuple[Shape | None, ...]
    output: Shape


@dataclass(frozen=True)
class Call:
    """One call of a module, with the shape of its first tensor argument."""

    module: str
    input: Shape | None


@dataclass(frozen=True)
class FunctionCall:
    """One call of a function: ``operations[first:last]`` of the count are those that it ran.

    ``module`` is the innermost module that was running. ``detail`` is an einsum's equation or an
    interpolation's mode. ``operands`` are the shapes of the tensors it was given, ``output`` that
    of what it returned.
    """

    function: str
    module: str
    detail: str
    operands: tuple[tuple[int, ...], ...]
    output: tuple[int, ...]
    first: int
    last: int


@dataclass(frozen=True)
class Count:
    """The result of counting one pass.

    ``params`` and ``buffers`` are elements, each tensor once however often it is used.
    ``functions`` are calls of functions that other counters count as one.
    """

    params: int
    buffers: int
    operations: tuple[Operation, ...]
    calls: tuple[Call, ...]
    functions: tuple[FunctionCall, ...] = ()

    @cached_property
    def total(self) -> Cost:
        """The whole network, in the terms of a closed form."""
        return summed(self.operations, params=self.params)

    def within(self, module: str, *, params: int = 0) -> Cost:
        """The operations inside ``module`` and its descendants."""
        inside = (
            operation
            for operation in self.operations
            if not module or operation.module == module or operation.module.startswith(f"{module}.")
        )
        return summed(inside, params=params)

    def by_module(self) -> dict[str, Cost]:
        """The operations inside every module and its descendants, without parameters."""
        amounts: dict[str, dict[str, int]] = {}
        for operation in self.operations:
            parts = operation.module.split(".") if operation.module else []
            for end in range(len(parts) + 1):
                inside = amounts.setdefault(".".join(parts[:end]), {})
                inside[operation.kind] = inside.get(operation.kind, 0) + operation.amount
        return {module: Cost(**inside) for module, inside in amounts.items()}


def summed(operations: Iterator[Operation] | Sequence[Operation], *, params: int = 0) -> Cost:
    """Add up operations by quantity."""
    amounts: dict[str, int] = {}
    for operation in operations:
        amounts[operation.kind] = amounts.get(operation.kind, 0) + operation.amount
    return Cost(params=params, **amounts)


def count(model: nn.Module, *inputs: Tensor) -> Count:
    """Count one forward pass of ``model`` on ``inputs``, in evaluation mode, without gradients.

    On the meta device nothing is computed and it takes milliseconds; elsewhere the pass runs. The
    model is left as it was. MACs do not depend on the values, only on the shapes.
    Raises: UncountedOperator with the names of all that have no rule.
    """
    log = Log(model)
    functions = _Functions(log)
    with (
        mode(model, training=False),
        watched(model, log),
        torch.no_grad(),
        unfused(model),
        supported(log),
        functions,
        log,
    ):
        model(*inputs)
    return Count(
        params=sum(p.numel() for p in model.parameters()),
        buffers=sum(b.numel() for b in model.buffers()),
        operations=tuple(log.operations),
        calls=tuple(log.calls),
        functions=tuple(functions.calls),
    )


class Counted(NamedTuple):
    """How much a call of an operator is, of which quantity and in which module."""

    module: str
    kind: str
    amount: int


class Log(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts each operator in the module that is running."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.model = model
        self.operations: list[Operation] = []
        self.calls: list[Call] = []
        self.running: list[str] = []
        # in order, each once
        self.uncounted: dict[str, None] = {}
        # a view of a parameter is still one: it shares the storage
        self.parameter_storages = {p.untyped_storage()._cdata for p in model.parameters()}
        # computed from parameters alone; kept alive, or the address of its storage would be reused
        self.from_parameters: list[Tensor] = []

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        # True, torch's default, imports its whole compiler (a second) to keep it off this mode
        return False

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        namespace, _, operator = func._overloadpacket._qualified_op_name.partition("::")
        name = operator if operator in RULES else operator.rstrip("_")
        known = namespace in ("aten", "prim") and (name in RULES or name in FREE)
        if not known:
            # composites reach us whole in inference mode
            with self:
                result = func.decompose(*args, **kwargs)
            if result is NotImplemented:
                # go on, so that all of them can be named
                self.uncounted[f"{namespace}.{name}"] = None
                result = func(*args, **kwargs)
            return result
        result = meta.call(func, args, kwargs)
        if counted := self.counted(name, args, result):
            first = result if isinstance(result, Tensor) else _tensors(result)[0]
            operation = Operation(
                module=counted.module,
                operator=name,
                kind=counted.kind,
                amount=counted.amount,
                operands=tuple(
                    None if a is None else tuple(a.shape)
                    for a in args
                    if a is None or isinstance(a, Tensor)
                ),
                output=tuple(first.shape),
            )
            self.operations.append(operation)
        operands = _tensors(args)
        if operands and all(map(self.is_parameter, operands)):
            for made in _tensors(result if isinstance(result, list | tuple) else (result,)):
                self.from_parameters.append(made)
                self.parameter_storages.add(made.untyped_storage()._cdata)
        return result

    @property
    def module(self) -> str:
        """The innermost module that is running."""
        return self.running[-1] if self.running else ""

    def counted(self, name: str, args: Sequence[Any], result: Any) -> Counted | None:
        """The quantity and amount of an operation, and its module; None if it is free."""
        rule = RULES.get(name)
        if rule is None:
            return None
        # on most devices torch decomposes it, and its mean would count as a pool
        if name == "mean" and isinstance(self.model.get_submodule(self.module), nn.RMSNorm):
            rule = RULES["_fused_rms_norm"]
        kind, amount = rule(args, result, self.is_parameter)
        return Counted(self.module, kind, int(amount))

    def is_parameter(self, tensor: Tensor) -> bool:
        """Whether ``tensor`` is a parameter, a view of one, or computed from parameters alone."""
        return tensor.untyped_storage()._cdata in self.parameter_storages


_FUNCTIONS: dict[Callable[..., Any], str] = {
    torch.einsum: "einsum",
    torch.matmul: "matmul",
    torch.Tensor.matmul: "matmul",
    torch.Tensor.__matmul__: "matmul",
    F.adaptive_avg_pool2d: "adaptive_avg_pool2d",
    F.interpolate: "interpolate",
    F.grid_sample: "grid_sample",
}


class _Functions(TorchFunctionMode):
    """Records calls of the functions above, not those that other functions of torch make."""

    def __init__(self, log: Log) -> None:
        super().__init__()
        self._log = log
        self.calls: list[FunctionCall] = []

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Any,
        args: Sequence[Any] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        kwargs = kwargs or {}
        name = _FUNCTIONS.get(func)
        first = len(self._log.operations)
        result = func(*args, **kwargs)
        if name is not None and isinstance(result, Tensor):
            given = [*args, *kwargs.values()]
            # einsum takes its operands in a list, too
            flat = [x for a in given for x in (a if isinstance(a, list | tuple) else (a,))]
            call = FunctionCall(
                function=name,
                module=self._log.module,
                detail=_detail(name, args, kwargs),
                operands=tuple(tuple(x.shape) for x in flat if isinstance(x, Tensor)),
                output=tuple(result.shape),
                first=first,
                last=len(self._log.operations),
            )
            self.calls.append(call)
        return result


def _detail(name: str, args: Sequence[Any], kwargs: dict[str, Any]) -> str:
    if name == "einsum":
        return str(args[0]) if isinstance(args[0], str) else ""
    if name == "interpolate":
        return str(kwargs.get("mode", args[3] if len(args) > 3 else "nearest"))
    return ""


def _tensors(args: Sequence[Any]) -> list[Tensor]:
    """The tensors among ``args`` and in lists among them."""
    flat = (a for arg in args for a in (arg if isinstance(arg, list | tuple) else (arg,)))
    return [a for a in flat if isinstance(a, Tensor)]


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
        # a module with several owners goes by the name under the one that is running
        owner = f"{log.running[-1]}." if log.running and log.running[-1] else ""
        name = next((n for n in names[module] if n.startswith(owner)), names[module][0])
        first = next(iter(_tensors((*args, *kwargs.values()))), None)
        log.calls.append(Call(name, None if first is None else tuple(first.shape)))
        log.running.append(name)

    def leave(_: nn.Module, args: Any, output: Any) -> None:
        log.running.pop()

    hooks = []
    try:
        for module in names:
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
    try:
        yield
    except Exception as error:
        if log.uncounted:
            raise _uncounted(log) from error
        raise
    if log.uncounted:
        raise _uncounted(log)


def _uncounted(log: Log) -> UncountedOperator:
    one = len(log.uncounted) == 1
    return UncountedOperator(
        f"no counting rule for operator{'' if one else 's'} {', '.join(log.uncounted)}: "
        + (
            "add one to bench/count/rules.py, or its name to FREE"
            if one
            else "add theirs to bench/count/rules.py, or their names to FREE"
        )
    )


@contextmanager
def unfused(model: nn.Module) -> Iterator[None]:
    """Run attention and LSTM as separate operators: fused, they hide some of their products."""
    fast_path = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    on_cpu = any(isinstance(module, nn.LSTM) for module in model.modules())
    try:
        with sdpa_kernel(SDPBackend.MATH), _without_mkldnn() if on_cpu else nullcontext():
            yield
    finally:
        torch.backends.mha.set_fastpath_enabled(fast_path)


@contextmanager
def _without_mkldnn() -> Iterator[None]:
    # not torch.backends.mkldnn.flags, which warns of TF32 on the way out
    enabled = torch._C._get_mkldnn_enabled()
    torch._C._set_mkldnn_enabled(False)
    try:
        yield
    finally:
        torch._C._set_mkldnn_enabled(enabled)

"""The counter: runs a network once and counts every operator that reaches the dispatcher."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

from vidcost.bench.count import meta
from vidcost.bench.count.rules import RULES, is_free
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
    operands: tuple[Shape, ...]
    output: Shape
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
        return self.within("", params=self.params)

    def within(self, module: str, *, params: int = 0) -> Cost:
        """The operations inside ``module`` and its descendants."""
        return self.by_module.get(module, Cost()) + Cost(params=params)

    @cached_property
    def by_module(self) -> dict[str, Cost]:
        """The operations inside every module and its descendants, without parameters."""
        amounts: dict[str, dict[str, int]] = {}
        for operation in self.operations:
            module = operation.module
            while True:
                inside = amounts.setdefault(module, {})
                inside[operation.kind] = inside.get(operation.kind, 0) + operation.amount
                if not module:
                    break
                module = module.rpartition(".")[0]
        return {module: Cost(**inside) for module, inside in amounts.items()}


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
        self.known: dict[Any, tuple[str, bool]] = {}
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
        name, is_known = self.known.get(func) or self.known.setdefault(func, _known(func))
        if not is_known:
            # composites reach us whole in inference mode
            with self:
                result = func.decompose(*args, **kwargs)
            if result is NotImplemented:
                # go on, so that all of them can be named
                self.uncounted[f"{func.namespace}.{name}"] = None
                result = func(*args, **kwargs)
            return result
        result = meta.call(func, args, kwargs)
        results = _tensors((result,))
        if operation := self.operation(name, args, results):
            self.operations.append(operation)
        operands = _tensors(args)
        if operands and all(map(self.is_parameter, operands)):
            self.from_parameters += results
            self.parameter_storages.update(made.untyped_storage()._cdata for made in results)
        return result

    @property
    def module(self) -> str:
        """The innermost module that is running."""
        return self.running[-1] if self.running else ""

    def operation(self, name: str, args: Sequence[Any], out: Sequence[Tensor]) -> Operation | None:
        """What a call of an operator costs, in the module that is running; None if it is free."""
        rule = RULES.get(name)
        if rule is None:
            return None
        # torch decomposes an RMSNorm on most devices, and others write their own of that name: its
        # mean would count as a pool
        kind_of_module = type(self.model.get_submodule(self.module)).__name__
        if name == "mean" and kind_of_module.endswith("RMSNorm"):
            rule = RULES["_fused_rms_norm"]
        kind, amount = rule(args, out[0], self.is_parameter)
        tensors = (a for a in args if a is None or isinstance(a, Tensor))
        operands = tuple(None if a is None else tuple(a.shape) for a in tensors)
        return Operation(self.module, name, kind, int(amount), operands, tuple(out[0].shape))

    def is_parameter(self, tensor: Tensor) -> bool:
        """Whether ``tensor`` is a parameter, a view of one, or computed from parameters alone."""
        return tensor.untyped_storage()._cdata in self.parameter_storages


def _known(func: Any) -> tuple[str, bool]:
    """The name of an operator in the tables of rules, and whether it stands there."""
    operator = func._overloadpacket.__name__
    name = operator if operator in RULES else operator.rstrip("_")
    return name, func.namespace in ("aten", "prim") and (name in RULES or is_free(func, name))


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
        self, func: Callable[..., Any], types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        name = _FUNCTIONS.get(func)
        first = len(self._log.operations)
        result = func(*args, **kwargs)
        if name is not None and isinstance(result, Tensor):
            call = FunctionCall(
                function=name,
                module=self._log.module,
                detail=_detail(name, args, kwargs),
                # einsum takes its operands in a list, too
                operands=tuple(tuple(x.shape) for x in _tensors((*args, *kwargs.values()))),
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
    raised = None
    try:
        yield
    except Exception as error:
        if not log.uncounted:
            raise
        raised = error
    if log.uncounted:
        plural = "s" if len(log.uncounted) > 1 else ""
        raise UncountedOperator(
            f"no counting rule for operator{plural} {', '.join(log.uncounted)}: add it to RULES or "
            "FREE in bench/count/rules.py"
        ) from raised


@contextmanager
def unfused(model: nn.Module) -> Iterator[None]:
    """Run attention and LSTM as separate operators: fused, they hide some of their products."""
    fast_path = torch.backends.mha.get_fastpath_enabled()
    # not torch.backends.mkldnn.flags, which warns of TF32 on the way out
    mkldnn = torch._C._get_mkldnn_enabled()
    has_lstm = any(isinstance(module, nn.LSTM) for module in model.modules())
    torch.backends.mha.set_fastpath_enabled(False)
    torch._C._set_mkldnn_enabled(mkldnn and not has_lstm)
    try:
        with sdpa_kernel(SDPBackend.MATH):
            yield
    finally:
        torch.backends.mha.set_fastpath_enabled(fast_path)
        torch._C._set_mkldnn_enabled(mkldnn)

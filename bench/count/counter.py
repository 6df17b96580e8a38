"""Our counter: runs a network once and books every operator that reaches the dispatcher."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils._python_dispatch import TorchDispatchMode

from vidcost.bench.count.rules import FREE, RULES
from vidcost.models.cost import Cost

Shape = tuple[int, ...]


class UncountedOperator(ValueError):
    """An operator that has no counting rule and is not free by convention."""


@dataclass(frozen=True)
class Operation:
    """One call of an operator: ``amount`` of the quantity ``kind`` (a field of ``Cost``).

    ``module`` is the dotted name of the innermost module it ran in, the network itself being "".
    ``operands`` are the shapes of the arguments that are tensors, None where an argument is None;
    ``output`` is the shape of the first result.
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
class Count:
    """What was counted in one forward pass in evaluation mode.

    ``params`` and ``buffers`` are elements, each tensor once however often it is used.
    """

    params: int
    buffers: int
    operations: tuple[Operation, ...]
    calls: tuple[Call, ...]

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
    Raises: UncountedOperator with the operator's name.
    """
    log = _Log(model)
    with _evaluating(model), _watched(model, log), torch.no_grad(), _unfused(), log:
        model(*inputs)
    return Count(
        params=sum(p.numel() for p in model.parameters()),
        buffers=sum(b.numel() for b in model.buffers()),
        operations=tuple(log.operations),
        calls=tuple(log.calls),
    )


class _Log(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Books each operator under the module that is running."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.operations: list[Operation] = []
        self.calls: list[Call] = []
        self.running: list[str] = []
        # a view of a parameter is still one: it shares the storage
        self.parameter_storages = {p.untyped_storage()._cdata for p in model.parameters()}
        # what was computed from parameters alone; held, or its storage's address would be reused
        self.from_parameters: list[Tensor] = []

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        # True, torch's default, imports its whole compiler (a second) to keep it off this mode
        return False

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        namespace, _, name = func._overloadpacket._qualified_op_name.partition("::")
        name = name if name in RULES else name.rstrip("_")
        known = namespace in ("aten", "prim") and (name in RULES or name in FREE)
        if not known:
            # composites reach us whole in inference mode
            with self:
                result = func.decompose(*args, **kwargs)
            if result is NotImplemented:
                raise UncountedOperator(
                    f"no counting rule for operator {namespace}.{name}: "
                    "add one to bench/count/rules.py, or its name to FREE"
                )
            return result
        result = (
            _batch_norm_shapes(*args)
            if name == "native_batch_norm" and args[0].is_meta and not args[5]
            else func(*args, **kwargs)
        )
        if rule := RULES.get(name):
            kind, amount = rule(args, result, self._is_parameter)
            first = result if isinstance(result, Tensor) else result[0]
            operation = Operation(
                module=self.running[-1] if self.running else "",
                operator=name,
                kind=kind,
                amount=int(amount),
                operands=tuple(
                    None if a is None else tuple(a.shape)
                    for a in args
                    if a is None or isinstance(a, Tensor)
                ),
                output=tuple(first.shape),
            )
            self.operations.append(operation)
        if isinstance(result, Tensor):
            operands = _tensors(args)
            if operands and all(map(self._is_parameter, operands)):
                self.from_parameters.append(result)
                self.parameter_storages.add(result.untyped_storage()._cdata)
        return result

    def _is_parameter(self, tensor: Tensor) -> bool:
        """Whether ``tensor`` is a parameter, a view of one, or computed from parameters alone."""
        return tensor.untyped_storage()._cdata in self.parameter_storages


def _tensors(args: Sequence[Any]) -> list[Tensor]:
    """The tensors among ``args`` and in lists among them."""
    flat = (a for arg in args for a in (arg if isinstance(arg, list | tuple) else (arg,)))
    return [a for a in flat if isinstance(a, Tensor)]


def _batch_norm_shapes(x: Tensor, *_: Any) -> tuple[Tensor, Tensor, Tensor]:
    """What native_batch_norm returns in evaluation mode on the meta device, shapes only.

    Torch's own meta kernel runs through the whole arithmetic, half the time of counting a network.
    """
    none = torch.empty(0, device=x.device)
    return torch.empty_strided(x.shape, x.stride(), dtype=x.dtype, device=x.device), none, none


@contextmanager
def _evaluating(model: nn.Module) -> Iterator[None]:
    """Evaluation mode, and afterwards each module's own mode again."""
    training = [module for module in model.modules() if module.training]
    model.eval()
    try:
        yield
    finally:
        for module in training:
            module.training = True


@contextmanager
def _watched(model: nn.Module, log: _Log) -> Iterator[None]:
    """Note each call of the modules in ``model``, and which one is running."""
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
def _unfused() -> Iterator[None]:
    """Attention as its parts: fused, it hides its softmax, on some devices all of itself."""
    fast_path = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with sdpa_kernel(SDPBackend.MATH):
            yield
    finally:
        torch.backends.mha.set_fastpath_enabled(fast_path)

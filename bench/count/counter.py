"""Our counter: runs a network once and books every operator that reaches the dispatcher."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn
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
    names: dict[nn.Module, str] = {}
    for name, module in model.named_modules():
        names.setdefault(module, name)
    log = _Log(model)
    with ExitStack() as stack:
        stack.enter_context(_evaluating(model))
        for module, name in names.items():
            stack.enter_context(_watched(module, name, log))
        stack.enter_context(torch.no_grad())
        stack.enter_context(log)
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
        # a transposed or expanded parameter is still one: it shares the storage
        self.parameter_storages = {p.untyped_storage()._cdata for p in model.parameters()}

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
        return result

    def _is_parameter(self, tensor: Tensor) -> bool:
        return tensor.untyped_storage()._cdata in self.parameter_storages


def _batch_norm_shapes(x: Tensor, *_: Any) -> tuple[Tensor, Tensor, Tensor]:
    """What native_batch_norm returns in evaluation mode on the meta device, shapes only.

    Torch's own meta kernel runs through the whole arithmetic, half the time of counting a network.
    """
    return torch.empty_like(x), x.new_empty(0), x.new_empty(0)


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
def _watched(module: nn.Module, name: str, log: _Log) -> Iterator[None]:
    """Note each call of ``module`` in ``log``."""

    def enter(_: nn.Module, args: tuple[Any, ...]) -> None:
        shapes: Iterator[Shape] = (tuple(a.shape) for a in args if isinstance(a, Tensor))
        log.calls.append(Call(name, next(shapes, None)))
        log.running.append(name)

    def leave(_: nn.Module, args: Any, output: Any) -> None:
        log.running.pop()

    entered = module.register_forward_pre_hook(enter)
    left = module.register_forward_hook(leave, always_call=True)
    try:
        yield
    finally:
        entered.remove()
        left.remove()

"""Functions that other counters book as one and our trace sees only the operators of.

A broadcast product reaches the dispatcher as a product of equal batches, an einsum as products of
matrices, a global pool as a mean. Whoever explains a counter of functions needs to know the call.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.overrides import TorchFunctionMode


@dataclass(frozen=True)
class FunctionCall:
    """One call of a function: ``operations[first:last]`` of the count are what was booked in it.

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


class Booked(Protocol):
    """What notes operations while functions run."""

    operations: list[Any]

    @property
    def module(self) -> str:
        """The innermost module that is running."""


_NAMES: dict[Callable[..., Any], str] = {
    torch.einsum: "einsum",
    torch.matmul: "matmul",
    torch.Tensor.matmul: "matmul",
    torch.Tensor.__matmul__: "matmul",
    F.adaptive_avg_pool2d: "adaptive_avg_pool2d",
    F.interpolate: "interpolate",
    F.grid_sample: "grid_sample",
}


class Functions(TorchFunctionMode):
    """Notes calls of the functions above; those that others of torch's call in Python are not."""

    def __init__(self, log: Booked) -> None:
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
        name = _NAMES.get(func)
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

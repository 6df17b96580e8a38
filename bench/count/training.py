"""Counts a training step: the forward pass and the backward pass."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call

from vidcost.bench.call import tensors_in
from vidcost.bench.count.counter import Count, Functions, Log, mode, supported, unfused, watched
from vidcost.bench.count.operands import Operation
from vidcost.models.cost import Cost


@dataclass(frozen=True)
class Training:
    """The result of counting one forward and one backward pass in training mode.

    An operation of ``backward`` stands under the module whose forward operation it
    differentiates, and a product is ``linear`` or ``matmul`` as that operation is. Parameters and
    buffers are counted in ``forward`` alone. What gradient checkpointing computes again is in
    ``backward``, and ``backward.recomputed`` by itself.
    """

    forward: Count
    backward: Count

    @property
    def total(self) -> Cost:
        """Both passes over the whole network."""
        return self.forward.total + self.backward.total


def count_training(model: nn.Module, *inputs: Tensor, keep_integers: bool = False) -> Training:
    """Count one pass of ``model`` on ``inputs`` and the backward pass from its outputs.

    Gradients are computed for the parameters and inputs that require them, in training mode. The
    loss and the optimiser's step are not counted. The model, its gradients and its buffers are left
    as they were. ``keep_integers`` as in :func:`vidcost.bench.count.counter.count`.
    Raises: UncountedOperator with the names of all that have no rule; ValueError if nothing
            requires a gradient, or as layers do that cannot train on so small an input.
    """
    log = _TrainingLog(tensors_in(inputs), keep_integers=keep_integers)
    with (
        torch.inference_mode(False),
        torch.enable_grad(),
        mode(model, training=True),
        watched(model, log),
        unfused(model),
        supported(log),
        Functions(log),
    ):
        # leaves of our own take the gradients, so that neither .grad nor the hooks of an optimiser
        # that steps in the backward pass are touched; running statistics go into copies
        stand_ins = {
            **{f"model.{name}": _leaf(p) for name, p in model.named_parameters()},
            **{f"model.{name}": b.clone() for name, b in model.named_buffers()},
        }
        functional_call(_Step(model, log), stand_ins, tuple(map(_leaf, inputs)))
    return Training(log.forward, backward=log.counted())


def _leaf(tensor: Tensor) -> Tensor:
    """The same data as a tensor without history that takes a gradient if ``tensor`` does."""
    return tensor.detach().requires_grad_(tensor.requires_grad)


class _Step(nn.Module):
    """Both passes in one call: checkpoints run modules again in the backward pass."""

    def __init__(self, model: nn.Module, log: _TrainingLog) -> None:
        super().__init__()
        self.model, self.log = model, log

    def forward(self, *inputs: Tensor) -> None:
        with self.log:
            results = self.model(*inputs)
        self.log.forward = self.log.counted(self.model)
        outputs = [y for y in tensors_in(results) if y.requires_grad]
        if not outputs:
            raise ValueError(
                "no output needs a gradient: set requires_grad on a parameter or an input, and "
                "return tensors, in lists, tuples, dicts or dataclasses"
            )
        gradients = [torch.empty_like(y) for y in outputs]
        with self.log:
            torch.autograd.backward(outputs, gradients)


@dataclass
class _Source:
    """A forward operation that autograd records; ``product`` is its kind if it is a product."""

    module: str
    product: str | None


PRODUCTS = ("linear", "matmul")

VECTOR_PRODUCTS = ("MvBackward0", "AddmvBackward0", "DotBackward0", "VdotBackward0")
"""Nodes whose gradients are partly products element by element: outer ones, or by a number."""


class _TrainingLog(Log):  # type: ignore[no-untyped-call]
    """Counts a backward operation in the module of the forward operation it differentiates.

    Autograd numbers the nodes of its graph in the order in which it makes them, an operation's
    just before the operation reaches us; in the backward pass it tells which node is running.
    """

    def __init__(self, inputs: Iterable[Tensor], *, keep_integers: bool) -> None:
        super().__init__(inputs, keep_integers=keep_integers)
        self.forward: Count
        # source i made the nodes after last_nodes[i - 1] up to last_nodes[i]
        self.sources: list[_Source] = []
        self.last_nodes: list[int] = []

    def with_rule(
        self, name: str, args: Sequence[Any], out: Sequence[Tensor], parts: Any, whose: str
    ) -> list[Operation]:
        operations = super().with_rule(name, args, out, parts, whose)
        node = _backward_node()
        if node is None:
            return self._noted(operations)
        # a mean in the backward pass is a statistic, as in that of a standard deviation
        if name == "mean":
            return []
        source = self._source(node)
        return [
            replace(
                each,
                module=source.module,
                kind=source.product if source.product and each.kind in PRODUCTS else each.kind,
            )
            for each in operations
        ]

    def without_rule(
        self, name: str, args: Sequence[Any], out: Sequence[Tensor]
    ) -> list[Operation]:
        node = _backward_node()
        if node is None:
            self.last_multiplied = None
            made = len(self.last_nodes)
            operations = self._noted(super().without_rule(name, args, out))
            if self.last_multiplied and made < len(self.last_nodes):
                self.last_multiplied.source = self.sources[-1]
            return operations
        if name != "mul" or not isinstance(args[1], Tensor):
            return []
        source = self._source(node)
        if node.name() in VECTOR_PRODUCTS or (node.name() == "MulBackward0" and source.product):
            kind = source.product or "matmul"
            amount = out[0].numel() * (4 if out[0].is_complex() else 1)
            return [Operation(source.module, name, kind, amount, (), tuple(out[0].shape))]
        return []

    def _noted(self, operations: list[Operation]) -> list[Operation]:
        """Record the running operation as the source of the nodes made since the last one."""
        last_node = torch._C._autograd._get_sequence_nr() - 1
        product = next((each.kind for each in operations if each.kind in PRODUCTS), None)
        if not self.last_nodes or last_node > self.last_nodes[-1]:
            self.last_nodes.append(last_node)
            self.sources.append(_Source(self.module, product))
        elif self.sources[-1].product is None:
            # a function with a backward of its own has one node for all of its operations
            self.sources[-1].product = product
        node = torch._C._current_autograd_node()
        if node is None:
            return operations
        # a function that is computed again may be outside of any module's call
        at = self.module or self._source(node).module
        return [replace(each, module=at, is_recomputed=True) for each in operations]

    def _source(self, node: Any) -> _Source:
        number = node._sequence_nr()
        # made after its operation, which changed a view in place
        if node.name().endswith("CopySlices"):
            number -= 1
        return self.sources[min(bisect_left(self.last_nodes, number), len(self.sources) - 1)]


def _backward_node() -> Any:
    """The node of autograd's graph whose gradient is computed; None in a forward pass."""
    # the operations of a checkpoint run inside a node too, but record gradients
    return None if torch.is_grad_enabled() else torch._C._current_autograd_node()

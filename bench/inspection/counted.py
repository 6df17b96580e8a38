"""Counts users' networks, rows with other blocks, and blocks alone.

Users' code runs in an isolated process, where it may do anything.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, nn

from vidcost.bench.api.count import NetworkCount, count
from vidcost.bench.block_spec import block_factory
from vidcost.bench.count.counter import UncountedOperator
from vidcost.bench.count.meta import on_meta
from vidcost.bench.count.modules import ClosedFormMismatch
from vidcost.bench.count.reconcile import Candidate, Entry, candidates, reconcile_network
from vidcost.bench.count.references.asking import DEFAULT, ask_about
from vidcost.bench.count.references.reference import Answer, Convention
from vidcost.bench.isolation import LIMIT_S, Failed, isolated
from vidcost.bench.timing.build import blocks_of, build, row_of
from vidcost.bench.timing.cell import Cell
from vidcost.bench.timing.parent import Predicted
from vidcost.bench.user.network import called
from vidcost.bench.user.reference import of_user_code
from vidcost.models.cost import Cost

Call = Callable[..., Any]
"""Calls a function within a limit of seconds: :func:`isolated`, or a process for several calls."""


@dataclass(frozen=True)
class Counted:
    """The count of ``cell``, or why there is none.

    ``status`` is "ok"; "uncounted" if an operator has no rule; "differs" if a closed form says
    something else; or how the code failed: "raised", "exited", "killed", "timed out". ``error`` is
    its line. ``answers`` are those of the counters that were asked.
    """

    cell: Cell
    status: str = "ok"
    error: str = ""
    count: NetworkCount | None = None
    answers: Mapping[Convention, Answer] = field(default_factory=dict)

    @property
    def total(self) -> Cost | None:
        """The cost of the forward pass."""
        return self.count.forward if self.count else None

    @property
    def closed_forms(self) -> int:
        """The number of modules whose closed form is met; none if any fails."""
        return len(self.count.checks) if self.count and self.status == "ok" else 0


def counted(
    cell: Cell,
    *,
    reference_counters: Sequence[Convention] = (),
    training: bool = False,
    limit_s: float = LIMIT_S,
    call: Call = isolated,
) -> Counted:
    """Count what ``cell`` is about, at its inputs, and ask ``reference_counters`` about it.

    ``training`` counts a training step instead of a pass in evaluation mode. Without a user's code
    and reference counters it is counted in this process, else by ``call``.
    Raises: ValueError if there is no such row, position, file or object; ClosedFormMismatch
            without a user's code.
    """
    if not cell.code and not reference_counters:
        return counted_here(cell, training=training)
    try:
        return call(limit_s, counted_here, cell, tuple(reference_counters), training)  # type: ignore[no-any-return]
    except Failed as failed:
        return Counted(cell, status=failed.status, error=str(failed))


def predict(cell: Cell, *, limit_s: float = LIMIT_S, call: Call = isolated) -> Predicted:
    """MACs of what is timed, at its batch; none if its code fails, which the worker then reports.

    Raises: ValueError as :func:`counted`, without a user's code.
    """
    alone = cell.model_copy(update={"against": None})
    try:
        found = counted(alone, training=cell.phase == "training", limit_s=limit_s, call=call)
    except ValueError:
        if not cell.code:
            raise
        return Predicted()
    if found.count is None:
        return Predicted(hangs=found.error if found.status == "timed out" else None)
    return Predicted(found.count.forward.macs, found.count.total.macs)


def outline(cell: Cell) -> tuple[nn.Module, tuple[Tensor, ...]]:
    """The network or block of ``cell`` and its inputs at its batch, in fp32 on the meta device.

    Raises: ValueError as the network or block does.
    """
    if cell.network is not None:
        return called(cell.network, cell.inputs, blocks_of(cell), on_meta=True)
    if cell.row is not None:
        return on_meta(row_of(cell), cell.batch)
    assert cell.block is not None, cell
    assert cell.shape is not None, cell
    with torch.device("meta"):
        model = block_factory(cell.block)(cell.shape[0])
    x = torch.empty(cell.batch, *cell.shape, device="meta")
    # inside a network a gradient would pass through to the layers before the block
    return model, (x.requires_grad_(cell.phase == "training"),)


def explained(cell: Cell, counters: tuple[Convention, ...] = DEFAULT) -> list[Entry]:
    """The entries of ``cell``'s target with ``counters``; runs a user's code, so isolate it."""
    built = build(cell)
    with of_user_code(UncountedOperator):
        return reconcile_network(cell.target, built.model, built.inputs, counters)


def candidates_of(cell: Cell) -> list[Candidate]:
    """What ``cell``'s target gives by every convention; runs a user's code, so isolate it."""
    built = build(cell)
    with of_user_code(UncountedOperator):
        return list(candidates(" + ".join(cell.inputs), built.model, built.inputs))


def counted_here(
    cell: Cell, reference_counters: Sequence[Convention] = (), training: bool = False
) -> Counted:
    """As :func:`counted`, in this process, which a user's code may crash."""
    try:
        found = _network_count(cell, training)
    except UncountedOperator as error:
        known = Counted(cell, status="uncounted", error=str(error))
    else:
        status, why = "ok", ""
        if found.unchecked:
            # a closed form that fails says nothing against the count
            status, why = "raised", f"cost: {found.unchecked[0]}"
        for check in found.checks:
            if not check.equal:
                status, why = "differs", f"{cell.block or cell.target}: {check}"
        if why and not cell.code:
            # of ours it is a bug, which ends the command
            raise ClosedFormMismatch(why)
        known = Counted(cell, status, why, found)
    if not reference_counters:
        return known
    built = build(cell)
    # each leaves marks, but none that another sees: the one before has answered
    return replace(
        known,
        answers={name: ask_about(name, built.model, built.inputs) for name in reference_counters},
    )


def _network_count(cell: Cell, training: bool) -> NetworkCount:
    """One pass as shapes alone; where the code needs values, on the CPU.

    Raises: UncountedOperator; UserCodeError for whatever the network raises.
    """
    try:
        return count(*outline(cell), training=training)
    except UncountedOperator:
        raise
    except Exception:
        # ours run as shapes alone, so it is the clip that does not suit them
        if not cell.code:
            raise
    built = build(cell)
    with of_user_code(UncountedOperator):
        return count(built.model, built.inputs, training=training)

"""Counts users' networks, rows with other blocks, and blocks alone.

Users' code runs in an isolated process, where it may do anything.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from torch import Tensor, nn

from vidcost.bench.count.counter import Count, UncountedOperator, count
from vidcost.bench.count.modules import ClosedFormMismatch, Module, modules, verify
from vidcost.bench.count.reconcile import Entry, reconcile_network
from vidcost.bench.count.references.asking import ask_about
from vidcost.bench.count.references.reference import Answer, Convention
from vidcost.bench.count.training import count_training
from vidcost.bench.isolation import LIMIT_S, Failed, isolated
from vidcost.bench.timing.build import Built, build
from vidcost.bench.timing.cell import Cell
from vidcost.bench.timing.predict import outline
from vidcost.bench.user.reference import UserCodeError, last_line
from vidcost.models.cost import Cost


@dataclass(frozen=True)
class Counted:
    """The counts of ``cell``, or why there are none.

    ``status`` is "ok"; "uncounted" if an operator has no rule; "differs" if a closed form says
    something else; or how the code failed: "raised", "exited", "killed", "timed out". ``error`` is
    its line. ``closed_forms`` is the number of modules that were checked. ``answers`` are those of
    the counters that were asked. ``modules`` are all inside, outermost first. ``backward`` is the
    backward pass of a step of training, None if it was not asked for.
    """

    cell: Cell
    status: str = "ok"
    error: str = ""
    total: Cost | None = None
    backward: Cost | None = None
    buffers: int | None = None
    closed_forms: int = 0
    answers: Mapping[Convention, Answer] | None = None
    modules: tuple[Module, ...] = ()


def counted(
    cell: Cell,
    *,
    reference_counters: Sequence[Convention] = (),
    training: bool = False,
    limit_s: float = LIMIT_S,
) -> Counted:
    """Count what ``cell`` is about, at its inputs, and ask ``reference_counters`` about it.

    ``training`` counts a training step instead of a pass in evaluation mode. Without a user's code
    and reference counters it is counted in this process.
    Raises: ValueError if there is no such row, position, file or object; ClosedFormMismatch
            without a user's code.
    """
    if not cell.code and not reference_counters:
        return _counted(cell, (), training)
    try:
        return isolated(limit_s, _counted, cell, tuple(reference_counters), training)
    except Failed as failed:
        return Counted(cell, status=failed.status, error=str(failed))


def explained(cell: Cell, *, limit_s: float = LIMIT_S) -> tuple[list[Entry], str]:
    """The entries of ``cell``'s target, and why there are none.

    Raises: ValueError as :func:`counted`.
    """
    try:
        return isolated(limit_s, _explained, cell), ""
    except Failed as failed:
        return [], f"{cell.target}: {failed.status}: {failed}"


def _counted(cell: Cell, reference_counters: Sequence[Convention], training: bool) -> Counted:
    try:
        model, found, backward = _run(cell, training=training)
    except UncountedOperator as error:
        known = Counted(cell, status="uncounted", error=str(error))
    else:
        known = Counted(
            cell,
            total=found.total,
            backward=backward,
            buffers=found.buffers,
            modules=modules(model, found),
        )
        try:
            known = replace(known, closed_forms=verify(cell.block or cell.target, model, found))
        except ClosedFormMismatch as error:
            # of ours it is a bug, which ends the command
            if not cell.code:
                raise
            known = replace(known, status="differs", error=str(error))
        except Exception as error:
            # a closed form that fails says nothing against the count
            if not cell.code:
                raise
            known = replace(known, status="raised", error=f"cost: {last_line(error)}")
    if not reference_counters:
        return known
    built = _built(cell)
    # each leaves marks, but none that another sees: the one before has answered
    return replace(
        known,
        answers={name: ask_about(name, built.model, built.inputs) for name in reference_counters},
    )


def _explained(cell: Cell) -> list[Entry]:
    built = _built(cell)
    try:
        return reconcile_network(cell.target, built.model, built.inputs)
    except UncountedOperator:
        raise
    except Exception as error:
        raise UserCodeError(last_line(error)) from error


def _run(cell: Cell, *, training: bool) -> tuple[nn.Module, Count, Cost | None]:
    """One pass as shapes alone; where the code needs values, on the CPU.

    Raises: UncountedOperator; UserCodeError for whatever the network raises.
    """
    try:
        model, inputs = outline(cell)
        return model, *_pass(model, inputs, training=training)
    except UncountedOperator:
        raise
    except Exception:
        # ours run as shapes alone, so it is the clip that does not suit them
        if not cell.code:
            raise
        built = _built(cell)
    try:
        return built.model, *_pass(built.model, built.inputs, training=training)
    except UncountedOperator:
        raise
    except Exception as error:
        raise UserCodeError(last_line(error)) from error


def _built(cell: Cell) -> Built:
    """For real; of a contribution the side with the blocks alone."""
    return build(cell.model_copy(update={"contribution": False}))


def _pass(
    model: nn.Module, inputs: Sequence[Tensor], *, training: bool
) -> tuple[Count, Cost | None]:
    if not training:
        return count(model, *inputs), None
    step = count_training(model, *inputs)
    return step.forward, step.backward.total

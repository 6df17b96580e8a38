"""What is known of a cell before it is timed: its MACs and its peak of memory."""

from __future__ import annotations

import contextlib
from dataclasses import replace
from functools import cache

import torch
from torch import Tensor, nn

from vidcost.bench.block_spec import block_factory
from vidcost.bench.count.counter import count
from vidcost.bench.count.meta import on_meta
from vidcost.bench.count.training import count_training
from vidcost.bench.isolation import Failed, isolated
from vidcost.bench.timing.build import DTYPES, bare_row_of, blocks_of, row_of
from vidcost.bench.timing.cell import Cell
from vidcost.bench.timing.parent import Predicted
from vidcost.bench.timing.residency import Residency
from vidcost.bench.timing.runner import is_logits, loss_of, starts
from vidcost.bench.user.network import called_on_meta
from vidcost.papers.row import Row

PREDICT_LIMIT_S = 120.0
"""For what a user's code takes to be built and run once on shapes alone."""

Outline = tuple[nn.Module, tuple[Tensor, ...]]
"""A network or block, and its inputs."""


def predict(cell: Cell) -> Predicted:
    """Exact MACs of the cell at its batch, and the predicted peak.

    A user's code is run in a process of its own; if it fails there, nothing is predicted, and the
    cell is tried all the same.
    Raises: ValueError as the network or block does.
    """
    if not cell.code:
        return _predicted(cell, *outline(cell))
    return _predicted_apart(cell)


@cache
def _predicted_apart(cell: Cell) -> Predicted:
    # a process of seconds, and every contribution of a network asks about the same one without
    # blocks
    try:
        return isolated(PREDICT_LIMIT_S, _predicted_there, cell)
    except Failed:
        return Predicted()


def _predicted_there(cell: Cell) -> Predicted:
    model, inputs = outline(cell)
    known = Predicted()
    # each is to be had without the other; what fails here is for the worker to say
    with contextlib.suppress(Exception):
        macs, total = _macs(cell, model, inputs)
        known = replace(known, macs=macs, macs_total=total)
    with contextlib.suppress(Exception):
        known = replace(known, predicted_peak_bytes=_predicted_peak(cell, model, inputs))
    return known


def predict_without(cell: Cell) -> Predicted:
    """The same of the row or network without its blocks, the other side of a contribution.

    Raises: ValueError as the network does.
    """
    if cell.network is not None:
        its_own, _, _ = cell.code.partition("+")
        bare = {"blocks": None, "contribution": False, "code": its_own}
        return predict(cell.model_copy(update=bare))
    return _predicted(cell, *_at(cell, bare_row_of(cell)))


def peak_bytes(cell: Cell) -> int:
    """Most bytes that are allocated at once above the weights, by a run on the meta device.

    For training, the peak of a step after the first: activations that the backward pass needs,
    gradients, and the optimiser's state. The inputs are part of it.
    Not in it is what an operator needs inside itself: see :class:`Residency`. Beside what torch's
    CPU allocator gave out (torch 2.13, 14 cells: eight networks at inference, six in training) it
    was within 2.5% for ten and up to 22% low for the others. On MFNet the gap is one copy of the
    clip, as a convolution would make that lays its input out anew.
    Raises: ValueError as the network or block does.
    """
    return _peak(cell, *outline(cell))


def outline(cell: Cell) -> Outline:
    """The network or block of ``cell`` and its inputs at its batch, in fp32 on the meta device.

    Raises: ValueError as the network or block does.
    """
    if cell.network is not None:
        return called_on_meta(cell.network, cell.inputs, blocks_of(cell))
    if cell.row is not None:
        return _at(cell, row_of(cell))
    assert cell.block is not None, cell
    assert cell.shape is not None, cell
    with torch.device("meta"):
        model = block_factory(cell.block)(cell.shape[0])
    x = torch.empty(cell.batch, *cell.shape, device="meta")
    # inside a network a gradient would pass through to what comes before
    return model, (x.requires_grad_(cell.phase == "training"),)


def _at(cell: Cell, row: Row) -> Outline:
    model, _ = on_meta(row)
    return model, tuple(torch.empty(cell.batch, *clip, device="meta") for clip in row.inputs)


def _macs(cell: Cell, model: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[int, int]:
    """Of the forward pass, and of all that is timed."""
    if cell.phase == "inference":
        macs = count(model, *inputs).total.macs
        return macs, macs
    step = count_training(model, *inputs)
    return step.forward.total.macs, step.total.macs


def _predicted(cell: Cell, model: nn.Module, inputs: tuple[Tensor, ...]) -> Predicted:
    macs, total = _macs(cell, model, inputs)
    return Predicted(macs, total, predicted_peak_bytes=_predicted_peak(cell, model, inputs))


def _predicted_peak(cell: Cell, model: nn.Module, inputs: tuple[Tensor, ...]) -> int | None:
    # there is no autocast on shapes alone
    return None if cell.dtype == "bf16-autocast" else _peak(cell, model, inputs)


def _peak(cell: Cell, model: nn.Module, inputs: tuple[Tensor, ...]) -> int:
    held = DTYPES[cell.dtype]
    model = model.to(held)
    residency = Residency()
    residency.ignore(*model.parameters(), *model.buffers())
    # whole numbers and masks keep their type
    inputs = tuple(
        x.detach().to(held if x.is_floating_point() else x.dtype).requires_grad_(x.requires_grad)
        for x in inputs
    )
    residency.hold(*inputs)
    if cell.phase == "inference":
        with torch.no_grad(), residency:
            model.eval()(*inputs)
        return residency.peak_bytes
    return _training_peak(model.train(), inputs, residency)


def _training_peak(model: nn.Module, inputs: tuple[Tensor, ...], residency: Residency) -> int:
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    targets: tuple[Tensor, ...] = ()
    with residency:
        # the first step makes the optimiser's state, which the second finds there
        for _ in range(2):
            residency.peak_bytes = residency.alive_bytes
            optimizer.zero_grad(set_to_none=True)
            for x in inputs:
                x.grad = None
            outputs = starts(model(*inputs))
            if not targets:
                labels = torch.empty(len(outputs[0]), dtype=torch.long, device="meta")
                targets = (labels,) if is_logits(outputs) else tuple(map(torch.empty_like, outputs))
            loss = loss_of(outputs, targets)
            torch.autograd.backward(*((outputs, targets) if loss is None else (loss,)))
            del outputs, loss
            optimizer.step()
    return residency.peak_bytes

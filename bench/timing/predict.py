"""MACs of a cell, counted before it is timed and never in the process that times it."""

import contextlib
from functools import cache

import torch
from torch import Tensor, nn

from vidcost.bench.block_spec import block_factory
from vidcost.bench.count.counter import count
from vidcost.bench.count.meta import on_meta
from vidcost.bench.count.training import count_training
from vidcost.bench.isolation import Failed, isolated
from vidcost.bench.timing.build import bare_row_of, blocks_of, row_of
from vidcost.bench.timing.cell import Cell
from vidcost.bench.timing.parent import Predicted
from vidcost.bench.user.network import called
from vidcost.papers.row import Row

LIMIT_S = 120.0
"""For a user's code to be built and run once on shapes alone."""

Outline = tuple[nn.Module, tuple[Tensor, ...]]
"""A network or block, and its inputs."""


def predict(cell: Cell, *, limit_s: float = LIMIT_S) -> Predicted:
    """Exact MACs of the cell at its batch.

    A user's code runs in a process of its own, for up to ``limit_s`` seconds; if it fails there,
    nothing is predicted.
    Raises: ValueError as the network or block does.
    """
    return _predict_apart(cell, limit_s) if cell.code else _predicted(cell, outline(cell))


@cache
def _predict_apart(cell: Cell, limit_s: float) -> Predicted:
    # takes seconds, and every contribution to a network asks about the same one without blocks
    try:
        return isolated(limit_s, _predict_there, cell)
    except Failed as failed:
        return Predicted(hangs=str(failed) if failed.status == "timed out" else None)


def _predict_there(cell: Cell) -> Predicted:
    # the worker reports the failure
    with contextlib.suppress(Exception):
        return _predicted(cell, outline(cell))
    return Predicted()


def predict_without(cell: Cell) -> Predicted:
    """The same of the row or network without its blocks, the other side of a contribution.

    Raises: ValueError as the network does.
    """
    if cell.network is not None:
        its_own, _, _ = cell.code.partition("+")
        bare = {"blocks": None, "contribution": False, "code": its_own}
        return predict(cell.model_copy(update=bare))
    return _predicted(cell, _at(cell, bare_row_of(cell)))


def outline(cell: Cell) -> Outline:
    """The network or block of ``cell`` and its inputs at its batch, in fp32 on the meta device.

    Raises: ValueError as the network or block does.
    """
    if cell.network is not None:
        return called(cell.network, cell.inputs, blocks_of(cell), on_meta=True)
    if cell.row is not None:
        return _at(cell, row_of(cell))
    assert cell.block is not None, cell
    assert cell.shape is not None, cell
    with torch.device("meta"):
        model = block_factory(cell.block)(cell.shape[0])
    x = torch.empty(cell.batch, *cell.shape, device="meta")
    # inside a network a gradient would pass through to the layers before the block
    return model, (x.requires_grad_(cell.phase == "training"),)


def _at(cell: Cell, row: Row) -> Outline:
    model, _ = on_meta(row)
    return model, tuple(torch.empty(cell.batch, *clip, device="meta") for clip in row.inputs)


def _predicted(cell: Cell, outline: Outline) -> Predicted:
    """MACs of the forward pass, and of all that is timed."""
    model, inputs = outline
    if cell.phase == "inference":
        macs = count(model, *inputs).total.macs
        return Predicted(macs, macs)
    step = count_training(model, *inputs)
    return Predicted(step.forward.total.macs, step.total.macs)

"""What a cell times: a network or a block, ready to run."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from vidcost.bench.block_spec import block_factory
from vidcost.bench.timing.cell import Cell
from vidcost.bench.user.network import called
from vidcost.models.backbones.backbone import BlockFactory
from vidcost.papers.catalog import select
from vidcost.papers.row import Row

DTYPES = {
    "fp32": torch.float32,
    "tf32": torch.float32,
    "bf16": torch.bfloat16,
    "bf16-autocast": torch.float32,
    "fp16": torch.float16,
}
"""How weights and inputs are held."""


@dataclass(frozen=True)
class Built:
    """A model and its inputs on the cell's device, in its type and layout.

    ``reference`` is what a cell is timed against.
    """

    model: nn.Module
    inputs: tuple[Tensor, ...]
    reference: Built | None = None

    @property
    def weights_bytes(self) -> int:
        """Parameters and buffers of the model."""
        return sum(x.nbytes for x in (*self.model.parameters(), *self.model.buffers()))


def build(cell: Cell, *, seed: int = 0) -> Built:
    """Build what ``cell`` times, with random weights and inputs from ``seed``.

    Raises: ValueError as the network or block does; UserCodeError; torch's errors if it does not
            fit.
    """
    if cell.against is not None:
        alone = build(cell.model_copy(update={"against": None}), seed=seed)
        return replace(alone, reference=build(cell.against, seed=seed))
    torch.manual_seed(seed)
    if cell.network is not None:
        model, inputs = called(cell.network, cell.inputs, blocks_of(cell), seed=seed)
        return Built(_ready(cell, model), tuple(_given(cell, x) for x in inputs))
    if cell.row is not None:
        row = row_of(cell)
        inputs = tuple(_given(cell, clip) for clip in row.clips(cell.batch))
        return Built(_ready(cell, row.model()), inputs)
    assert cell.block is not None, cell
    assert cell.shape is not None, cell
    block = _ready(cell, block_factory(cell.block)(cell.shape[0]))
    x = _given(cell, torch.randn(cell.batch, *cell.shape))
    # inside a network a gradient would pass through to the layers before
    return Built(block, (x.requires_grad_(cell.phase == "training"),))


def row_of(cell: Cell) -> Row:
    """The row of ``cell`` at its classes, frames and size, with its blocks.

    Raises: ValueError as the row and the blocks do; UserCodeError.
    """
    assert cell.row is not None, cell
    (row,) = select([cell.row])
    row = row.at(classes=cell.classes, frames=cell.frames, size=cell.size)
    return row if cell.blocks is None else row.with_blocks(blocks_of(cell))


def blocks_of(cell: Cell) -> dict[str, BlockFactory]:
    """The blocks that are put into the cell's row or network instead of its own, by position.

    Raises: ValueError as the blocks do; UserCodeError.
    """
    return {position: block_factory(spec) for position, spec in cell.blocks or ()}


def _given(cell: Cell, x: Tensor) -> Tensor:
    """An input on the cell's device, in its layout; integers and booleans keep their type."""
    if x.is_floating_point():
        x = x.to(DTYPES[cell.dtype])
    if x.dim() == 5 and cell.memory_format == "channels_last_3d":
        x = x.contiguous(memory_format=torch.channels_last_3d)
    return x.to(cell.device)


def _ready(cell: Cell, model: nn.Module) -> nn.Module:
    model = model.to(cell.device, DTYPES[cell.dtype])
    if cell.memory_format == "channels_last_3d":
        for tensor in (*model.parameters(), *model.buffers()):
            if tensor.dim() == 5:
                tensor.data = tensor.data.contiguous(memory_format=torch.channels_last_3d)
    return model.train(cell.phase == "training")

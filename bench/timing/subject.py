"""What a cell times: a network or a block, ready to run."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from vidcost.bench.block_spec import block_factory
from vidcost.bench.timing.cell import Cell
from vidcost.models.rows import Row, select

DTYPES = {
    "fp32": torch.float32,
    "tf32": torch.float32,
    "bf16": torch.bfloat16,
    "fp16": torch.float16,
}
"""How weights and inputs are held."""


@dataclass(frozen=True)
class Built:
    """A model and its inputs on the cell's device, in its type and layout.

    ``without`` is the same network without its blocks, on the same inputs, for a share.
    """

    model: nn.Module
    inputs: tuple[Tensor, ...]
    without: nn.Module | None = None

    @property
    def weights_bytes(self) -> int:
        """Parameters and buffers of the model."""
        tensors = (*self.model.parameters(), *self.model.buffers())
        return sum(tensor.numel() * tensor.element_size() for tensor in tensors)


def build(cell: Cell, *, seed: int = 0) -> Built:
    """Build what ``cell`` times, with random weights and inputs from ``seed``.

    Raises: ValueError as the network or block does; torch's errors if it does not fit.
    """
    torch.manual_seed(seed)
    if cell.row is not None:
        (row,) = select([cell.row])
        row = row.at(classes=cell.classes, frames=cell.frames, size=cell.size)
        without = _ready(cell, row.without_blocks().model()) if cell.share else None
        return Built(_ready(cell, row.model()), _inputs(cell, row), without)
    assert cell.block is not None, cell
    assert cell.shape is not None, cell
    block = _ready(cell, block_factory(cell.block)(cell.shape[0]))
    x = _laid_out(cell, torch.randn(cell.batch, *cell.shape))
    # inside a network a gradient would pass through to what comes before
    return Built(block, (x.requires_grad_(cell.phase == "training"),))


def _inputs(cell: Cell, row: Row) -> tuple[Tensor, ...]:
    return tuple(_laid_out(cell, clip) for clip in row.clips(cell.batch))


def _laid_out(cell: Cell, tensor: Tensor) -> Tensor:
    return tensor.to(cell.device, DTYPES[cell.dtype]).contiguous(memory_format=_layout(cell))


def _ready(cell: Cell, model: nn.Module) -> nn.Module:
    model = model.to(cell.device, DTYPES[cell.dtype])
    if cell.memory_format == "channels_last_3d":
        for tensor in (*model.parameters(), *model.buffers()):
            if tensor.dim() == 5:
                tensor.data = tensor.data.contiguous(memory_format=_layout(cell))
    return model.train(cell.phase == "training")


def _layout(cell: Cell) -> torch.memory_format:
    if cell.memory_format == "channels_last_3d":
        return torch.channels_last_3d
    return torch.contiguous_format

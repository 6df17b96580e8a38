"""The least time that a device's roofs leave a block: that of its arithmetic, and of its memory."""

from __future__ import annotations

from functools import cache

from vidcost.bench.timing.bandwidth import bytes_per_s
from vidcost.bench.timing.cell import Cell
from vidcost.bench.timing.predict import outline
from vidcost.bench.timing.subject import DTYPES


def least_s(
    cell: Cell, *, macs: int | None, macs_per_s: float | None, device_name: str
) -> float | None:
    """Seconds that an inference pass of a block alone takes at least.

    The longer of its ``macs`` at ``macs_per_s``, a large matrix product's rate, and its input,
    output and weights moved once each at the memory's bandwidth, by the data sheet. Operators that
    go to memory for themselves move more. What a cache still holds of the pass before need not be
    moved: a small map may take less than this.

    None of a network, a training step, a user's code, or where a rate is unknown, as a CPU's
    bandwidth is.
    """
    bandwidth = None if cell.device == "cpu" else bytes_per_s(device_name)
    if cell.block is None or cell.code or cell.phase != "inference":
        return None
    if macs is None or macs_per_s is None or bandwidth is None:
        return None
    return max(macs / macs_per_s, _least_bytes(cell) / bandwidth)


@cache
def _least_bytes(cell: Cell) -> int:
    model, inputs = outline(cell)
    weights = sum(x.numel() for x in (*model.parameters(), *model.buffers()))
    # a block returns what is as large as what it is given
    maps = 2 * sum(x.numel() for x in inputs)
    return DTYPES[cell.dtype].itemsize * (maps + weights)

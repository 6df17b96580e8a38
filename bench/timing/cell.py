"""A cell: what is timed, and under which conditions."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any, Self

from pydantic import PositiveInt, ValidationError, model_validator

from vidcost.bench.timing.axes import Conditions


class Cell(Conditions):
    """One measurement: a target under conditions.

    The target is a ``row``, with its own blocks or with ``blocks`` (position, spec) instead; or a
    ``block`` (a spec such as ``pnl:n=3``) alone on inputs of ``shape`` (C, T, H, W); or a user's
    ``network``, by reference, on ``inputs`` in words, of which ``batch`` is the first axis;
    ``blocks`` then go behind modules by their names; or a ``test`` of pytest, by its id. ``code``
    is a digest of the user's code in the target, empty if there is none. ``against`` is another
    cell that it is interleaved with, on the same device, at the same batch and phase: the other
    implementation of a block, or the network without blocks. ``device`` is torch's name, as this
    process numbers its devices.
    Raises: ValueError (pydantic's) for a cell that contradicts itself.
    """

    row: str | None = None
    block: str | None = None
    shape: tuple[PositiveInt, PositiveInt, PositiveInt, PositiveInt] | None = None
    blocks: tuple[tuple[str, str], ...] | None = None
    network: str | None = None
    test: str | None = None
    inputs: tuple[str, ...] = ()
    code: str = ""
    against: Cell | None = None
    device: str = "cpu"

    @model_validator(mode="after")
    def _coherent(self) -> Self:
        targets = (self.row, self.block, self.network, self.test)
        if sum(target is not None for target in targets) != 1:
            raise ValueError("a cell times a row, a block, a network or a test: give one of them")
        if (self.network is None) != (not self.inputs):
            raise ValueError("a network of your own needs its inputs, and only that does")
        if self.blocks is not None and self.block is not None:
            raise ValueError("blocks have positions in a row or a network")
        if (self.block is None) != (self.shape is None):
            raise ValueError("a block alone needs the shape of its input, and only a block does")
        if self.row is None and any((self.classes, self.frames, self.size)):
            raise ValueError("classes, frames and size are a row's")
        if self.device == "cpu" and self.mode == "cuda-graph":
            raise ValueError("CUDA graphs need a CUDA device")
        if self.device == "cpu" and self.dtype == "tf32":
            raise ValueError("TF32 needs a CUDA device")
        if self.mode == "cuda-graph" and self.phase == "training":
            raise ValueError("only inference is timed as a CUDA graph")
        if self.against is not None:
            self._check_pair(self.against)
        return self

    def _check_pair(self, other: Cell) -> None:
        if other.against is not None:
            raise ValueError("a cell is interleaved with one other, which is no pair")
        for name in ("device", "batch", "phase", "threads"):
            if getattr(self, name) != getattr(other, name):
                raise ValueError(f"two cells that are interleaved have one {name}")

    @property
    def is_contribution(self) -> bool:
        """Whether it is interleaved with the same network without blocks."""
        return self.against is not None and self.against.blocks == ()

    @property
    def is_row_itself(self) -> bool:
        """Whether it is a row as it stands: its own classes and clip, and its own blocks."""
        others = (self.classes, self.frames, self.size, self.blocks)
        return self.row is not None and all(other is None for other in others)

    @property
    def target(self) -> str:
        """The row or network with the blocks put into it, or the block with its shape."""
        if self.block is None:
            whole = self.row or self.network or self.test
            put = "".join(f" + {spec} at {position}" for position, spec in self.blocks or ())
            return f"{whole}{put}"
        return f"{self.block} at {'x'.join(map(str, self.shape or ()))}"

    def key(self, *conditions: str) -> str:
        """Names a measurement by its cell and whatever else its result depends on."""
        return hashlib.sha256("\n".join((self.model_dump_json(), *conditions)).encode()).hexdigest()


def checked_cell(fields: Mapping[str, Any]) -> Cell:
    """The cell of ``fields``.  Raises: ValueError, in a line, if they contradict each other."""
    try:
        return Cell(**fields)
    except ValidationError as error:
        found = error.errors()[0]
        where = ".".join(map(str, found["loc"]))
        message = found["msg"].removeprefix("Value error, ")
        raise ValueError(f"{where}: {message}" if where else message) from None

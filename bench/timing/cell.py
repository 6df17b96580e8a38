"""A cell: what is timed, and under which conditions."""

from __future__ import annotations

import hashlib
from typing import Self

from pydantic import BaseModel, ConfigDict, PositiveInt, model_validator

from vidcost.bench.timing.choices import Dtype, MemoryFormat, Mode, Phase


class Cell(BaseModel):
    """One measurement: a target under conditions, each an axis of its own.

    The target is a ``row``, at its own classes, frames and size or others, with its own blocks or
    with ``blocks`` (position, spec) instead; or a ``block`` (a spec such as ``pnl:n=3``) alone on
    inputs of ``shape`` (C, T, H, W); or a user's ``network``, by reference, on ``inputs`` in words,
    of which ``batch`` is the first axis; ``blocks`` then go behind modules by their names.
    ``contribution``: the row is timed interleaved with the same network without its blocks.
    ``against`` is
    another cell that it is timed interleaved with, on the same device, at the same batch and phase.
    ``code`` is a digest of the user's code that the target is made of, empty if there is none.
    ``device`` is torch's name, as this process numbers its devices. ``tf32`` is fp32 data with
    TF32 products, ``fp32`` has them off; ``bf16-autocast`` is fp32 data under torch's autocast to
    bf16. ``cold``: the device's cache is emptied before every
    sample. ``threads`` are those that compute on the CPU.
    Raises: ValueError (pydantic's) for a cell that contradicts itself.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    row: str | None = None
    classes: PositiveInt | None = None
    frames: PositiveInt | None = None
    size: PositiveInt | None = None
    block: str | None = None
    shape: tuple[PositiveInt, PositiveInt, PositiveInt, PositiveInt] | None = None
    blocks: tuple[tuple[str, str], ...] | None = None
    network: str | None = None
    inputs: tuple[str, ...] = ()
    code: str = ""
    contribution: bool = False
    against: Cell | None = None
    device: str = "cpu"
    batch: PositiveInt = 1
    dtype: Dtype = "fp32"
    memory_format: MemoryFormat = "contiguous"
    mode: Mode = "eager"
    phase: Phase = "inference"
    cudnn_benchmark: bool = False
    cold: bool = False
    threads: PositiveInt = 1

    @model_validator(mode="after")
    def _coherent(self) -> Self:
        if sum(target is not None for target in (self.row, self.block, self.network)) != 1:
            raise ValueError("a cell times a row, a block or a network: give one of them")
        if (self.network is None) != (not self.inputs):
            raise ValueError("a network of your own needs its inputs, and only that does")
        if self.blocks is not None and self.block is not None:
            raise ValueError("blocks have positions in a row or a network")
        if (self.block is None) != (self.shape is None):
            raise ValueError("a block alone needs the shape of its input, and only a block does")
        if self.contribution and self.row is None and not self.blocks:
            raise ValueError("the contribution of a block is measured inside a row or a network")
        if self.row is None and any((self.classes, self.frames, self.size)):
            raise ValueError("classes, frames and size are a row's")
        if self.cold and self.block is None:
            raise ValueError("only a block alone is timed with a cold cache")
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
        if self.contribution or other.is_pair or self.cold or other.cold:
            raise ValueError("a cell is timed interleaved with one other, neither a pair nor cold")
        for name in ("device", "batch", "phase", "threads"):
            if getattr(self, name) != getattr(other, name):
                raise ValueError(f"two cells that are timed interleaved have one {name}")

    @property
    def is_pair(self) -> bool:
        """Whether two sides are timed interleaved."""
        return self.contribution or self.against is not None

    @property
    def is_row_itself(self) -> bool:
        """Whether it is a row as it stands: its own classes and clip, and its own blocks."""
        others = (self.classes, self.frames, self.size, self.blocks)
        return self.row is not None and all(other is None for other in others)

    @property
    def target(self) -> str:
        """The row with what was put into it, the block with its shape, the network: for people."""
        if self.block is None:
            whole = self.row if self.network is None else self.network
            put = "".join(f" + {spec} at {position}" for position, spec in self.blocks or ())
            return f"{whole}{put}"
        return f"{self.block} at {'x'.join(map(str, self.shape or ()))}"

    def key(self, *conditions: str) -> str:
        """Names a measurement by its cell and whatever else its result depends on."""
        return hashlib.sha256("\n".join((self.model_dump_json(), *conditions)).encode()).hexdigest()

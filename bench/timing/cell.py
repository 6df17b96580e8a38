"""A cell: what is timed, and under which conditions."""

from __future__ import annotations

import hashlib
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, PositiveInt, model_validator

Dtype = Literal["fp32", "tf32", "bf16", "fp16"]
MemoryFormat = Literal["contiguous", "channels_last_3d"]
Mode = Literal["eager", "cuda-graph", "compile"]
Phase = Literal["inference", "training"]


class Cell(BaseModel):
    """One measurement: a subject under conditions, each an axis of its own.

    The subject is a ``row``, at its own classes, frames and size or others; or a ``block`` (a spec
    such as ``pnl:n=3``) alone on inputs of ``shape`` (C, T, H, W).
    ``share``: the row is timed in turns with the same network without its blocks.
    ``device`` is torch's name, as this process numbers its devices. ``tf32`` is fp32 data with
    TF32 products, ``fp32`` has them off. ``cold``: the device's cache is emptied before every
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
    share: bool = False
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
        if (self.row is None) == (self.block is None):
            raise ValueError("a cell times a row or a block: give one of them")
        if (self.block is None) != (self.shape is None):
            raise ValueError("a block alone needs the shape of its input, and only a block does")
        if self.share and self.row is None:
            raise ValueError("the share of a block is measured inside a row")
        if self.block and any((self.classes, self.frames, self.size)):
            raise ValueError("classes, frames and size are a row's")
        if self.cold and self.row is not None:
            raise ValueError("only a block alone is timed with a cold cache")
        if self.device == "cpu" and self.mode == "cuda-graph":
            raise ValueError("CUDA graphs need a CUDA device")
        if self.device == "cpu" and self.dtype == "tf32":
            raise ValueError("TF32 needs a CUDA device")
        if self.mode == "cuda-graph" and self.phase == "training":
            raise ValueError("only inference is timed as a CUDA graph")
        return self

    @property
    def subject(self) -> str:
        """The row's name or the block with its shape, for people."""
        if self.row is not None:
            return self.row
        return f"{self.block} at {'x'.join(map(str, self.shape or ()))}"

    def key(self, *conditions: str) -> str:
        """Names a measurement by its cell and whatever else its result depends on."""
        return hashlib.sha256("\n".join((self.model_dump_json(), *conditions)).encode()).hexdigest()

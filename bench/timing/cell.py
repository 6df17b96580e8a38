"""A cell: what is timed, and under which conditions.

A field of :class:`Conditions` is an axis: what may vary between measurements of one target. From it
derive the options of commands, the combinations of a plan, the fields of cells and records, columns
and legends. A new axis is a field here, and its implementation in the worker.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import product
from typing import Annotated, Any, Literal, Self, get_args

from pydantic import BaseModel, ConfigDict, PositiveInt, ValidationError, model_validator

from vidcost.bench.errors import first_of

Dtype = Literal["fp32", "tf32", "bf16", "bf16-autocast", "fp16"]
MemoryFormat = Literal["contiguous", "channels_last_3d"]
Mode = Literal["eager", "cuda-graph", "compile"]
Phase = Literal["inference", "training"]


@dataclass(frozen=True)
class Axis:
    """An axis as people see it.

    ``label`` is the heading of its column, ``words`` its value in a legend ("" for nothing to say).
    ``help`` and ``metavar`` are those of its option; an axis without ``help`` has none of its own.
    """

    label: str
    words: Callable[[Any], str] = str
    help: str = ""
    metavar: str = ""


def _if_set(text: str) -> Callable[[Any], str]:
    return lambda value: text.format(value) if value else ""


class Conditions(BaseModel):
    """One value of each axis.

    ``tf32`` is fp32 data with TF32 products, ``fp32`` has them off; ``bf16-autocast`` is fp32 data
    under torch's autocast to bf16. ``threads`` compute on the CPU. classes, frames and size are a
    row's, None for its own.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    classes: Annotated[PositiveInt | None, Axis("Classes", _if_set("{} classes"))] = None
    frames: Annotated[PositiveInt | None, Axis("Frames", _if_set("{} frames"))] = None
    size: Annotated[PositiveInt | None, Axis("Size", _if_set("size {}"))] = None
    batch: Annotated[PositiveInt, Axis("Batch", "batch {}".format, "Clips in a pass.", "N")] = 1
    dtype: Annotated[Dtype, Axis("Dtype", str, "Data type.", "TYPE")] = "fp32"
    memory_format: Annotated[
        MemoryFormat, Axis("Layout", str, "Layout of 5D tensors.", "FORMAT")
    ] = "contiguous"
    mode: Annotated[Mode, Axis("Mode", str, "How passes are launched.", "MODE")] = "eager"
    phase: Annotated[Phase, Axis("Phase", str, "A forward pass, or a step.", "PHASE")] = "inference"
    cudnn_benchmark: Annotated[
        bool,
        Axis(
            "cuDNN benchmark",
            _if_set("cuDNN benchmark on"),
            "cuDNN tries its algorithms.",
            "CHOICE",
        ),
    ] = False
    processes: Annotated[
        PositiveInt,
        Axis(
            "Processes",
            lambda value: "" if value == 1 else f"{value} processes",
            "Processes that take samples, one after the other.",
            "N",
        ),
    ] = 1
    threads: Annotated[
        PositiveInt, Axis("Threads", lambda value: "1 thread" if value == 1 else f"{value} threads")
    ] = 1


AXES: Mapping[str, Axis] = {
    name: next(each for each in field.metadata if isinstance(each, Axis))
    for name, field in Conditions.model_fields.items()
}
"""The axes by name, in the order in which they are shown."""

OPTIONS = tuple(name for name, axis in AXES.items() if axis.help)
"""The axes that have an option of their own, which takes several values."""


def default(name: str) -> Any:
    """The value of an axis where nothing else is asked for, as an option takes it."""
    value = Conditions.model_fields[name].default
    return {False: "off", True: "on"}[value] if isinstance(value, bool) else value


def choices(name: str) -> tuple[str, ...]:
    """The values of an axis, as an option takes them; none for a number."""
    kind = Conditions.model_fields[name].annotation
    values = (each for each in get_args(kind) if isinstance(each, str))
    return ("off", "on") if kind is bool else tuple(values)


def combinations(conditions: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Every combination of values, as fields of a cell; the last axis changes fastest.

    ``conditions`` maps names, also ``device``, to one value or a list of values.
    """
    names = sorted(conditions, key=[*conditions.keys() - AXES.keys(), *AXES].index)
    values = (conditions[name] for name in names)
    lists = (value if isinstance(value, list | tuple) else [value] for value in values)
    for each in product(*lists):
        yield dict(zip(names, each, strict=True))


def varying(conditions: Iterable[Conditions]) -> list[str]:
    """The axes in which ``conditions`` differ."""
    known = list(conditions)
    return [name for name in AXES if len({getattr(each, name) for each in known}) > 1]


def in_words(conditions: Iterable[Conditions]) -> str:
    """The values that all ``conditions`` share, for people; nothing of none."""
    known = list(conditions)
    if not known:
        return ""
    apart = varying(known)
    words = (axis.words(getattr(known[0], n)) for n, axis in AXES.items() if n not in apart)
    return ", ".join(filter(None, words))


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
        if self.against is not None and self.against.against is not None:
            raise ValueError("a cell is interleaved with one other, which is no pair")
        for name in ("device", "batch", "phase", "threads"):
            if self.against and getattr(self, name) != getattr(self.against, name):
                raise ValueError(f"two cells that are interleaved have one {name}")
        return self

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
        raise ValueError(first_of(error)) from None

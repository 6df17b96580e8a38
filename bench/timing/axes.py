"""The axes of timing: what may vary between measurements of one target, in one table.

A field of :class:`Conditions` is an axis. From it derive the options of commands, the
combinations of a plan, the fields of cells and records, columns and legends. A new axis is a field
here, and its implementation in the worker.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import product
from typing import Annotated, Any, Literal, get_args

from pydantic import BaseModel, ConfigDict, PositiveInt

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
        PositiveInt,
        Axis("Threads", lambda value: "1 thread" if value == 1 else f"{value} threads"),
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
    return ("off", "on") if kind is bool else get_args(kind)


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

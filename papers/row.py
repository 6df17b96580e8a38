"""A row: a network at one clip size, by the name that every command and record uses; settings."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from fractions import Fraction
from functools import partial

import torch
from torch import nn

from vidcost.models.backbones.backbone import Blocks, Clip


@dataclass(frozen=True)
class Row:
    """One row: a network at one clip size.

    ``build`` takes the keywords classes, frames and size; None where no definition is public.
    ``inputs`` are the clips without the batch, (channels, frames, height, width) each: one, or
    more for a network of several streams. ``note`` says what is assumed, or why there is nothing
    to build. ``stills`` are the indices of inputs that are one frame whatever the clip.
    """

    name: str
    build: Callable[..., nn.Module] | None
    classes: int
    inputs: tuple[Clip, ...]
    note: str = ""
    stills: tuple[int, ...] = ()

    @property
    def frames(self) -> int:
        """Frames of the longest input."""
        return max(frames for _, frames, _, _ in self.inputs)

    @property
    def size(self) -> int:
        """The shorter side of the first input."""
        return min(self.inputs[0][2:])

    def at(
        self, *, classes: int | None = None, frames: int | None = None, size: int | None = None
    ) -> Row:
        """The same network for other classes or clips; None keeps what the row has.

        ``frames`` are those of the longest input and ``size`` is the shorter side of the first:
        all inputs are scaled alike, but for stills.
        Raises: ValueError if an input would not have whole frames or sides.
        """
        classes = self.classes if classes is None else classes
        if not self.inputs:
            return replace(self, classes=classes)
        longer = Fraction(self.frames if frames is None else frames, self.frames)
        larger = Fraction(self.size if size is None else size, self.size)
        clips: list[Clip] = []
        for index, (channels, *clip) in enumerate(self.inputs):
            factors = (1 if index in self.stills else longer, larger, larger)
            scaled = [extent * factor for extent, factor in zip(clip, factors, strict=True)]
            if any(extent != int(extent) for extent in scaled):
                old, new = ("x".join(map(str, extents)) for extents in (clip, scaled))
                raise ValueError(
                    f"{self.name}: an input of {old} would be {new}: choose frames and a size "
                    "that leave it whole"
                )
            clips.append((channels, int(scaled[0]), int(scaled[1]), int(scaled[2])))
        return replace(self, classes=classes, inputs=tuple(clips))

    def optimized(self) -> Row:
        """A variant of this row whose blocks are optimized, named with -optimized behind.

        Raises: ValueError if it has no blocks, is optimized already, or a block of it has one
                implementation only.
        """
        plain = self.without_blocks()
        if self.is_optimized:
            raise ValueError(f"{self.name} is optimized already: choose another row")
        assert isinstance(self.build, partial), self
        blocks: Blocks = self.build.keywords["blocks"]
        if not all("impl" in inspect.signature(block).parameters for block in blocks.values()):
            raise ValueError(f"{self.name} has a block of one implementation: choose another row")
        changed = {at: partial(each, impl="optimized") for at, each in blocks.items()}  # type: ignore[call-arg]
        note = f"variant: {self.name} with the optimized implementation of its blocks"
        return replace(plain.with_blocks(changed), name=f"{self.name}-optimized", note=note)

    @property
    def is_optimized(self) -> bool:
        """Whether it is another row with the optimized implementation of its blocks."""
        return self.name.endswith("-optimized")

    @property
    def has_blocks(self) -> bool:
        """Whether the network carries long-range blocks."""
        return isinstance(self.build, partial) and bool(self.build.keywords.get("blocks"))

    @property
    def network(self) -> Callable[..., nn.Module] | None:
        """What is built, whatever blocks are put into it."""
        return self.build.func if isinstance(self.build, partial) else self.build

    def without_blocks(self) -> Row:
        """The same network without its long-range blocks.

        Raises: ValueError if it has none.
        """
        if not self.has_blocks:
            raise ValueError(f"{self.name} has no blocks: choose a row with one")
        return self.with_blocks({})

    def with_blocks(self, blocks: Blocks) -> Row:
        """The same network with ``blocks`` instead of its own.

        Raises: ValueError if it takes none; an unknown position is rejected when it is built.
        """
        if self.build is None or "blocks" not in inspect.signature(self.build).parameters:
            raise ValueError(f"{self.name} takes no blocks: choose a network of one stream")
        return replace(self, build=partial(self.build, blocks=blocks))

    def model(self) -> nn.Module:
        """The network, with fresh weights, on torch's current default device.

        Raises: ValueError if the row has no public definition or the clip does not suit it.
        """
        if self.build is None:
            raise ValueError(f"{self.name} cannot be built: {self.note}")
        return self.build(classes=self.classes, frames=self.frames, size=self.size)

    def clips(self, batch: int = 1) -> tuple[torch.Tensor, ...]:
        """Random clips for the network, each (batch, channels, frames, height, width)."""
        return tuple(torch.randn(batch, *clip) for clip in self.inputs)


@dataclass(frozen=True, eq=False)
class Setting:
    """How a network may have been built otherwise than its row, named ``axis=choice``.

    Its effect are keywords for ``Row.at``, or an edit of the network in place, after which closed
    forms of what it changed no longer hold. It suits networks with a module of a type in ``of``.
    """

    name: str
    words: str
    edit: Callable[[nn.Module], None] | None = None
    of: tuple[type[nn.Module], ...] = (nn.Module,)
    at: Mapping[str, int] = field(default_factory=dict)

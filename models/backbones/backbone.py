"""What every network is: layers for clips of one size, with blocks at positions.

A position is ``stage:place``. Places between the units of a stage:
  - ``before-last``   once, between the last unit of the stage and the one before it
  - ``every-other``   after every second unit of the stage
  - ``after-K``       once, after the K-th unit (from 1)
A network may offer further places inside its units; it names them in its docstring.
"""

from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import ClassVar

from torch import Tensor, nn

BlockFactory = Callable[[int], nn.Module]
"""Builds a block for a number of channels."""

Blocks = Mapping[str, BlockFactory]
"""Positions and the blocks that go there."""

Unit = tuple[str, nn.Module, int]
"""A unit's name in the state dict, the unit, its output channels."""

Clip = tuple[int, int, int, int]
"""Input channels, frames, height, width."""

Triple = tuple[int, int, int]
"""Time, height, width."""

Layers = Iterator[tuple[str, nn.Module]]
"""Layers, each behind its name in the state dict."""


class Backbone(nn.Sequential):
    """A network for clips of one size: layers in a row, under the names of its authors' code.

    ``blocks`` go to the places of this module in ``stages``, given by their numbers of units, or to
    positions ``inside`` units. ``least`` are the frames and the side that the strides need.

    Shapes: (B, in_channels, frames, size, size) -> (B, classes).
    Raises: ValueError if classes or in_channels is below 1, the clip is too short or too small, or
            a position does not exist; from forward, for clips of another shape.
    """

    title: ClassVar[str]
    frames: ClassVar[int] = 16
    size: ClassVar[int] = 224
    stages: ClassVar[Mapping[str, int]]
    inside: ClassVar[Sequence[str]] = ()
    least: ClassVar[tuple[int, int]] = (1, 1)

    def __init__(
        self,
        *,
        classes: int = 400,
        frames: int | None = None,
        size: int | None = None,
        in_channels: int = 3,
        blocks: Blocks | None = None,
    ) -> None:
        frames = self.frames if frames is None else frames
        size = self.size if size is None else size
        for name, value in (("classes", classes), ("in_channels", in_channels)):
            if value < 1:
                raise ValueError(f"{self.title}: {name} must be at least 1, got {value}")
        if frames < self.least[0]:
            raise ValueError(
                f"{self.title}: a clip of {frames} frames is too short for its temporal strides, "
                f"at least {self.least[0]} are needed"
            )
        if size < self.least[1]:
            raise ValueError(
                f"{self.title}: frames of {size}x{size} are too small for its spatial strides, "
                f"at least {self.least[1]}x{self.least[1]} are needed"
            )
        for position in blocks or ():
            self._check_position(position)
        clip = (in_channels, frames, size, size)
        super().__init__(OrderedDict(self.layers(classes, clip, blocks or {})))
        self.clip = clip

    def layers(self, classes: int, clip: Clip, blocks: Blocks) -> Layers:
        """The layers by name, in the order in which they run."""
        raise NotImplementedError

    def forward(self, x: Tensor) -> Tensor:
        if x.dim() != 5 or tuple(x.shape[1:]) != self.clip:
            raise ValueError(
                f"built for clips of shape (B, {', '.join(map(str, self.clip))}), got "
                f"{tuple(x.shape)}: build the network with these frames, size and in_channels"
            )
        return super().forward(x)  # type: ignore[no-any-return, no-untyped-call]

    def with_blocks(self, stage: str, units: Sequence[Unit], blocks: Blocks) -> Layers:
        """Units in a row, with the blocks meant for ``stage`` between them, all by name.

        A block behind unit ``B05`` is called ``after_B05``, so the units keep their names, and
        their weights load with or without blocks.
        Raises: ValueError if two blocks would stand behind the same unit.
        """
        placed: dict[int, BlockFactory] = {}
        for position, factory in blocks.items():
            name, _, place = position.partition(":")
            for index in (_after(place, len(units)) if name == stage else None) or ():
                if index in placed:
                    where = f"after unit {index + 1} of {stage}"
                    raise ValueError(f"two blocks {where}: give each its own")
                placed[index] = factory
        for index, (key, unit, channels) in enumerate(units):
            yield key, unit
            if index in placed:
                yield f"after_{key}", placed[index](channels)

    def _check_position(self, position: str) -> None:
        """Raises: ValueError that names the positions there are, if this is none of them."""
        stage, _, place = position.partition(":")
        if position in self.inside:
            return
        if stage not in self.stages:
            raise ValueError(f"no position {position!r}: stages are {', '.join(self.stages)}")
        units = self.stages[stage]
        if _after(place, units) is None:
            places = ["before-last", "every-other", f"after-1 to after-{units}"]
            offered = (f"{stage}:{name}" for name in (places if units > 1 else ["after-1"]))
            choices = ", ".join((*offered, *self.inside))
            raise ValueError(f"no position {position!r}: choose from {choices}")


def named(**modules: nn.Module) -> nn.Sequential:
    """Modules in a row under these names."""
    return nn.Sequential(OrderedDict(modules))


def _after(place: str, units: int) -> list[int] | None:
    """Indices of the units behind which ``place`` puts a block; None if there is no such place."""
    if place == "before-last" and units >= 2:
        return [units - 2]
    if place == "every-other" and units >= 2:
        return list(range(1, units, 2))
    number = place.removeprefix("after-")
    if number != place and number.isdecimal() and 1 <= int(number) <= units:
        return [int(number) - 1]
    return None

"""Where in a network a block goes: positions, and stages with blocks between their units.

A position is ``stage:place``. Places between the units of a stage:
  - ``before-last``   once, between the last unit of the stage and the one before it
  - ``every-other``   after every second unit of the stage
  - ``after-K``       once, after the K-th unit (from 1)
A network may offer further places inside its units; it names them in its docstring.
"""

from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence

from torch import nn

BlockFactory = Callable[[int], nn.Module]
"""Builds a block for a number of channels."""

Blocks = Mapping[str, BlockFactory]
"""Positions and the blocks that go there."""

Unit = tuple[str, nn.Module, int]
"""A unit's name in the state dict, the unit, its output channels."""


def check_positions(blocks: Blocks, stages: Mapping[str, int], inside: Sequence[str] = ()) -> None:
    """Reject positions that a network lacks.

    Args: blocks; stages: the number of units of each stage; inside: positions inside units.
    Raises: ValueError that names the positions there are.
    """
    for position in blocks:
        if position in inside:
            continue
        stage, _, place = position.partition(":")
        if stage not in stages:
            raise ValueError(f"no position {position!r}: stages are {', '.join(stages)}")
        if _after(place, stages[stage]) is None:
            places = ["before-last", "every-other", f"after-1 to after-{stages[stage]}"]
            if stages[stage] == 1:
                places = ["after-1"]
            offered = [*(f"{stage}:{name}" for name in places), *inside]
            raise ValueError(f"no position {position!r}: choose from {', '.join(offered)}")


def with_blocks(name: str, units: Sequence[Unit], blocks: Blocks) -> list[tuple[str, nn.Module]]:
    """Units in a row, with the blocks meant for stage ``name`` between them, all by name.

    A block behind unit ``B05`` is called ``after_B05``, so the units keep their names, and their
    weights load with or without blocks.
    Raises: ValueError if two blocks would stand behind the same unit.
    """
    modules: list[tuple[str, nn.Module]] = []
    placed: dict[int, BlockFactory] = {}
    for position, factory in blocks.items():
        stage, _, place = position.partition(":")
        if stage != name:
            continue
        for index in _after(place, len(units)) or ():
            if index in placed:
                raise ValueError(f"two blocks after unit {index + 1} of {name}: give each its own")
            placed[index] = factory
    for index, (key, unit, channels) in enumerate(units):
        modules.append((key, unit))
        if index in placed:
            modules.append((f"after_{key}", placed[index](channels)))
    return modules


def stage_of(name: str, units: Sequence[Unit], blocks: Blocks) -> nn.Sequential:
    """The modules of :func:`with_blocks` as one: for stages that the state dict knows by name."""
    return nn.Sequential(OrderedDict(with_blocks(name, units, blocks)))


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

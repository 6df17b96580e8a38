"""Every recipe around a row, with its counts."""

from __future__ import annotations

import copy
import itertools
import math
from collections.abc import Iterator, Sequence

import torch
from torch import nn

from vidcost.bench.audit.recipes import (
    AXES,
    BLOCKS,
    CLASSES,
    FRAMES,
    Figures,
    Recipe,
    axes,
    built,
    edit,
    in_every_convention,
    in_order,
)
from vidcost.bench.count.counter import Count, count
from vidcost.papers.row import Row

Settings = tuple[tuple[str, str], ...]
BlockCounts = dict[tuple[str, tuple[int, ...], Settings], Figures]
"""Counts of blocks alone, by their place in the network, input shape and settings."""


AT_ONCE = 4
"""Networks in a piece of work: a second or more, beside which handing it over is nothing."""


def size(row: Row) -> int:
    """How many recipes there are around ``row``.

    Raises: ValueError if the row has no public definition.
    """
    return math.prod(map(len, _choices(row)))


def grid(
    row: Row, start: int = 0, stop: int | None = None
) -> Iterator[tuple[Recipe, Figures | None]]:
    """Every recipe around ``row`` and its counts, None if the network does not take its settings.

    ``start`` and ``stop`` choose among the :func:`networks`, whose blocks are varied. A network is
    counted once for all settings of its blocks, and each block alone for each of them: what a
    counter books is a sum over modules, so the parts add up to the whole. A test holds that against
    counts of the whole, and so should whoever reports one of these.
    Raises: ValueError if the row has no public definition.
    """
    of_block = [each for each in _choices(row) if _is_of_block(each)]
    counts: BlockCounts = {}
    for outside in networks(row)[start:stop]:
        try:
            parts = _Parts(Recipe(row, _merged(outside)), counts)
        except ValueError:
            parts = None
        for inside in itertools.product(*of_block):
            recipe = Recipe(row, _merged((*outside, *inside)))
            try:
                counted = parts.with_blocks(_merged(inside)) if parts else None
            except ValueError:
                counted = None
            yield recipe, counted


def networks(row: Row) -> list[tuple[Settings, ...]]:
    """Settings of the network around its blocks: every combination.

    Raises: ValueError if the row has no public definition.
    """
    of_network = [each for each in _choices(row) if not _is_of_block(each)]
    return list(itertools.product(*of_network))


def _choices(row: Row) -> list[list[Settings]]:
    """For each axis: no setting, and each choice that is not the row's own."""
    offered = axes(row)
    own = {CLASSES: str(row.classes), FRAMES: str(row.frames)}
    return [
        [(), *(((name, choice),) for choice in axis.choices if choice != own.get(name))]
        for name, axis in offered.items()
    ]


def _is_of_block(choices: Sequence[Settings]) -> bool:
    return AXES[choices[-1][0][0]].of_block


def _merged(settings: Sequence[Settings]) -> Settings:
    return in_order(dict(itertools.chain(*settings)))


class _Parts:
    """A network that was counted, and its long-range blocks, which can be counted apart."""

    def __init__(self, recipe: Recipe, counts: BlockCounts) -> None:
        model, counted = built(recipe)
        self.whole = in_every_convention(model, counted)
        self.blocks = [
            (name, _input_of(name, counted), module)
            for name, module in model.named_modules()
            if isinstance(module, BLOCKS)
        ]
        self.counts = counts

    def with_blocks(self, settings: Settings) -> Figures:
        """The counts of the network with its blocks changed."""
        params, flops = self.whole.params, dict(self.whole.flops)
        if not settings:
            return self.whole
        for block in self.blocks:
            before, after = self._alone(*block, ()), self._alone(*block, settings)
            params += after.params - before.params
            for name in flops:
                flops[name] += after.flops[name] - before.flops[name]
        return Figures(params, flops)

    def _alone(
        self, name: str, shape: tuple[int, ...], block: nn.Module, settings: Settings
    ) -> Figures:
        key = name, shape, settings
        if key not in self.counts:
            with torch.device("meta"):
                changed = copy.deepcopy(block)
                edit(changed, settings)
                x = torch.empty(shape)
            self.counts[key] = in_every_convention(changed, count(changed, x))
        return self.counts[key]


def _input_of(name: str, counted: Count) -> tuple[int, ...]:
    (shape,) = (call.input for call in counted.calls if call.module == name)
    assert shape is not None
    return shape

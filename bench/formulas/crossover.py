"""Where one block becomes cheaper than another: solved from the formulas, confirmed by counting."""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal, get_args

import sympy
import torch
from sympy import Expr
from torch import nn

from vidcost.bench.count.counter import Shape, count
from vidcost.bench.count.modules import ClosedFormMismatch
from vidcost.bench.formulas.symbols import H, T, W, at_shape, derived, in_extents
from vidcost.models.backbones.positions import BlockFactory

Along = Literal["N", "T", "H=W"]
ALONG: tuple[Along, ...] = get_args(Along)


@dataclass(frozen=True)
class Side:
    """A shape beside a crossover, and the MACs counted there."""

    at: int
    shape: Shape
    first: int
    second: int


@dataclass(frozen=True)
class Crossing:
    """A change of sign: the last shape before it, the first one after it.

    ``root`` is where the two cost the same, exactly; None along H=W if a formula has floors.
    """

    below: Side
    above: Side
    root: Expr | None

    @property
    def cheaper_below(self) -> Literal["first", "second"]:
        """The block with fewer MACs before the crossover; the other has fewer after it."""
        return "first" if self.below.first < self.below.second else "second"


@dataclass(frozen=True)
class Crossover:
    """Where two blocks change places between ``least`` and ``most`` along one axis.

    ``cheaper`` is the cheaper block before the first crossing, None if the two never differ.
    ``start`` is the shape there, counted. ``beyond`` are the roots above ``most``, exact.
    """

    along: Along
    least: int
    most: int
    start: Side
    cheaper: Literal["first", "second"] | None
    crossings: tuple[Crossing, ...]
    beyond: tuple[Expr, ...]


def crossover(
    first: BlockFactory,
    second: BlockFactory,
    *,
    channels: int,
    along: Along = "N",
    frames: int = 8,
    size: int = 14,
    most: int | None = None,
) -> Crossover:
    """Where ``first`` and ``second`` change places in MACs of one forward pass, batch 1.

    Along ``T`` the map stays ``size`` x ``size``; so it does along ``N``, which counts the
    positions of whole frames instead of the frames. Along ``H=W`` the ``frames`` stay. Searched
    up to ``most`` (default 1024 frames, or a side of 512).
    Without floors the roots are solved exactly; with floors, every whole number is tried.
    Raises: ValueError as the blocks do, or if no value up to ``most`` suits both blocks;
    ClosedFormMismatch if a block is counted otherwise than its formula says.
    """
    if along not in ALONG:
        raise ValueError(f"cannot go along {along!r}: choose from {', '.join(ALONG)}")
    with torch.device("meta"):
        blocks = first(channels), second(channels)
    axis = _Axis(along, channels, frames, size, most)
    formulas = [axis.along_it(derived(block).macs) for block in blocks]
    least = axis.least(blocks)
    difference = sympy.expand(formulas[0] - formulas[1])
    roots = None if difference.has(sympy.floor) else _roots(difference, axis.symbol)

    def side(value: int) -> Side:
        shape = axis.shape(value)
        expected = [int(formula.subs(axis.symbol, value)) for formula in formulas]
        counted = [count(block, torch.empty(shape, device="meta")).total.macs for block in blocks]
        if expected != counted:
            raise ClosedFormMismatch(
                f"at {'x'.join(map(str, shape))} the blocks were counted as {counted}, "
                f"their formulas say {expected}"
            )
        return Side(value * axis.step, shape, *counted)

    candidates = range(least, axis.most + 1) if roots is None else _around(roots, least, axis.most)
    signs = _signs(difference, axis.symbol, candidates)
    crossings = []
    for below, above in _changes(signs):
        within = [root for root in roots or () if below <= root <= above]
        root = axis.step * within[0] if within else None
        crossings.append(Crossing(side(below), side(above), root))
    return Crossover(
        along=along,
        least=least * axis.step,
        most=axis.most * axis.step,
        start=side(least),
        cheaper=("first" if signs[0][1] < 0 else "second") if signs else None,
        crossings=tuple(crossings),
        beyond=tuple(axis.step * root for root in roots or () if root > axis.most),
    )


class _Axis:
    """The line of shapes that is walked: whole frames or a side, and what stays."""

    def __init__(
        self, along: Along, channels: int, frames: int, size: int, most: int | None
    ) -> None:
        for name, value in (("frames", frames), ("size", size), ("most", most or 1)):
            if value < 1:
                raise ValueError(f"{name} must be at least 1, got {value}")
        self.over_frames = along != "H=W"
        self.symbol = T if self.over_frames else H
        self.step = size * size if along == "N" else 1
        self.most = most or (1024 if self.over_frames else 512)
        self._fixed = (1, channels, frames, size)

    def shape(self, value: int) -> Shape:
        """(B, C, T, H, W) at ``value`` frames, or at a side of it."""
        batch, channels, frames, size = self._fixed
        if self.over_frames:
            return batch, channels, value, size, size
        return batch, channels, frames, value, value

    def along_it(self, macs: Expr) -> Expr:
        """``macs`` with all but the walked symbol put in."""
        extents = at_shape(self.shape(1))
        del extents[self.symbol]
        if not self.over_frames:
            extents[W] = self.symbol
        return in_extents(macs).subs(extents)

    def least(self, blocks: Iterable[nn.Module]) -> int:
        """The smallest value that both blocks take.

        Raises: ValueError, the block's own, if there is none.
        """
        value = 1
        while True:
            try:
                for block in blocks:
                    block.cost(self.shape(value))  # type: ignore[operator]
            except ValueError:
                # more frames do not make a map larger
                if self.over_frames or value >= self.most:
                    raise
                value += 1
            else:
                return value


def _roots(polynomial: Expr, symbol: Expr) -> list[Expr]:
    """The positive real roots, in order, each once."""
    if not polynomial.has(symbol):
        return []
    # without the symbol's own assumption, by which sympy would drop roots
    x = sympy.Symbol("x")
    roots = sympy.real_roots(sympy.Poly(polynomial.subs(symbol, x), x), multiple=False)
    return sorted(root for root, _ in roots if root > 0)


def _around(roots: Iterable[Expr], least: int, most: int) -> list[int]:
    """Whole numbers that show every sign the difference takes at whole numbers."""
    near = {
        value
        for root in roots
        for value in range(int(sympy.floor(root)) - 1, int(sympy.floor(root)) + 3)
    }
    return sorted({least, *(value for value in near if least <= value <= most)})


def _signs(difference: Expr, symbol: Expr, values: Iterable[int]) -> list[tuple[int, int]]:
    """Values and the sign of the difference there, where it is not 0."""
    # floors of a side over a power of two are exact in floats, all else is whole numbers
    at = sympy.lambdify(symbol, difference, "math")
    signs = ((value, int(at(value) > 0) - int(at(value) < 0)) for value in values)
    return [(value, sign) for value, sign in signs if sign]


def _changes(signs: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """Neighbouring values with opposite signs; values where the two are equal lie between."""
    return [
        (below, above)
        for (below, before), (above, after) in itertools.pairwise(signs)
        if before != after
    ]

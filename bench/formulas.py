"""Closed forms of the long-range blocks in symbols, and where two blocks cost the same.

``general`` derives a block's form from the layers that it is made of, with n and G as symbols;
``derived`` puts the block's own n and G in. The blocks' ``cost`` is not read: tests compare both.

Symbols: B batch, C channels, T x H x W, N = T*H*W positions, N_k = T*floor(H/2^k)*floor(W/2^k)
positions of scale k, n scales, G groups; all positive integers.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import sympy
import torch
from sympy import Expr, Integer
from torch import nn

from vidcost.bench.count.counter import count
from vidcost.bench.count.modules import ClosedFormMismatch
from vidcost.bench.count.operands import Shape
from vidcost.models.backbones.backbone import BlockFactory
from vidcost.models.blocks.cgd import CGD
from vidcost.models.blocks.cgnl import CGNL
from vidcost.models.blocks.non_local import NonLocal, NonLocalOperation
from vidcost.models.blocks.pnl import PNL

B, C, T, H, W, N, G, n = sympy.symbols("B C T H W N G n", integer=True, positive=True)
k = sympy.Symbol("k", integer=True, nonnegative=True)
POSITIONS = sympy.IndexedBase("N")
"""POSITIONS[k] is N_k, which stays one letter until ``in_extents`` or ``smooth`` opens it."""

Layer = tuple[Expr, Expr, Expr]
"""A 1x1x1 convolution: channels in, channels out, positions."""
KINDS = ("params", "conv", "linear", "matmul")


@dataclass(frozen=True)
class Formula:
    """The cost of a block in symbols: parameters, and MACs by kind as in ``Cost``."""

    params: Expr = sympy.S.Zero
    conv: Expr = sympy.S.Zero
    linear: Expr = sympy.S.Zero
    matmul: Expr = sympy.S.Zero

    @property
    def macs(self) -> Expr:
        """Convolutions, linear layers and matrix products together."""
        return self.conv + self.linear + self.matmul

    def __add__(self, other: Formula) -> Formula:
        """Both together."""
        return Formula(*(getattr(self, kind) + getattr(other, kind) for kind in KINDS))

    def each(self, change: Callable[[Expr], Expr]) -> Formula:
        """The same change made to every expression."""
        return Formula(*(change(getattr(self, kind)) for kind in KINDS))

    def given(self, **values: int) -> Formula:
        """With values for ``n``, ``G`` or ``B``; a sum whose bounds are known is written out."""
        known = {symbol: values[symbol.name] for symbol in (n, G, B) if symbol.name in values}
        return self.each(lambda expr: expr.subs(known).doit().subs(POSITIONS[0], N))


def at_shape(expr: Expr, shape: Sequence[int]) -> Expr:
    """``expr`` for an input of ``shape`` (B, C, T, H, W), exactly: rational until it is whole."""
    return in_extents(expr).subs(dict(zip((B, C, T, H, W), shape, strict=True)))


def in_extents(expr: Expr) -> Expr:
    """N and N_k opened into T, H and W, with the floors of repeated halving."""

    def opened(scale: Expr) -> Expr:
        half = 2 ** scale.indices[0]
        return T * sympy.floor(H / half) * sympy.floor(W / half)

    return _replaced(expr, opened).subs(N, T * H * W)


def smooth(expr: Expr) -> Expr:
    """N_k as N/4^k, without floors."""
    return _replaced(expr, lambda scale: N / 4 ** scale.indices[0])


def _replaced(expr: Expr, by: Callable[[Expr], Expr]) -> Expr:
    return expr.replace(lambda e: isinstance(e, sympy.Indexed), by)


def derived(block: nn.Module) -> Formula:
    """The closed form of ``block``, with its own n or G, in B, C, N and the N_k.

    Any pairwise function, pooled keys, bias; PNL with either combination, shared or not.
    Raises: ValueError for a module that is none of NonLocal, CGNL, CGD and PNL.
    """
    return general(block).given(n=getattr(block, "n", 1), G=getattr(block, "groups", 1))


def general(block: nn.Module) -> Formula:
    """As ``derived``, but n and G stay symbols."""
    norm = Formula(params=2 * C)
    match block:
        case NonLocal(operation=operation):
            keys = POSITIONS[1] if operation.pool_keys else N
            return _per_clip(_operation(operation, C, N, keys)) + norm
        case PNL():
            per_clip = dependencies(block)
            if block.combine == "attention":
                per_clip += combination()
            return _per_clip(per_clip) + norm
        case CGNL():
            # t, p and g, then z in G groups: each output sees C/2G channels
            layers = [(C, C / 2, N)] * 3 + [(C / 2 / G, C, N)]
            # p . g and the scalar times t, over C/2G channels and N positions in each group
            products = Formula(matmul=2 * G * (C / 2 / G * N))
            return _per_clip(_convolutions(layers) + products) + norm
        case CGD():
            # three weight vectors and three biases; each weight vector meets one of C entries
            return Formula(params=6 * C, linear=3 * B * C)
    raise ValueError(f"no formula for {type(block).__name__}: only for NonLocal, CGNL, CGD and PNL")


def for_one_clip(block: nn.Module) -> Formula:
    """The general form for one clip."""
    return general(block).given(B=1)


def dependencies(block: PNL) -> Formula:
    """The non-local operation at every scale of ``block``, one clip, in n."""
    group, positions = C / n, POSITIONS[k]
    at_scale = _operation(block.operations[0], group, positions, positions)  # type: ignore[arg-type]
    summed = at_scale.each(lambda expr: sympy.Sum(expr, (k, 0, n - 1)))
    weights = at_scale.params * (1 if block.shared else n)
    return Formula(params=weights, conv=summed.conv, matmul=summed.matmul)


def combination() -> Formula:
    """f_comb as attention over scales, one clip, in n."""
    group = C / n
    width = group / 2
    return Formula(
        params=2 * group * width,
        linear=2 * n * group * width,  # Q and K of each scale's average
        # n x width by width x n, then n x n by n x (group N)
        matmul=n * width * n + n * n * (group * N),
    )


def _operation(operation: NonLocalOperation, channels: Expr, queries: Expr, keys: Expr) -> Formula:
    """A non-local operation on ``channels``, one clip."""
    inner = channels / 2
    embedded = operation.pairwise != "gaussian"
    concat = operation.pairwise == "concatenation"
    # g and phi are pooled after they are computed, unless their input is
    source = keys if operation.pool_first else queries
    layers: list[Layer] = [(channels, inner, source)]  # g
    if embedded:
        layers += [(channels, inner, queries), (channels, inner, source)]  # theta, phi
    layers += [(inner, channels, queries)]  # z
    biases = sum(out for _, out, _ in layers) if operation.bias else Integer(0)
    if concat:
        layers += [(inner, Integer(1), queries), (inner, Integer(1), keys)]  # w_f, in two halves
    scores = 0 if concat else queries * (inner if embedded else channels) * keys
    return _convolutions(layers) + Formula(params=biases, matmul=scores + queries * keys * inner)


def _convolutions(layers: Iterable[Layer]) -> Formula:
    layers = list(layers)
    return Formula(
        params=sum(read * out for read, out, _ in layers),
        conv=sum(read * out * positions for read, out, positions in layers),
    )


def _per_clip(formula: Formula) -> Formula:
    """B clips cost B times the MACs of one, and share the parameters."""
    return Formula(formula.params, B * formula.conv, B * formula.linear, B * formula.matmul)


# crossovers

Along = Literal["N", "H=W"]
FRAMES, SIZE = 8, 14
"""The extents that stay: a map of 14x14 along N, 8 frames along H=W."""
MOST_FRAMES, MOST_SIDE = 1024, 512

Place = tuple[int, int, int]
"""Positions or a side, and the MACs counted there of the first and the second block."""


class Crossing(NamedTuple):
    """Two blocks change places between ``below`` and ``above``.

    ``root`` is where they cost the same, exactly; None along H=W, if a formula has floors.
    """

    below: Place
    above: Place
    root: Expr | None


def crossover(
    first: BlockFactory, second: BlockFactory, *, channels: int, along: Along = "N"
) -> tuple[Place, list[Crossing]]:
    """Where ``first`` and ``second`` change places in MACs of one forward pass, batch 1.

    Every number of frames or side is tried, from the first that suits both blocks. N counts the
    positions of whole frames. Also returns the first place where they differ, or the first at all.
    Raises: ValueError as the blocks do; ClosedFormMismatch if a block is counted otherwise than its
            formula says.
    """
    with torch.device("meta"):
        blocks: list[Any] = [first(channels), second(channels)]
    symbol, most, step = (H, MOST_SIDE, 1) if along == "H=W" else (T, MOST_FRAMES, SIZE * SIZE)
    open_shape = (1, channels, *((FRAMES, H, H) if symbol is H else (T, SIZE, SIZE)))
    formulas = [at_shape(derived(block).macs, open_shape) for block in blocks]

    def shape(value: int) -> Shape:
        return tuple(value if extent is symbol else extent for extent in open_shape)

    def place(value: int) -> Place:
        x = torch.empty(shape(value), device="meta")
        counted = [count(block, x).total.macs for block in blocks]
        expected = [int(formula.subs(symbol, value)) for formula in formulas]
        if expected != counted:
            raise ClosedFormMismatch(
                f"at {'x'.join(map(str, shape(value)))} the blocks were counted as {counted}, "
                f"their formulas say {expected}"
            )
        return (value * step, counted[0], counted[1])

    least, rejected = 0, ValueError()
    while least < most:
        least += 1
        try:
            for block in blocks:
                block.cost(shape(least))
            break
        except ValueError as error:
            rejected = error
    else:
        raise rejected
    difference = sympy.expand(formulas[0] - formulas[1])
    roots = []
    if difference.has(symbol) and not difference.has(sympy.floor):
        # without the symbol's own assumption, by which sympy would drop roots
        x = sympy.Symbol("x")
        roots = sympy.real_roots(sympy.Poly(difference.subs(symbol, x), x))
    # floors of a side over a power of two are exact in floats, all else is whole numbers
    at = sympy.lambdify(symbol, difference, "math")
    signs = [(value, at(value) > 0) for value in range(least, most + 1) if at(value)]
    crossings = []
    for (below, was), (above, now) in itertools.pairwise(signs):
        if was != now:
            root = next((step * root for root in roots if below <= root <= above), None)
            crossings.append(Crossing(place(below), place(above), root))
    return place(signs[0][0] if signs else least), crossings

"""Closed forms of the long-range blocks in symbols, for one clip.

They are derived from the layers that a block is made of, at its defaults. The blocks' own ``cost``
is not read: tests compare both.

Symbols: C channels, T x H x W, N = T*H*W positions, N_k = T*floor(H/2^k)*floor(W/2^k) positions of
scale k, n scales, G groups; all positive integers.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import sympy
from sympy import Expr

C, T, H, W, N, G, n = sympy.symbols("C T H W N G n", integer=True, positive=True)
k = sympy.Symbol("k", integer=True, nonnegative=True)
POSITIONS = sympy.IndexedBase("N")
"""POSITIONS[k] is N_k, which stays one letter until ``at_shape`` or ``smooth`` opens it."""
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
        """With values for ``n`` or ``G``; a sum whose bounds are known is written out."""
        known = {symbol: values[symbol.name] for symbol in (n, G) if symbol.name in values}
        return self.each(lambda expr: expr.subs(known).doit().subs(POSITIONS[0], N))


def at_shape(expr: Expr, shape: Sequence[int]) -> Expr:
    """``expr`` for one clip of ``shape`` (C, T, H, W), exactly: rational until it is whole."""

    def opened(scale: Expr) -> Expr:
        half = 2 ** scale.indices[0]
        return T * sympy.floor(H / half) * sympy.floor(W / half)

    in_extents = _replaced(expr, opened).subs(N, T * H * W)
    return in_extents.subs(dict(zip((C, T, H, W), shape, strict=True)))


def smooth(expr: Expr) -> Expr:
    """N_k as N/4^k, without floors."""
    return _replaced(expr, lambda scale: N / 4 ** scale.indices[0])


def _replaced(expr: Expr, by: Callable[[Expr], Expr]) -> Expr:
    return expr.replace(lambda e: isinstance(e, sympy.Indexed), by)


def _operation(channels: Expr, positions: Expr) -> Formula:
    """Theta, phi and g to half the channels, z back, and two products over all pairs."""
    inner = channels / 2
    weights = 4 * channels * inner
    return Formula(weights, weights * positions, matmul=2 * positions * inner * positions)


_NORM = Formula(params=2 * C)
_GROUP = C / n
_WIDTH = _GROUP / 2
_SCALE = _operation(_GROUP, POSITIONS[k])
# t, p and g, then z in G groups: each output sees C/2G channels
_CGNL = 3 * C * (C / 2) + (C / 2 / G) * C

NL = _operation(C, N) + _NORM
"""NonLocal, embedded Gaussian, keys not pooled, no bias."""
# p . g and the scalar times t, over C/2G channels and N positions in each group
CGNL = Formula(_CGNL, _CGNL * N, matmul=2 * G * (C / 2 / G * N)) + _NORM
# three weight vectors and three biases; each weight vector meets one of C entries
CGD = Formula(params=6 * C, linear=3 * C)
DEPENDENCIES = Formula(
    _SCALE.params,
    sympy.Sum(_SCALE.conv, (k, 0, n - 1)),
    matmul=sympy.Sum(_SCALE.matmul, (k, 0, n - 1)),
)
"""The non-local operation at every scale of PNL, with shared weights."""
COMBINATION = Formula(
    params=2 * _GROUP * _WIDTH,
    linear=2 * n * _GROUP * _WIDTH,  # Q and K of each scale's average
    # n x width by width x n, then n x n by n x (group N)
    matmul=n * _WIDTH * n + n * n * (_GROUP * N),
)
"""PNL's f_comb as attention over scales."""
PNL = DEPENDENCIES + COMBINATION + _NORM

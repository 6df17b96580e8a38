"""Closed forms of the long-range blocks as symbols: as the paper prints them, and as they follow.

``printed`` holds Equations 4 to 9. ``general`` derives a block's form from the layers it is made
of, with n and G as symbols, and ``derived`` puts the block's own n and G in. The blocks' ``cost``
is not read: the tests hold the two against each other.

Symbols: B batch, C channels, T x H x W, N = T*H*W positions, N_k = T*floor(H/2^k)*floor(W/2^k)
positions of scale k, n scales, G groups; all positive integers. The paper counts one clip, so its
equations have no B.
Source of the equations: Xu et al. 2020, arXiv:2006.05091, section 3.3.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

import sympy
from sympy import Expr, Integer
from torch import nn

from vidcost.models.blocks.cgd import CGD
from vidcost.models.blocks.cgnl import CGNL
from vidcost.models.blocks.non_local import NonLocal
from vidcost.models.blocks.operation import NonLocalOperation
from vidcost.models.blocks.pnl import PNL
from vidcost.models.cost import Cost

B, C, T, H, W, N, G, n = sympy.symbols("B C T H W N G n", integer=True, positive=True)
k = sympy.Symbol("k", integer=True, nonnegative=True)
POSITIONS = sympy.IndexedBase("N")
"""POSITIONS[k] is N_k, which stays one letter until ``in_extents`` or ``smooth`` opens it."""

Layer = tuple[Expr, Expr, Expr]
"""A 1x1x1 convolution: channels in, channels out, positions."""


@dataclass(frozen=True)
class Formula:
    """What a block costs, in symbols: parameters, and MACs by kind as in ``Cost``.

    None stands where the paper gives nothing.
    """

    params: Expr | None
    conv: Expr
    linear: Expr | None
    matmul: Expr

    @property
    def macs(self) -> Expr:
        """Convolutions, linear layers and matrix products together, as far as they are given."""
        return self.conv + (self.linear or 0) + self.matmul

    def __add__(self, other: Formula) -> Formula:
        """Both together; what one of them does not give, the sum does not give."""
        return Formula(
            None if self.params is None or other.params is None else self.params + other.params,
            self.conv + other.conv,
            None if self.linear is None or other.linear is None else self.linear + other.linear,
            self.matmul + other.matmul,
        )

    def each(self, change: Callable[[Expr], Expr]) -> Formula:
        """The same change made to every expression."""
        return Formula(
            None if self.params is None else change(self.params),
            change(self.conv),
            None if self.linear is None else change(self.linear),
            change(self.matmul),
        )

    def given(self, **values: int) -> Formula:
        """With values for ``n``, ``G`` or ``B``; a sum whose bounds are known is written out."""
        known = {symbol: values[symbol.name] for symbol in (n, G, B) if symbol.name in values}
        return self.each(lambda expr: _written_out(expr.subs(known)))

    def at(self, shape: Sequence[int]) -> Cost:
        """The integers for an input of ``shape`` (B, C, T, H, W); n and G must be given before.

        Exact: everything stays rational until it is whole.
        Raises: ValueError if a quantity is no whole number there.
        """
        numbers = self.each(lambda expr: in_extents(expr).subs(at_shape(shape)))
        whole = {}
        for kind in ("params", "conv", "linear", "matmul"):
            value = getattr(numbers, kind)
            if value is None:
                continue
            if not value.is_Integer:
                raise ValueError(f"{kind} is {value}, no whole number, at {tuple(shape)}")
            whole[kind] = int(value)
        return Cost(**whole)


def at_shape(shape: Sequence[int]) -> dict[Expr, int]:
    """What the symbols of extents are at ``shape`` (B, C, T, H, W)."""
    return dict(zip((B, C, T, H, W), shape, strict=True))


def in_extents(expr: Expr) -> Expr:
    """N and N_k opened into T, H and W, with the floors of repeated halving."""

    def opened(scale: Expr) -> Expr:
        half = 2 ** scale.indices[0]
        return T * sympy.floor(H / half) * sympy.floor(W / half)

    return _replaced(expr, opened).subs(N, T * H * W)


def smooth(expr: Expr) -> Expr:
    """N_k as Equation 7 has it, N/4^k, without floors."""
    return _replaced(expr, lambda scale: N / 4 ** scale.indices[0])


def _replaced(expr: Expr, by: Callable[[Expr], Expr]) -> Expr:
    return expr.replace(lambda e: isinstance(e, sympy.Indexed), by)


def _written_out(expr: Expr) -> Expr:
    return expr.doit().subs(POSITIONS[0], N)


# As printed

EQUATIONS: dict[int, Expr] = {
    4: 2 * C**3 * N,
    5: C * N**2 / 2,
    6: 2 * C**3 * N + C * N**2,
    7: N / 4**k,
    8: 2 * C**3 * N / (n**3 * 4**k) + C * N**2 / (n * 16**k),
    9: sympy.Sum(4**-k, (k, 0, n - 1)) / n**3 * 2 * C**3 * N
    + sympy.Sum(16**-k, (k, 0, n - 1)) / n * C * N**2,
}
"""The right-hand sides of section 3.3, by number."""


def printed(block: Literal["nl", "pnl"]) -> Formula:
    """The paper's own form: Equations 4 to 6 (``nl``) or 9 (``pnl``), for one clip."""
    if block == "nl":
        return Formula(None, EQUATIONS[4], None, 2 * EQUATIONS[5])
    embeddings, products = (EQUATIONS[9].coeff(C, power) * C**power for power in (3, 1))
    return Formula(None, embeddings, None, products)


# As derived


def derived(block: nn.Module) -> Formula:
    """The closed form of ``block``, with its own n or G, in B, C, N and the N_k.

    Any pairwise function, pooled keys, bias; PNL with either combination, shared or not.
    Raises: ValueError for a module that is none of NonLocal, CGNL, CGD and PNL.
    """
    return general(block).given(n=getattr(block, "n", 1), G=getattr(block, "groups", 1))


def general(block: nn.Module) -> Formula:
    """As ``derived``, but n and G stay symbols."""
    norm = Formula(2 * C, Integer(0), Integer(0), Integer(0))
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
            products = 2 * G * (C / 2 / G * N)
            return _per_clip(_convolutions(layers) + _products(products)) + norm
        case CGD():
            # three weight vectors and three biases; each weight vector meets one of C entries
            return Formula(6 * C, Integer(0), 3 * B * C, Integer(0))
    raise ValueError(f"no formula for {type(block).__name__}: only for NonLocal, CGNL, CGD and PNL")


def dependencies(block: PNL) -> Formula:
    """The non-local operation at every scale of ``block``: what Equation 9 is about; one clip."""
    group, positions = C / n, POSITIONS[k]
    at_scale = _operation(block.operations[0], group, positions, positions)  # type: ignore[arg-type]
    summed = at_scale.each(lambda expr: sympy.Sum(expr, (k, 0, n - 1)))
    assert at_scale.params is not None
    weights = at_scale.params * (1 if block.shared else n)
    return Formula(weights, summed.conv, Integer(0), summed.matmul)


def combination() -> Formula:
    """f_comb as attention over scales, Equations 2 and 3: what Equation 9 leaves out; one clip."""
    group = C / n
    width = group / 2
    return Formula(
        params=2 * group * width,
        conv=Integer(0),
        linear=2 * n * group * width,  # Q and K of each scale's average
        # n x width by width x n, then n x n by n x (group N)
        matmul=n * width * n + n * n * (group * N),
    )


def _operation(operation: NonLocalOperation, channels: Expr, queries: Expr, keys: Expr) -> Formula:
    """A non-local operation on ``channels``, one clip."""
    inner = channels / 2
    embedded = operation.pairwise != "gaussian"
    concat = operation.pairwise == "concatenation"
    layers: list[Layer] = [(channels, inner, queries)]  # g, pooled after it is computed
    if embedded:
        layers += [(channels, inner, queries), (channels, inner, queries)]  # theta, phi
    layers += [(inner, channels, queries)]  # z
    biases = sum(out for _, out, _ in layers) if operation.bias else Integer(0)
    if concat:
        layers += [(inner, Integer(1), queries), (inner, Integer(1), keys)]  # w_f, in two halves
    scores = 0 if concat else queries * (inner if embedded else channels) * keys
    return (
        _convolutions(layers)
        + _products(scores + queries * keys * inner)
        + Formula(biases, Integer(0), Integer(0), Integer(0))
    )


def _convolutions(layers: Iterable[Layer]) -> Formula:
    layers = list(layers)
    return Formula(
        params=sum(read * out for read, out, _ in layers),
        conv=sum(read * out * positions for read, out, positions in layers),
        linear=Integer(0),
        matmul=Integer(0),
    )


def _products(macs: Expr) -> Formula:
    return Formula(Integer(0), Integer(0), Integer(0), macs)


def _per_clip(formula: Formula) -> Formula:
    """B clips cost B times the MACs of one, and share the parameters."""
    return Formula(
        formula.params,
        B * formula.conv,
        None if formula.linear is None else B * formula.linear,
        B * formula.matmul,
    )


# What can be proved of them


def lower_bound(expr: Expr) -> Expr:
    """A polynomial in C and N that ``expr``, one in C, N and the N_k, is never below.

    0 <= N_k <= N/4^k: a term with an N_k that adds is dropped, one that subtracts gets N/4^k.
    """
    bound = Integer(0)
    for term in sympy.Add.make_args(sympy.expand(expr)):
        if term.has(sympy.Indexed) and term.as_coeff_Mul()[0] > 0:
            continue
        bound += smooth(term)
    return sympy.expand(bound)


def surely_positive(expr: Expr, *, channels: int = 1, positions: int = 1) -> bool:
    """Whether ``expr``, a polynomial in C and N, is proved > 0 for all C, N from these values on.

    The proof: written in C - channels and N - positions, which are 0 or more, no coefficient is
    negative and the constant is positive. False means not proved.
    """
    moved = sympy.Poly(expr.subs({C: C + channels, N: N + positions}, simultaneous=True), C, N)
    return bool(moved.eval((0, 0)) > 0 and all(c >= 0 for c in moved.coeffs()))

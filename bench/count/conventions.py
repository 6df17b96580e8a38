"""The counters' conventions: for each, from our MACs to its integers by named terms."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, get_args

from torch import nn

from vidcost.bench.count import fvcore_convention, thop_convention
from vidcost.bench.count.counter import Count
from vidcost.bench.count.term import Explanation, Term, Terms

Convention = Literal["fvcore", "thop", "thop-2020", "torch"]
CONVENTIONS: tuple[Convention, ...] = get_args(Convention)
"""fvcore and thop as installed; thop of May 2020; torch's FlopCounterMode, halved."""

_Terms = Callable[[nn.Module, Count], tuple[Term, ...]]


_TORCH_UNSEEN = ("mv", "addmv", "dot", "vdot", "addr", "addbmm", "affine_grid_generator")


def _torch(model: nn.Module, count: Count) -> tuple[Term, ...]:
    terms = Terms()
    for operation in count.operations:
        if operation.operator in _TORCH_UNSEEN:
            terms.add(f"{operation.operator} unseen", "products", -operation.amount)
    return terms.done()


def _none(model: nn.Module, count: Count) -> tuple[Term, ...]:
    return ()


def _thop(version: thop_convention.Version) -> tuple[_Terms, _Terms]:
    return (
        lambda model, count: thop_convention.flop_terms(model, count, version),
        lambda model, count: thop_convention.param_terms(model, count, version),
    )


_TERMS: dict[Convention, tuple[_Terms, _Terms | None]] = {
    "fvcore": (fvcore_convention.flop_terms, _none),
    "thop": _thop(thop_convention.INSTALLED),
    "thop-2020": _thop(thop_convention.MAY_2020),
    # it prints no parameters
    "torch": (_torch, None),
}


def explain(convention: Convention, model: nn.Module, count: Count) -> Explanation:
    """What ``convention`` should print for the ``model`` that was counted, and why.

    It reads only the trace and the types of the modules, never the counter it explains.
    """
    flop_terms, param_terms = _TERMS[convention]
    total = count.total
    return Explanation(
        macs={"convolutions": total.conv, "products": total.linear + total.matmul},
        flop_terms=flop_terms(model, count),
        params=total.params,
        param_terms=None if param_terms is None else param_terms(model, count),
    )


def flops(convention: str, model: nn.Module, count: Count) -> int:
    """The FLOPs that ``convention`` prints; ``macs`` is ours.

    Raises: ValueError if there is no such convention.
    """
    if convention == "macs":
        return count.total.macs
    return explain(named(convention), model, count).flops


def named(convention: str) -> Convention:
    """The convention of that name.

    Raises: ValueError if there is none.
    """
    for known in CONVENTIONS:
        if known == convention:
            return known
    raise ValueError(
        f"unknown convention {convention!r}: choose from macs, {', '.join(CONVENTIONS)}"
    )

"""Asks every counter about every operator of :mod:`vidcost.bench.count.operators`.

Each runs as it is installed, in an isolated process, with gradients enabled.
"""

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from vidcost.bench.count.counter import UncountedOperator, count
from vidcost.bench.count.operators import OPERATORS, Operator
from vidcost.bench.count.references.asking import ALL, DEFAULT, quiet
from vidcost.bench.count.references.reference import Convention, fault_of, importable, version
from vidcost.bench.isolation import Failed, isolated

OURS = "ours"
TIME_LIMIT_S = 120.0

Figure = int | str
"""A counter's integer for an operator, or a status such as "raises TypeError"."""


@dataclass(frozen=True)
class Statement:
    """A counter's figures by operator.

    ``error`` says why it could not be asked at all; every figure then is a status.
    """

    counter: str
    version: str
    figures: Mapping[str, Figure]
    error: str = ""


def ask_counters() -> tuple[Statement, ...]:
    """Ours, then the reference counters; optional ones if they are installed."""
    names = [n for n, each in ALL.items() if n in DEFAULT or each.version != "not installed"]
    with ThreadPoolExecutor(len(names)) as pool:
        answers = pool.map(_ask, names)
        return (ours(), *answers)


def ours() -> Statement:
    """What our counter says of every operator, on the meta device."""
    figures = _each(lambda operator: count(*_on("meta", operator)).total.macs)
    return Statement(OURS, version("vidcost"), figures)


def why(counter: Any, operator: Operator, figure: int) -> str:
    """The terms by which a counter arrives at ``figure``; "" if they give another one."""
    network, *inputs = _on("meta", operator)
    try:
        explanation = ALL[counter].explain(network, count(network, *inputs))["flops"]
    except (KeyError, UncountedOperator):  # of ours there is none
        return ""
    names = "; ".join(term.name for term in explanation.terms)
    return names if explanation.total == figure else ""


def failures(statements: Sequence[Statement]) -> list[str]:
    """A line for each operator that ours gets wrong and each counter that could not be asked."""
    lines = [f"{s.counter} could not be asked: {s.error}" for s in statements if s.error]
    for statement in statements:
        for operator in OPERATORS if statement.counter == OURS else ():
            figure, macs = statement.figures[operator.name], operator.macs
            if figure != macs:
                words = figure if isinstance(figure, str) else f"counts {figure:,}"
                lines.append(f"{operator.name}: ours {words}, the MACs are {macs:,}")
    return lines


def _each(figure: Callable[[Operator], int]) -> dict[str, Figure]:
    figures: dict[str, Figure] = {}
    for operator in OPERATORS:
        try:
            figures[operator.name] = figure(operator)
        except Exception as error:  # whatever a counter raises is its answer
            figures[operator.name] = f"raises {type(error).__name__}"
    return figures


def _on(device: str, operator: Operator) -> tuple[nn.Module, *tuple[Tensor, ...]]:
    with torch.device(device):
        return operator.network().eval(), *operator.inputs()


def _ask(name: Convention) -> Statement:
    status = "missing"
    try:
        figures, error = isolated(TIME_LIMIT_S, _figures_of, name)
    except Failed as failed:
        status, error = "timed out" if failed.status == "timed out" else "crashed", str(failed)
    if error:
        figures = {operator.name: status for operator in OPERATORS}
    # without the build of torch: figures do not depend on it
    return Statement(name, ALL[name].version.partition("+")[0], figures, error)


def _figures_of(name: Convention) -> tuple[dict[str, Figure], str]:
    """What runs in the isolated process: all figures, or why there are none."""
    reference = ALL[name]

    def figure(operator: Operator) -> int:
        network, *inputs = _on("cpu", operator)
        return reference.answer(network, tuple(x.detach() for x in inputs)).flops or 0

    with quiet(), importable(reference):
        fault = fault_of(reference)
        return {} if fault else _each(figure), fault

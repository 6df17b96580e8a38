"""Asks every counter about every operator and network of :mod:`vidcost.bench.count.operators`.

Each runs as it is installed, in an isolated process, with gradients enabled.
"""

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from vidcost.bench.count.counter import count
from vidcost.bench.count.operators import CASES, Operator
from vidcost.bench.count.reconcile import entries
from vidcost.bench.count.references.asking import ALL, DEFAULT, quiet
from vidcost.bench.count.references.reference import Convention, fault_of, importable, version
from vidcost.bench.isolation import Failed, isolated

OURS = "ours"
TIME_LIMIT_S = 600.0

Figure = int | str
"""A counter's integer for an operator, or a status such as "raises TypeError"."""


@dataclass(frozen=True)
class Statement:
    """A counter's figures by operator, and the terms that explain them, if they do.

    ``error`` says why it could not be asked at all; every figure then is a status.
    """

    counter: str
    version: str
    figures: Mapping[str, Figure]
    terms: Mapping[str, str] = field(default_factory=dict)
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


def failures(statements: Sequence[Statement]) -> list[str]:
    """A line for each operator that ours gets wrong and each counter that could not be asked."""
    lines = [f"{s.counter} could not be asked: {s.error}" for s in statements if s.error]
    for statement in statements:
        for operator in CASES if statement.counter == OURS else ():
            figure, macs = statement.figures[operator.name], operator.macs
            if figure != macs:
                words = figure if isinstance(figure, str) else f"counts {figure:,}"
                lines.append(f"{operator.name}: ours {words}, the MACs are {macs:,}")
    return lines


def _each(figure: Callable[[Operator], int]) -> dict[str, Figure]:
    figures: dict[str, Figure] = {}
    for operator in CASES:
        try:
            figures[operator.name] = figure(operator)
        except Exception as error:  # whatever a counter raises is its answer
            figures[operator.name] = f"raises {type(error).__name__}"
    return figures


def _on(device: str, operator: Operator) -> tuple[nn.Module, *tuple[Tensor, ...]]:
    with torch.device(device):
        return operator.network().eval(), *operator.inputs()


def _ask(name: Convention) -> Statement:
    status, terms = "missing", dict[str, str]()
    try:
        figures, terms, error = isolated(TIME_LIMIT_S, _figures_of, name)
    except Failed as failed:
        status, error = "timed out" if failed.status == "timed out" else "crashed", str(failed)
    if error:
        figures = {operator.name: status for operator in CASES}
    # without the build of torch: figures do not depend on it
    return Statement(name, ALL[name].version.partition("+")[0], figures, terms, error)


def _figures_of(name: Convention) -> tuple[dict[str, Figure], dict[str, str], str]:
    """What runs in the isolated process: all figures with their terms, or why there are none."""
    reference, terms = ALL[name], dict[str, str]()

    def figure(operator: Operator) -> int:
        network, *inputs = _on("cpu", operator)
        answer = reference.answer(network, tuple(x.detach() for x in inputs))
        network, *inputs = _on("meta", operator)
        explained = {name: reference.explain(network, count(network, *inputs))}
        (entry, *_) = entries(operator.name, explained, {name: answer})
        if entry.remainder == 0:
            terms[operator.name] = "; ".join(term.name for term in entry.terms)
        return answer.flops or 0

    with quiet(), importable(reference):
        fault = fault_of(reference)
        return {} if fault else _each(figure), terms, fault

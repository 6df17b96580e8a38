"""Asks every counter about every operator and network of :mod:`conformance.operators`.

Each runs as it is installed, in an isolated process, without gradients.
"""

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from conformance.operators import CASES, Operator
from vidcost.bench.count.counter import count
from vidcost.bench.count.reconcile import Entry, reconcile_network
from vidcost.bench.count.references.asking import ALL, DEFAULT
from vidcost.bench.count.references.reference import Convention, version
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
    figures: dict[str, Figure] = {}
    for operator in CASES:
        try:
            figures[operator.name] = count(*_on("meta", operator)).total.macs
        except ValueError as error:
            figures[operator.name] = f"raises {type(error).__name__}"
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


def _on(device: str, operator: Operator) -> tuple[nn.Module, *tuple[Tensor, ...]]:
    with torch.device(device):
        return operator.network().eval(), *(x.detach() for x in operator.inputs())


def _ask(name: Convention) -> Statement:
    entries, status = list[Entry](), "missing"
    try:
        entries = isolated(TIME_LIMIT_S, _entries, name)
        error = next((each.error for each in entries if each.status == status), "")
    except Failed as failed:
        status, error = "timed out" if failed.status == "timed out" else "crashed", str(failed)
    figures: dict[str, Figure] = {operator.name: status for operator in CASES}
    for each in entries if not error else ():
        raised = f"raises {each.error.partition(':')[0]}"
        figures[each.row] = raised if each.printed is None else each.printed
    terms = {e.row: "; ".join(term.name for term in e.terms) for e in entries if e.remainder == 0}
    # without the build of torch: figures do not depend on it
    return Statement(name, ALL[name].version.partition("+")[0], figures, terms, error)


def _entries(name: Convention) -> list[Entry]:
    """What runs in the isolated process."""
    networks = ((operator.name, *_on("cpu", operator)) for operator in CASES)
    return [reconcile_network(row, net, x, (name,))[0] for row, net, *x in networks]

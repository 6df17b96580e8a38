"""Asks every counter about every operator of :mod:`vidcost.bench.count.operators`.

Packages run as they are installed, in isolated processes, with gradients enabled.
"""

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from vidcost.bench.count.counter import UncountedOperator, count
from vidcost.bench.count.operators import OPERATORS, Operator
from vidcost.bench.count.references.asking import ALL, OPTIONAL, REFERENCE_COUNTERS, quiet
from vidcost.bench.count.references.reference import (
    Convention,
    Explanation,
    fault_of,
    importable,
    version,
)
from vidcost.bench.count.training import count_training
from vidcost.bench.isolation import Failed, isolated

OURS = "ours"
TIME_LIMIT_S = 120.0
DIFFERENTIABLE = [operator for operator in OPERATORS if operator.has_gradient]

Figure = int | str
"""A counter's integer for an operator, or a status such as "raises TypeError"."""


@dataclass(frozen=True)
class Statement:
    """A counter's answers by operator, of the forward and of the backward pass.

    ``backward`` is empty if it counts no backward pass. ``error`` says why a counter could not be
    asked at all; every answer then is a status.
    """

    counter: str
    version: str
    forward: Mapping[str, Figure]
    backward: Mapping[str, Figure] = field(default_factory=dict)
    error: str = ""


def ask_counters() -> tuple[Statement, ...]:
    """Ours, then the packages, thop of May 2020, and torch's counter on CPU and meta.

    Optional counters are asked if they are installed. FLOPs of torch's counter are halved: it
    counts a multiply-accumulate as two.
    """
    names = [name for name, reference in REFERENCE_COUNTERS.items() if reference.package]
    names += [name for name, each in OPTIONAL.items() if each.version != "not installed"]
    with ThreadPoolExecutor(len(names)) as pool:
        packages = [pool.submit(_ask_package, name) for name in names]
        thop_2020 = REFERENCE_COUNTERS["thop-2020"]
        first, *others = (
            ours(),
            Statement(
                "thop-2020",
                f"{thop_2020.version}, re-implemented",
                _each(lambda operator: _explanation("thop-2020", operator).total),
            ),
            _torch_on("CPU", "cpu"),
            _torch_on("meta", "meta"),
        )
        return (first, *(package.result() for package in packages), *others)


def ours() -> Statement:
    """What our counter says of every operator, on the meta device."""
    return Statement(
        OURS,
        version("vidcost"),
        _each(lambda operator: count(*_on("meta", operator)).total.macs),
        _each(
            lambda operator: count_training(*_on("meta", operator)).backward.total.macs,
            DIFFERENTIABLE,
        ),
    )


def why(counter: str, operator: Operator, figure: int) -> str:
    """The terms by which a counter arrives at ``figure`` in a forward pass; "" if at another."""
    try:
        explanation = _explanation(counter.partition(" ")[0], operator)
    except (KeyError, UncountedOperator):  # of ours there is none
        return ""
    names = "; ".join(term.name for term in explanation.terms)
    return names if explanation.total == figure else ""


def _explanation(counter: Any, operator: Operator) -> Explanation:
    network, *inputs = _on("meta", operator)
    return ALL[counter].explain(network, count(network, *inputs)).flops


def failures(statements: Sequence[Statement]) -> list[str]:
    """A line for each operator that ours gets wrong and each counter that could not be asked."""
    lines = [
        f"{each.counter} could not be asked: {each.error}" for each in statements if each.error
    ]
    for statement in statements:
        for operator in OPERATORS if statement.counter == OURS else ():
            for phase, true, said in (
                ("forward", operator.macs, statement.forward),
                ("backward", operator.backward, statement.backward),
            ):
                if true is not None and (figure := said[operator.name]) != true:
                    words = figure if isinstance(figure, str) else f"counts {figure:,}"
                    lines.append(f"{operator.name}: ours {words}, the {phase} MACs are {true:,}")
    return lines


def _each(
    count: Callable[[Operator], float], operators: Sequence[Operator] = OPERATORS
) -> dict[str, Figure]:
    return {operator.name: _figure(count, operator) for operator in operators}


def _figure(count: Callable[[Operator], float], operator: Operator) -> Figure:
    try:
        figure = count(operator)
        return int(figure) if int(figure) == figure else f"answers {figure}"
    except Exception as error:  # whatever a counter raises is its answer
        return f"raises {type(error).__name__}"


def _on(device: str, operator: Operator) -> tuple[nn.Module, *tuple[Tensor, ...]]:
    with torch.device(device):
        return operator.network().eval(), *operator.inputs()


def _torch_on(name: str, device: str) -> Statement:
    return Statement(
        f"torch on {name}",
        # without the build: figures do not depend on it
        version("torch").partition("+")[0],
        _each(lambda operator: _torch(operator, device)[0]),
        _each(lambda operator: _torch(operator, device)[1], DIFFERENTIABLE),
    )


def _torch(operator: Operator, device: str) -> tuple[float, float]:
    """Half the FLOPs of torch's counter, forward and backward."""
    # imports torch's compiler, which takes a second
    from torch.utils.flop_counter import FlopCounterMode

    network, *inputs = _on(device, operator)
    with FlopCounterMode(display=False) as counter:
        out = network(*inputs)
        forward = counter.get_total_flops()
        if operator.backward is not None:
            out.sum().backward()
    return forward / 2, (counter.get_total_flops() - forward) / 2


def _ask_package(name: Convention) -> Statement:
    reference = ALL[name]
    status, error = "missing", ""
    try:
        answers, error = isolated(TIME_LIMIT_S, _answers_of, name)
    except Failed as failed:
        status, error = "timed out" if failed.status == "timed out" else "crashed", str(failed)
    if error:
        answers = {operator.name: status for operator in OPERATORS}
    return Statement(name, reference.version, answers, error=error)


def _answers_of(name: Convention) -> tuple[dict[str, Figure], str]:
    """What runs in the isolated process: all answers, or why there are none."""
    reference = ALL[name]
    profile = reference.profile
    assert profile is not None, name

    def figure(operator: Operator) -> float:
        network, *inputs = _on("cpu", operator)
        return profile(network, tuple(x.detach() for x in inputs)).flops

    with quiet(), importable(reference):
        fault = fault_of(reference)
        return {} if fault else _each(figure), fault

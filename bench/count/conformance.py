"""Asks every counter about every operator of :mod:`vidcost.bench.count.operators`.

Counters are called as their documentation shows; fvcore and thop in isolated processes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from vidcost.bench.count.counter import count
from vidcost.bench.count.operators import OPERATORS, Operator
from vidcost.bench.count.references import thop2020
from vidcost.bench.count.references.reference import fault_of, version
from vidcost.bench.count.training import count_training
from vidcost.bench.isolation import Failed, isolated

OURS = "ours"
TIME_LIMIT_S = 120.0
DIFFERENTIABLE = [operator for operator in OPERATORS if operator.has_gradient]


@dataclass(frozen=True)
class Said:
    """A counter's integer for an operator, or a status such as "raises TypeError"."""

    figure: int | None = None
    status: str = ""


@dataclass(frozen=True)
class Statement:
    """A counter's answers by operator, of the forward and of the backward pass.

    ``backward`` is empty if it counts no backward pass. ``error`` says why a counter could not be
    asked at all; every answer then is a status.
    """

    counter: str
    version: str
    forward: Mapping[str, Said]
    backward: Mapping[str, Said] = field(default_factory=dict)
    error: str = ""


def ask_counters() -> tuple[Statement, ...]:
    """Ours, then fvcore, thop, thop of May 2020, and torch's counter on CPU and meta.

    FLOPs of torch's counter are halved: it counts a multiply-accumulate as two.
    """
    with ThreadPoolExecutor(len(_PACKAGES)) as pool:
        packages = [pool.submit(_ask_package, package) for package in _PACKAGES]
        ours = Statement(
            OURS, version("vidcost"), _each(_ours), _each(_ours_backward, DIFFERENTIABLE)
        )
        others = [
            Statement("thop-2020", thop2020.COUNTER.version, _each(_thop_2020)),
            _torch_on("CPU", "cpu"),
            _torch_on("meta", "meta"),
        ]
        return (ours, *(package.result() for package in packages), *others)


def failures(statements: Sequence[Statement]) -> list[str]:
    """A line for each operator that ours gets wrong and each counter that could not be asked."""
    lines = []
    for statement in statements:
        if statement.error:
            lines.append(f"{statement.counter} could not be asked: {statement.error}")
        if statement.counter != OURS:
            continue
        for operator in OPERATORS:
            for phase, true, said in (
                ("forward", operator.macs, statement.forward),
                ("backward", operator.backward, statement.backward),
            ):
                answer = Said(true) if true is None else said[operator.name]
                if answer.figure != true:
                    figure = answer.status or f"counts {answer.figure:,}"
                    lines.append(f"{operator.name}: ours {figure}, the {phase} MACs are {true:,}")
    return lines


def _each(
    figure: Callable[[Operator], float], operators: Sequence[Operator] = OPERATORS
) -> dict[str, Said]:
    return {operator.name: _said(figure, operator) for operator in operators}


def _said(figure: Callable[[Operator], float], operator: Operator) -> Said:
    try:
        said = figure(operator)
        return Said(int(said)) if int(said) == said else Said(status=f"answers {said}")
    except Exception as error:  # whatever a counter raises is its answer
        return Said(status=f"raises {type(error).__name__}")


def _on(device: str, operator: Operator) -> tuple[nn.Module, tuple[Tensor, ...]]:
    with torch.device(device):
        return operator.network().eval(), operator.inputs()


def _ours(operator: Operator) -> int:
    network, inputs = _on("meta", operator)
    return count(network, *inputs).total.macs


def _ours_backward(operator: Operator) -> int:
    network, inputs = _on("meta", operator)
    return count_training(network, *inputs).backward.total.macs


def _thop_2020(operator: Operator) -> float:
    return thop2020.profile(*_on("meta", operator)).flops


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

    network, inputs = _on(device, operator)
    with FlopCounterMode(display=False) as counter:
        out = network(*inputs)
        forward = counter.get_total_flops()
        if operator.backward is not None:
            out.sum().backward()
    return forward / 2, (counter.get_total_flops() - forward) / 2


def _fvcore(operator: Operator) -> float:
    from fvcore.nn import FlopCountAnalysis

    network, inputs = _on("cpu", operator)
    # as its documentation calls it, without no_grad
    analysis = FlopCountAnalysis(network, tuple(x.detach() for x in inputs))
    analysis.unsupported_ops_warnings(False).uncalled_modules_warnings(False)
    return float(analysis.total())


def _thop(operator: Operator) -> float:
    import thop

    network, inputs = _on("cpu", operator)
    return float(thop.profile(network, inputs, verbose=False)[0])


_PACKAGES: Mapping[str, Callable[[Operator], float]] = {"fvcore": _fvcore, "thop": _thop}
"""Counters that change networks and torch."""


def _ask_package(package: str) -> Statement:
    try:
        answers = isolated(TIME_LIMIT_S, _answers_of, package)
    except Failed as failed:
        answers = "timed out" if failed.status == "timed out" else "crashed", str(failed)
    if isinstance(answers, dict):
        return Statement(package, version(package), answers)
    return unasked(package, *answers)


def unasked(package: str, status: str, error: str) -> Statement:
    """The statement of a counter that could not be asked."""
    answers = {operator.name: Said(status=status) for operator in OPERATORS}
    return Statement(package, version(package), answers, error=error)


def _answers_of(package: str) -> dict[str, Said] | tuple[str, str]:
    """What runs in the isolated process: all answers, or why there are none."""
    return fault_of(package) or _each(_PACKAGES[package])

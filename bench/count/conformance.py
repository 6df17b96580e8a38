"""Asks every counter about every operator of :mod:`vidcost.bench.count.operators`.

fvcore and thop leave marks in networks and in torch, so each answers all questions in a process of
its own: this module is both sides, as :mod:`vidcost.bench.count.reference_counter` is for rows.
"""

from __future__ import annotations

import contextlib
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import torch
from pydantic import BaseModel, ConfigDict, ValidationError
from torch import Tensor, nn

from vidcost.bench.count import thop2020
from vidcost.bench.count.answer import Status
from vidcost.bench.count.counter import count
from vidcost.bench.count.distribution import (
    NotInstalled,
    WrongDistribution,
    check_distribution,
    version,
)
from vidcost.bench.count.operators import OPERATORS, Operator
from vidcost.bench.count.reference_counter import PROCESSES
from vidcost.bench.count.training import count_training

OURS = "ours"
TIME_LIMIT_S = 120


class Said(BaseModel):
    """What a counter said of an operator: its integer, or a status such as "raises TypeError"."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    figure: int | None = None
    status: str = ""


@dataclass(frozen=True)
class Statement:
    """What one counter said of the operators, by name: of a forward pass, and of a backward pass.

    ``backward`` is empty for a counter that counts no backward pass. ``error`` says why a counter
    could not be asked at all; every answer then is a status.
    """

    counter: str
    version: str
    forward: Mapping[str, Said]
    backward: Mapping[str, Said] = field(default_factory=dict)
    error: str = ""


class _Reply(BaseModel):
    """What the process of a reference counter answers."""

    answers: dict[str, Said] = {}
    status: Status = "answered"
    error: str = ""


def ask_counters() -> tuple[Statement, ...]:
    """Ours first, then the counters, thop of May 2020, and torch's counter on CPU and meta.

    FLOPs of torch's counter are halved: it counts a multiply-accumulate as two.
    """
    with ThreadPoolExecutor(len(PROCESSES)) as pool:
        reference_counters = [
            pool.submit(_ask_process, reference_counter) for reference_counter in PROCESSES
        ]
        ours = Statement(OURS, version("vidcost"), _each(_ours), _each_backward(_ours_backward))
        others = [
            Statement("thop-2020", thop2020.VERSION, _each(_thop_2020)),
            _torch_on("CPU", "cpu"),
            _torch_on("meta", "meta"),
        ]
        return (
            ours,
            *(reference_counter.result() for reference_counter in reference_counters),
            *others,
        )


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
                if true is None or said[operator.name].figure == true:
                    continue
                answer = said[operator.name]
                figure = answer.status if answer.figure is None else f"counts {answer.figure:,}"
                lines.append(f"{operator.name}: ours {figure}, the {phase} MACs are {true:,}")
    return lines


def _each(figure: Callable[[Operator], float]) -> dict[str, Said]:
    return {operator.name: _said(figure, operator) for operator in OPERATORS}


def _each_backward(figure: Callable[[Operator], float]) -> dict[str, Said]:
    return {
        operator.name: _said(figure, operator)
        for operator in OPERATORS
        if operator.backward is not None
    }


def _said(figure: Callable[[Operator], float], operator: Operator) -> Said:
    try:
        said = figure(operator)
        if int(said) != said:
            return Said(status=f"answers {said}")
        return Said(figure=int(said))
    except Exception as error:
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


def _thop_2020(operator: Operator) -> int:
    network, inputs = _on("meta", operator)
    return thop2020.profile(network, *inputs).flops


def _torch_on(name: str, device: str) -> Statement:
    return Statement(
        f"torch on {name}",
        # without the build: figures do not depend on it
        version("torch").partition("+")[0],
        _each(lambda operator: _torch(operator, device)[0]),
        _each_backward(lambda operator: _torch(operator, device)[1]),
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


def _ask_process(reference_counter: str) -> Statement:
    # -P keeps files of the current folder from standing in for the reference counter's modules
    command = [sys.executable, "-P", "-m", "vidcost.bench.count.conformance", reference_counter]
    try:
        process = subprocess.run(
            command, capture_output=True, text=True, timeout=TIME_LIMIT_S, check=False
        )
    except subprocess.TimeoutExpired:
        return _unasked(reference_counter, "timed out", f"no answer within {TIME_LIMIT_S} s")
    if process.returncode != 0:
        last = process.stderr.strip().splitlines()[-1:] or ["no message"]
        return _unasked(
            reference_counter, "crashed", f"exit status {process.returncode}: {last[0]}"
        )
    try:
        reply = _Reply.model_validate_json(process.stdout)
    except ValidationError:
        return _unasked(reference_counter, "unreadable", "an answer that cannot be read")
    if reply.error:
        return _unasked(reference_counter, reply.status, reply.error)
    if set(reply.answers) != {operator.name for operator in OPERATORS}:
        return _unasked(reference_counter, "unreadable", "not an answer for every operator")
    return Statement(reference_counter, version(reference_counter), reply.answers)


def _unasked(reference_counter: str, status: str, error: str) -> Statement:
    answers = {operator.name: Said(status=status) for operator in OPERATORS}
    return Statement(reference_counter, version(reference_counter), answers, error=error)


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


def _reply(reference_counter: str) -> _Reply:
    """All answers of ``reference_counter`` in this process, or why it has none."""
    try:
        check_distribution(reference_counter)
    except WrongDistribution as error:
        return _Reply(status="wrong distribution", error=str(error))
    except NotInstalled as error:
        return _Reply(status="missing", error=str(error))
    return _Reply(answers=_each(_fvcore if reference_counter == "fvcore" else _thop))


def main() -> None:
    """Let the counter named on the command line count every operator, for standard output."""
    # whatever the reference counter prints must not mix with the answers
    with contextlib.redirect_stdout(sys.stderr):
        reply = _reply(sys.argv[1])
    print(reply.model_dump_json())


if __name__ == "__main__":
    main()

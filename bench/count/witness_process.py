"""The process in which fvcore or thop answers questions, a line of JSON each way for each.

Run by :mod:`vidcost.bench.count.witness_client` as
``python -m vidcost.bench.count.witness_process WITNESS``.
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.metadata
import sys
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from vidcost.bench.count import fvcore_convention, thop_convention
from vidcost.bench.count.answer import Answer
from vidcost.bench.count.counter import Count, count
from vidcost.bench.count.memory import large_modules
from vidcost.bench.count.meta import on_meta
from vidcost.bench.count.term import by_heading
from vidcost.bench.count.witness import version
from vidcost.bench.count.witness_client import Question
from vidcost.models.rows import Row, select


class NotInstalled(ImportError):
    """There is no such witness here."""


class WrongDistribution(ImportError):
    """Another distribution answers to the witness's import name."""


def answer(witness: str, row: Row) -> Answer:
    """What the installed ``witness`` says of ``row``; whether it is installed, too.

    Raises: what the witness raises.
    """
    try:
        check_distribution(witness)
    except WrongDistribution as error:
        return Answer(version=version(witness), status="wrong distribution", error=str(error))
    except NotInstalled as error:
        return Answer(version=version(witness), status="missing", error=str(error))
    torch.manual_seed(0)
    model, clips = row.model().eval(), row.clips()
    with torch.no_grad():
        for name in large_modules(_count(row)):
            halve(model.get_submodule(name))
        flops, params, parts = (_fvcore if witness == "fvcore" else _thop)(model, clips)
    return Answer(
        version=version(witness),
        flops=_integer(witness, flops),
        params=_integer(witness, params),
        parts=by_heading((part, _integer(witness, amount)) for part, amount in parts),
    )


def check_distribution(witness: str) -> None:
    """Refuse a witness that is not there, or not itself.

    Raises: NotInstalled, WrongDistribution.
    """
    try:
        importlib.import_module(witness)
    except ModuleNotFoundError as error:
        if error.name != witness:
            raise
        raise NotInstalled(f"{witness} is not installed: `pip install {witness}` adds it") from None
    # ultralytics-thop answers to thop's import name and counts otherwise
    owners = importlib.metadata.packages_distributions().get(witness, [])
    if owners != [witness]:
        raise WrongDistribution(
            f"module {witness} belongs to {', '.join(sorted(set(owners))) or 'no distribution'}, "
            f"not to {witness} alone: `pip uninstall` the other, then "
            f"`pip install --force-reinstall {witness}`"
        )


def _fvcore(
    model: nn.Module, clips: tuple[Tensor, ...]
) -> tuple[float, float, Iterator[tuple[str, float]]]:
    from fvcore.nn import FlopCountAnalysis, parameter_count

    analysis = FlopCountAnalysis(model, clips)
    analysis.unsupported_ops_warnings(False).uncalled_modules_warnings(False)
    parts = (
        (fvcore_convention.PARTS.get(operator, operator), amount)
        for operator, amount in analysis.by_operator().items()
    )
    return analysis.total(), parameter_count(model)[""], parts


def _thop(
    model: nn.Module, clips: tuple[Tensor, ...]
) -> tuple[float, float, Iterator[tuple[str, float]]]:
    import thop

    flops, params, layers = thop.profile(model, clips, verbose=False, ret_layer_info=True)
    parts = (
        (thop_convention.PARTS.get(kind, kind), amount) for kind, amount in _booked(model, layers)
    )
    return flops, params, parts


def _booked(module: nn.Module, layers: dict[str, Any]) -> Iterator[tuple[str, float]]:
    """(type of a layer, what thop booked for it), from its tree (operations, params, below)."""
    for name, (operations, _, below) in layers.items():
        child = module.get_submodule(name)
        if below:
            yield from _booked(child, below)
        else:
            yield type(child).__name__, operations


def _integer(witness: str, amount: float) -> int:
    if int(amount) != amount:
        raise ValueError(f"{witness} answered {amount}, no integer")
    return int(amount)


def _count(row: Row) -> Count:
    model, clips = on_meta(row)
    return count(model, *clips)


def halve(module: nn.Module) -> None:
    """Have ``module`` compute in half precision; its inputs and output stay as they are.

    It takes half the memory, and no number of operations depends on it.
    """
    module.bfloat16()
    module.register_forward_pre_hook(lambda _, args: tuple(x.bfloat16() for x in args))
    module.register_forward_hook(lambda _, args, output: output.float())


def main() -> None:
    """Answer the questions on standard input."""
    (witness,) = sys.argv[1:]
    out = sys.stdout
    # whatever the witness prints must not mix with the answers
    with contextlib.redirect_stdout(sys.stderr):
        for line in sys.stdin:
            question = Question.model_validate_json(line)
            (row,) = select([question.row])
            row = row.at(classes=question.classes, frames=question.frames, size=question.size)
            try:
                answered = answer(witness, row)
            except Exception as error:  # whatever a witness raises, it is its answer
                said = f"{type(error).__name__}: {error}"
                answered = Answer(version=version(witness), status="crashed", error=said)
            print(answered.model_dump_json(), file=out, flush=True)


if __name__ == "__main__":
    main()

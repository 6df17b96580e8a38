"""Asks another counter, in this process, what a network costs: the one way to every counter.

fvcore and thop run the network on dense tensors and leave marks in it: give them a copy, or ask in
a process of their own, as :mod:`vidcost.bench.count.reference_counter` does for rows. thop of
May 2020 and torch's FlopCounterMode run on any device, the meta device too.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from vidcost.bench.count import fvcore_convention, thop2020, thop_convention
from vidcost.bench.count.answer import Answer
from vidcost.bench.count.conventions import Convention
from vidcost.bench.count.counter import mode, unfused
from vidcost.bench.count.distribution import (
    NotInstalled,
    WrongDistribution,
    check_distribution,
    version,
)
from vidcost.bench.count.term import by_category
from vidcost.bench.errors import named
from vidcost.bench.outputs import TensorsOut

RUN_FOR_REAL: tuple[Convention, ...] = ("fvcore", "thop")
"""The reference counters that are packages of others, and need dense tensors."""


def version_of(reference_counter: Convention) -> str:
    """The version of ``reference_counter`` that is asked."""
    return thop2020.VERSION if reference_counter == "thop-2020" else version(reference_counter)


def ask_about(
    reference_counter: Convention,
    model: nn.Module,
    inputs: Sequence[Tensor],
    *,
    halved: Collection[str] = (),
) -> Answer:
    """What ``reference_counter`` says of one pass of ``model`` on ``inputs`` in evaluation mode.

    The modules named in ``halved`` compute in half precision, which takes half the memory and
    changes no number; they stay so. A counter that is missing, refuses or crashes gives an answer
    with another ``status`` and one line, whatever it raised.
    """
    with _quiet():
        try:
            if reference_counter in RUN_FOR_REAL:
                check_distribution(reference_counter)
        except WrongDistribution as error:
            return Answer(
                version=version(reference_counter), status="wrong distribution", error=str(error)
            )
        except NotInstalled as error:
            return Answer(version=version(reference_counter), status="missing", error=str(error))
        for name in halved:
            halve(model.get_submodule(name))
        try:
            with mode(model, training=False):
                return _ASK[reference_counter](model, tuple(inputs))
        except Exception as error:  # whatever a reference counter raises, it is its answer
            return Answer(
                version=version_of(reference_counter), status="crashed", error=named(error)
            )


@contextmanager
def _quiet() -> Iterator[None]:
    """What they use is old, and tracing warns of everything: no news to whoever asks."""
    root, nowhere = logging.getLogger(), logging.NullHandler()
    disabled = root.manager.disable
    # without any handler, logging.warning would set one up for good
    root.addHandler(nowhere)
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(disabled)
        root.removeHandler(nowhere)


def halve(module: nn.Module) -> None:
    """Have ``module`` compute in half precision; its inputs and output stay as they are.

    It takes half the memory, and no number of operations depends on it.
    """
    module.bfloat16()
    module.register_forward_pre_hook(lambda _, args: tuple(x.bfloat16() for x in args))
    module.register_forward_hook(lambda _, args, output: output.float())


def _fvcore(model: nn.Module, inputs: tuple[Tensor, ...]) -> Answer:
    from fvcore.nn import FlopCountAnalysis, parameter_count

    # its tracer takes tensors in tuples, lists and dicts alone
    analysis = FlopCountAnalysis(TensorsOut(model), inputs)
    analysis.unsupported_ops_warnings(False).uncalled_modules_warnings(False)
    analysis.tracer_warnings("none")
    with torch.no_grad():
        flops = analysis.total()
        parts = (
            (fvcore_convention.PARTS.get(operator, operator), amount)
            for operator, amount in analysis.by_operator().items()
        )
    return _answer("fvcore", flops, parameter_count(model)[""], parts)


def _thop(model: nn.Module, inputs: tuple[Tensor, ...]) -> Answer:
    import thop

    with torch.no_grad():
        flops, params, layers = thop.profile(model, inputs, verbose=False, ret_layer_info=True)
    parts = (
        (thop_convention.PARTS.get(kind, kind), amount) for kind, amount in _booked(model, layers)
    )
    return _answer("thop", flops, params, parts)


def _booked(module: nn.Module, layers: dict[str, Any]) -> Iterator[tuple[str, float]]:
    """(type of a layer, what thop booked for it), from its tree (operations, params, below)."""
    for name, (operations, _, below) in layers.items():
        child = module.get_submodule(name)
        if below:
            yield from _booked(child, below)
        else:
            yield type(child).__name__, operations


def _thop_2020(model: nn.Module, inputs: tuple[Tensor, ...]) -> Answer:
    profile = thop2020.profile(model, *inputs)
    parts = (
        (thop_convention.PARTS.get(kind, kind), amount) for kind, amount in profile.by_type.items()
    )
    return _answer("thop-2020", profile.flops, profile.params, parts)


def _torch(model: nn.Module, inputs: tuple[Tensor, ...]) -> Answer:
    # imports torch's compiler, which takes a second
    from torch.utils.flop_counter import FlopCounterMode

    counter = FlopCounterMode(display=False)
    # attention in parts, as on the meta device: it does not know the CPU's fused kernel
    with torch.no_grad(), unfused(model), counter:
        model(*inputs)
    flops = counter.get_flop_counts()["Global"]
    for operator, amount in flops.items():
        if amount % 2:
            raise ValueError(f"FlopCounterMode counts {amount} for {operator}, no even number")
    parts = [
        ("convolutions" if "conv" in str(operator) else "products", amount // 2)
        for operator, amount in flops.items()
    ]
    return _answer("torch", sum(amount for _, amount in parts), None, parts)


def _answer(
    reference_counter: Convention,
    flops: float,
    params: float | None,
    parts: Iterator[tuple[str, float]] | Sequence[tuple[str, float]],
) -> Answer:
    return Answer(
        version=version_of(reference_counter),
        flops=_integer(reference_counter, flops),
        params=None if params is None else _integer(reference_counter, params),
        parts=by_category((part, _integer(reference_counter, amount)) for part, amount in parts),
    )


def _integer(reference_counter: str, amount: float) -> int:
    if int(amount) != amount:
        raise ValueError(f"{reference_counter} answered {amount}, no integer")
    return int(amount)


_ASK = {"fvcore": _fvcore, "thop": _thop, "thop-2020": _thop_2020, "torch": _torch}

"""The witnesses: other counters, asked what a row costs.

fvcore and thop trace or hook the network on dense tensors and leave marks in it, so they run in a
process of their own (:mod:`vidcost.bench.count.witness_process`). thop's convention of May 2020 and
torch's FlopCounterMode run here, on the meta device.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib.metadata
from functools import cache
from pathlib import Path

import torch
from pydantic import ValidationError

import vidcost.models
from vidcost.bench.count import cache as answers
from vidcost.bench.count import thop2020, thop_convention
from vidcost.bench.count.answer import Answer
from vidcost.bench.count.conventions import CONVENTIONS, Convention
from vidcost.bench.count.meta import on_meta
from vidcost.bench.count.term import by_heading
from vidcost.bench.count.witness_client import Question, WitnessProcess
from vidcost.models.rows import Row

WITNESSES = CONVENTIONS
PROCESSES: tuple[Convention, ...] = ("fvcore", "thop")
"""Those that run in a process of their own."""


def ask(
    witness: Convention,
    row: Row,
    *,
    use_cache: bool = True,
    process: WitnessProcess | None = None,
) -> Answer:
    """The answer of ``witness`` for ``row`` at batch 1, from the cache or counted now.

    ``process`` is where fvcore or thop is asked; without one, it gets one for this question. A
    witness that is missing, crashes or hangs gives an answer with another ``status``; it is not
    cached.
    """
    key = _key(witness, row)
    if use_cache and (kept := answers.load(key)) is not None:
        # a damaged answer is asked for again
        with contextlib.suppress(ValidationError):
            return Answer.model_validate_json(kept)
    if witness in PROCESSES:
        question = Question(row=row.name, classes=row.classes, frames=row.frames, size=row.size)
        if process is not None:
            answer = process.ask(question, version=version(witness))
        else:
            with WitnessProcess(witness) as its_own:
                answer = its_own.ask(question, version=version(witness))
    else:
        answer = _thop_2020(row) if witness == "thop-2020" else _torch(row)
    if use_cache and answer.status == "answered":
        answers.store(key, answer.model_dump_json())
    return answer


def _thop_2020(row: Row) -> Answer:
    model, clips = on_meta(row)
    profile = thop2020.profile(model, *clips)
    parts = by_heading(
        (thop_convention.PARTS[name], amount) for name, amount in profile.by_type.items() if amount
    )
    return Answer(version=thop2020.VERSION, flops=profile.flops, params=profile.params, parts=parts)


def _torch(row: Row) -> Answer:
    # imports torch's compiler, which takes a second
    from torch.utils.flop_counter import FlopCounterMode

    model, clips = on_meta(row)
    counter = FlopCounterMode(display=False)
    with torch.no_grad(), counter:
        model.eval()(*clips)
    flops = counter.get_flop_counts()["Global"]
    for operator, amount in flops.items():
        if amount % 2:
            raise ValueError(f"FlopCounterMode counts {amount} for {operator}, no even number")
    parts = by_heading(
        ("convolutions" if "conv" in str(operator) else "products", amount // 2)
        for operator, amount in flops.items()
    )
    return Answer(version=version("torch"), flops=sum(parts.values()), parts=parts)


@cache
def version(distribution: str) -> str:
    """The installed version of a distribution, or "not installed"."""
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"


def _key(witness: Convention, row: Row) -> str:
    """Names an answer by all that it depends on."""
    parts = [
        witness,
        thop2020.VERSION if witness == "thop-2020" else version(witness),
        version("torch"),
        version("numpy"),
        row.name,
        str(row.classes),
        str(row.inputs),
        _sources(),
    ]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


_ASKING = (
    "witness",
    "witness_client",
    "witness_process",
    "thop2020",
    "thop_convention",
    "fvcore_convention",
    "term",
)
"""Modules beside this one that an answer depends on."""


@cache
def _sources() -> str:
    """A digest of the code that builds the rows and asks the witnesses."""
    digest = hashlib.sha256()
    models = (path for folder in vidcost.models.__path__ for path in Path(folder).rglob("*.py"))
    asking = (Path(__file__).with_name(f"{name}.py") for name in _ASKING)
    for path in (*sorted(models), *asking):
        digest.update(path.name.encode() + path.read_bytes())
    return digest.hexdigest()

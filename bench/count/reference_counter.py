"""The reference counters, asked what a row costs, and their answers kept.

fvcore and thop trace or hook the network on dense tensors and leave marks in it, so they run in a
process of their own (:mod:`vidcost.bench.count.reference_counter_process`). thop of May 2020 and
torch's FlopCounterMode run here, on the meta device.
"""

from __future__ import annotations

import contextlib
import hashlib
from functools import cache
from pathlib import Path

from pydantic import ValidationError

from vidcost.bench import outputs
from vidcost.bench.count import cache as answers
from vidcost.bench.count.answer import Answer
from vidcost.bench.count.asking import RUN_FOR_REAL, ask_about, version_of
from vidcost.bench.count.conventions import CONVENTIONS, Convention
from vidcost.bench.count.distribution import version
from vidcost.bench.count.meta import on_meta
from vidcost.bench.count.reference_counter_client import Question, ReferenceCounterProcess
from vidcost.papers.catalog import row_files
from vidcost.papers.row import Row

REFERENCE_COUNTERS = CONVENTIONS
PROCESSES = RUN_FOR_REAL
"""Those that run in a process of their own."""


def ask(
    reference_counter: Convention,
    row: Row,
    *,
    use_cache: bool = True,
    process: ReferenceCounterProcess | None = None,
) -> Answer:
    """The answer of ``reference_counter`` for ``row`` at batch 1, from the cache or counted now.

    ``process`` is where fvcore or thop is asked; without one, it gets one for this question. A
    counter that is missing, crashes or hangs gives an answer with another ``status``; it is not
    cached.
    """
    key = _key(reference_counter, row)
    if use_cache and (kept := answers.load(key)) is not None:
        # a damaged answer is asked for again
        with contextlib.suppress(ValidationError):
            return Answer.model_validate_json(kept)
    if reference_counter in PROCESSES:
        question = Question(row=row.name, classes=row.classes, frames=row.frames, size=row.size)
        if process is not None:
            answer = process.ask(question, version=version(reference_counter))
        else:
            with ReferenceCounterProcess(reference_counter) as its_own:
                answer = its_own.ask(question, version=version(reference_counter))
    else:
        answer = ask_about(reference_counter, *on_meta(row))
    if use_cache and answer.status == "answered":
        answers.store(key, answer.model_dump_json())
    return answer


def _key(reference_counter: Convention, row: Row) -> str:
    """Names an answer by all that it depends on."""
    parts = [
        reference_counter,
        version_of(reference_counter),
        version("torch"),
        version("numpy"),
        row.name,
        str(row.classes),
        str(row.inputs),
        _sources(),
    ]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


_ASKING = (
    "asking",
    "distribution",
    "reference_counter",
    "reference_counter_client",
    "reference_counter_process",
    "thop2020",
    "thop_convention",
    "thop_recurrent",
    "fvcore_convention",
    "term",
)
"""Modules beside this one that an answer depends on."""


@cache
def _sources() -> str:
    """A digest of the code that builds the rows and asks the reference counters."""
    digest = hashlib.sha256()
    asking = (Path(__file__).with_name(f"{name}.py") for name in _ASKING)
    for path in (*row_files(), *asking, Path(outputs.__file__)):
        digest.update(path.name.encode() + path.read_bytes())
    return digest.hexdigest()

"""Asks the reference counters about a network here, or about a row in a process of its own.

Packages may change the network that they profile, and torch, so for rows each has a process of its
own. The others run here. All but fvcore run on the meta device. Answers about rows are cached.
"""

import contextlib
import hashlib
import logging
import warnings
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from contextlib import ExitStack, contextmanager
from functools import cache, partial
from pathlib import Path

import torch
from pydantic import ValidationError
from torch import Tensor, nn

from vidcost.bench import call, files
from vidcost.bench.count.counter import mode, unfused
from vidcost.bench.count.meta import on_meta
from vidcost.bench.count.references import layers, operators
from vidcost.bench.count.references.reference import (
    Answer,
    Convention,
    Reference,
    Status,
    fault_of,
    importable,
    version,
)
from vidcost.bench.errors import named
from vidcost.bench.isolation import Failed, Isolated
from vidcost.papers.catalog import row_files
from vidcost.papers.row import Row

ALL: dict[Convention, Reference] = {
    each.name: each
    for each in (
        *(operators.FVCORE, layers.THOP, layers.THOP_2020, operators.TORCH),
        *(layers.PTFLOPS, operators.PTFLOPS_ATEN, layers.TORCHINFO, layers.ULTRALYTICS),
        *(operators.TORCHPROFILE, operators.CALFLOPS, operators.DEEPSPEED),
    )
}
REFERENCE_COUNTERS = {name: each for name, each in ALL.items() if not each.optional}
OPTIONAL = {name: each for name, each in ALL.items() if each.optional}
"""Those that are asked by name alone."""
DEFAULT = tuple(REFERENCE_COUNTERS)
TIME_LIMIT_S = 900.0
"""For one question."""

Question = tuple[Convention, Row]


def chosen(names: Sequence[str]) -> tuple[Convention, ...]:
    """The counters of these names; without any, those that are asked by default.

    Raises: ValueError for a name that none has.
    """
    found = tuple(name for name in ALL if name in names)
    for name in names:
        if name not in found:
            raise ValueError(f"no counter {name!r}: choose from {', '.join(ALL)}")
    return found or DEFAULT


def ask_about(name: Convention, model: nn.Module, inputs: Sequence[Tensor]) -> Answer:
    """What the counter prints for one forward pass of ``model`` in evaluation mode.

    A counter that is missing or raises gives an answer with another ``status``.
    """
    reference = ALL[name]
    with quiet(), importable(reference):
        if fault := fault_of(reference):
            return Answer(version=reference.version, status="missing", error=fault)
        try:
            # without gradients layers of attention would be one operator, which none of them knows
            with mode(model, training=False), torch.no_grad(), unfused(model, attention=False):
                return reference.answer(model, tuple(inputs))
        except Exception as error:  # whatever a counter raises is its answer
            return Answer(version=reference.version, status="crashed", error=named(error))


def ask(name: Convention, row: Row, *, process: Isolated, use_cache: bool = True) -> Answer:
    """The counter's answer about ``row`` at batch 1, from the cache or asked now.

    A package is asked in ``process``. Only answers with the status "answered" are cached.
    """
    path = files.cache_folder() / "reference_counters" / f"{_key(name, row)}.json"
    if use_cache:
        # an answer that is damaged is asked for again
        with contextlib.suppress(OSError, UnicodeDecodeError, ValidationError):
            return Answer.model_validate_json(path.read_text(encoding="utf-8"))
    try:
        if ALL[name].package:
            answer = process.call(TIME_LIMIT_S, _answer, name, row)
        else:
            answer = _answer(name, row)
    except (Failed, ValueError) as failed:
        timed_out = isinstance(failed, Failed) and failed.status == "timed out"
        status: Status = "timed out" if timed_out else "crashed"
        answer = Answer(version=ALL[name].version, status=status, error=str(failed))
    if use_cache and answer.status == "answered":
        # without a cache folder it only takes longer the next time
        with contextlib.suppress(ValueError):
            files.write(path, answer.model_dump_json())
    return answer


def _answer(name: Convention, row: Row) -> Answer:
    if ALL[name].needs_values:
        return ask_about(name, row.model(), row.clips())
    return ask_about(name, *on_meta(row))


def ask_all(
    rows: Sequence[Row], counters: Sequence[Convention], *, use_cache: bool
) -> Iterator[tuple[Question, Answer]]:
    """The answers of ``counters`` about ``rows``, as they come; packages beside each other."""
    asked: dict[Future[Answer], Question] = {}
    with ExitStack() as stack:
        here = []
        for name in counters:
            # closed before the pool waits for its thread: an interruption then ends at once
            pool = stack.enter_context(ThreadPoolExecutor(1))
            process = stack.enter_context(Isolated())
            for row in rows:
                question = partial(ask, name, row, process=process, use_cache=use_cache)
                if ALL[name].package:
                    asked[pool.submit(question)] = name, row
                else:
                    here.append(((name, row), question))
        for each, question in here:
            yield each, question()
        for future in as_completed(asked):
            yield asked[future], future.result()


@contextmanager
def quiet() -> Iterator[None]:
    """Suppress the counters' warnings and logs, of which their tracing makes many."""
    root, nowhere = logging.getLogger(), logging.NullHandler()
    disabled = root.manager.disable
    # without any handler, logging.warning would install one for good
    root.addHandler(nowhere)
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(disabled)
        root.removeHandler(nowhere)


def _key(name: Convention, row: Row) -> str:
    """Names an answer by everything that it depends on."""
    versions = ALL[name].version, version("torch"), version("numpy")
    depends = name, *versions, row.name, row.note, row.classes, row.inputs, _sources()
    return hashlib.sha256("\n".join(map(str, depends)).encode()).hexdigest()


@cache
def _sources() -> str:
    """A digest of the code that builds rows and asks counters."""
    digest = hashlib.sha256()
    counting = sorted(Path(__file__).parents[1].rglob("*.py"))
    for path in (*row_files(), *counting, Path(call.__file__)):
        digest.update(path.name.encode() + path.read_bytes())
    return digest.hexdigest()

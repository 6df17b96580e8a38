"""Examines many rows: ours in this process, fvcore and thop in one each, at once."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from queue import SimpleQueue

from vidcost.bench.count.answer import Answer
from vidcost.bench.count.conventions import Convention
from vidcost.bench.count.reconcile import Entry, Examined, examine, reconcile
from vidcost.bench.count.reference_counter import PROCESSES, REFERENCE_COUNTERS, ask
from vidcost.bench.count.reference_counter_client import ReferenceCounterProcess
from vidcost.bench.engine.calls import Call, Engine, Lost, Needs, results
from vidcost.papers.row import Row

Question = tuple[Convention, Row]


def measure(
    rows: Sequence[Row],
    *,
    use_cache: bool = True,
    advance: Callable[[str], None] = lambda what: None,
) -> list[Examined]:
    """What was counted for ``rows`` at batch 1, in order, with the reference counters' answers.

    ``advance`` is called with a few words after each of the :func:`steps` of the work.
    Raises: ClosedFormMismatch if a count and a closed form differ; ValueError as networks do.
    """
    examined: dict[str, Examined] = {}
    for row in rows:
        examined[row.name] = examine(row)
        advance(f"counted {row.name}")
    answers: dict[str, dict[Convention, Answer]] = {row.name: {} for row in rows}
    large = [row for row in rows if examined[row.name].is_large]
    for (reference_counter, row), answer in _answers(rows, large, use_cache=use_cache):
        answers[row.name][reference_counter] = answer
        advance(f"{reference_counter} answered on {row.name}")
    return [
        replace(
            examined[row.name],
            record=examined[row.name].record.model_copy(
                update={
                    "reference_counters": {
                        name: answers[row.name][name] for name in REFERENCE_COUNTERS
                    }
                }
            ),
        )
        for row in rows
    ]


def accounts_on(
    engine: Engine,
    rows: Sequence[Row],
    *,
    use_cache: bool = True,
    advance: Callable[[str], None] = lambda what: None,
) -> tuple[dict[str, list[Entry]], list[str]]:
    """The ledger of each of ``rows`` in order, asked on machines of ``engine``; those it lost.

    A machine keeps the answers that were given on it. ``advance`` is called as by :func:`measure`.
    Raises: as it does.
    """
    calls = [
        Call(f"the ledger of {row.name}", _accounts, (row, use_cache), _needs(row)) for row in rows
    ]

    def advanced(name: str) -> None:
        for _ in range(steps(["a row"])):
            advance(name)

    found = dict(zip(rows, results(engine, calls, advance=advanced), strict=True))
    lost = [f"{row.name}: {each}" for row, each in found.items() if isinstance(each, Lost)]
    return {row.name: x for row, x in found.items() if not isinstance(x, Lost)}, lost


def _accounts(row: Row, use_cache: bool) -> list[Entry]:
    (examined,) = measure([row], use_cache=use_cache)
    return reconcile(examined)


def _needs(row: Row) -> Needs:
    # gigabytes, beside which nothing else should run
    return "machine" if examine(row).is_large else "core"


def _answers(
    rows: Sequence[Row], large: Sequence[Row], *, use_cache: bool
) -> Iterator[tuple[Question, Answer]]:
    cores = os.cpu_count() or 1
    # a row that needs gigabytes runs with nothing beside it
    for reference_counter in PROCESSES if large else ():
        with ReferenceCounterProcess(reference_counter, threads=cores) as process:
            for row in large:
                yield (
                    (reference_counter, row),
                    ask(reference_counter, row, use_cache=use_cache, process=process),
                )
    # more threads than cores would wait for each other
    threads = max(1, cores // len(PROCESSES))
    processes = {
        reference_counter: ReferenceCounterProcess(reference_counter, threads=threads)
        for reference_counter in PROCESSES
    }
    answered: SimpleQueue[tuple[Question, Answer | BaseException]] = SimpleQueue()
    others = [row for row in rows if row not in large]

    def interview(reference_counter: Convention) -> None:
        for row in others:
            try:
                answer = ask(
                    reference_counter,
                    row,
                    use_cache=use_cache,
                    process=processes[reference_counter],
                )
            except BaseException as error:
                answered.put(((reference_counter, row), error))
                return
            answered.put(((reference_counter, row), answer))

    with ThreadPoolExecutor(len(PROCESSES)) as pool:
        try:
            for reference_counter in PROCESSES:
                pool.submit(interview, reference_counter)
            for reference_counter in REFERENCE_COUNTERS:
                if reference_counter not in PROCESSES:
                    for row in rows:
                        yield (
                            (reference_counter, row),
                            ask(reference_counter, row, use_cache=use_cache),
                        )
            for _ in range(len(PROCESSES) * len(others)):
                question, answer = answered.get()
                if isinstance(answer, BaseException):
                    raise answer
                yield question, answer
        finally:
            # after an interruption, too: what waits for an answer then ends
            for process in processes.values():
                process.close()


def steps(rows: Sequence[object]) -> int:
    """How often :func:`measure` reports that it has advanced."""
    return len(rows) * (1 + len(REFERENCE_COUNTERS))

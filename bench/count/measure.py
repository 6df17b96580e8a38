"""Examines many rows: ours in this process, the witnesses in theirs, several at once."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import replace

from vidcost.bench.count.answer import Answer
from vidcost.bench.count.conventions import Convention
from vidcost.bench.count.ledger import Examined, examine
from vidcost.bench.count.witness import PROCESSES, WITNESSES, ask
from vidcost.models.rows import Row

JOBS = 2
"""Processes of witnesses that run at once; each takes up to a gigabyte of memory."""

Question = tuple[Convention, Row]


def measure(
    rows: Sequence[Row],
    *,
    use_cache: bool = True,
    advance: Callable[[str], None] = lambda what: None,
) -> list[Examined]:
    """What was counted for ``rows`` at batch 1, in order, with the witnesses' answers.

    ``advance`` is called with a few words after each of the :func:`steps` of the work.
    Raises: ClosedFormMismatch if a count and a closed form differ; ValueError as networks do.
    """
    examined: dict[str, Examined] = {}
    for row in rows:
        examined[row.name] = examine(row)
        advance(f"counted {row.name}")
    answers: dict[str, dict[Convention, Answer]] = {row.name: {} for row in rows}
    large = [row for row in rows if examined[row.name].is_large]
    for (witness, row), answer in _answers(rows, large, use_cache=use_cache):
        answers[row.name][witness] = answer
        advance(f"{witness} answered on {row.name}")
    return [
        replace(
            examined[row.name],
            record=examined[row.name].record.model_copy(
                update={"witnesses": {name: answers[row.name][name] for name in WITNESSES}}
            ),
        )
        for row in rows
    ]


def _answers(
    rows: Sequence[Row], large: Sequence[Row], *, use_cache: bool
) -> Iterator[tuple[Question, Answer]]:
    cores = os.cpu_count() or 1
    # a row that needs gigabytes runs with nothing beside it
    for row in large:
        for witness in PROCESSES:
            yield (witness, row), ask(witness, row, use_cache=use_cache, threads=cores)
    with ThreadPoolExecutor(JOBS) as pool:
        # more threads than cores would wait for each other
        futures = {
            pool.submit(ask, witness, row, use_cache=use_cache, threads=max(1, cores // JOBS)): (
                witness,
                row,
            )
            for witness in PROCESSES
            for row in rows
            if row not in large
        }
        try:
            for witness in WITNESSES:
                if witness not in PROCESSES:
                    for row in rows:
                        yield (witness, row), ask(witness, row, use_cache=use_cache)
            for future in as_completed(futures):
                yield futures[future], future.result()
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


def steps(rows: Sequence[Row]) -> int:
    """How often :func:`measure` reports that it has advanced."""
    return len(rows) * (1 + len(WITNESSES))

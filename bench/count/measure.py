"""Counts many rows: ours in this process, the witnesses beside it in theirs."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed

from vidcost.bench.count.record import Record, count_row
from vidcost.bench.count.witness import WITNESSES, ask
from vidcost.models.rows import Row

JOBS = 2
"""Witnesses that run at once; one alone can need over 5 GB."""


def measure(
    rows: Sequence[Row],
    *,
    use_cache: bool = True,
    advance: Callable[[str], None] = lambda what: None,
) -> list[Record]:
    """Records of ``rows`` at batch 1, in order, with the witnesses' answers.

    ``advance`` is called with a few words after each of the :func:`steps` of the work.
    Raises: ClosedFormMismatch if a count and a closed form differ; ValueError as networks do.
    """
    records: dict[str, Record] = {}
    for row in rows:
        records[row.name] = count_row(row)
        advance(f"counted {row.name}")
    answers: dict[str, dict[str, object]] = {row.name: {} for row in rows}
    # one witness after the other, so that the row that needs most memory never runs beside itself
    questions = [(witness, row) for witness in WITNESSES for row in rows]
    # more threads than cores would wait for each other
    threads = max(1, (os.cpu_count() or 1) // JOBS)
    with ThreadPoolExecutor(JOBS) as pool:
        futures = {
            pool.submit(ask, witness, row, use_cache=use_cache, threads=threads): (witness, row)
            for witness, row in questions
        }
        try:
            for future in as_completed(futures):
                witness, row = futures[future]
                answers[row.name][witness] = future.result()
                advance(f"{witness} answered on {row.name}")
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
    return [
        records[row.name].model_copy(
            update={"witnesses": {witness: answers[row.name][witness] for witness in WITNESSES}}
        )
        for row in rows
    ]


def steps(rows: Sequence[Row]) -> int:
    """How often :func:`measure` reports that it has advanced."""
    return len(rows) * (1 + len(WITNESSES))

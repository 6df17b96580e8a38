"""The process in which fvcore or thop answers questions, a line of JSON each way for each.

Run by :mod:`vidcost.bench.count.reference_counter_client` as
``python -m vidcost.bench.count.reference_counter_process COUNTER``.
"""

from __future__ import annotations

import contextlib
import sys

import torch

from vidcost.bench.count.answer import Answer
from vidcost.bench.count.asking import ask_about
from vidcost.bench.count.conventions import Convention, named
from vidcost.bench.count.counter import Count, count
from vidcost.bench.count.distribution import version
from vidcost.bench.count.memory import large_modules
from vidcost.bench.count.meta import on_meta
from vidcost.bench.count.reference_counter_client import Question
from vidcost.papers.catalog import select
from vidcost.papers.row import Row


def answer(reference_counter: Convention, row: Row) -> Answer:
    """What the installed ``reference_counter`` says of ``row``; whether it is installed, too."""
    torch.manual_seed(0)
    return ask_about(reference_counter, row.model(), row.clips(), halved=large_modules(_count(row)))


def _count(row: Row) -> Count:
    model, clips = on_meta(row)
    return count(model, *clips)


def main() -> None:
    """Answer the questions on standard input."""
    reference_counter = named(sys.argv[1])
    out = sys.stdout
    # whatever the reference counter prints must not mix with the answers
    with contextlib.redirect_stdout(sys.stderr):
        for line in sys.stdin:
            question = Question.model_validate_json(line)
            (row,) = select([question.row])
            row = row.at(classes=question.classes, frames=question.frames, size=question.size)
            try:
                answered = answer(reference_counter, row)
            except Exception as error:  # whatever a reference counter raises, it is its answer
                said = f"{type(error).__name__}: {error}"
                answered = Answer(version=version(reference_counter), status="crashed", error=said)
            print(answered.model_dump_json(), file=out, flush=True)


if __name__ == "__main__":
    main()

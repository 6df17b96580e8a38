"""The process that times one cell: ``python -m vidcost.bench.timing.worker``.

Reads a task and the parent's replies from standard input, writes lines to standard output: see
:mod:`vidcost.bench.timing.messages`.
"""

from __future__ import annotations

import contextlib
import sys
from typing import TextIO, get_args

from vidcost.bench.timing.lifeline import die_with_parent
from vidcost.bench.timing.messages import Chunk, Line, Reply, Task, Window


class ParentGone(Exception):
    """Nobody reads what would be measured."""


def main() -> None:
    """Time the cell of the task on standard input."""
    die_with_parent()
    out, replies = sys.stdout, sys.stdin

    def exchange(message: Chunk | Window) -> Reply:
        if isinstance(message, Chunk):
            _say(out, Line(chunk=message))
        else:
            _say(out, Line(window=message))
        return _reply(replies.readline())

    # whatever torch prints must not mix with the lines
    with contextlib.redirect_stdout(sys.stderr):
        task = Task.model_validate_json(replies.readline())
        # imported here: a task that cannot be read costs no time
        from vidcost.bench.timing.measurement import measure

        timing = measure(task, exchange)
    _say(out, Line(timing=timing))


def _say(out: TextIO, line: Line) -> None:
    out.write(line.model_dump_json(exclude_defaults=True) + "\n")
    out.flush()


def _reply(line: str) -> Reply:
    word = line.strip()
    for reply in get_args(Reply):
        if word == reply:
            return reply  # type: ignore[no-any-return]
    raise ParentGone(f"{word!r} is no reply")


if __name__ == "__main__":
    main()

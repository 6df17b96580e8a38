"""The process that times cells: ``python -m vidcost.bench.timing.worker``.

Reads tasks and the parent's replies from standard input, writes lines to standard output: see
:mod:`vidcost.bench.timing.messages`. It ends with its input. A sweep gives it one task, so that
nothing is left over from another; both sides of a comparison may be given the same ones.
"""

from __future__ import annotations

import os
import sys
from typing import TextIO, get_args

from vidcost.bench.lifeline import die_with_parent
from vidcost.bench.timing.messages import Chunk, Line, ParentGone, Reply, Task, Window


def main() -> None:
    """Time the cells of the tasks on standard input."""
    die_with_parent()
    out, replies = _only_for_lines(), sys.stdin

    def exchange(message: Chunk | Window) -> Reply:
        if isinstance(message, Chunk):
            _say(out, Line(chunk=message))
        else:
            _say(out, Line(window=message))
        return _reply(replies.readline())

    # not at the top: from its first moment on it ends with its parent
    from vidcost.bench.timing.ahead import build_ahead
    from vidcost.bench.timing.measurement import measure

    _say(out, Line(ready=True))
    ahead = None
    while line := replies.readline():
        task = Task.model_validate_json(line)
        if task.ahead:
            ahead = build_ahead(task)
            _say(out, Line(ready=True))
            continue
        _say(out, Line(timing=measure(task, exchange, ahead)))
        ahead = None


def _only_for_lines() -> TextIO:
    """Standard output; what else is printed, by a library in C too, goes to standard error."""
    out = os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    return out


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
    # all is said: what torch and CUDA would tidy up goes with the process
    os._exit(0)

"""The process that a call is made in: ``python -m vidcost.bench.isolation.child``.

Reads one pickle, (function, args, kwargs), from standard input and writes one, (kind, result or
message), to standard output.
"""

from __future__ import annotations

import os
import pickle
import sys
from typing import Any, Literal

from vidcost.bench.lifeline import die_with_parent
from vidcost.bench.user.failure import UserCodeError, last_line

Kind = Literal["returned", "refused", "raised"]
"""The result follows, or a line on what was wrong: with what was asked for, or in the call."""


def main() -> None:
    """Make the call, answer, and end whatever still runs."""
    die_with_parent()
    # what is printed must not mix with the answer
    out = os.dup(sys.stdout.fileno())
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    answer = pickle.dumps(_said(sys.stdin.buffer.read()))
    with os.fdopen(out, "wb") as file:
        file.write(answer)
    sys.stderr.flush()
    # threads that the call left behind would keep the process alive
    os._exit(0)


def _said(request: bytes) -> tuple[Kind, Any]:
    function, args, kwargs = pickle.loads(request)
    try:
        return "returned", function(*args, **kwargs)
    except UserCodeError as error:
        return "raised", str(error)
    except ValueError as error:
        return "refused", str(error)
    except BaseException as error:
        return "raised", last_line(error)


if __name__ == "__main__":
    main()

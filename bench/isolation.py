"""Calls functions in a process of their own, so that a crash, a hang or a print stays there.

The child is this module, run by ``python -m vidcost.bench.isolation``. It receives (function, args,
kwargs) and answers each with (kind, result or message).
"""

import contextlib
import os
import sys
import threading
import time
from collections.abc import Callable
from typing import Any, Literal, ParamSpec, TypeVar

from vidcost.bench.process import ChildProcess, TimedOut, connect
from vidcost.bench.user.reference import UserCodeError, last_line

P = ParamSpec("P")
T = TypeVar("T")

LIMIT_S = 120.0
"""For one call, imports included."""

# -P keeps files of the current folder from standing in for the child's modules
COMMAND = (sys.executable, "-P", "-m", "vidcost.bench.isolation")

Status = Literal["raised", "timed out", "killed", "exited"]


class Failed(Exception):
    """The call gave no result: ``status`` says how, the message is one line."""

    def __init__(self, status: Status, message: str) -> None:
        super().__init__(message)
        self.status: Status = status


class Isolated(contextlib.ExitStack):
    """A process in which functions are called one after another, in the same folder.

    It starts with the first call. A call that crashes it or takes too long raises, and the next
    call starts another one. One thread calls; another one may :meth:`close`.
    """

    def __init__(self) -> None:
        super().__init__()
        self._process: ChildProcess | None = None
        self._closed = False
        self._calling = threading.Lock()
        self.callback(self._end)

    def call(
        self, limit_s: float, function: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """What ``function`` returns there within ``limit_s`` seconds, imports included.

        ``function`` is found there by its module and name; arguments and result are pickled.
        Raises: ValueError as the function does, for what was given to it; Failed for all else.
        """
        with self._calling:
            if self._closed:
                raise Failed("killed", "the process was closed")
            process = self._process = self._process or ChildProcess(COMMAND)
            try:
                process.send((function, args, kwargs))
                kind, answer = process.receive(time.monotonic() + limit_s)
            except BaseException as error:
                self._process = None
                with process:
                    if isinstance(error, TimedOut):
                        raise Failed("timed out", f"not done within {limit_s:g} s") from None
                    if isinstance(error, EOFError):
                        raise Failed(*process.end()) from None
                    raise
        if kind == "returned":
            return answer  # type: ignore[no-any-return]
        if kind == "rejected":
            raise ValueError(answer)
        raise Failed("raised", answer)

    def _end(self) -> None:
        """End the process at once, and with it a call that another thread waits for."""
        self._closed = True
        if process := self._process:
            process.kill()
        with self._calling:
            if self._process:
                self._process.close()
                self._process = None


def isolated(limit_s: float, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """What ``function`` returns, called once in a process of its own.

    Raises: as :meth:`Isolated.call`.
    """
    with Isolated() as process:
        return process.call(limit_s, function, *args, **kwargs)


def _answer(
    function: Callable[..., Any], args: Any, kwargs: Any
) -> tuple[Literal["returned", "rejected", "raised"], Any]:
    try:
        return "returned", function(*args, **kwargs)
    except UserCodeError as error:
        return "raised", str(error)
    except ValueError as error:
        return "rejected", str(error)
    except BaseException as error:
        return "raised", last_line(error)


def main() -> None:
    """Make calls and answer them until the parent is gone."""
    pipe = connect()
    with contextlib.suppress(EOFError):
        while True:
            pipe.send(_answer(*pipe.recv()))
    # threads that a call left behind would keep the process alive
    os._exit(0)


if __name__ == "__main__":
    main()

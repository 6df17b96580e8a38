"""Calls a function in a process of its own: what may raise, hang, print or leave costs no more."""

from __future__ import annotations

import contextlib
import os
import pickle
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable
from typing import Literal, ParamSpec, TypeVar

from vidcost.bench.isolation.child import Kind

P = ParamSpec("P")
T = TypeVar("T")

LIMIT_S = 120.0
"""For one call, imports included."""

# -P keeps files of the current folder from standing in for the child's modules
COMMAND = (sys.executable, "-P", "-m", "vidcost.bench.isolation.child")

Status = Literal["raised", "timed out", "killed", "exited"]


class Failed(Exception):
    """The call came to nothing: ``status`` says how, the message is one line."""

    def __init__(self, status: Status, message: str) -> None:
        super().__init__(message)
        self.status: Status = status


def isolated(limit_s: float, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """What ``function`` returns, called in a process of its own in the same folder.

    ``function``, its arguments and its result must be picklable. Standard output is not the
    call's: what it prints goes to nobody.
    Raises: ValueError as the function itself does, for what was given to it; Failed for all else.
    """
    with tempfile.TemporaryFile() as answer, tempfile.TemporaryFile() as errors:
        process = subprocess.Popen(
            COMMAND,
            stdin=subprocess.PIPE,
            stdout=answer,
            stderr=errors,
            # Ctrl-C is for the parent
            start_new_session=True,
        )
        try:
            process.communicate(pickle.dumps((function, args, kwargs)), timeout=limit_s)
        except subprocess.TimeoutExpired:
            raise Failed("timed out", f"not done within {limit_s:g} s") from None
        finally:
            # what it started may have outlived it
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        answer.seek(0)
        data = answer.read()
        if not data:
            errors.seek(0)
            raise _ended(process.returncode, errors.read().decode(errors="replace"))
        kind: Kind
        kind, said = pickle.loads(data)
    if kind == "returned":
        return said  # type: ignore[no-any-return]
    if kind == "refused":
        raise ValueError(said)
    raise Failed("raised", said)


def _ended(code: int, errors: str) -> Failed:
    """A process that ended without an answer."""
    if code < 0:
        name = signal.Signals(-code).name
        probably = ", probably out of memory" if name == "SIGKILL" else ""
        return Failed("killed", f"killed by {name}{probably}")
    last = (errors.strip().splitlines() or ["no message"])[-1]
    return Failed("exited", f"exit status {code}: {last}")

"""A child process: started, talked to over a pipe, killed with all the processes it started.

The parent makes a :class:`ChildProcess`; the child calls :func:`connect` before anything else.
Messages are pickled objects. Keep them short: a child that does not read blocks a parent that sends
more than the pipe holds.
"""

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from typing import Any, Literal

LOOK_S = 1.0
"""How often to check whether a child died whose own children hold the pipe open."""

LEAVE_S = 5.0
"""How long a child that is done may take to end by itself."""

_PR_SET_PDEATHSIG = 1
"""linux/prctl.h"""


class TimedOut(Exception):
    """No message came in time."""


class ChildProcess(contextlib.ExitStack):
    """A process in a group of its own; leaving the ``with`` block kills the whole group.

    ``command`` gets the number of the pipe's file descriptor as its last argument. ``environment``
    is added to that of this process. Standard output is discarded. On Linux the child also ends
    with the thread that started it.
    Raises: OSError if it cannot be started.
    """

    def __init__(
        self, command: Sequence[str], environment: Mapping[str, str] | None = None
    ) -> None:
        super().__init__()
        pipe, theirs = Pipe()
        self._pipe = self.enter_context(pipe)
        # a file takes any amount; a pipe that nobody reads would block the child
        self._errors = self.enter_context(tempfile.TemporaryFile())  # noqa: SIM115
        with theirs:
            self._process = subprocess.Popen(
                [*command, str(theirs.fileno())],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=self._errors,
                pass_fds=(theirs.fileno(),),
                # Ctrl-C is for the parent, which then ends the child
                start_new_session=True,
                env=os.environ | (environment or {}),
            )
        self.callback(self.kill)

    def send(self, message: object) -> None:
        """Send a message. That the child is gone is noticed when its next message is read."""
        with contextlib.suppress(OSError):
            self._pipe.send(message)

    def receive(self, deadline: float) -> Any:
        """The next message.

        Raises: TimedOut after ``deadline`` of time.monotonic(); EOFError if the child ended.
        """
        while (left := deadline - time.monotonic()) > 0:
            # checked first: what a child sent before it died is still read
            ended = self._process.poll() is not None
            if self._pipe.poll(0 if ended else min(left, LOOK_S)):
                try:
                    return self._pipe.recv()
                except OSError:
                    raise EOFError from None
            if ended:
                raise EOFError
        raise TimedOut

    def leave(self) -> None:
        """Let a child that is done end by itself, for a short time. Nothing is received then."""
        self._pipe.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(LEAVE_S)

    def end(self) -> tuple[Literal["killed", "exited"], str]:
        """How a child ended that sent no further message, and one line about it."""
        self.leave()
        code = self._process.poll()
        self.kill()
        if code is None:
            return "exited", "it closed its pipe without an answer"
        if code < 0:
            # the parent enforces its own limits, so another SIGKILL is mostly the kernel's
            probably = ", probably out of memory" if code == -signal.SIGKILL else ""
            known = {number.value: number.name for number in signal.Signals}
            return "killed", f"killed by {known.get(-code, f'signal {-code}')}{probably}"
        self._errors.seek(0)
        lines = self._errors.read().decode(errors="replace").split("\n")
        last = next((line.strip() for line in reversed(lines) if line.strip()), "no message")
        return "exited", f"exit status {code}: {last}"

    def kill(self) -> None:
        """Kill the child and the processes it left behind. Another thread may do so."""
        # its own children may have outlived it
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()


def connect() -> Connection:
    """The child's end of the pipe. From here on the child ends with its parent.

    The child asks the kernel itself: between fork and exec no Python may run safely. A parent that
    ended before is noticed when the pipe is read, which is all there is on other systems.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    descriptor = int(sys.argv[-1])
    # or the parent would not see the end while a process that was started here lives
    os.set_inheritable(descriptor, False)
    return Connection(descriptor)

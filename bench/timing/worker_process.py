"""One worker process: started, given tasks, talked to, killed with all that it started."""

from __future__ import annotations

import contextlib
import os
import selectors
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Self

from vidcost.bench.timing.messages import Line, Reply, Task
from vidcost.bench.timing.record import Status

# -P keeps files of the current folder from standing in for the worker's modules
COMMAND = (sys.executable, "-P", "-m", "vidcost.bench.timing.worker")

_LOOK_S = 1.0
"""How often to look whether a worker died whose children hold its output open."""

_LEAVE_S = 5.0
"""How long a worker that is done may take to end by itself."""


class TimedOut(Exception):
    """No line came in time."""


class UnreadableLine(Exception):
    """What a worker wrote is none of its lines; holds the beginning of it."""


class WorkerProcess:
    """A worker in a process group of its own, killed when the ``with`` block is left.

    ``environment`` is added to this process's. Raises: OSError if it cannot be started.
    """

    def __init__(
        self, command: Sequence[str], *, threads: int, environment: Mapping[str, str] | None = None
    ) -> None:
        self._buffer = b""
        self._stderr = tempfile.TemporaryFile()  # noqa: SIM115  closed by __exit__
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            # a file takes any amount; a pipe that nobody reads stops the worker
            stderr=self._stderr,
            bufsize=0,
            # Ctrl-C is for the parent, which decides what becomes of the worker
            start_new_session=True,
            env=os.environ | {"OMP_NUM_THREADS": str(threads), **(environment or {})},
        )

    def __enter__(self) -> Self:
        """The worker runs already."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Kill the worker and what it left behind."""
        self._kill()
        for pipe in (self._process.stdin, self._process.stdout, self._stderr):
            assert pipe is not None
            with contextlib.suppress(OSError):
                pipe.close()

    def await_ready(self, deadline: float) -> bool:
        """Wait until it has imported what it needs, and built what it was to build ahead.

        Returns: False if it has not by ``deadline`` of time.monotonic(), or ended.
        """
        try:
            said = [self.receive(deadline) for _ in range(2)]
        except (TimedOut, UnreadableLine):
            return False
        return all(line is not None and line.ready for line in said)

    def give(self, task: Task) -> None:
        """What it is to do next."""
        self._write(task.model_dump_json())

    def reply(self, reply: Reply) -> None:
        """Answer the last line."""
        self._write(reply)

    def receive(self, deadline: float) -> Line | None:
        """The next line; None if the worker ended without one.

        Raises: TimedOut after ``deadline`` of time.monotonic(); UnreadableLine.
        """
        while b"\n" not in self._buffer:
            if not self._read(deadline):
                return None
        line, _, self._buffer = self._buffer.partition(b"\n")
        try:
            return Line.model_validate_json(line)
        except ValueError:
            raise UnreadableLine(line[:200].decode(errors="replace")) from None

    def leave(self) -> None:
        """Let a worker that is done end by itself, but not for long."""
        assert self._process.stdin is not None
        with contextlib.suppress(OSError):
            self._process.stdin.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(_LEAVE_S)

    def end(self) -> tuple[Status, str]:
        """What became of a worker that ended without a record, and its last words."""
        self.leave()
        code = self._process.poll()
        self._kill()
        if code is None:
            return "crashed", "it closed its output without a record"
        if code < 0:
            return "killed", _signal(-code)
        last = self._last_words()
        # what the worker itself could not report any more
        if last.startswith(("MemoryError", "torch.OutOfMemoryError")):
            return "oom", last
        return "crashed", f"exit status {code}: {last}"

    def _write(self, text: str) -> None:
        assert self._process.stdin is not None
        data = memoryview(text.encode() + b"\n")
        # a worker that is gone is found out when its next line is read
        with contextlib.suppress(BrokenPipeError):
            while data:
                data = data[self._process.stdin.write(data) or 0 :]

    def _read(self, deadline: float) -> bool:
        """Wait for more of the output; False at its end."""
        stdout = self._process.stdout
        assert stdout is not None
        with selectors.DefaultSelector() as selector:
            selector.register(stdout, selectors.EVENT_READ)
            while True:
                left = deadline - time.monotonic()
                if left <= 0:
                    raise TimedOut
                # poll first: what a worker wrote before it died is still read
                ended = self._process.poll() is not None
                if selector.select(0 if ended else min(left, _LOOK_S)):
                    data = os.read(stdout.fileno(), 1 << 20)
                    self._buffer += data
                    return bool(data)
                if ended:
                    return False

    def _kill(self) -> None:
        # its children may have outlived it
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()

    def _last_words(self) -> str:
        size = self._stderr.seek(0, os.SEEK_END)
        self._stderr.seek(max(0, size - 4096))
        lines = self._stderr.read().decode(errors="replace").strip().splitlines()
        return lines[-1] if lines else "no message"


def _signal(number: int) -> str:
    try:
        name = signal.Signals(number).name
    except ValueError:
        name = f"signal {number}"
    # a worker's limits are its parent's to enforce; who else kills it is mostly the kernel
    probably = ", probably out of memory" if name == "SIGKILL" else ""
    return f"killed by {name}{probably}"

"""Our side of a reference counter's process: starts it, asks it, and survives it."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import threading
from types import TracebackType
from typing import IO, Self

from pydantic import BaseModel, ConfigDict, ValidationError

from vidcost.bench.count.answer import Answer

TIME_LIMIT_S = 900.0
"""For one question."""
# -P keeps files of the current folder from standing in for the reference counter's modules
COMMAND = (sys.executable, "-P", "-m", "vidcost.bench.count.reference_counter_process")


class Question(BaseModel):
    """What a reference counter is asked: a row by its name, and what it may be changed to."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    row: str
    classes: int
    frames: int
    size: int


class ReferenceCounterProcess:
    """A process in which one reference counter answers questions, one after the other.

    It starts with the first question. One that crashes or does not answer in time costs that
    answer, and the next question starts another. ``threads`` are those it computes on; None leaves
    that to torch. One conversation at a time; ``close`` may be called from another thread.
    """

    def __init__(self, reference_counter: str, *, threads: int | None = None) -> None:
        self.reference_counter = reference_counter
        self.threads = threads
        self._environment = {} if threads is None else {"OMP_NUM_THREADS": str(threads)}
        self._process: subprocess.Popen[str] | None = None
        self._errors: IO[str] | None = None
        self._closed = False
        self._talking = threading.Lock()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def ask(self, question: Question, *, version: str) -> Answer:
        """The counter's answer; ``version`` is what an answer that we give for it says of it."""
        with self._talking:
            if self._closed:
                return Answer(version=version, status="crashed", error="the process was closed")
            return self._conversation(question, version)

    def _conversation(self, question: Question, version: str) -> Answer:
        process = self._started()
        if self._closed:
            process.kill()
        assert process.stdin is not None
        assert process.stdout is not None
        overdue = threading.Event()

        def end() -> None:
            overdue.set()
            process.kill()

        limit = threading.Timer(TIME_LIMIT_S, end)
        limit.start()
        try:
            process.stdin.write(question.model_dump_json() + "\n")
            process.stdin.flush()
            line = process.stdout.readline()
        except BrokenPipeError:
            line = ""
        finally:
            limit.cancel()
        if overdue.is_set():
            self._ended()
            return Answer(
                version=version, status="timed out", error=f"no answer within {TIME_LIMIT_S:g} s"
            )
        if not line:
            return Answer(version=version, status="crashed", error=self._ended())
        try:
            return Answer.model_validate_json(line)
        except ValidationError:
            # what follows would be answers to other questions
            process.kill()
            self._ended()
            return Answer(
                version=version, status="unreadable", error="an answer that cannot be read"
            )

    def close(self) -> None:
        """End the process, at once."""
        self._closed = True
        if process := self._process:
            process.kill()
        with self._talking:
            self._ended()

    def _started(self) -> subprocess.Popen[str]:
        if self._process is None:
            # it lives as long as the process
            self._errors = tempfile.TemporaryFile(  # noqa: SIM115
                "w+", encoding="utf-8", errors="replace"
            )
            self._process = subprocess.Popen(
                [*COMMAND, self.reference_counter],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._errors,
                text=True,
                env=os.environ | self._environment,
            )
        return self._process

    def _ended(self) -> str:
        """Clear a process away that has ended; returns what is known of its end."""
        process, errors = self._process, self._errors
        if process is None or errors is None:
            return "no message"
        status = process.wait()
        errors.seek(0)
        last = errors.read().strip().splitlines()[-1:] or ["no message"]
        for stream in (process.stdin, process.stdout, errors):
            if stream is not None:
                stream.close()
        self._process = self._errors = None
        return f"exit status {status}: {last[0]}"

"""Runs all tests: what mostly waits or takes one core beside those that compute on two.

Beside are those on Ray, then types, then the ledger of every row, with each counter asked anew.
Those in a browser follow the tests that compute, which takes about as long. When all that is over
come those that need the machine for themselves. What is given on the command line is for the tests
that compute. The exit status is the first that is not 0.
"""

import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Event

PYTEST = (sys.executable, "-m", "pytest")
OTHERS = (
    *(*PYTEST, "--numprocesses", "2", "--dist", "loadfile"),
    *("-m", "not alone and not browser and not ray"),
)
TYPES = (sys.executable, "-m", "mypy", "--strict", "-p", "vidcost")
BROWSER = (*PYTEST, "-m", "browser", "tests/browser")

# two processes of two threads each wait for one another on two cores, and take twice as long
ONE_THREAD = os.environ | {"OMP_NUM_THREADS": "1"}


def marked(mark: str) -> tuple[str, ...]:
    """The command for those with a mark, of the files that name it: to collect all takes long."""
    files = [
        path for path in Path("tests").rglob("test_*.py") if f"mark.{mark}" in path.read_text()
    ]
    return (*PYTEST, "-m", mark, *map(str, sorted(files)))


def beside(stopped: Event, *commands: Sequence[str]) -> tuple[int, str]:
    """Run one after another; the first exit status that is not 0, and all that they said."""
    statuses, said = [], ""
    for command in commands:
        if stopped.is_set():
            break
        ran = subprocess.run(
            command,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
            env=ONE_THREAD,
        )
        statuses.append(ran.returncode)
        said += f"$ {' '.join(command)}\n{ran.stdout}"
    return next(filter(None, statuses), 0), said


def run(*command: str) -> int:
    """The exit status of a command whose output is ours."""
    return subprocess.run(command, check=False, env=ONE_THREAD).returncode


interrupted = Event()
with tempfile.TemporaryDirectory() as results, ThreadPoolExecutor() as pool:
    explain = (sys.executable, "-m", "vidcost.bench", "explain", "--no-cache", "--results", results)
    meanwhile = pool.submit(beside, interrupted, marked("ray"), TYPES, explain)
    try:
        statuses = run(*OTHERS, *sys.argv[1:]), run(*BROWSER)
        other_status, said = meanwhile.result()
    except KeyboardInterrupt:
        # what runs got it too; nothing more is begun
        interrupted.set()
        raise
sys.stdout.write(said)
sys.stdout.flush()
alone_status = subprocess.run(marked("alone"), check=False).returncode
sys.exit(next(filter(None, (*statuses, other_status, alone_status)), 0))

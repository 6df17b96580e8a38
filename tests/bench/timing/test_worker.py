"""The worker: its messages, its imports, and how it ends."""

import os
import sys

import pytest

from vidcost.bench.timing.cell import Cell
from vidcost.bench.timing.messages import Chunk, Limits, Task
from vidcost.bench.timing.parent import COMMAND, WorkerProcess
from vidcost.bench.timing.record import Timing

LIMITS = Limits(sampling_s=0.2, min_samples=3, precision=0.5, warmup_s=0.2, chunk_s=0.05)
BLOCK = Cell(block="pnl:n=2", shape=(8, 2, 4, 4))
ROW = {"row": "mfnet-nl", "frames": 4, "size": 64}


def script(code):
    """A worker that runs ``code`` around the real one's main()."""
    return [sys.executable, "-P", "-c", f"from vidcost.bench.timing import worker\n{code}"]


def said_by(process, cell, *, limits=LIMITS, reply="keep"):
    """Its messages on one task; the last is the record."""
    process.give(Task(cell=cell, limits=limits))
    said = [process.listen()]
    while not isinstance(said[-1], Timing):
        process.reply(reply)
        said.append(process.listen())
    return said


@pytest.fixture(scope="module")
def real():
    """One worker for all the tests that do not end it."""
    with WorkerProcess(COMMAND, threads=1) as process:
        yield process


@pytest.mark.parametrize(
    ("cell", "parts"),
    [
        (BLOCK, {"latency"}),
        (Cell(**ROW, phase="training"), {"latency", "forward", "backward", "optimizer"}),
    ],
    ids=["block", "training"],
)
def test_a_worker_sends_chunks_and_at_last_a_timing(real, cell, parts):
    *chunks, timing = said_by(real, cell)
    assert chunks
    assert all(isinstance(chunk, Chunk) for chunk in chunks)
    assert ("ok", cell, "") == (timing.status, timing.cell, timing.key)
    assert parts == timing.samples_s.keys()
    assert timing.machine.cores >= 1
    assert timing.memory is not None


def test_it_stops_when_it_is_told_to(real):
    endless = {"sampling_s": 600, "precision": 1e-9, "memory": False}
    limits = LIMITS.model_copy(update=endless)
    _, timing = said_by(real, BLOCK, reply="stop", limits=limits)
    assert ("ok", None) == (timing.status, timing.memory)


def test_more_threads_than_cpus_are_unsupported(real):
    many = len(os.sched_getaffinity(0)) + 1
    (timing,) = said_by(real, BLOCK.model_copy(update={"threads": many}))
    expected = f"{many} threads have {many - 1} CPUs to run on"
    assert ("unsupported", expected) == (timing.status, timing.error)


def test_threads_cpus_and_imports_of_a_worker():
    """Nothing that traces or counts networks runs where they are timed."""
    code = (
        "import os, sys, torch\n"
        "print('to nobody')\n"
        "os.write(1, b'to nobody')\n"
        "worker.main()\n"
        "heavy = {'fvcore', 'thop', 'pandas', 'scipy', 'typer', 'rich'} & sys.modules.keys()\n"
        "heavy |= {name for name in sys.modules if name.startswith('vidcost.bench.count')}\n"
        "cpus = len(os.sched_getaffinity(0))\n"
        "print(torch.get_num_threads(), cpus, *heavy, file=sys.stderr, flush=True)\n"
        "os._exit(3)\n"
    )
    with WorkerProcess(script(code), threads=1) as process:
        timing = said_by(process, BLOCK)[-1]
        assert "ok" == timing.status
        assert timing.protocol.cpus[0] in os.sched_getaffinity(0)
        assert ("exited", "exit status 3: 1 1") == process.end()


@pytest.mark.slow
def test_memory_that_is_not_there_is_a_status():
    """12 GB of address space are enough to start, but not for 2,508,800 x 2,508,800 products."""
    code = (
        "import resource\n"
        "resource.setrlimit(resource.RLIMIT_AS, (12 << 30, 12 << 30))\n"
        "worker.main()\n"
    )
    with WorkerProcess(script(code), threads=1) as process:
        (timing,) = said_by(process, Cell(block="nl", shape=(2, 16, 280, 560)))
    assert ("oom", True) == (timing.status, "allocate" in timing.error)

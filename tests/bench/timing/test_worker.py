"""The worker as a process: its lines, what it imports, how it ends."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from vidcost.bench.timing.cell import Cell
from vidcost.bench.timing.messages import Limits, Line, Task

COMMAND = [sys.executable, "-P", "-m", "vidcost.bench.timing.worker"]
LIMITS = Limits(sampling_s=0.2, min_samples=3, precision=0.5, warmup_s=0.2, chunk_s=0.05)
BLOCK = Cell(block="pnl:n=2", shape=(8, 2, 4, 4))


def talk(*cells, replies=500, reply="keep", limits=LIMITS, command=COMMAND):
    """Have a worker time ``cells``, of whose lines so many are answered."""
    tasks = iter([Task(cell=cell, limits=limits).model_dump_json() for cell in cells])
    with subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        bufsize=1,
    ) as process:
        process.stdin.write(next(tasks) + "\n")
        out = []
        for line in process.stdout:
            out.append(line)
            if Line.model_validate_json(line).ready:
                continue
            answer = next(tasks, None) if Line.model_validate_json(line).timing else reply
            if answer is None or len(out) > replies:
                break
            process.stdin.write(answer + "\n")
        rest, err = process.communicate()
    return subprocess.CompletedProcess(command, process.returncode, "".join(out) + rest, err)


def lines(process):
    """What it said after it was ready."""
    ready, *rest = [Line.model_validate_json(line) for line in process.stdout.splitlines()]
    assert Line(ready=True) == ready
    return rest


@pytest.mark.parametrize(
    ("cell", "parts"),
    [
        (BLOCK, {"latency"}),
        (BLOCK.model_copy(update={"cold": True}), {"latency"}),
        (
            Cell(row="mfnet-nl", frames=4, size=64, phase="training"),
            {"latency", "forward", "backward", "optimizer"},
        ),
        (Cell(row="mfnet-nl", frames=4, size=64, share=True), {"with", "without"}),
    ],
    ids=["block", "cold block", "training", "share"],
)
def test_a_worker_says_chunks_and_at_last_a_timing(cell, parts):
    process = talk(cell)
    assert 0 == process.returncode, process.stderr
    assert {1} == {len(json.loads(line)) for line in process.stdout.splitlines()}
    *chunks, last = lines(process)
    assert chunks
    assert all(line.chunk and not line.timing for line in chunks)
    assert ("ok", cell, "") == (last.timing.status, last.timing.cell, last.timing.key)
    assert parts == last.timing.samples_s.keys()
    assert last.timing.machine.cores >= 1


def test_it_times_one_cell_after_another():
    other = BLOCK.model_copy(update={"block": "nl"})
    process = talk(BLOCK, other)
    assert 0 == process.returncode, process.stderr
    assert [BLOCK, other] == [line.timing.cell for line in lines(process) if line.timing]


def test_memory_is_left_out_if_it_is_not_asked_for():
    process = talk(BLOCK, limits=LIMITS.model_copy(update={"memory": False}))
    timing = lines(process)[-1].timing
    assert ("ok", None) == (timing.status, timing.memory)


def test_it_computes_on_the_threads_of_the_cell_and_no_others():
    script = (
        "import os, sys\n"
        "from vidcost.bench.timing import measurement, worker\n"
        "import torch\n"
        "worker.main()\n"
        "print(torch.get_num_threads(), len(os.sched_getaffinity(0)), file=sys.stderr)\n"
    )
    process = talk(BLOCK, command=[sys.executable, "-c", script])
    assert "1 1" == process.stderr.strip().splitlines()[-1]
    (cpu,) = lines(process)[-1].timing.protocol.cpus
    assert cpu in os.sched_getaffinity(0)


def test_more_threads_than_cpus_are_unsupported():
    many = len(os.sched_getaffinity(0)) + 1
    process = talk(BLOCK.model_copy(update={"threads": many}))
    (line,) = lines(process)
    assert "unsupported" == line.timing.status
    assert f"{many} threads have {many - 1} CPUs to run on" == line.timing.error


def test_it_imports_no_counter():
    """What traces or counts networks never runs where they are timed."""
    script = (
        "import sys\n"
        "from vidcost.bench.timing import worker\n"
        "worker.main()\n"
        "print(*sorted(sys.modules), file=sys.stderr)\n"
    )
    process = talk(BLOCK, command=[sys.executable, "-c", script])
    assert "ok" == lines(process)[-1].timing.status
    modules = process.stderr.strip().splitlines()[-1].split()
    roots = {name.partition(".")[0] for name in modules}
    assert set() == roots & {"fvcore", "thop", "pandas", "scipy", "typer", "rich"}
    assert [] == [name for name in modules if name.startswith("vidcost.bench.count")]
    assert "torch.utils.flop_counter" not in modules


def test_what_torch_prints_does_not_mix_with_the_lines():
    """In Python, from a library in C, and by a compiler that it starts."""
    script = (
        "import os\n"
        "from vidcost.bench.timing import measurement, worker\n"
        "build = measurement.built_for\n"
        "def say(*args, **known):\n"
        "    print('from Python')\n"
        "    os.write(1, b'from C')\n"
        "    os.system('echo from a compiler')\n"
        "    return build(*args, **known)\n"
        "measurement.built_for = say\n"
        "worker.main()\n"
    )
    process = talk(BLOCK, command=[sys.executable, "-c", script])
    for who in ("Python", "C", "a compiler"):
        assert f"from {who}" in process.stderr
    assert "ok" == lines(process)[-1].timing.status


def test_it_ends_when_the_parent_is_gone():
    process = talk(BLOCK, replies=0)
    assert 1 == process.returncode
    assert "ParentGone: '' is no reply" in process.stderr
    (chunk,) = lines(process)
    assert chunk.chunk


def test_it_stops_when_it_is_told_to():
    process = talk(BLOCK, reply="stop", limits=LIMITS.model_copy(update={"sampling_s": 600}))
    assert 2 == len(lines(process))


def test_a_task_that_cannot_be_read_is_an_error():
    process = subprocess.run(
        COMMAND, input='{"cell": {}}\n', capture_output=True, text=True, check=False
    )
    assert 1 == process.returncode
    assert "a cell times a row, a block or a network" in process.stderr
    assert [] == lines(process)


def test_memory_that_is_not_there_is_a_status():
    """12 GB of address space are enough to start, not for 2,508,800 positions among themselves."""
    script = (
        "import resource\n"
        "from vidcost.bench.timing import measurement, worker\n"
        "resource.setrlimit(resource.RLIMIT_AS, (12 << 30, 12 << 30))\n"
        "worker.main()\n"
    )
    cell = Cell(block="nl", shape=(2, 16, 280, 560))
    process = talk(cell, command=[sys.executable, "-c", script])
    assert 0 == process.returncode, process.stderr
    timing = lines(process)[-1].timing
    assert ("oom", True) == (timing.status, "allocate" in timing.error)


def test_what_is_built_ahead_is_timed_when_it_is_its_turn():
    tasks = [Task(cell=BLOCK, ahead=True), Task(cell=BLOCK, limits=LIMITS)]
    process = subprocess.run(
        COMMAND,
        input="".join(f"{task.model_dump_json()}\n" for task in tasks) + "keep\n" * 500,
        capture_output=True,
        text=True,
        check=False,
    )
    first, second, *_ = said = [Line.model_validate_json(x) for x in process.stdout.splitlines()]
    assert Line(ready=True) == first == second
    (timing,) = (line.timing for line in said if line.timing)
    assert ("ok", BLOCK) == (timing.status, timing.cell)

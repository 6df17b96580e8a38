"""One cell measured in this process; the messages, imports and end of a real worker."""

import os
import re
import shutil
import statistics
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from vidcost.bench.inspection.counted import predict
from vidcost.bench.timing import runner, worker
from vidcost.bench.timing.build import Built, build
from vidcost.bench.timing.cell import Cell, checked_cell
from vidcost.bench.timing.messages import Chunk, Limits, Task, Window
from vidcost.bench.timing.parent import COMMAND, WorkerProcess
from vidcost.bench.timing.plan import code_of, network_fields
from vidcost.bench.timing.record import Timing
from vidcost.bench.timing.runner import Unsupported, memory_of, rss_peak_bytes
from vidcost.bench.timing.worker import measure

CLIP = ["2x3x4x5x6"]
MACS = (15 + 35) * 240 + 14 * 2
QUICK = Limits(sampling_s=0.3, min_samples=5, precision=0.5, warmup_s=0.3, chunk_s=0.05)
SMALL = {"row": "mfnet-nl", "frames": 4, "size": 64, "classes": 7}
BLOCK = {"block": "nl", "shape": (8, 2, 3, 5)}


@pytest.fixture(autouse=True)
def leaves_this_process_alone(monkeypatch):
    """Threads and CPUs are the worker's to choose, not a test's."""
    monkeypatch.setattr(worker, "_configure", lambda cell: None)


def run(limits=QUICK, reply="keep", **cell):
    chunks = []

    def exchange(message):
        chunks.append(message)
        return reply

    return measure(Task(cell=Cell(**cell), limits=limits), exchange), chunks


def test_the_parts_of_a_training_step_are_the_step():
    timing, _ = run(**SMALL, phase="training")
    parts = [timing.samples_s[name] for name in ("forward", "backward", "optimizer")]
    whole = timing.samples_s["latency"]
    assert {len(whole)} == {len(part) for part in parts}
    assert [pytest.approx(sum(each)) for each in zip(*parts, strict=True)] == list(whole)


def test_a_device_that_is_throttled_has_a_status():
    timing, _ = run(reply="void", **BLOCK)
    assert "throttled" == timing.status
    assert re.match(r"no clean sample in \d+ s: the device was throttled$", timing.error)
    assert {} == timing.samples_s
    assert timing.protocol.void_samples > 0


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 7 GiB"), "oom"),
        (RuntimeError("DefaultCPUAllocator: not enough memory: you tried to allocate 7"), "oom"),
        (RuntimeError("\"x\" not implemented for 'Half'"), "unsupported"),
        (Unsupported("torch.compile: no compiler"), "unsupported"),
    ],
)
def test_what_cannot_be_done_has_a_status(monkeypatch, error, status):
    class Failing(nn.Module):
        def forward(self, x):
            raise error

    failing = Built(Failing(), (torch.zeros(2),))
    monkeypatch.setattr(worker, "build", lambda cell, seed: failing)
    timing, chunks = run(**BLOCK)
    assert (status, []) == (timing.status, chunks)
    assert " ".join(str(error).split()) in timing.error


def test_any_other_error_is_the_workers_end(monkeypatch):
    class Failing(nn.Module):
        def forward(self, x):
            raise RuntimeError("a bug")

    failing = Built(Failing(), (torch.zeros(2),))
    monkeypatch.setattr(worker, "build", lambda cell, seed: failing)
    with pytest.raises(RuntimeError, match="a bug"):
        run(**BLOCK)


def test_a_compiler_that_fails_is_unsupported(monkeypatch):
    def compile_(model, dynamic):
        def compiled(*inputs):
            raise RuntimeError("no C++ compiler\nand a long trace")

        return compiled

    monkeypatch.setattr(torch, "compile", compile_)
    for phase in ("inference", "training"):
        timing, _ = run(**BLOCK, mode="compile", phase=phase)
        assert "unsupported" == timing.status
        assert "torch.compile: no C++ compiler and a long trace" == timing.error


def test_the_peak_is_what_is_held_at_once():
    """Two tensors of 4 MB at most at the same time, out of three."""

    def step():
        x = torch.ones(1 << 20)
        y = x + 1
        del x
        return (y * 2).sum()

    memory = memory_of("cpu", SimpleNamespace(step=step, weights_bytes=7, held_bytes=1000))
    assert 2 * (4 << 20) + 1000 <= memory.peak < 2 * (4 << 20) + 10_000
    assert (7, None, None) == (memory.weights, memory.reserved, memory.device_used)
    assert 0 < memory.rss_peak <= rss_peak_bytes()


@pytest.mark.slow
@pytest.mark.parametrize("phase", ["inference", "training"])
def test_the_memory_of_a_pair_is_that_of_each_side_alone(phase):
    timing, _ = run(**SMALL, phase=phase, against=Cell(**SMALL, blocks=(), phase=phase))
    assert ("ok", {"target", "reference"}) == (timing.status, timing.samples_s.keys())
    for row, side in (("mfnet-nl", timing.memory), ("mfnet", timing.reference_memory)):
        alone, _ = run(**(SMALL | {"row": row}), phase=phase)
        assert None is alone.reference_memory
        assert (alone.memory.weights, alone.memory.peak) == (side.weights, side.peak)
    assert timing.memory.weights > timing.reference_memory.weights
    # the process held both
    assert timing.memory.rss_peak > 0
    assert None is timing.reference_memory.rss_peak


def test_the_cuda_peak_is_above_a_baseline(monkeypatch):
    """Leftovers that were allocated before the pass are no part of it; its inputs are."""
    known = {
        **dict.fromkeys(("synchronize", "empty_cache", "reset_peak_memory_stats"), None),
        "memory_allocated": 500,
        "max_memory_allocated": 900,
        "max_memory_reserved": 1000,
        "device_memory_used": 5000,
    }
    for name, value in known.items():
        monkeypatch.setattr(torch.cuda, name, lambda *_, value=value: value, raising=False)
    runner = SimpleNamespace(step=lambda: None, weights_bytes=100, held_bytes=30)
    memory = memory_of("cuda", runner)
    assert (430, 1000, 5000) == (memory.peak, memory.reserved, memory.device_used)


def script(code):
    """A worker that runs ``code`` around the real one's main()."""
    return [sys.executable, "-P", "-c", f"from vidcost.bench.timing import worker\n{code}"]


def said_by(process, cell, *, limits=QUICK, reply="keep"):
    """Its messages on one task; the last is the record."""
    process.give(Task(cell=cell, limits=limits))
    said = [process.listen()]
    while not isinstance(said[-1], Timing):
        process.send(reply)
        said.append(process.listen())
    return said


@pytest.fixture(scope="module", autouse=True)
def theirs(tmp_path_factory):
    """The current folder is a user's."""
    folder = tmp_path_factory.mktemp("theirs")
    shutil.copy(Path(__file__).parents[1] / "theirs.py", folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        yield folder / "theirs.py"


def network(name, **known) -> Cell:
    return checked_cell(network_fields(f"theirs.py:{name}", CLIP) | known)


@pytest.fixture(scope="module")
def real(theirs):
    """One worker for all the tests that do not end it, whatever users' code does."""
    with WorkerProcess(COMMAND, threads=1) as process:
        yield process


def test_a_worker_sends_chunks_and_at_last_a_timing(real):
    *chunks, timing = said_by(real, Cell(**BLOCK))
    assert chunks
    assert all(isinstance(chunk, Chunk) for chunk in chunks)
    assert ("ok", Cell(**BLOCK), "") == (timing.status, timing.cell, timing.key)
    assert {"latency"} == timing.samples_s.keys()
    assert timing.memory is not None


def test_it_stops_when_it_is_told_to(real):
    endless = {"sampling_s": 600, "precision": 1e-9, "memory": False}
    limits = QUICK.model_copy(update=endless)
    _, timing = said_by(real, Cell(**BLOCK), reply="stop", limits=limits)
    assert ("ok", None) == (timing.status, timing.memory)


def test_more_threads_than_cpus_are_unsupported(real):
    many = len(os.sched_getaffinity(0)) + 1
    (timing,) = said_by(real, Cell(**BLOCK, threads=many))
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
        timing = said_by(process, Cell(**BLOCK))[-1]
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


# users' networks and blocks, whatever they do


@pytest.mark.parametrize(
    ("phase", "parts", "macs"),
    [
        # 15 and 35 weights at 2 clips of 120 positions, 14 at 2; the clip takes no gradient
        ("inference", {"latency"}, MACS),
        ("training", {"latency", "forward", "backward", "optimizer"}, 3 * MACS - 15 * 240),
    ],
)
def test_a_network_that_prints_is_timed_whatever_it_returns(real, phase, parts, macs):
    cell = network("Prints", phase=phase)
    timing = said_by(real, cell)[-1]
    assert ("ok", "", parts) == (timing.status, timing.error, set(timing.samples_s))
    assert (MACS, macs) == ((known := predict(cell)).macs, known.macs_total)
    assert 2 == timing.cell.batch


@pytest.mark.parametrize(
    ("name", "status", "error"),
    [
        ("Leaves", "raised", "sys.exit(3) ("),
        ("Raises", "raised", "ValueError: theirs ("),
        ("fails", "raised", "RuntimeError: nothing to build ("),
        ("NotANumber", "not finite", "it returned values that are not finite"),
    ],
)
def test_its_failure_is_a_status(real, name, status, error):
    timing = said_by(real, network(name))[-1]
    assert (status, {}) == (timing.status, timing.samples_s)
    assert timing.error.startswith(error)


def seconds_of(words):
    """How long a command takes, and what it says."""
    command = [sys.executable, "-m", "vidcost", *words.split(), "--no-resume"]
    began = time.monotonic()
    ran = subprocess.run(command, capture_output=True, text=True, check=False)
    return time.monotonic() - began, ran


@pytest.mark.slow
@pytest.mark.alone
@pytest.mark.parametrize(
    "words", ["time theirs.py:{0}", "compare theirs.py:Net theirs.py:{0} --budget 10s"]
)
@pytest.mark.parametrize("name", ["Hangs", "HangsOnValues"])
def test_a_hang_ends_soon_after_the_time_limit(theirs, words, name):
    took_s, ran = seconds_of(f"{words.format(name)} --input 2x3x4x5x6 --time-limit 5s")
    assert took_s < 10
    assert 1 == ran.returncode
    assert re.search(rf"^vidcost: theirs.py:{name}.*: timed out: ", ran.stderr, re.MULTILINE)


@pytest.mark.slow
@pytest.mark.alone
@pytest.mark.parametrize(
    "words",
    [
        "time theirs.py:Net --input 2x3x4x5x6",
        "compare theirs.py:Net theirs.py:make --input 2x3x4x5x6",
        "time mfnet mfnet-nl mfnet-pnl",
        "compare mfnet mfnet-nl",
        "compare mfnet-nl r50-nl",
    ],
)
def test_a_budget_is_kept_to(theirs, words):
    """Within a fifth beyond ten seconds of set-up, or a line beforehand says how long it takes."""
    took_s, ran = seconds_of(f"{words} --budget 10s")
    assert ran.returncode in (0, 3), ran.stderr
    said = re.search(r"about (\d+) s.*, more than the budget of 10 s$", ran.stderr, re.MULTILINE)
    # these are quick on any machine
    assert not (said and "theirs" in words)
    assert took_s < (1.2 * float(said[1]) if said else 1.2 * 10 + 10)


def test_whole_numbers_keep_their_type():
    cell = checked_cell(network_fields("theirs.py:Ids", ["2x7:int64"]) | {"dtype": "bf16"})
    assert 12 * 14 == predict(cell).macs


def test_nothing_is_predicted_of_code_that_fails():
    assert (None, None) == (predict(network("fails")).macs, predict(network("fails")).hangs)
    assert MACS == predict(network("ReadsValues")).macs


def test_a_pair_is_of_the_blocks_put_into_it(real):
    plain = network("Net", blocks=())
    cell = network("Net", blocks=(("stem", "cgd"),), against=plain)
    timing = said_by(real, cell)[-1]
    assert ("ok", {"target", "reference"}) == (timing.status, set(timing.samples_s))
    # 6 parameters a channel
    assert 4 * 6 * 5 == timing.memory.weights - timing.reference_memory.weights


def test_the_name_of_a_measurement_depends_on_the_code(theirs):
    before = network("Net")
    code = theirs.read_text()
    theirs.write_text(f"{code}\nx = 1\n")
    assert before.key() != network("Net").key()
    theirs.write_text(code)
    assert before == network("Net")
    assert "" == code_of(["nl", "pnl:n=3"])
    assert network("Net").code == code_of(["nl"], "theirs.py:Net")


# a GPU

cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device")


@pytest.mark.cuda
@cuda
# the compiler's advice on what the type of the cell forbids
@pytest.mark.filterwarnings("ignore:TensorFloat32 tensor cores:UserWarning")
@pytest.mark.parametrize("mode", ["eager", "cuda-graph", "compile"])
@pytest.mark.parametrize("dtype", ["fp32", "tf32", "bf16", "fp16"])
def test_modes_and_types_on_a_gpu(mode, dtype):
    timing, _ = run(**SMALL, device="cuda", mode=mode, dtype=dtype)
    assert ("ok", "") == (timing.status, timing.error)
    assert (timing.memory.peak is None) == (mode == "cuda-graph")
    assert timing.memory.reserved >= timing.memory.weights + (timing.memory.peak or 0)


@pytest.mark.cuda
@pytest.mark.alone
@cuda
def test_the_energy_of_a_gpu_is_that_of_passes_back_to_back():
    limits = QUICK.model_copy(update={"energy_s": 1})
    timing, messages = run(**SMALL, device="cuda", limits=limits)
    start, end = (message for message in messages if isinstance(message, Window))
    assert ("start", 0, "end") == (start.edge, start.passes, end.edge)
    # at least half as many as their latency leaves room for
    assert end.passes > 0.5 / statistics.median(timing.samples_s["latency"])


@pytest.mark.cuda
@cuda
def test_a_replayed_graph_computes_what_the_network_does():
    cell = Cell(**SMALL, device="cuda", mode="cuda-graph")
    built = build(cell)
    replay = runner.inference(cell, built)
    with torch.inference_mode():
        expected = built.model(*built.inputs)
    replayed = replay()
    torch.cuda.synchronize()
    assert torch.allclose(expected, replayed, rtol=1e-4, atol=1e-5)


@pytest.mark.cuda
@cuda
def test_what_is_too_large_for_the_gpu_is_out_of_memory():
    """A matrix of 2^38 scores: a terabyte, asked for at once, so that nobody else is in want."""
    timing, _ = run(block="nl", shape=(16, 32, 128, 128), device="cuda")
    assert "oom" == timing.status
    assert "Tried to allocate 1024" in timing.error

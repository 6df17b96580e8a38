"""Users' networks and blocks timed in real workers, whatever they do."""

import json
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from vidcost.bench.inspection.counted import predict
from vidcost.bench.timing.cell import Cell, checked_cell
from vidcost.bench.timing.messages import Limits, Task
from vidcost.bench.timing.parent import COMMAND, WorkerProcess
from vidcost.bench.timing.plan import code_of, network_fields
from vidcost.bench.timing.record import Timing

QUICK = Limits(sampling_s=0.2, min_samples=3, precision=0.5, warmup_s=0.2, chunk_s=0.05)
CLIP = ["2x3x4x5x6"]
MACS = (15 + 35) * 240 + 14 * 2


@pytest.fixture(scope="module", autouse=True)
def theirs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("theirs")
    shutil.copy(Path(__file__).parents[1] / "theirs.py", folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        yield folder / "theirs.py"


def network(name, **known) -> Cell:
    return checked_cell(network_fields(f"theirs.py:{name}", CLIP) | known)


@pytest.fixture(scope="module")
def worker(theirs):
    """One worker for all: their failures leave it alive."""
    with WorkerProcess(COMMAND, threads=1) as process:
        yield process


def measured(worker, cell, limits=QUICK):
    worker.give(Task(cell=cell, limits=limits))
    while not isinstance(said := worker.listen(), Timing):
        worker.reply("keep")
    return said


@pytest.mark.parametrize(
    ("phase", "parts", "macs"),
    [
        # 15 and 35 weights at 2 clips of 120 positions, 14 at 2; the clip takes no gradient
        ("inference", {"latency"}, MACS),
        ("training", {"latency", "forward", "backward", "optimizer"}, 3 * MACS - 15 * 240),
    ],
)
def test_a_network_that_prints_is_timed_whatever_it_returns(worker, phase, parts, macs):
    cell = network("Net", phase=phase)
    timing = measured(worker, cell)
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
def test_its_failure_is_a_status(worker, name, status, error):
    timing = measured(worker, network(name))
    assert (status, {}) == (timing.status, timing.samples_s)
    assert timing.error.startswith(error)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["Hangs", "HangsOnValues"])
def test_a_hang_ends_soon_after_the_time_limit(theirs, name):
    words = f"-m vidcost time theirs.py:{name} --input 2x3x4x5x6 --time-limit 5s --budget 60s"
    began = time.monotonic()
    ran = subprocess.run(
        [sys.executable, *words.split()], capture_output=True, text=True, check=False
    )
    assert time.monotonic() - began < 5 + 20
    assert 1 == ran.returncode
    assert f"theirs.py:{name} on cpu (batch 2, fp32, eager, inference): timed out: " in ran.stderr


def test_whole_numbers_keep_their_type():
    cell = checked_cell(network_fields("theirs.py:Ids", ["2x7:int64"]) | {"dtype": "bf16"})
    assert 12 * 14 == predict(cell).macs


@pytest.mark.slow
@pytest.mark.alone
def test_a_budget_is_kept_to(theirs):
    """Within 20% and a few seconds, beyond what it takes to set up on this machine."""

    def took_s(budget):
        words = f"-m vidcost time theirs.py:Net --input 2x3x4x5x6 --budget {budget}s --json"
        command = [sys.executable, *words.split(), "--no-resume"]
        began = time.monotonic()
        ran = subprocess.run(command, capture_output=True, text=True, check=True)
        assert ["ok"] == [line["status"] for line in json.loads(ran.stdout)]
        return time.monotonic() - began

    assert took_s(13) - took_s(1) < 1.2 * 12 + 5


def test_nothing_is_predicted_of_code_that_fails():
    assert (None, None) == (predict(network("fails")).macs, predict(network("fails")).hangs)
    assert MACS == predict(network("ReadsValues")).macs


def test_a_pair_is_of_the_blocks_put_into_it(worker):
    plain = network("Net", blocks=())
    cell = network("Net", blocks=(("stem", "cgd"),), against=plain)
    timing = measured(worker, cell)
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


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"network": "theirs.py:Net"}, "a network of your own needs its inputs"),
        ({"row": "mfnet", "network": "theirs.py:Net", "inputs": ("1x3",)}, "give one of them"),
        ({"block": "nl", "shape": (4, 1, 2, 2), "blocks": ()}, "blocks have positions in a row"),
        ({"network": "n.py:N", "inputs": ("1x3",), "frames": 3}, "are a row's"),
    ],
)
def test_cells_that_contradict_themselves(fields, message):
    with pytest.raises(ValueError, match=message):
        checked_cell(fields)

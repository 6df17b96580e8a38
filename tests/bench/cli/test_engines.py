"""Where commands have cells timed: the options, and how it is done here."""

import sys

import pytest
import torch

from vidcost.bench.cli import engines
from vidcost.bench.inspection.counted import predict
from vidcost.bench.timing.cell import Cell
from vidcost.bench.timing.machine import check_device, default_threads

CELL = Cell(row="mfnet-nl")
RAY = ("--engine", "ray")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--address", "h:1"), "--address and --gpu are for a Ray cluster: give --engine ray too"),
        (("--gpu", "H100"), "--address and --gpu are for a Ray cluster: give --engine ray too"),
        (("--budget", "1m", *RAY), "--budget divides the time of one machine: leave it out with "),
        (("--device", "cuda:1", *RAY), "no device 'cuda:1' on a cluster: "),
        (("--gpu", "H100", *RAY), "--gpu chooses among GPUs: give --device cuda too"),
    ],
)
def test_options_that_contradict_each_other(complaint, words, message):
    assert complaint("time", "mfnet", *words).startswith(message)


def test_without_ray_the_extra_is_named(complaint, monkeypatch):
    monkeypatch.setattr("vidcost.bench.extras.find_spec", lambda name: None)
    monkeypatch.setitem(sys.modules, "ray", None)
    assert "vidcost[ray]" in complaint("time", "mfnet", *RAY)


@pytest.mark.parametrize(
    ("message", "count", "device"),
    [
        ("^no CUDA device: choose --device cpu$", 0, "cuda"),
        ("^no device 'cuda:2': there are cuda:0 to cuda:1$", 2, "cuda:2"),
        ("^no device 'gpu': choose cpu, cuda or, of several, cuda:1$", 2, "gpu"),
        ("^no device 'cpu:0'", 2, "cpu:0"),
        ("^no device ''", 2, ""),
    ],
)
def test_devices_that_are_not_there_are_rejected(message, count, device, monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: count)
    assert "cpu" == check_device("cpu")
    assert not count or "cuda:1" == check_device("cuda:1")
    with pytest.raises(ValueError, match=message):
        check_device(device)


def test_a_gpu_is_fed_by_one_thread_and_a_cpu_uses_its_cores(monkeypatch):
    monkeypatch.setattr("os.sched_getaffinity", lambda _: {0, 3, 5}, raising=False)
    assert (3, 1) == (default_threads("cpu"), default_threads("cuda:1"))


def test_cells_are_timed_on_this_machine_into_its_file(stopwatch, timed, tmp_path, monkeypatch):
    machine = timed(CELL).machine
    monkeypatch.setattr("vidcost.bench.timing.machine.machine_of", lambda device: machine)
    assert [] == engines.take([], tmp_path).timings
    engines.take([CELL], tmp_path, budget_s=7.0, start_up_s=3.0, resume=False)
    assert [CELL] == stopwatch.asked
    asked = stopwatch.conditions
    assert (tmp_path / "timings/local-abacus-torch2.11.0.jsonl", 7.0, False, 3.0) == (
        *(asked[key] for key in ("path", "budget_s", "resume")),
        asked["limits"].start_up_s,
    )
    known = asked["predict"]
    assert (predict, {"limit_s": 3.0}) == (known.func, known.keywords)

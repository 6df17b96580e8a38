from pathlib import Path

import pytest
import torch
from rich.console import Console

from vidcost.bench.session import timing as timing_session
from vidcost.bench.session.timing import (
    check_device,
    chosen,
    default_threads,
    failure,
    store_of,
    stored,
    take,
)
from vidcost.bench.timing import conditions, events
from vidcost.bench.timing.cell import Cell
from vidcost.bench.timing.messages import Limits
from vidcost.bench.timing.store import Store

CELL = Cell(row="mfnet-nl")


@pytest.fixture
def gpus(monkeypatch):
    """Have so many CUDA devices."""
    return lambda count: monkeypatch.setattr(torch.cuda, "device_count", lambda: count)


@pytest.fixture
def abacus(timed, monkeypatch):
    """Be on the machine of made-up timings."""
    machine = timed(CELL).machine
    monkeypatch.setattr(conditions, "machine_of", lambda device: machine)
    return machine


# --- devices


def test_devices_that_are_there(gpus):
    gpus(2)
    assert ["cpu", "cuda", "cuda:0", "cuda:1"] == [
        check_device(device) for device in ("cpu", "cuda", "cuda:0", "cuda:1")
    ]


@pytest.mark.parametrize(
    ("message", "count", "device"),
    [
        ("^no CUDA device: choose --device cpu$", 0, "cuda"),
        ("^no CUDA device: choose --device cpu$", 0, "cuda:1"),
        ("^no device 'cuda:2': there are cuda:0 to cuda:1$", 2, "cuda:2"),
        ("^no device 'gpu': choose cpu, cuda or, of several, cuda:1$", 2, "gpu"),
        ("^no device 'cpu:0'", 2, "cpu:0"),
        ("^no device 'meta'", 2, "meta"),
        ("^no device ''", 2, ""),
    ],
)
def test_devices_that_are_not_there_are_refused(message, count, device, gpus):
    gpus(count)
    with pytest.raises(ValueError, match=message):
        check_device(device)


def test_a_gpu_is_fed_by_one_thread_and_a_cpu_uses_its_cores(monkeypatch):
    monkeypatch.setattr("os.sched_getaffinity", lambda _: {0, 3, 5}, raising=False)
    assert (3, 1) == (default_threads("cpu"), default_threads("cuda:1"))


# --- taking


def test_timings_go_into_a_file_of_the_device_and_torch(abacus, stopwatch, tmp_path):
    a100 = abacus.model_copy(update={"device": "NVIDIA A100-SXM4-80GB", "torch": "2.12.1+cu128"})
    name = "nvidia-a100-sxm4-80gb-torch2.12.1.jsonl"
    assert tmp_path / "timings" / name == store_of(tmp_path, a100).path
    take([CELL], tmp_path, console=Console(), budget_s=7.0, resume=False)
    assert [CELL] == stopwatch.asked
    asked = stopwatch.conditions
    assert (tmp_path / "timings/abacus-torch2.11.0.jsonl", 7.0, False) == tuple(
        asked[key] for key in ("path", "budget_s", "resume")
    )
    assert 12_451_829_760 == asked["predict"](CELL).macs


def test_what_failed_or_found_no_time_is_named(abacus, stopwatch, timed, tmp_path):
    cells = [CELL, Cell(row="mfnet", batch=7, dtype="bf16")]
    stopwatch[cells[0]] = timed(cells[0])
    stopwatch[cells[1]] = timed(cells[1], None, status="oom", error="20 GiB")
    stopwatch.events = [events.Warned("mended"), events.BudgetSpent((CELL, CELL))]
    taken = take(cells, tmp_path, console=Console())
    assert cells == [timing.cell for timing in taken.timings]
    assert ["mfnet on cpu (batch 7, bf16, eager, inference): oom: 20 GiB"] == taken.failures
    assert ["mended", "no time was left for mfnet-nl: raise --budget"] == taken.notes


def test_a_cpus_product_is_measured_once_for_each_type_and_threads(monkeypatch):
    measured = []

    def product(device, dtype):
        measured.append((device, dtype, torch.get_num_threads()))
        return 7e9

    monkeypatch.setattr(timing_session, "measured_macs_per_s", product)
    timing_session._matmul_on_cpu.cache_clear()
    threads = torch.get_num_threads()
    block = Cell(block="nl", shape=(4, 1, 3, 5))
    for cell in (block, block.model_copy(update={"batch": 3})):
        predicted = timing_session.predict_with_peak(cell)
        assert 7e9 == predicted.peak_macs_per_s
        # 2 x 4^2 x 15 + 4 x 15^2 a clip
        assert 1_380 * cell.batch == predicted.macs
    assert [("cpu", "fp32", 1)] == measured
    assert threads == torch.get_num_threads()
    on_gpu = block.model_copy(update={"device": "cuda"})
    assert None is timing_session.predict_with_peak(on_gpu).peak_macs_per_s
    timing_session._matmul_on_cpu.cache_clear()


def test_nothing_to_time_asks_nothing(stopwatch, tmp_path):
    assert [] == take([], tmp_path, console=Console()).timings
    assert [] == stopwatch.asked


def test_a_failure_without_words_is_its_status(timed):
    throttled = timed(CELL, None, status="throttled")
    assert "mfnet-nl on cpu (batch 1, fp32, eager, inference): throttled" == failure(throttled)


def test_stored_are_the_timings_of_this_code_and_device(abacus, timed, tmp_path):
    store = store_of(tmp_path, abacus)
    now = CELL.key(*conditions.conditions(abacus))
    other = Cell(row="mfnet")
    failed = Cell(row="mfnet-pnl")
    store.append(timed(CELL, key=now))
    store.append(timed(other, key="of older code"))
    key = failed.key(*conditions.conditions(abacus))
    store.append(timed(failed, None, status="oom", key=key))
    assert [CELL] == list(stored([CELL, other, failed], tmp_path))
    assert {} == stored([], tmp_path)


# --- choosing


@pytest.fixture
def two_devices(timed, abacus, tmp_path):
    for device in ("Abacus", "Slide rule"):
        machine = abacus.model_copy(update={"device": device})
        store_of(tmp_path, machine).append(timed(CELL, machine=machine))
    return tmp_path


@pytest.mark.parametrize(("expected", "which"), [("Abacus", "abac"), ("Slide rule", "rule")])
def test_a_device_is_chosen_by_a_part_of_its_name(expected, which, two_devices):
    ((timing,), note) = chosen(which, two_devices)
    assert (expected, "") == (timing.machine.device, note)


def test_a_file_can_be_chosen(two_devices):
    path = two_devices / "timings/slide-rule-torch2.11.0.jsonl"
    assert "Slide rule" == chosen(str(path), Path("elsewhere"))[0][0].machine.device


def test_a_last_line_cut_short_is_said(two_devices):
    path = two_devices / "timings/abacus-torch2.11.0.jsonl"
    path.write_bytes(path.read_bytes() + b'{"key": ')
    (timings, note) = chosen("abacus", two_devices)
    assert 1 == len(timings)
    assert "line 3 is cut short and was left out" in note


def test_a_choice_of_two_devices_or_none_is_refused(two_devices):
    with pytest.raises(ValueError, match=r"^timings of Abacus and Slide rule do not go into one"):
        chosen("s", two_devices)
    with pytest.raises(ValueError, match=r"no timings of 'H100' .*: there are those of Abacus, Sl"):
        chosen("H100", two_devices)
    with pytest.raises(ValueError, match="`vidcost time` makes some"):
        chosen("H100", two_devices / "nowhere")


def test_a_damaged_file_is_refused(tmp_path):
    path = tmp_path / "x.jsonl"
    path.write_text("no timings\n")
    assert Store(path).path == path
    with pytest.raises(ValueError, match=r"line 1 is not the first line of a file of timings"):
        timing_session.chosen(str(path), tmp_path)


def test_a_gpu_is_looked_at_sooner():
    assert Limits() == timing_session.limits_for("cpu")
    on_gpu = timing_session.limits_for("cuda:1", start_up_s=7)
    expected = {"chunk_s": timing_session.GPU_CHUNK_S, "least_s": timing_session.GPU_LEAST_S}
    assert Limits(start_up_s=7, **expected) == on_gpu
    assert on_gpu.chunk_s < Limits().chunk_s

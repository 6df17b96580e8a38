"""Files of timings in a results folder, and the choice of timings in them."""

import pytest

from vidcost.bench.timing.cell import Cell
from vidcost.bench.timing.store import chosen, store_of

CELL = Cell(row="mfnet-nl")


@pytest.fixture
def abacus(timed):
    """The machine of made-up timings."""
    return timed(CELL).machine


def test_a_file_is_named_by_device_and_torch(abacus, tmp_path):
    a100 = abacus.model_copy(update={"device": "NVIDIA A100-SXM4-80GB", "torch": "2.12.1+cu128"})
    name = "nvidia-a100-sxm4-80gb-torch2.12.1.jsonl"
    assert tmp_path / "timings" / name == store_of(tmp_path, a100).path


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


@pytest.mark.parametrize(
    ("which", "folder", "message"),
    [
        ("s", ".", r"^timings of Abacus and Slide rule do not go into one"),
        ("H100", ".", r"no timings of 'H100' .*: there are those of Abacus, Sl"),
        ("H100", "nowhere", "`vidcost time` makes some"),
    ],
)
def test_a_choice_of_two_devices_or_none_is_rejected(two_devices, which, folder, message):
    with pytest.raises(ValueError, match=message):
        chosen(which, two_devices / folder)

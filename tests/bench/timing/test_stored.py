"""Files of timings in a results folder, and the choice of timings in them."""

import pytest

from vidcost.bench.timing.cell import Cell
from vidcost.bench.timing.store import store_of

CELL = Cell(row="mfnet-nl")


@pytest.fixture
def abacus(timed):
    """The machine of made-up timings."""
    return timed(CELL).machine


def test_a_file_is_named_by_device_and_torch(abacus, tmp_path):
    a100 = abacus.model_copy(update={"device": "NVIDIA A100-SXM4-80GB", "torch": "2.12.1+cu128"})
    name = "nvidia-a100-sxm4-80gb-torch2.12.1.jsonl"
    assert tmp_path / "timings" / name == store_of(tmp_path, a100).path

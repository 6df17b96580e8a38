"""The least time that a device leaves a block, by hand."""

from __future__ import annotations

import pytest

from vidcost.bench.timing.cell import Cell
from vidcost.bench.timing.roofs import least_s

H100 = "NVIDIA H100 80GB HBM3"
BANDWIDTH = 3.35e12
SMALL = (8, 1, 4, 4)


def least(cell, *, macs=0, macs_per_s=4e14, device_name=H100):
    return least_s(cell, macs=macs, macs_per_s=macs_per_s, device_name=device_name)


@pytest.mark.parametrize(
    ("dtype", "size"), [("fp32", 4), ("tf32", 4), ("bf16-autocast", 4), ("bf16", 2), ("fp16", 2)]
)
def test_memory_is_the_input_the_output_and_the_weights_once(dtype, size):
    cell = Cell(block="cgd", shape=(384, 32, 14, 14), batch=8, dtype=dtype, device="cuda")
    elements = 2 * 8 * 384 * 32 * 14 * 14 + 6 * 384
    assert pytest.approx(size * elements / BANDWIDTH) == least(cell, macs=3 * 8 * 384)


def test_buffers_are_read_like_parameters():
    cell = Cell(block="nl", shape=(384, 2, 7, 7), device="cuda")
    # four projections, then of the BatchNorm weight, bias, mean, variance and a counter
    weights = 4 * 384 * 192 + 4 * 384 + 1
    maps = 2 * 384 * 2 * 7 * 7
    assert pytest.approx(4 * (maps + weights) / BANDWIDTH) == least(cell)


def test_the_longer_of_both_counts():
    cell = Cell(block="nl", shape=(384, 32, 14, 14), device="cuda")
    memory = least(cell)
    assert 0.001 == least(cell, macs=10**9, macs_per_s=1e12) > memory
    assert memory == least(cell, macs=10**3, macs_per_s=1e12)


@pytest.mark.parametrize(
    ("cell", "known"),
    [
        (Cell(block="nl", shape=SMALL, phase="training", device="cuda"), {}),
        (Cell(row="mfnet", device="cuda"), {}),
        (Cell(block="my_block.py:MyBlock", shape=SMALL, code="c0ffee", device="cuda"), {}),
        (Cell(block="nl", shape=SMALL, device="cuda"), {"macs": None}),
        (Cell(block="nl", shape=SMALL, device="cuda"), {"macs_per_s": None}),
        (Cell(block="nl", shape=SMALL, device="cuda"), {"device_name": "Abacus"}),
        # a GPU's name is a word of this one
        (Cell(block="nl", shape=SMALL), {"device_name": "AMD A10-7850K APU"}),
    ],
)
def test_nothing_is_said_where_a_roof_is_unknown(cell, known):
    assert None is least(cell, **known)

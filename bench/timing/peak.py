"""The most a device can do: products, from its data sheet and measured, and bytes of memory.

Data sheets give operations, two to a multiply-accumulate, for tensor cores often with sparsity,
which halves. The figures below are dense; products in bf16 and fp16 add up in fp32.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TypeVar

import torch

from vidcost.bench.timing.axes import Dtype
from vidcost.bench.timing.clock import clock_for

T = TypeVar("T")

TFLOPS: Mapping[str, Mapping[Dtype, float]] = {
    # NVIDIA H100 data sheet: SXM, NVL; the PCIe board from its first edition
    "H100 80GB HBM3": {"fp32": 67, "tf32": 494.7, "bf16": 989.4, "fp16": 989.4},
    "H100 NVL": {"fp32": 60, "tf32": 417.5, "bf16": 835.5, "fp16": 835.5},
    "H100 PCIe": {"fp32": 51, "tf32": 378, "bf16": 756, "fp16": 756},
    # NVIDIA H200 data sheet
    "H200 NVL": {"fp32": 60, "tf32": 417.5, "bf16": 835.5, "fp16": 835.5},
    "H200": {"fp32": 67, "tf32": 494.7, "bf16": 989.4, "fp16": 989.4},
    # NVIDIA A100 data sheet, the same for SXM and PCIe
    "A100": {"fp32": 19.5, "tf32": 156, "bf16": 312, "fp16": 312},
    # NVIDIA A30 and A10 data sheets
    "A30": {"fp32": 10.3, "tf32": 82, "bf16": 165, "fp16": 165},
    "A10": {"fp32": 31.2, "tf32": 62.5, "bf16": 125, "fp16": 125},
    # NVIDIA V100 data sheet; neither TF32 nor bf16
    "V100-SXM2": {"fp32": 15.7, "fp16": 125},
    "V100-PCIE": {"fp32": 14, "fp16": 112},
    "V100S-PCIE": {"fp32": 16.4, "fp16": 130},
    # NVIDIA T4 data sheet
    "T4": {"fp32": 8.1, "fp16": 65},
    # NVIDIA L4, L40 and L40S data sheets
    "L4": {"fp32": 30.3, "tf32": 60, "bf16": 121, "fp16": 121},
    "L40": {"fp32": 90.5, "tf32": 90.5, "bf16": 181, "fp16": 181},
    "L40S": {"fp32": 91.6, "tf32": 183, "bf16": 362, "fp16": 362},
}
"""Dense TFLOPS by a board's name as torch reports it, without the maker and the memory's size."""

TB_PER_S: Mapping[str, float] = {
    # NVIDIA H100 data sheet: SXM, NVL; the PCIe board from its first edition
    "H100 80GB HBM3": 3.35,
    "H100 NVL": 3.9,
    "H100 PCIe": 2.0,
    # NVIDIA H200 data sheet
    "H200 NVL": 4.8,
    "H200": 4.8,
    # NVIDIA A100 data sheets, by memory
    "A100-SXM4-80GB": 2.039,
    "A100-SXM4-40GB": 1.555,
    "A100 80GB PCIe": 1.935,
    "A100-PCIE-40GB": 1.555,
    # NVIDIA A30 and A10 data sheets
    "A30": 0.933,
    "A10": 0.6,
    # NVIDIA V100 data sheet
    "V100-SXM2": 0.9,
    "V100-PCIE": 0.9,
    "V100S-PCIE": 1.134,
    # NVIDIA T4, L4, L40 and L40S data sheets
    "T4": 0.32,
    "L4": 0.3,
    "L40": 0.864,
    "L40S": 0.864,
}
"""Of memory, by a board's name."""

HELD: Mapping[Dtype, torch.dtype] = {
    "bf16": torch.bfloat16,
    "bf16-autocast": torch.bfloat16,
    "fp16": torch.float16,
}
"""What products are in; in single precision where nothing is said."""

MEASURED_EDGES = {"cuda": (8192,), "cpu": (256, 512, 1024, 2048)}
"""Rows and columns of the matrices, from small to large."""

LONG_ENOUGH_S = 0.05
"""On a CPU a larger matrix is tried only if the last product took less: some have no fp16 units."""

MEASURED_TIMES = 10


def macs_per_s(device_name: str, dtype: Dtype) -> float | None:
    """Peak multiply-accumulates per second of a GPU with dense operands, from its data sheet.

    ``device_name`` is torch's, such as ``NVIDIA A100-SXM4-80GB``. None for a device that is not in
    the table, a slice of one (MIG), a CPU, or a type the device has no units for.
    """
    products: Dtype = "bf16" if dtype == "bf16-autocast" else dtype
    tflops = (_of_board(TFLOPS, device_name) or {}).get(products)
    return None if tflops is None else tflops * 1e12 / 2


def bytes_per_s(device_name: str) -> float | None:
    """Peak bytes per second between a GPU and its memory, from its data sheet.

    None for a device that is not in the table, a slice of one (MIG), or a CPU.
    """
    tb_per_s = _of_board(TB_PER_S, device_name)
    return None if tb_per_s is None else tb_per_s * 1e12


def _of_board(table: Mapping[str, T], device_name: str) -> T | None:
    """The entry of the longest name that ``device_name`` contains as a word."""
    if "MIG" in device_name:
        return None
    fitting = [
        board for board in table if re.search(rf"(?<!\w){re.escape(board)}(?!\w)", device_name)
    ]
    return table[max(fitting, key=len)] if fitting else None


def measured_macs_per_s(device: str, dtype: Dtype) -> float:
    """Multiply-accumulates per second in the fastest of ten products of large square matrices.

    Takes about two seconds on two CPU cores, less on a GPU. TF32 is switched for ``tf32`` and
    ``fp32`` and put back.
    """
    kind = torch.device(device).type
    held = HELD.get(dtype, torch.float32)
    before = torch.backends.cuda.matmul.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = dtype == "tf32"
    try:
        with torch.no_grad():
            best = 0.0
            for edge in MEASURED_EDGES[kind]:
                # random: a GPU draws less power, and clocks higher, on equal numbers
                left, right = (torch.randn(edge, edge, device=device).to(held) for _ in range(2))
                fastest_s = _fastest_s(left, right)
                best = max(best, edge**3 / fastest_s)
                if fastest_s >= LONG_ENOUGH_S:
                    break
    finally:
        torch.backends.cuda.matmul.allow_tf32 = before
    return best


def _fastest_s(left: torch.Tensor, right: torch.Tensor) -> float:
    clock = clock_for(str(left.device))
    out = torch.mm(left, right)
    clock.prepare(2 * MEASURED_TIMES)
    spans = []
    for _ in range(MEASURED_TIMES):
        start = clock.mark()
        torch.mm(left, right, out=out)
        spans.append((start, clock.mark()))
    clock.finish()
    return min(clock.seconds(start, end) for start, end in spans)

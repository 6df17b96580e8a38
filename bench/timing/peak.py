"""The most a device can do: products, from its data sheet and measured, and bytes of memory.

Data sheets give operations, two to a multiply-accumulate, for tensor cores often with sparsity,
which halves. The figures below are dense; products in bf16 and fp16 add up in fp32.
"""

import re
from collections.abc import Mapping

import torch

from vidcost.bench.timing.axes import Dtype
from vidcost.bench.timing.clock import clock_for

_BOARDS: Mapping[str, tuple[float | None, ...]] = {
    # NVIDIA data sheets: H100 (the PCIe board from its first edition), H200
    "H100 80GB HBM3": (67, 494.7, 989.4, 989.4, 3.35),
    "H100 NVL": (60, 417.5, 835.5, 835.5, 3.9),
    "H100 PCIe": (51, 378, 756, 756, 2.0),
    "H200 NVL": (60, 417.5, 835.5, 835.5, 4.8),
    "H200": (67, 494.7, 989.4, 989.4, 4.8),
    # A100, by memory; of an unknown one the products alone
    "A100": (19.5, 156, 312, 312, None),
    "A100-SXM4-80GB": (19.5, 156, 312, 312, 2.039),
    "A100-SXM4-40GB": (19.5, 156, 312, 312, 1.555),
    "A100 80GB PCIe": (19.5, 156, 312, 312, 1.935),
    "A100-PCIE-40GB": (19.5, 156, 312, 312, 1.555),
    # A30, A10
    "A30": (10.3, 82, 165, 165, 0.933),
    "A10": (31.2, 62.5, 125, 125, 0.6),
    # V100 and T4: neither TF32 nor bf16
    "V100-SXM2": (15.7, None, None, 125, 0.9),
    "V100-PCIE": (14, None, None, 112, 0.9),
    "V100S-PCIE": (16.4, None, None, 130, 1.134),
    "T4": (8.1, None, None, 65, 0.32),
    # L4, L40, L40S
    "L4": (30.3, 60, 121, 121, 0.3),
    "L40": (90.5, 90.5, 181, 181, 0.864),
    "L40S": (91.6, 183, 362, 362, 0.864),
}
"""Dense TFLOPS in fp32, tf32, bf16 and fp16, and TB/s of memory, by a board's name.

The name is torch's without the maker, and as much of the rest as tells boards apart.
"""

_TYPES: tuple[Dtype, ...] = ("fp32", "tf32", "bf16", "fp16")

HELD: Mapping[Dtype, torch.dtype] = {
    "bf16": torch.bfloat16,
    "bf16-autocast": torch.bfloat16,
    "fp16": torch.float16,
}
"""Operands of products; in single precision where nothing is said."""

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
    column = _TYPES.index("bf16" if dtype == "bf16-autocast" else dtype)
    tflops = _of_board(device_name, column)
    return None if tflops is None else tflops * 1e12 / 2


def bytes_per_s(device_name: str) -> float | None:
    """Peak bytes per second between a GPU and its memory, from its data sheet.

    None for a device that is not in the table, a slice of one (MIG), or a CPU.
    """
    tb_per_s = _of_board(device_name, len(_TYPES))
    return None if tb_per_s is None else tb_per_s * 1e12


def _of_board(device_name: str, column: int) -> float | None:
    """Of the longest name that ``device_name`` contains as a word."""
    if "MIG" in device_name:
        return None
    boards = [
        board for board in _BOARDS if re.search(rf"(?<!\w){re.escape(board)}(?!\w)", device_name)
    ]
    return _BOARDS[max(boards, key=len)][column] if boards else None


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

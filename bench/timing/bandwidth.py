"""How fast a device reads its memory at most, from its data sheet."""

from __future__ import annotations

import re
from collections.abc import Mapping

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
"""By what a board's name as torch reports it contains as a word; the longest counts."""


def bytes_per_s(device_name: str) -> float | None:
    """Peak bytes per second between a GPU and its memory, from its data sheet.

    ``device_name`` is torch's, such as ``NVIDIA A100-SXM4-80GB``. None for a device that is not in
    the table, a slice of one (MIG), or a CPU.
    """
    if "MIG" in device_name:
        return None
    fitting = [
        board for board in TB_PER_S if re.search(rf"(?<!\w){re.escape(board)}(?!\w)", device_name)
    ]
    return TB_PER_S[max(fitting, key=len)] * 1e12 if fitting else None

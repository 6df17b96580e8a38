"""Figures derived from timings: medians, intervals, rates, contributions of blocks, speeds."""

import statistics
from collections.abc import Sequence
from functools import cache
from typing import Any

from vidcost.bench.timing import peak, predict
from vidcost.bench.timing.cell import Cell
from vidcost.bench.timing.record import Memory, Part, Timing
from vidcost.bench.timing.statistics import differences, ratios, summary

PARTS: tuple[Part, ...] = ("forward", "backward", "optimizer")


def figures(timing: Timing) -> dict[str, Any]:
    """A record's figures, in seconds and bytes."""
    cell, memory = timing.cell, timing.memory or Memory(weights=0)
    protocol, machine = timing.protocol, timing.machine
    latency = _of_samples(timing, timing.samples_s.get("latency", ()))
    median_s = latency["median_s"]
    macs_per_s = _ratio(timing.macs_total or None, median_s)
    sheet = peak.macs_per_s(machine.device, cell.dtype) if machine else None
    return {
        **_head(timing),
        **latency,
        "precision": protocol.precision if protocol else None,
        "settled": protocol.settled if protocol else None,
        "void_samples": protocol.void_samples if protocol else None,
        **{f"{part}_s": _median(timing, part) for part in PARTS},
        "clips_per_s": _ratio(cell.batch, median_s),
        "macs": timing.macs,
        "macs_total": timing.macs_total,
        "macs_per_s": macs_per_s,
        "peak_macs_per_s": timing.peak_macs_per_s,
        "share_of_matmul": _ratio(macs_per_s, timing.peak_macs_per_s),
        "data_sheet_macs_per_s": sheet,
        "share_of_data_sheet": _ratio(macs_per_s, sheet),
        "peak_bytes": memory.peak,
        "weights_bytes": timing.memory and memory.weights,
        "reserved_bytes": memory.reserved,
        "device_used_bytes": memory.device_used,
        "rss_peak_bytes": memory.rss_peak,
        "energy_j_per_clip": _ratio(timing.energy_j, cell.batch),
    }


def contribution_figures(timing: Timing) -> dict[str, Any]:
    """What blocks add to a network, which was timed with and without them, interleaved.

    ``macs`` are the blocks' own; ``block_bytes`` is how much higher the peak is with them.
    """
    with_, without = (timing.samples_s.get(part, ()) for part in ("with", "without"))
    pairs = min(len(with_), len(without))
    block = _of_samples(timing, differences(with_[:pairs], without[:pairs]))
    with_s = _median(timing, "with")
    macs = _minus(timing.macs_total, predict.predict_without(timing.cell).macs_total)
    peak_bytes = _peak(timing.memory)
    return {
        **_head(timing),
        "with_s": with_s,
        "without_s": _median(timing, "without"),
        **block,
        "share_of_network": _ratio(block["median_s"], with_s),
        "macs": macs,
        "macs_share": _ratio(macs, timing.macs_total),
        "s_per_gmac": _ratio(block["median_s"], None if macs is None else macs / 1e9),
        "peak_bytes": peak_bytes,
        "block_bytes": _minus(peak_bytes, _peak(timing.memory_without)),
    }


def pair_figures(timing: Timing) -> dict[str, Any]:
    """Seconds, bytes and MACs of both sides of a cell that was timed against another.

    ``ratio`` is the median of the ratios of pairs, the target's time over the reference's, with its
    95% confidence interval ``ratio_low`` and ``ratio_high``.
    """
    assert timing.cell.against is not None, timing.cell
    target, reference = (timing.samples_s.get(part, ()) for part in ("target", "reference"))
    ratio = summary(ratios(target, reference), timing.processes) if target else None
    return {
        "target_s": _median(timing, "target"),
        "reference_s": _median(timing, "reference"),
        "ratio": ratio and ratio.median,
        "ratio_low": ratio and ratio.low,
        "ratio_high": ratio and ratio.high,
        "pairs": ratio and ratio.n,
        "macs_total": timing.macs_total,
        "reference_macs_total": _macs_of(timing.cell.against),
        "peak_bytes": _peak(timing.memory),
        "reference_peak_bytes": _peak(timing.memory_without),
        "status": timing.status,
        "error": timing.error or None,
    }


def _head(timing: Timing) -> dict[str, Any]:
    cell, machine = timing.cell, timing.machine
    names = {"device_name": "device"} | {
        name: name for name in ("device_uuid", "driver", "torch", "host")
    }
    return {
        "target": cell.target,
        **cell.model_dump(),
        "shape": None if cell.shape is None else "x".join(map(str, cell.shape)),
        "status": timing.status,
        "error": timing.error or None,
        **{key: machine and (getattr(machine, name) or None) for key, name in names.items()},
        "started": timing.started or None,
        "key": timing.key,
    }


def _of_samples(timing: Timing, samples: Sequence[float]) -> dict[str, Any]:
    if not samples:
        return dict.fromkeys(("median_s", "ci_low_s", "ci_high_s", "half_ci_s", "iqr_s", "n"))
    of = summary(samples, timing.processes)
    return {
        "median_s": of.median,
        "ci_low_s": of.low,
        "ci_high_s": of.high,
        # too few samples have no interval
        "half_ci_s": None if of.low is None or of.high is None else (of.high - of.low) / 2,
        "iqr_s": of.iqr,
        "n": of.n,
    }


@cache
def _macs_of(cell: Cell) -> int | None:
    # counting takes a pass, and many cells are timed against the same one
    return predict.predict(cell).macs_total


def _median(timing: Timing, part: Part) -> float | None:
    samples = timing.samples_s.get(part)
    return statistics.median(samples) if samples else None


def _peak(memory: Memory | None) -> int | None:
    return memory.peak if memory else None


def _ratio(part: float | None, whole: float | None) -> float | None:
    return None if part is None or not whole else part / whole


def _minus(more: int | None, less: int | None) -> int | None:
    return None if more is None or less is None else more - less

"""Figures derived from timings: medians, intervals, rates, contributions of blocks, speeds."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from functools import cache
from typing import Any

from vidcost.bench.timing import peak, predict
from vidcost.bench.timing.cell import Cell
from vidcost.bench.timing.record import Memory, Part, Timing
from vidcost.bench.timing.statistics import Summary, differences, ratios, summary

PARTS: tuple[Part, ...] = ("forward", "backward", "optimizer")

_PAIRS: tuple[tuple[str, Part, Part], ...] = (
    ("", "target", "reference"),
    ("forward_", "target_forward", "reference_forward"),
    ("backward_", "target_backward", "reference_backward"),
)


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


def speed(timing: Timing) -> Summary | None:
    """How many times as fast the cell is as its reference; None without samples.

    Describes the ratios of pairs: the reference's time over the target's.
    """
    return _ratios(timing, "reference", "target")


def pair_figures(timing: Timing) -> dict[str, Any]:
    """Seconds and bytes of both sides, and how many times as fast the target is.

    ``speed`` is the median of the pairs' ratios with its 95% confidence interval, as in
    :func:`speed`; ``forward_speed`` and ``backward_speed`` are those of the parts of a step, None
    at inference. ``ratio`` is the inverse: the target's time over the reference's.
    ``memory_ratio`` is the target's peak over the reference's.
    Raises: ValueError if the cell was timed against none.
    """
    cell = timing.cell
    if cell.against is None:
        raise ValueError(f"{cell.target} was timed against no other cell")
    found: dict[str, Any] = {"target": cell.target, "reference": cell.against.target}
    for prefix, target, reference in _PAIRS:
        of = _ratios(timing, reference, target)
        found |= {
            f"{prefix}target_s": _median(timing, target),
            f"{prefix}reference_s": _median(timing, reference),
            **_interval(f"{prefix}speed", of),
            f"{prefix}pairs": of and of.n,
        }
    peak_bytes, reference_bytes = _peak(timing.memory), _peak(timing.memory_without)
    reference_macs = _macs_of(cell.against)
    return found | {
        "macs_total": timing.macs_total,
        "reference_macs_total": reference_macs,
        "peak_bytes": peak_bytes,
        "reference_peak_bytes": reference_bytes,
        **_interval("ratio", _ratios(timing, "target", "reference")),
        "memory_ratio": _ratio(peak_bytes or None, reference_bytes),
        "macs_per_s": _ratio(timing.macs_total, found["target_s"]),
        "reference_macs_per_s": _ratio(reference_macs, found["reference_s"]),
        "peak_macs_per_s": timing.peak_macs_per_s,
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


def _ratios(timing: Timing, over: Part, under: Part) -> Summary | None:
    sides = [timing.samples_s.get(part, ()) for part in (over, under)]
    return summary(ratios(*sides), timing.processes) if all(sides) else None


def _interval(name: str, of: Summary | None) -> dict[str, float | None]:
    median, low, high = (of.median, of.low, of.high) if of else (None, None, None)
    return {name: median, f"{name}_low": low, f"{name}_high": high}


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

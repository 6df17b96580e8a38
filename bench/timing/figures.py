"""Figures derived from timings: medians, intervals, rates, contributions of blocks, speeds."""

import statistics
from collections.abc import Iterable, Sequence
from typing import Any

from vidcost.bench.timing.cell import Cell
from vidcost.bench.timing.record import PARTS, Memory, Part, Timing
from vidcost.bench.timing.statistics import differences, ratios, summary

FEWEST = 6
"""Of fewer samples there is no interval: "few" in tables, and no figure of pairs."""

DRIFT = 0.05
"""Halves of the samples of a reference whose medians differ by more are said to drift."""


def figures(timing: Timing) -> dict[str, Any]:
    """A record's figures, in seconds and bytes."""
    cell, memory = timing.cell, timing.memory or Memory(weights=0)
    protocol = timing.protocol
    latency = _of_samples(timing, timing.samples_s.get("latency", ()))
    median_s = latency["median_s"]
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
        "macs_per_s": _ratio(timing.macs_total or None, median_s),
        "peak_bytes": memory.peak,
        "weights_bytes": timing.memory and memory.weights,
        "reserved_bytes": memory.reserved,
        "device_used_bytes": memory.device_used,
        "rss_peak_bytes": memory.rss_peak,
        "energy_j_per_clip": _ratio(timing.energy_j, cell.batch),
    }


def pair_figures(timing: Timing) -> dict[str, Any]:
    """Seconds, bytes and MACs of both sides of a cell that was timed against another.

    ``median_s`` with its interval is of the differences of pairs, target less reference; ``ratio``
    with ``ratio_low`` and ``ratio_high`` of their ratios; none of too few pairs for an interval.
    ``added_macs`` and ``added_bytes`` are the target's less the reference's.
    """
    sides = [timing.samples_s.get(part, ()) for part in ("target", "reference")]
    ratio = summary(ratios(*sides), timing.processes) if sides[0] else None
    added = _of_samples(timing, differences(*sides))
    target_s, reference_s = (_median(timing, part) for part in ("target", "reference"))
    if ratio is None or ratio.low is None:
        ratio = target_s = reference_s = None
        added = dict.fromkeys(added) | {"n": len(sides[0]) or None}
    added_macs = _minus(timing.macs_total, timing.reference_macs_total)
    peak_bytes = timing.memory.peak if timing.memory else None
    other = timing.reference_memory
    reference_peak_bytes = other.peak if other else None
    return {
        **_head(timing),
        "target_s": target_s,
        "reference_s": reference_s,
        "ratio": ratio and ratio.median,
        "ratio_low": ratio and ratio.low,
        "ratio_high": ratio and ratio.high,
        **added,
        "added_share": _ratio(added["median_s"], target_s),
        "macs_total": timing.macs_total,
        "reference_macs_total": timing.reference_macs_total,
        "added_macs": added_macs,
        "added_macs_share": _ratio(added_macs, timing.macs_total),
        "s_per_gmac": _ratio(added["median_s"], None if added_macs is None else added_macs / 1e9),
        "peak_bytes": peak_bytes,
        "reference_peak_bytes": reference_peak_bytes,
        "added_bytes": _minus(peak_bytes, reference_peak_bytes),
    }


def _head(timing: Timing) -> dict[str, Any]:
    cell, machine = timing.cell, timing.machine
    names = {"device_name": "device"} | {n: n for n in ("device_uuid", "driver", "torch", "host")}
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
        return dict.fromkeys(("median_s", "ci_low_s", "ci_high_s", "half_ci_s", "n"))
    of = summary(samples, timing.processes)
    return {
        "median_s": of.median,
        "ci_low_s": of.low,
        "ci_high_s": of.high,
        # too few samples have no interval
        "half_ci_s": None if of.low is None or of.high is None else (of.high - of.low) / 2,
        "n": of.n,
    }


def _median(timing: Timing, part: Part) -> float | None:
    samples = timing.samples_s.get(part)
    return statistics.median(samples) if samples else None


def _ratio(part: float | None, whole: float | None) -> float | None:
    return None if part is None or not whole else part / whole


def _minus(more: int | None, less: int | None) -> int | None:
    return None if more is None or less is None else more - less


def drifts(timings: Iterable[Timing]) -> list[str]:
    """A line for each reference whose latency differs between parts of its samples, or records.

    Differences of pairs allow for it; a comparison of medians does not.
    """
    parts: dict[Cell, list[float]] = {}
    for timing in timings:
        samples = timing.samples_s.get("reference", ())
        half = len(samples) // 2
        if timing.cell.against is not None and half >= FEWEST:
            medians = map(statistics.median, (samples[:half], samples[half:]))
            parts.setdefault(timing.cell.against, []).extend(medians)
    return [
        f"the machine drifts: {cell.target} took {min(medians) * 1e3:,.4g} ms and then "
        f"{max(medians) * 1e3:,.4g} ms: close other programs, or give a longer --budget"
        for cell, medians in parts.items()
        if max(medians) > (1 + DRIFT) * min(medians)
    ]

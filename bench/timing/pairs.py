"""Figures of a cell that was timed interleaved with another."""

from __future__ import annotations

from functools import cache
from typing import Any

from vidcost.bench.timing import predict
from vidcost.bench.timing.cell import Cell
from vidcost.bench.timing.record import Memory, Part, Timing
from vidcost.bench.timing.statistics import Summary, ratios, summary

_PARTS: tuple[tuple[str, Part, Part], ...] = (
    ("", "target", "reference"),
    ("forward_", "target_forward", "reference_forward"),
    ("backward_", "target_backward", "reference_backward"),
)


def speed(timing: Timing) -> Summary | None:
    """How many times as fast the cell is as the one it was timed against; None without samples.

    The ratios of pairs, the reference's time over the target's.
    """
    return _speed(timing, "target", "reference")


def _speed(timing: Timing, target: Part, reference: Part) -> Summary | None:
    mine, theirs = (timing.samples_s.get(part, ()) for part in (target, reference))
    return summary(ratios(theirs, mine)) if mine else None


def pair_figures(timing: Timing) -> dict[str, Any]:
    """Seconds and bytes of both sides, and how many times as fast the target is.

    ``speed`` is the median of the pairs' ratios, as in :func:`speed`, with its 95% confidence
    interval; ``forward_speed`` and ``backward_speed`` those of the parts of a step, None at
    inference. ``ratio`` is the inverse, the target's time over the reference's; ``memory_ratio``
    the target's peak over the reference's. ``macs_total`` are those of all that was timed.
    Raises: ValueError if the cell was timed against none.
    """
    cell = timing.cell
    if cell.against is None:
        raise ValueError(f"{cell.target} was timed against no other cell")
    figures: dict[str, Any] = {}
    for prefix, *sides in _PARTS:
        of = _speed(timing, *sides)
        for name, side in zip(("target_s", "reference_s"), sides, strict=True):
            figures[f"{prefix}{name}"] = of and summary(timing.samples_s[side]).median
        figures |= {
            f"{prefix}speed": of and of.median,
            f"{prefix}speed_low": of and of.low,
            f"{prefix}speed_high": of and of.high,
            f"{prefix}pairs": of and of.n,
        }
    peak, reference_peak = _peak(timing.memory), _peak(timing.memory_without)
    reference_macs = _macs_of(cell.against)
    return {
        "target": cell.target,
        "reference": cell.against.target,
        **figures,
        "macs_total": timing.macs_total,
        "reference_macs_total": reference_macs,
        "peak_bytes": peak,
        "reference_peak_bytes": reference_peak,
        **_ratio(timing),
        "memory_ratio": peak / reference_peak if peak and reference_peak else None,
        "macs_per_s": _rate(timing.macs_total, figures["target_s"]),
        "reference_macs_per_s": _rate(reference_macs, figures["reference_s"]),
        "peak_macs_per_s": timing.peak_macs_per_s,
        "status": timing.status,
        "error": timing.error or None,
    }


@cache
def _macs_of(cell: Cell) -> int | None:
    # many ways to run a network are timed against the same one, which takes a pass to count
    return predict.predict(cell).macs_total


def _peak(memory: Memory | None) -> int | None:
    return memory.peak if memory else None


def _ratio(timing: Timing) -> dict[str, float | None]:
    mine, theirs = (timing.samples_s.get(part, ()) for part in ("target", "reference"))
    if not mine:
        return dict.fromkeys(("ratio", "ratio_low", "ratio_high"))
    of = summary(ratios(mine, theirs))
    return {"ratio": of.median, "ratio_low": of.low, "ratio_high": of.high}


def _rate(macs: int | None, seconds: float | None) -> float | None:
    return macs / seconds if macs and seconds else None

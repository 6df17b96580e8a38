"""Figures of a cell that was timed in turns with another."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from vidcost.bench.timing import predict
from vidcost.bench.timing.record import Memory, Part, Timing
from vidcost.bench.timing.statistics import summary

_PARTS: tuple[tuple[str, Part, Part], ...] = (
    ("", "subject", "reference"),
    ("forward_", "subject_forward", "reference_forward"),
    ("backward_", "subject_backward", "reference_backward"),
)


def pair_figures(timing: Timing) -> dict[str, Any]:
    """Seconds and bytes of both sides, and how many times as fast the subject is.

    ``speed`` is the median of the pairs' ratios, the reference's time over the subject's, with its
    95% confidence interval; ``forward_speed`` and ``backward_speed`` those of the parts of a step,
    None at inference. ``memory_ratio`` is the subject's peak over the reference's. ``macs_total``
    are those of all that was timed.
    Raises: ValueError if the cell was timed against none.
    """
    cell = timing.cell
    if cell.against is None:
        raise ValueError(f"{cell.subject} was timed against no other cell")
    figures: dict[str, Any] = {}
    for prefix, subject, reference in _PARTS:
        figures |= _speed(prefix, *(timing.samples_s.get(p, ()) for p in (subject, reference)))
    peak, reference_peak = _peak(timing.memory), _peak(timing.memory_without)
    known = predict.foresee(cell.against)
    return {
        "subject": cell.subject,
        "reference": cell.against.subject,
        **figures,
        "macs_total": timing.macs_total,
        "reference_macs_total": known.macs_total,
        "peak_bytes": peak,
        "reference_peak_bytes": reference_peak,
        "memory_ratio": peak / reference_peak if peak and reference_peak else None,
        "macs_per_s": _rate(timing.macs_total, figures["subject_s"]),
        "reference_macs_per_s": _rate(known.macs_total, figures["reference_s"]),
        "peak_macs_per_s": timing.peak_macs_per_s,
        "status": timing.status,
        "error": timing.error or None,
    }


def _speed(prefix: str, subject: Sequence[float], reference: Sequence[float]) -> dict[str, Any]:
    names = ("subject_s", "reference_s", "speed", "speed_low", "speed_high", "pairs")
    values: tuple[float | int | None, ...] = (None,) * len(names)
    pairs = min(len(subject), len(reference))
    if pairs:
        ratios = [theirs / mine for mine, theirs in zip(subject, reference, strict=False)]
        of = summary(ratios)
        values = (
            summary(subject).median,
            summary(reference).median,
            of.median,
            of.low,
            of.high,
            of.n,
        )
    return {f"{prefix}{name}": value for name, value in zip(names, values, strict=True)}


def _peak(memory: Memory | None) -> int | None:
    return memory.peak if memory else None


def _rate(macs: int | None, seconds: float | None) -> float | None:
    return macs / seconds if macs and seconds else None

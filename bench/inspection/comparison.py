"""A network with one block after another, beside the same network without any."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import inf
from statistics import median
from typing import Any

from vidcost.bench.count.references.reference import Convention
from vidcost.bench.inspection.counted import Counted, counted
from vidcost.bench.timing.cell import Cell, checked_cell
from vidcost.bench.timing.figures import pair_figures
from vidcost.bench.timing.plan import code_of
from vidcost.bench.timing.record import Timing

PLAIN = "none"
"""The name of the network without any block."""

AXES = ("frames", "size")
"""The extents of a row's clip that a comparison can be swept over."""


@dataclass(frozen=True)
class Variant:
    """The network with ``block`` at every position, None for none; at ``value`` of a swept axis.

    ``cell`` is what is counted; ``contribution`` what is timed, interleaved with the network
    without; None for that itself.
    """

    block: str | None
    value: int | None
    cell: Cell
    contribution: Cell | None = None


def variants(
    network: Mapping[str, Any],
    positions: Sequence[str],
    blocks: Sequence[str],
    conditions: Mapping[str, Any],
    sweep: tuple[str, Sequence[int]] | None = None,
) -> list[Variant]:
    """Every block in the network, after the network without, for each value of a swept axis.

    ``network`` are a cell's fields for a row or a user's network, ``conditions`` its other fields.
    Raises: ValueError if they contradict each other, for an unknown block, or if a user's file or
            module is not there.
    """
    axis, values = (None, (None,)) if sweep is None else sweep
    user = str(network.get("network") or ""), network.get("inputs") or ()
    found = []
    for value in values:
        common = {**conditions, **network, **({axis: value} if axis else {})}
        plain = checked_cell(common | {"blocks": (), "code": code_of((), *user)})
        found.append(Variant(None, value, plain))
        for block in dict.fromkeys(blocks):
            placed = tuple((at, block) for at in dict.fromkeys(positions))
            fields = common | {"blocks": placed, "code": code_of((block,), *user)}
            pair = checked_cell(fields | {"against": plain})
            found.append(Variant(block, value, checked_cell(fields), pair))
    return found


def count_all(
    chosen: Sequence[Variant],
    *,
    reference_counters: Sequence[Convention],
    limit_s: float,
    advance: Callable[[str], None] = lambda _: None,
) -> list[Counted]:
    """Each variant counted; one that cannot be built says so.

    ``advance`` is called with the name of each when it is done.
    Raises: ValueError if no block can be built, or the plain network.
    """
    found = []
    for variant in chosen:
        try:
            each = counted(variant.cell, reference_counters=reference_counters, limit_s=limit_s)
        except ValueError as error:
            if variant.block is None:
                raise
            each = Counted(variant.cell, status="rejected", error=str(error))
        found.append(each)
        advance(variant.block or PLAIN)
    rejected = [each for each in found if each.status == "rejected"]
    if rejected and len(rejected) == sum(variant.block is not None for variant in chosen):
        raise ValueError(rejected[0].error)
    return found


def to_time(chosen: Sequence[Variant], counts: Sequence[Counted]) -> list[Cell]:
    """The cells of what could be built, each interleaved with the plain network."""
    ran = ("ok", "differs", "uncounted")
    sound = (v for v, c in zip(chosen, counts, strict=True) if c.status in ran)
    return [variant.contribution for variant in sound if variant.contribution]


def compared(
    chosen: Sequence[Variant],
    counts: Sequence[Counted],
    timings: Sequence[Timing],
    axis: str | None = None,
) -> list[dict[str, Any]]:
    """A line of figures for each variant, beside the plain network at the same value of ``axis``.

    Seconds and bytes; ``added`` is above the plain network's. ``not_separated`` are the
    blocks, or :data:`PLAIN`, whose 95% interval of added latency overlaps this one's; None if it
    was not timed.
    """
    by_cell = {timing.cell: timing for timing in timings}
    plain = {v.value: c.total for v, c in zip(chosen, counts, strict=True) if v.block is None}
    timed = {v: by_cell[v.contribution] for v in chosen if v.contribution in by_cell}
    done = {v: t for v, t in timed.items() if t.status == "ok"}
    added = {variant: pair_figures(timing) for variant, timing in done.items()}
    lines = []
    for variant, count in zip(chosen, counts, strict=True):
        total, less, timing = count.total, plain[variant.value], timed.get(variant)
        fvcore = count.answers.get("fvcore")
        mine = added.get(variant, {})
        beside = [t for v, t in done.items() if v.value == variant.value and not variant.block]
        line: dict[str, Any] = {axis: variant.value} if axis else {}
        line |= {
            "block": variant.block or PLAIN,
            "params": total and total.params,
            "macs": total and total.macs,
            "fvcore": fvcore and fvcore.flops,
            "closed_forms": count.closed_forms if total and variant.block else None,
            "added_params": None,
            "added_macs": None,
            "latency_s": mine.get("target_s"),
            "added_s": mine.get("median_s"),
            "added_low_s": mine.get("ci_low_s"),
            "added_high_s": mine.get("ci_high_s"),
            "pairs": mine.get("n"),
            "peak_bytes": mine.get("peak_bytes"),
            "added_peak_bytes": mine.get("added_bytes"),
            "half_ci_s": mine.get("half_ci_s"),
            "not_separated": _overlapping(variant, added) if mine else None,
            "status": count.status,
            "error": count.error or None,
        }
        if beside:
            line |= _plain(beside)
        if variant.block and total and less:
            line["added_params"] = total.params - less.params
            line["added_macs"] = total.macs - less.macs
        if timing and timing.status != "ok" and count.status in ("ok", "uncounted"):
            line |= {"status": timing.status, "error": timing.error or None}
        lines.append(line)
    return lines


def _plain(contributions: Sequence[Timing]) -> dict[str, Any]:
    """Latency and memory of the network without any block, as timed beside each block."""
    memory = contributions[0].reference_memory
    samples = [second for timing in contributions for second in timing.samples_s["reference"]]
    return {
        "latency_s": median(samples) if samples else None,
        "peak_bytes": memory.peak if memory else None,
    }


def _overlapping(variant: Variant, added: Mapping[Variant, Mapping[str, Any]]) -> list[str]:
    low, high = _interval(added[variant])
    names = [PLAIN] if low <= 0 <= high else []
    for other, theirs in added.items():
        their_low, their_high = _interval(theirs)
        is_rival = other.value == variant.value and other != variant
        if is_rival and low <= their_high and their_low <= high:
            names.append(str(other.block))
    return names


def _interval(line: Mapping[str, Any]) -> tuple[float, float]:
    # of too few pairs nothing can be told apart
    low, high = line["ci_low_s"], line["ci_high_s"]
    return (-inf, inf) if low is None or high is None else (low, high)

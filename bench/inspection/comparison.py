"""A network with one block after another, beside the same network without any."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

from vidcost.bench.count.references.reference import Convention
from vidcost.bench.inspection.counted import Counted, counted
from vidcost.bench.timing.cell import Cell, checked_cell
from vidcost.bench.timing.figures import contribution_figures, figures
from vidcost.bench.timing.plan import code_of
from vidcost.bench.timing.record import Timing

PLAIN = "none"
"""What the network without any block goes by."""

AXES = ("frames", "size")
"""What of a row's clip a comparison can be swept over."""

_COUNTED = ("ok", "differs", "uncounted")
"""Statuses of what was built and run, so that timing it makes sense."""


@dataclass(frozen=True)
class Variant:
    """The network with ``block`` at every position, None for none; at ``value`` of a swept axis.

    ``cell`` is what is counted; ``contribution`` what is timed, interleaved with the network
    without.
    """

    block: str | None
    value: int | None
    cell: Cell

    @property
    def contribution(self) -> Cell:
        """The cell of the block's contribution."""
        return self.cell.model_copy(update={"contribution": True})


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
        clip = {} if axis is None else {axis: value}
        common = {**conditions, **network, **clip}
        plain = common | {"blocks": (), "code": code_of((), *user)}
        found.append(Variant(None, value, checked_cell(plain)))
        for block in dict.fromkeys(blocks):
            placed = tuple((position, block) for position in dict.fromkeys(positions))
            fields = common | {"blocks": placed, "code": code_of((block,), *user)}
            found.append(Variant(block, value, checked_cell(fields)))
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
        found.append(_counted(variant, reference_counters, limit_s))
        advance(variant.block or PLAIN)
    rejected = [each for each in found if each.status == "rejected"]
    if rejected and len(rejected) == sum(variant.block is not None for variant in chosen):
        raise ValueError(rejected[0].error)
    return found


def _counted(variant: Variant, reference_counters: Sequence[Convention], limit_s: float) -> Counted:
    try:
        return counted(variant.cell, reference_counters=reference_counters, limit_s=limit_s)
    except ValueError as error:
        if variant.block is None:
            raise
        return Counted(variant.cell, status="rejected", error=str(error))


def to_time(chosen: Sequence[Variant], counts: Sequence[Counted]) -> list[Cell]:
    """The cells of what could be built: on a GPU also each by itself, for its energy."""
    sound = [v for v, c in zip(chosen, counts, strict=True) if c.status in _COUNTED]
    contributions = [variant.contribution for variant in sound if variant.block is not None]
    alone = [variant.cell for variant in sound if variant.cell.device != "cpu"]
    return [*contributions, *alone]


FIGURES = (
    *("added_params", "added_macs", "latency_s", "added_s", "added_low_s", "added_high_s"),
    *("pairs", "peak_bytes", "added_peak_bytes", "energy_j_per_clip"),
)
"""The fields of :class:`Compared` that are numbers."""


@dataclass(frozen=True)
class Compared:
    """One variant's figures. Seconds, bytes, joules; ``added`` is above the plain network's.

    ``not_separated`` are the blocks, or :data:`PLAIN`, whose 95% interval of added latency overlaps
    this one's; None if it was not timed.
    """

    variant: Variant
    counted: Counted
    added_params: int | None = None
    added_macs: int | None = None
    latency_s: float | None = None
    added_s: float | None = None
    added_low_s: float | None = None
    added_high_s: float | None = None
    pairs: int | None = None
    not_separated: tuple[str, ...] | None = None
    peak_bytes: int | None = None
    added_peak_bytes: int | None = None
    energy_j_per_clip: float | None = None
    status: str = "ok"
    error: str = ""


def compared(
    chosen: Sequence[Variant], counts: Sequence[Counted], timings: Sequence[Timing]
) -> list[Compared]:
    """The variants side by side, each beside the plain network at the same value."""
    by_cell = {timing.cell: timing for timing in timings}
    plain = {v.value: c.total for v, c in zip(chosen, counts, strict=True) if v.block is None}
    timed = {v: t for v in chosen if v.block and (t := by_cell.get(v.contribution)) is not None}
    done = {v: t for v, t in timed.items() if t.status == "ok"}
    added = {variant: contribution_figures(timing) for variant, timing in done.items()}
    found = []
    for variant, count in zip(chosen, counts, strict=True):
        known: dict[str, Any] = {"status": count.status, "error": count.error}
        alone = by_cell.get(variant.cell)
        if alone is not None and alone.status == "ok":
            known["energy_j_per_clip"] = figures(alone)["energy_j_per_clip"]
        if variant.block is None:
            known |= _plain([t for v, t in done.items() if v.value == variant.value])
        else:
            timing, total, less = timed.get(variant), count.total, plain[variant.value]
            if timing and timing.status != "ok" and count.status in ("ok", "uncounted"):
                known |= {"status": timing.status, "error": timing.error}
            if total and less:
                known["added_params"] = total.params - less.params
                known["added_macs"] = total.macs - less.macs
            if mine := added.get(variant):
                keys = {
                    "latency_s": "with_s",
                    "added_s": "median_s",
                    "added_low_s": "ci_low_s",
                    "added_high_s": "ci_high_s",
                    "pairs": "n",
                    "peak_bytes": "peak_bytes",
                    "added_peak_bytes": "block_bytes",
                }
                known |= {name: mine[key] for name, key in keys.items()}
                known["not_separated"] = _overlapping(variant, added)
        found.append(Compared(variant, count, **known))
    return found


def _plain(contributions: Sequence[Timing]) -> dict[str, Any]:
    """Latency and memory of the network without any block, as timed beside each block."""
    if not contributions:
        return {}
    memory = contributions[0].memory_without
    samples = [second for timing in contributions for second in timing.samples_s["without"]]
    return {
        "latency_s": median(samples) if samples else None,
        "peak_bytes": memory.peak if memory else None,
    }


def _overlapping(variant: Variant, added: Mapping[Variant, Mapping[str, Any]]) -> tuple[str, ...]:
    low, high = _interval(added[variant])
    names = [PLAIN] if low <= 0 <= high else []
    for other, theirs in added.items():
        if other.value != variant.value or other == variant:
            continue
        their_low, their_high = _interval(theirs)
        if low <= their_high and their_low <= high:
            names.append(str(other.block))
    return tuple(names)


def _interval(line: Mapping[str, Any]) -> tuple[float, float]:
    # of too few pairs nothing can be told apart
    low, high = line["ci_low_s"], line["ci_high_s"]
    return (float("-inf"), float("inf")) if low is None or high is None else (low, high)

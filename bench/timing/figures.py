"""Figures derived from timings: medians, intervals, rates, what a block adds."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from vidcost.bench.timing import peak, predict
from vidcost.bench.timing.record import Machine, Part, Timing
from vidcost.bench.timing.statistics import Summary, paired_difference, summary

PARTS: tuple[Part, ...] = ("forward", "backward", "optimizer")


def of_one_machine(timings: Iterable[Timing]) -> tuple[list[Timing], str]:
    """The timings taken on machines like the latest's, and what was left out, if anything.

    A record without a machine is one of none, and stays.
    Raises: ValueError naming the devices if there are several.
    """
    every = list(timings)
    known = [timing for timing in every if timing.machine is not None]
    devices = sorted({timing.machine.device for timing in known if timing.machine})
    if len(devices) > 1:
        raise ValueError(
            f"timings of {' and '.join(devices)} do not go into one table: "
            "choose one device with --timings DEVICE"
        )
    if not known:
        return every, ""
    latest = kind_of(max(known, key=lambda timing: timing.started))
    kept = [timing for timing in every if kind_of(timing) in (None, latest)]
    if len(kept) == len(every):
        return kept, ""
    other = next(kind for t in every if (kind := kind_of(t)) not in (None, latest))
    assert latest is not None
    assert other is not None
    field, was, now = first_difference(other, latest)
    left_out = len(every) - len(kept)
    return kept, (
        f"{left_out} {'timing' if left_out == 1 else 'timings'} left out: "
        f"taken with {field} {was}, "
        f"the latest with {now}"
    )


def first_difference(one: Machine, other: Machine) -> tuple[str, Any, Any]:
    """The first field in which two machines differ, and what it is in each."""
    return next(
        (name, value, getattr(other, name)) for name, value in one if value != getattr(other, name)
    )


def kind_of(timing: Timing) -> Machine | None:
    """What ``timing`` was taken on, but for what tells that from others like it."""
    return timing.machine and timing.machine.kind


def kinds(timings: Iterable[Timing]) -> list[Machine | None]:
    """The kinds of machines in ``timings``, first seen first; None alone if none says one."""
    found = dict.fromkeys(kind for timing in timings if (kind := kind_of(timing)) is not None)
    return list(found) or [None]


@dataclass(frozen=True)
class OfKind:
    """The timings of one kind of machine among ``timings``, gone through one by one.

    Those that no machine is known of are among the ``first``.
    """

    timings: Iterable[Timing]
    kind: Machine | None
    first: bool = True

    def __iter__(self) -> Iterator[Timing]:
        for timing in self.timings:
            kind = kind_of(timing)
            if kind == self.kind or (kind is None and self.first):
                yield timing


def by_kind(timings: Iterable[Timing]) -> list[OfKind]:
    """``timings`` parted by what may stand in one table."""
    found = kinds(timings)
    return [OfKind(timings, kind, kind == found[0]) for kind in found]


def most_of_one_kind(timings: Iterable[Timing]) -> tuple[list[Timing], list[str]]:
    """The timings of the kind of machine that took most, and a line on the others, if any."""
    parted = [list(each) for each in by_kind(timings)]
    kept = max(parted, key=len)
    left_out = sum(map(len, parted)) - len(kept)
    if not left_out:
        return kept, []
    what = "1 timing" if left_out == 1 else f"{left_out} timings"
    return kept, [f"{what} on other kinds of machines: in the results folder, and not shown"]


def rows_timed_alike(timings: Iterable[Timing]) -> dict[str, Timing]:
    """Rows as they stand, by name, under the conditions that most of them were timed under.

    Of inference alone, and no contributions.
    """
    groups: dict[str, dict[str, Timing]] = {}
    for timing in timings:
        cell = timing.cell
        if cell.row is None or not cell.is_row_itself or cell.is_pair or cell.phase != "inference":
            continue
        conditions = cell.model_dump_json(exclude={"row"})
        groups.setdefault(conditions, {})[cell.row] = timing
    return max(groups.values(), key=len, default={})


def machine_of_all(timings: Iterable[Timing]) -> Machine | None:
    """The kind of machine of all ``timings``; None if none says one.

    Raises: ValueError if there are several, naming what differs and both values.
    """
    machines = kinds(timings)
    if len(machines) > 1:
        first, second = machines[:2]
        assert first is not None
        assert second is not None
        field, one, other = first_difference(first, second)
        raise ValueError(
            f"timings of unlike machines do not go into one table: {field} {one} and {other}"
        )
    return machines[0]


def figures(timing: Timing) -> dict[str, Any]:
    """A record's figures, in seconds and bytes."""
    cell, memory = timing.cell, timing.memory
    latency = _summary(timing.samples_s.get("latency", ()))
    median_s = latency["median_s"]
    macs_per_s = timing.macs_total / median_s if timing.macs_total and median_s else None
    sheet = peak.macs_per_s(timing.machine.device, cell.dtype) if timing.machine else None
    return {
        **_head(timing),
        **latency,
        "precision": timing.protocol.precision if timing.protocol else None,
        "settled": timing.protocol.settled if timing.protocol else None,
        "void_samples": timing.protocol.void_samples if timing.protocol else None,
        **{f"{part}_s": _summary(timing.samples_s.get(part, ()))["median_s"] for part in PARTS},
        "clips_per_s": cell.batch / median_s if median_s else None,
        "macs": timing.macs,
        "macs_total": timing.macs_total,
        "macs_per_s": macs_per_s,
        "peak_macs_per_s": timing.peak_macs_per_s,
        "share_of_matmul": _ratio(macs_per_s, timing.peak_macs_per_s),
        "data_sheet_macs_per_s": sheet,
        "share_of_data_sheet": _ratio(macs_per_s, sheet),
        "peak_bytes": memory.peak if memory else None,
        "weights_bytes": memory.weights if memory else None,
        "reserved_bytes": memory.reserved if memory else None,
        "nvml_used_bytes": memory.nvml_used if memory else None,
        "rss_peak_bytes": memory.rss_peak if memory else None,
        "energy_j_per_clip": None if timing.energy_j is None else timing.energy_j / cell.batch,
    }


def contribution_figures(timing: Timing) -> dict[str, Any]:
    """What blocks add to a network that was timed interleaved with and without them.

    ``macs`` are the blocks' own, ``block_bytes`` how much higher the measured peak is with
    them.
    """
    with_, without = (timing.samples_s.get(part, ()) for part in ("with", "without"))
    pairs = min(len(with_), len(without))
    difference = paired_difference(with_[:pairs], without[:pairs]) if pairs else None
    block = _of_summary(difference)
    with_s = _summary(with_)["median_s"]
    bare = predict.predict_without(timing.cell)
    macs = _minus(timing.macs_total, bare.macs_total)
    peak, peak_without = (
        memory.peak if memory else None for memory in (timing.memory, timing.memory_without)
    )
    return {
        **_head(timing),
        "with_s": with_s,
        "without_s": _summary(without)["median_s"],
        **block,
        "share_of_network": _ratio(block["median_s"], with_s),
        "macs": macs,
        "macs_share": _ratio(macs, timing.macs_total),
        "s_per_gmac": _ratio(block["median_s"], None if macs is None else macs / 1e9),
        "peak_bytes": peak,
        "block_bytes": _minus(peak, peak_without),
    }


def _head(timing: Timing) -> dict[str, Any]:
    cell, machine = timing.cell, timing.machine
    return {
        "target": cell.target,
        **cell.model_dump(),
        "shape": None if cell.shape is None else "x".join(map(str, cell.shape)),
        "status": timing.status,
        "shown_status": None if timing.status == "ok" else timing.status,
        "error": timing.error or None,
        "device_name": machine.device if machine else None,
        "device_uuid": machine.device_uuid if machine else None,
        "driver": machine.driver if machine else None,
        "torch": machine.torch if machine else None,
        "host": (machine.host or None) if machine else None,
        "started": timing.started or None,
        "key": timing.key,
    }


def _summary(samples: Sequence[float]) -> dict[str, Any]:
    return _of_summary(summary(samples) if samples else None)


def _of_summary(of: Summary | None) -> dict[str, Any]:
    if of is None:
        return dict.fromkeys(("median_s", "ci_low_s", "ci_high_s", "half_ci_s", "iqr_s", "n"))
    # of too few samples the interval is not to be had
    half = None if of.low is None or of.high is None else (of.high - of.low) / 2
    return {
        "median_s": of.median,
        "ci_low_s": of.low,
        "ci_high_s": of.high,
        "half_ci_s": half,
        "iqr_s": of.iqr,
        "n": of.n,
    }


def _ratio(part: float | None, whole: float | None) -> float | None:
    return None if part is None or not whole else part / whole


def _minus(more: int | None, less: int | None) -> int | None:
    return None if more is None or less is None else more - less

"""Blocks in one network, side by side."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from vidcost.bench.inspection.comparison import PLAIN, Compared
from vidcost.bench.report.counts import checked
from vidcost.bench.report.table import Column, Table, billions, integer
from vidcost.bench.report.timing import (
    conditions_in_words,
    digits,
    machine_in_words,
    megabytes,
    milliseconds,
    present,
    spread,
)
from vidcost.bench.timing.kinds import machine_of_all
from vidcost.bench.timing.record import Timing


def added(value: int) -> str:
    """285000 -> +285,000."""
    return f"{value:+,}"


def added_billions(value: int) -> str:
    """291330816 -> +0.291G."""
    return f"{'+' if value >= 0 else '-'}{billions(abs(value))}"


def added_milliseconds(value: float) -> str:
    """0.00123 -> +1.230."""
    return f"{'+' if value >= 0 else '-'}{milliseconds(abs(value))}"


def added_megabytes(value: int) -> str:
    """1230000 -> +1.2."""
    return f"{value / 1e6:+,.1f}"


def compare_table(
    compared: Sequence[Compared], timings: Sequence[Timing], *, where: str, axis: str | None
) -> Table:
    """One line for each block, after the network without any.

    ``where`` names network and positions; ``axis`` what of the clip was swept, if anything.
    Raises: ValueError if the timings are of more than one kind of machine.
    """
    lines = [_line(each, axis) for each in compared]
    columns = (
        *((Column(axis, axis.capitalize(), integer),) if axis else ()),
        Column("block", "Block"),
        *present(
            lines,
            (
                Column("params", "Params", integer),
                Column("added_params", "added", added),
                Column("macs", "MACs", billions),
                Column("added_macs", "added", added_billions),
                Column("fvcore", "fvcore", billions),
                Column("closed_forms", "Closed forms met", checked),
                Column("latency_s", "Latency, ms", milliseconds),
                Column("added_s", "added", added_milliseconds),
                Column("half_ci_s", "±", spread),
                Column("pairs", "Pairs", integer),
                Column("shown_not_separated", "Not separated from"),
                Column("peak_bytes", "Peak, MB", megabytes),
                Column("added_peak_bytes", "added", added_megabytes),
                Column("energy_j_per_clip", "J/clip", digits),
                Column("shown_status", "Status"),
            ),
        ),
    )
    return Table(
        title=f"Blocks in {where}",
        columns=columns,
        lines=lines,
        footnotes={
            (index, "shown_status"): f"{each.status}: {each.error}"
            for index, each in enumerate(compared)
            if each.status != "ok"
        },
        legend=_legend(compared, timings, {column.key for column in columns}),
    )


def _line(each: Compared, axis: str | None) -> dict[str, Any]:
    total = each.counted.total
    fvcore = (each.counted.answers or {}).get("fvcore")
    low, high = each.added_low_s, each.added_high_s
    separated = None if each.not_separated is None else ", ".join(each.not_separated) or "–"
    return {
        **({axis: each.variant.value} if axis else {}),
        "block": each.variant.block or PLAIN,
        "params": total.params if total else None,
        "added_params": each.added_params,
        "macs": total.macs if total else None,
        "added_macs": each.added_macs,
        "fvcore": fvcore.flops if fvcore else None,
        "closed_forms": each.counted.closed_forms if total and each.variant.block else None,
        "latency_s": each.latency_s,
        "added_s": each.added_s,
        "added_low_s": low,
        "added_high_s": high,
        "half_ci_s": None if low is None or high is None else (high - low) / 2,
        "pairs": each.pairs,
        "not_separated": None if each.not_separated is None else list(each.not_separated),
        "shown_not_separated": separated,
        "peak_bytes": each.peak_bytes,
        "added_peak_bytes": each.added_peak_bytes,
        "energy_j_per_clip": each.energy_j_per_clip,
        "status": each.status,
        "shown_status": None if each.status == "ok" else each.status,
        "error": each.error or None,
    }


def _legend(
    compared: Sequence[Compared], timings: Sequence[Timing], keys: set[str]
) -> tuple[str, ...]:
    words = [
        "MACs: multiply-accumulates, exact, of one forward pass; added: above the network without "
        "any block."
    ]
    if "fvcore" in keys:
        words.append("fvcore: as it prints.")
    if "closed_forms" in keys:
        words.append(
            "Closed forms met: modules whose `cost(shape)` the count equals; not checked: no "
            "module has one."
        )
    if "latency_s" not in keys:
        return (" ".join(words),)
    done = [timing for timing in timings if timing.status == "ok"]
    return (
        " ".join(words),
        "Latency: median. Added: median of the differences of pairs of passes, with the block and "
        "without, interleaved in one process, ± half of its 95% confidence interval. Not separated "
        f"from: the intervals overlap, so these data do not tell which costs more; {PLAIN}: nor "
        "that it costs anything. Processes differ by more than passes, so of two that are barely "
        "separated ask `vidcost time --contribution` again.",
        "Peak: most that was allocated at once above the weights. Conditions: "
        f"{conditions_in_words(done)}.",
        machine_in_words(machine_of_all(done), done),
    )

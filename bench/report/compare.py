"""Blocks in one network side by side."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from vidcost.bench.inspection.comparison import FIGURES, PLAIN, Compared
from vidcost.bench.report.counts import checked
from vidcost.bench.report.table import Column, Format, Table, billions, integer
from vidcost.bench.report.timing import (
    HALF_INTERVAL,
    STATUS,
    conditions_in_words,
    digits,
    errors,
    intervals_of,
    machine_in_words,
    megabytes,
    milliseconds,
    present,
)
from vidcost.bench.timing.record import Timing


def _signed(form: Format) -> Format:
    """The same format with a sign before every number."""
    return lambda value: f"{'+' if value >= 0 else '-'}{form(abs(value))}"


_BLOCKS = (
    Column("params", "Params", integer),
    Column("added_params", "added", _signed(integer)),
    Column("macs", "MACs", billions),
    Column("added_macs", "added", _signed(billions)),
    Column("fvcore", "fvcore", billions),
    Column("closed_forms", "Closed forms met", checked),
    Column("latency_s", "Latency, ms", milliseconds),
    Column("added_s", "added", _signed(milliseconds)),
    HALF_INTERVAL,
    Column("pairs", "Pairs", integer),
    Column("shown_not_separated", "Not separated from"),
    Column("peak_bytes", "Peak, MB", megabytes),
    Column("added_peak_bytes", "added", _signed(megabytes)),
    Column("energy_j_per_clip", "J/clip", digits),
    STATUS,
)


def compare_table(
    compared: Sequence[Compared], timings: Sequence[Timing], *, where: str, axis: str | None
) -> Table:
    """One line for each block, after the network without any.

    ``where`` names network and positions; ``axis`` the dimension of the clip that was swept.
    Raises: ValueError if the timings are of more than one kind of machine.
    """
    lines = [_line(each, axis) for each in compared]
    columns = (
        *((Column(axis, axis.capitalize(), integer),) if axis else ()),
        Column("block", "Block"),
        *present(lines, _BLOCKS),
    )
    return Table(
        title=f"Blocks in {where}",
        columns=columns,
        lines=lines,
        footnotes=errors(compared),
        legend=_legend(timings, {column.key for column in columns}),
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
        "macs": total.macs if total else None,
        "fvcore": fvcore.flops if fvcore else None,
        "closed_forms": each.counted.closed_forms if total and each.variant.block else None,
        **{name: getattr(each, name) for name in FIGURES},
        "half_ci_s": None if low is None or high is None else (high - low) / 2,
        "not_separated": None if each.not_separated is None else list(each.not_separated),
        "shown_not_separated": separated,
        "status": each.status,
        "shown_status": None if each.status == "ok" else each.status,
        "error": each.error or None,
    }


def _legend(timings: Sequence[Timing], keys: set[str]) -> list[str]:
    counts = (
        "MACs: multiply-accumulates, exact, of one forward pass; added: above the network without "
        "any block."
    )
    if "fvcore" in keys:
        counts += " fvcore: as it prints."
    if "closed_forms" in keys:
        counts += (
            " Closed forms met: modules whose `cost(shape)` the count equals; not checked: no "
            "module has one."
        )
    if "latency_s" not in keys:
        return [counts]
    done = [timing for timing in timings if timing.status == "ok"]
    return [
        counts,
        "Latency: median. Added: median of the differences of pairs of passes, with the block and "
        f"without, interleaved, ± half of its 95% confidence interval, {intervals_of(done)}. Not "
        "separated from: the intervals overlap, so these data do not tell which costs more; "
        f"{PLAIN}: nor that it costs anything.",
        "Peak: most that was allocated at once above the weights. Conditions: "
        f"{conditions_in_words(done)}.",
        machine_in_words(done),
    ]
